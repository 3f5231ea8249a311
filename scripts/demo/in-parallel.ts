/**
 * Does something with each of `source`, begun in its order, with at most `limit` under way. After
 * the first failure nothing new begins; the failure is thrown when all that was under way has
 * ended. An aborted signal ends it without a failure.
 */
export async function inParallel<T>(
  source: AsyncIterable<T> | Iterable<T>,
  { limit, signal }: { readonly limit: number; readonly signal: AbortSignal },
  run: (one: T) => Promise<void>,
): Promise<void> {
  const failures: unknown[] = [];
  const queue = (async function* () {
    for await (const one of source) {
      if (signal.aborted || failures.length > 0) return;
      yield one;
    }
  })();
  await Promise.all(
    Array.from({ length: limit }, async () => {
      try {
        for (let next = await queue.next(); next.done !== true; next = await queue.next())
          await run(next.value);
      } catch (error) {
        failures.push(error);
      }
    }),
  );
  if (failures.length > 0) throw failures[0];
}
