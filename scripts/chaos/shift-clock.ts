/**
 * Preloaded (`--import`) into a dispatcher to make its wall clock wrong. CHAOS_CLOCK is a list of
 * `at ms:offset ms`, counted from the process's start. Each thread loads the file anew. The
 * monotonic clock is left alone, as a change of a machine's clock leaves it alone.
 */
const startedMs = Date.now();
const jumps = (process.env['CHAOS_CLOCK'] ?? '')
  .split(',')
  .filter((text) => text !== '')
  .map((text) => {
    const [at = '0', offset = '0'] = text.split(':');
    return { atMs: Number(at), offsetMs: Number(offset) };
  });
const realNow = Date.now.bind(Date);

Date.now = () => {
  const now = realNow();
  let offsetMs = 0;
  for (const jump of jumps) if (now - startedMs >= jump.atMs) offsetMs = jump.offsetMs;
  return now + offsetMs;
};
