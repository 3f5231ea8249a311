/**
 * Settings from the environment: declared once here, checked all at once. The only reader of
 * process.env.
 */
import { availableParallelism } from 'node:os';
import { z } from 'zod';
import { ConfigError } from './core/errors.ts';
import { NAME_PATTERN } from './core/function-spec.ts';

const whole = (min: number, max: number) =>
  z.string().transform((text, context) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    context.addIssue(`must be a whole number from ${min} to ${max}`);
    return z.NEVER;
  });
const oneOf = <const T extends readonly string[]>(names: T) =>
  z.enum(names, { error: `must be one of ${names.join(', ')}` });

/** Where the admin server listens unless MILLRACE_PORT says otherwise. */
export const DEFAULT_PORT = 9464;

/** Every variable: its check, default and meaning. docs/operations.md prints this table. */
export const ENVIRONMENT = {
  REDIS_URL: {
    check: z.string().min(1).optional(),
    text: 'server (redis://, rediss://, unix:) or Cluster (comma separated); unset: the embedded server',
  },
  MILLRACE_REDIS_CA: {
    check: z.string().min(1).optional(),
    text: "with rediss://: PEM file of the authorities that sign the server's certificate (default: those Node trusts)",
  },
  MILLRACE_REDIS_CERT: {
    check: z.string().min(1).optional(),
    text: 'with rediss://: PEM file of the client certificate, for servers that ask for one',
  },
  MILLRACE_REDIS_KEY: {
    check: z.string().min(1).optional(),
    text: "PEM file of the client certificate's private key",
  },
  MILLRACE_REDIS_KEY_PASSPHRASE: {
    check: z.string().min(1).optional(),
    text: 'passphrase of that key',
  },
  WORKERS: {
    check: whole(1, 256).default(availableParallelism()),
    text: 'worker threads in the pool (default: available cores)',
  },
  MILLRACE_PARTITIONS: {
    check: whole(1, 1024).optional(),
    text: "P, fixed at a deployment's first start (default 16)",
  },
  MILLRACE_NAMESPACE: {
    check: z.string().regex(NAME_PATTERN, `must match ${NAME_PATTERN.source}`).default('mr'),
    text: 'key prefix',
  },
  MILLRACE_PORT: {
    check: whole(0, 65_535).optional(),
    text: 'admin HTTP port, 0: any free one (default 9464, or none where another process has it)',
  },
  MILLRACE_HOST: { check: z.string().min(1).default('127.0.0.1'), text: 'admin HTTP address' },
  MILLRACE_TOKEN: {
    check: z.string().min(1).optional(),
    text: 'token of the admin server: as bearer, or as the password of basic authentication',
  },
  LOG_LEVEL: {
    check: oneOf(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
    text: 'pino level',
  },
  MILLRACE_MODE: {
    check: oneOf(['development', 'production']).default('development'),
    text: 'what happens at start to schemas under proto/ that are not registered: development registers compatible ones, production refuses to start',
  },
  MILLRACE_SCHEMA_WAIT_MS: {
    check: whole(0, 604_800_000).default(600_000),
    text: 'how long an event waits, parked, for its schema to be registered',
  },
  MILLRACE_UPKEEP_MS: {
    check: whole(50, 3_600_000).default(10_000),
    text: 'how often a dispatcher trims streams and looks for entries that have vanished',
  },
  MILLRACE_STALL_MS: {
    check: whole(100, 86_400_000).default(60_000),
    text: '/healthz is red when a lane has work and gets nothing done for so long',
  },
  MILLRACE_DIR: {
    check: z.string().min(1).default('.millrace'),
    text: "folder of the embedded server's data and of the binary's cache",
  },
  MILLRACE_REDIS_SERVER: {
    check: z.string().min(1).optional(),
    text: 'redis-server or valkey-server to run embedded',
  },
  MILLRACE_APPENDFSYNC: {
    check: oneOf(['everysec', 'always']).default('everysec'),
    text: 'appendfsync of the embedded server',
  },
  MILLRACE_LEASE_MS: {
    check: whole(500, 600_000).default(10_000),
    text: "TTL of a lane lease: how long a crashed dispatcher's lanes wait",
  },
  MILLRACE_DRAIN_MS: {
    check: whole(0, 3_600_000).default(30_000),
    text: 'time for running batches to finish after SIGTERM',
  },
  MILLRACE_LOAD_MS: {
    check: whole(1000, 600_000).default(30_000),
    text: 'time for the function files to load at start',
  },
  MILLRACE_BATCH_EVENTS: { check: whole(1, 65_536).default(4096), text: 'most events of a batch' },
  MILLRACE_BATCH_BYTES: {
    check: whole(1024, 64 * 1024 * 1024).default(1024 * 1024),
    text: 'most bytes of a batch (one entry is always taken)',
  },
  MILLRACE_THREAD_HEAP_MB: {
    check: whole(16, 65_536).optional(),
    text: "heap limit of a pool thread (default: Node's)",
  },
} as const;

type Checks = { [K in keyof typeof ENVIRONMENT]: (typeof ENVIRONMENT)[K]['check'] };
export type Environment = { [K in keyof Checks]: z.infer<Checks[K]> };

/**
 * @throws ConfigError naming every variable that is wrong
 */
export function readEnvironment(from: NodeJS.ProcessEnv = process.env): Environment {
  const problems: string[] = [];
  const out: Record<string, unknown> = {};
  for (const [name, { check }] of Object.entries(ENVIRONMENT)) {
    const raw = from[name];
    const parsed = check.safeParse(raw === '' ? undefined : raw);
    if (parsed.success) out[name] = parsed.data;
    else {
      for (const issue of parsed.error.issues)
        problems.push(`${name}: ${issue.message} (got ${JSON.stringify(raw)})`);
    }
  }
  for (const name of Object.keys(from)) {
    if (name.startsWith('MILLRACE_') && !(name in ENVIRONMENT))
      problems.push(`${name}: no such setting; known are ${Object.keys(ENVIRONMENT).join(', ')}`);
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return out as Environment;
}

/**
 * Settings of a process that does nothing but rebuild, where its environment says nothing: in
 * larger turns more events of a row meet, and there is no other function that would wait for them.
 * Its own thread, and a server beside it, need a core, too.
 */
export function rebuildSettings(given: NodeJS.ProcessEnv = process.env): Partial<Environment> {
  const settings = {
    WORKERS: Math.max(1, availableParallelism() - 1),
    MILLRACE_BATCH_EVENTS: 16_384,
    MILLRACE_BATCH_BYTES: 2 * 1024 * 1024,
  };
  return Object.fromEntries(
    Object.entries(settings).filter(([name]) => (given[name] ?? '') === ''),
  );
}

/**
 * The environment of the pool's threads: this process's, with REDIS_URL set to the deployment's
 * server also where it is the embedded one, so that a function's setup() can open its own
 * connection.
 */
export function threadEnvironment(redisUrl: string): NodeJS.ProcessEnv {
  return { ...process.env, REDIS_URL: redisUrl };
}
