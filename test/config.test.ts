import t from 'tap';
import { ENVIRONMENT, givenSettings, readEnvironment, type Environment } from '../src/config.ts';
import { ConfigError } from '../src/core/errors/input-errors.ts';

t.test('a variable that is missing or empty has its default', (t) => {
  const unset = readEnvironment({});
  t.strictSame(Object.keys(unset), Object.keys(ENVIRONMENT));
  t.match(unset, { MILLRACE_NAMESPACE: 'mr', LOG_LEVEL: 'info', MILLRACE_LEASE_MS: 10_000 });
  t.equal(unset.MILLRACE_PARTITIONS, undefined);
  t.strictSame(readEnvironment({ REDIS_URL: '', LOG_LEVEL: '', MILLRACE_PORT: '' }), unset);
  t.end();
});

t.test('every variable that is wrong is named, with its value', (t) => {
  const wrong = {
    WORKERS: '0',
    MILLRACE_LEASE_MS: '1e3',
    MILLRACE_PARTITIONS: '-1',
    MILLRACE_NAMESPACE: 'a b',
    LOG_LEVEL: 'loud',
    MILLRACE_LEASE: '1000',
  };
  t.match(problemsOf(wrong), [
    'WORKERS: must be a whole number from 1 to 256 (got "0")',
    'MILLRACE_PARTITIONS: must be a whole number from 1 to 1024 (got "-1")',
    /^MILLRACE_NAMESPACE: must match \S+ \(got "a b"\)$/,
    'LOG_LEVEL: must be one of trace, debug, info, warn, error, fatal, silent (got "loud")',
    'MILLRACE_LEASE_MS: must be a whole number from 500 to 600000 (got "1e3")',
    /^MILLRACE_LEASE: no such setting; known are REDIS_URL, /,
  ]);
  t.match(readEnvironment({ WORKERS: '3', LOG_LEVEL: 'warn', MILLRACE_NAMESPACE: 'shop' }), {
    WORKERS: 3,
    LOG_LEVEL: 'warn',
    MILLRACE_NAMESPACE: 'shop',
  });
  t.end();
});

t.test('a value of the wrong kind is named, numbers may be numbers', (t) => {
  const wrong = { REDIS_URL: 5, MILLRACE_NAMESPACE: null, WORKERS: null, MILLRACE_PARTITIONS: 1 };
  const problems = [
    'REDIS_URL: must be a text (got 5)',
    'WORKERS: must be a number (got null)',
    'MILLRACE_NAMESPACE: must be a text (got null)',
  ];
  t.same(problemsOf(wrong as unknown as NodeJS.ProcessEnv), problems);
  t.throws(() => givenSettings(wrong as unknown as Partial<Environment>), {
    problems,
  } as unknown as Error);
  t.same(givenSettings({ MILLRACE_PARTITIONS: 1 }), { MILLRACE_PARTITIONS: 1 });
  t.end();
});

function problemsOf(environment: NodeJS.ProcessEnv): readonly string[] {
  try {
    readEnvironment(environment);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}
