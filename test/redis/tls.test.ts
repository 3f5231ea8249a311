/** TLS to Redis: a CA of one's own, client certificates, and what is said where they do not fit. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { connect } from '../../src/index.ts';
import type { Environment } from '../../src/config.ts';
import { testDir } from '../../scripts/lab/dispatcher-process.ts';
import { freePort, startRedis } from '../../scripts/lab/redis-server.ts';
import { until } from '../../scripts/lab/until.ts';

const PASSPHRASE = 'zqxj:@/ jxqz';

/** Makes an authority of its own, and certificates that it signs. */
function createAuthority(dir: string, name: string) {
  const path = (file: string): string => join(dir, `${name}-${file}`);
  const openssl = (...args: string[]): Buffer =>
    execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'ignore'] });
  const [ca, caKey] = [path('ca.crt'), path('ca.key')];
  const fresh = (key: string, cn: string): string[] => [
    ...['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-keyout', key],
    ...['-subj', `/CN=${cn}`],
  ];
  openssl(...fresh(caKey, `${name} authority`), '-nodes', '-x509', '-days', '2', '-out', ca);
  const sign = (cn: string, extensions: string, passphrase?: string) => {
    const [key, request, cert] = [path(`${cn}.key`), path(`${cn}.csr`), path(`${cn}.crt`)];
    const secret = passphrase === undefined ? ['-nodes'] : ['-passout', `pass:${passphrase}`];
    openssl(...fresh(key, cn), ...secret, '-out', request);
    writeFileSync(path(`${cn}.ext`), extensions);
    openssl(
      ...['x509', '-req', '-in', request, '-CA', ca, '-CAkey', caKey, '-CAcreateserial'],
      ...['-days', '2', '-out', cert, '-extfile', path(`${cn}.ext`)],
    );
    return { key, cert };
  };
  return { ca, sign };
}

t.test("an authority of one's own and client certificates", async (t) => {
  const dir = testDir(t);
  const own = createAuthority(dir, 'own');
  const other = createAuthority(dir, 'other');
  const server = own.sign('localhost', 'subjectAltName=DNS:localhost\n');
  const client = own.sign('client', 'extendedKeyUsage=clientAuth\n', PASSPHRASE);
  const stranger = other.sign('stranger', 'extendedKeyUsage=clientAuth\n');
  const port = await freePort();
  const redis = await startRedis(t, {
    args: [
      ...['--tls-port', String(port), '--tls-auth-clients', 'yes'],
      ...['--tls-cert-file', server.cert, '--tls-key-file', server.key],
      ...['--tls-ca-cert-file', own.ca],
    ],
  });
  const right = {
    REDIS_URL: `rediss://localhost:${port}`,
    MILLRACE_REDIS_CA: own.ca,
    MILLRACE_REDIS_CERT: client.cert,
    MILLRACE_REDIS_KEY: client.key,
    MILLRACE_REDIS_KEY_PASSPHRASE: PASSPHRASE,
  };
  const open = (environment: Partial<Environment>) =>
    connect({ environment, protoDir: null, logger: pino({ level: 'silent' }) });

  await t.test('they are used, and read again for each connection', async (t) => {
    const millrace = await open(right);
    t.teardown(() => millrace.close());
    const { connection } = millrace.deployment;
    t.equal(await connection.command('SET', 'k', 'v'), 'OK');
    t.match(await redis.client().client('LIST'), /name=millrace-/, 'connections are named');
    // The next connection has to use what is there then.
    const exchanged = own.sign('client', 'extendedKeyUsage=clientAuth\n', PASSPHRASE);
    t.equal(exchanged.cert, client.cert, 'in the same files');
    await redis.client().call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await until('it is connected again', () =>
      connection.command('GET', 'k').then(
        (value) => value === 'v',
        () => false,
      ),
    );
  });

  const without = ({ ...all }: Partial<Environment>, ...names: (keyof Environment)[]) =>
    Object.fromEntries(Object.entries(all).filter(([name]) => !names.includes(name as never)));
  const wrong: readonly [string, Partial<Environment>, RegExp][] = [
    ['without the authority', without(right, 'MILLRACE_REDIS_CA'), /self-signed certificate/],
    ['with another authority', { ...right, MILLRACE_REDIS_CA: other.ca }, /self-signed|unable to/],
    [
      'under another name',
      { ...right, REDIS_URL: `rediss://127.0.0.1:${port}` },
      /does not match certificate|not in the cert/,
    ],
    [
      'without a client certificate',
      without(right, 'MILLRACE_REDIS_CERT', 'MILLRACE_REDIS_KEY'),
      /certificate required|closed|ECONNRESET/i,
    ],
    [
      "with a stranger's certificate",
      { ...right, MILLRACE_REDIS_CERT: stranger.cert, MILLRACE_REDIS_KEY: stranger.key },
      /unknown ca|closed|ECONNRESET/i,
    ],
    [
      'with a wrong passphrase',
      { ...right, MILLRACE_REDIS_KEY_PASSPHRASE: `${PASSPHRASE}no` },
      /decrypt|passphrase|bad/i,
    ],
    [
      'with a key of another certificate',
      { ...right, MILLRACE_REDIS_KEY: stranger.key },
      /key values mismatch/i,
    ],
    ['without TLS', { REDIS_URL: `redis://localhost:${port}` }, /closed|ECONNRESET|Protocol/i],
  ];
  await Promise.all(
    wrong.map(async ([name, environment, message]) => {
      const error = await open(environment).catch((reason: unknown) => reason);
      t.match(error, { code: /SERVER_UNREACHABLE|CONNECTION_SETUP/, message }, name);
      t.notMatch(String(error), /zqxj|jxqz/, `${name}: the passphrase is not told`);
    }),
  );
});

t.test('settings that do not fit are all named', async (t) => {
  const dir = testDir(t);
  const cert = join(dir, 'cert.pem');
  copyFileSync(new URL(import.meta.url).pathname, cert);
  const environment = {
    REDIS_URL: 'redis://localhost:1',
    MILLRACE_REDIS_CERT: cert,
    MILLRACE_REDIS_CA: join(dir, 'none.pem'),
  };
  await t.rejects(connect({ environment, protoDir: null, logger: pino({ level: 'silent' }) }), {
    code: 'CONFIG',
    message:
      /MILLRACE_REDIS_CA: .*cannot be read \(ENOENT\)[^]*MILLRACE_REDIS_CERT and MILLRACE_REDIS_KEY belong together/,
  });
});
