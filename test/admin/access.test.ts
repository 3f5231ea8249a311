/** Access to the admin server: roles, tokens, names, other sites, and the record of changes. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { decideAccess, openToPages, ROLES, type AccessRules } from '../../src/admin/access.ts';
import { startAdminServer } from '../../src/admin/server.ts';
import { roleTokens } from '../../src/admin/tokens.ts';
import { readAudit } from '../../src/audit/read-audit.ts';
import { readEnvironment } from '../../src/config.ts';
import { isLoopback } from '../../src/core/loopback.ts';
import { ConfigError } from '../../src/core/errors/input-errors.ts';
import { testDir } from '../../scripts/lab/dispatcher-process.ts';
import { openAdmin, proto } from './open-admin.ts';

const request = {
  needs: 'admin',
  authorization: undefined,
  hostHeader: undefined,
  origin: undefined,
  fetchSite: undefined,
} as const;
const open: AccessRules = { tokens: [], host: '127.0.0.1', names: [], readOnly: false };
const tokens = ROLES.map((role) => ({ role, current: () => `${role}-token` }));
const basic = (pair: string): string => `Basic ${Buffer.from(pair).toString('base64')}`;

t.test('with a token everything guarded needs one', async (t) => {
  const rules = { ...open, tokens: [{ role: 'admin', current: () => 's3cret' } as const] };
  for (const needs of ROLES) {
    t.match(decideAccess(rules, { ...request, needs }), { ok: false, status: 401 });
    t.match(decideAccess(rules, { ...request, needs, authorization: 'Bearer wrong' }), {
      ok: false,
      status: 401,
    });
    t.ok(decideAccess(rules, { ...request, needs, authorization: 'Bearer s3cret' }).ok);
  }
  t.match(decideAccess(rules, { ...request, authorization: basic('anyone:s3cret') }), {
    ok: true,
    role: 'admin',
    user: 'anyone',
  });
  t.notOk(decideAccess(rules, { ...request, authorization: basic('s3cret:') }).ok);
  const elsewhere = { ...request, origin: 'https://elsewhere.example', hostHeader: 'a.example' };
  t.ok(
    decideAccess(rules, { ...elsewhere, authorization: 'bearer s3cret' }).ok,
    'the token is enough: no browser adds it',
  );
});

t.test('each role includes those before it, and nothing else', async (t) => {
  for (const [has, role] of ROLES.entries())
    for (const [wants, needs] of ROLES.entries()) {
      const asked = { ...request, needs, authorization: `Bearer ${role}-token` };
      const answer = decideAccess({ ...open, tokens }, asked);
      if (has >= wants) t.match(answer, { ok: true, role }, `${role} may ${needs}`);
      else
        t.match(
          answer,
          { ok: false, status: 403, message: new RegExp(`needs the role ${needs}.*${role}`) },
          `${role} may not ${needs}`,
        );
    }
  const gone = [{ role: 'admin', current: () => null } as const];
  for (const text of ['', 'null', 'undefined'])
    t.match(
      decideAccess({ ...open, tokens: gone }, { ...request, authorization: `Bearer ${text}` }),
      { ok: false, status: 401 },
      'a token file that is gone lets nobody in',
    );
});

t.test('without a token: on loopback all may be done, elsewhere only read', async (t) => {
  t.match(decideAccess(open, request), { ok: true, role: 'admin' });
  const outside = { ...open, host: '0.0.0.0' };
  for (const needs of ['operate', 'admin'] as const)
    t.match(decideAccess(outside, { ...request, needs }), {
      ok: false,
      status: 403,
      message: /MILLRACE_TOKEN/,
    });
  t.match(decideAccess(outside, { ...request, needs: 'read' }), { ok: true, role: 'read' });
});

t.test('a web page can neither rebind a name, nor act from another site', async (t) => {
  const local = { ...request, hostHeader: 'localhost:9464' };
  t.match(
    decideAccess(open, { ...request, needs: 'read', hostHeader: 'evil.example:9464' }),
    { ok: false, status: 403 },
    'rebinding',
  );
  for (const origin of ['https://evil.example', 'null', 'http://localhost:80'])
    t.match(decideAccess(open, { ...local, origin }), { ok: false, status: 403 }, origin);
  for (const fetchSite of ['cross-site', 'same-site', 'nonsense']) {
    t.match(decideAccess(open, { ...local, fetchSite }), { ok: false, status: 403 }, fetchSite);
    t.ok(decideAccess(open, { ...local, needs: 'read', fetchSite }).ok, 'a link may be followed');
  }
  const own = { ...local, origin: 'http://localhost:9464', fetchSite: 'same-origin' };
  t.ok(decideAccess(open, own).ok, 'its own page');
  const rules = { ...open, tokens };
  const remembered = { ...local, authorization: basic('anna:admin-token') };
  t.ok(decideAccess(rules, { ...remembered, ...own, ...remembered }).ok);
  t.match(
    decideAccess(rules, { ...remembered, fetchSite: 'cross-site' }),
    { ok: false, status: 403 },
    'a browser adds a password that it remembers to requests of any page',
  );
  t.match(decideAccess(rules, { ...remembered, origin: 'https://evil.example' }), { ok: false });
});

t.test('names that are allowed', async (t) => {
  const rules = { ...open, names: ['admin.example'] };
  const read = { ...request, needs: 'read' } as const;
  for (const hostHeader of ['admin.example', 'ADMIN.example:9464', '10.0.0.7:9464', '[::1]:1'])
    t.ok(decideAccess({ ...rules, host: '0.0.0.0' }, { ...read, hostHeader }).ok, hostHeader);
  for (const host of ['0.0.0.0', '127.0.0.1'])
    t.match(decideAccess({ ...rules, host }, { ...read, hostHeader: 'evil.example:9464' }), {
      ok: false,
      message: /MILLRACE_ALLOWED_HOSTS/,
    });
  const proxied = { ...request, hostHeader: '127.0.0.1:9464', origin: 'https://admin.example' };
  t.ok(decideAccess(rules, proxied).ok, 'a proxy keeps the origin and changes the name');
  t.throws(() => readEnvironment({ MILLRACE_ALLOWED_HOSTS: 'a b,c' }), /host names/);
  t.strictSame(readEnvironment({ MILLRACE_ALLOWED_HOSTS: 'A.b, c' }).MILLRACE_ALLOWED_HOSTS, [
    'a.b',
    'c',
  ]);
  for (const host of ['localhost', '127.0.0.1', '127.1.2.3', '[::1]', '::1', 'x.localhost'])
    t.ok(isLoopback(host), host);
  for (const host of ['', '0.0.0.0', '::', '127.0.0.1.evil.example', '10.0.0.1'])
    t.notOk(isLoopback(host), host);
});

t.test('a server that web pages may read says so at its start', async (t) => {
  const outside = { ...open, host: '0.0.0.0' };
  const rebound = { ...request, needs: 'read', hostHeader: 'evil.example:9464' } as const;
  const rows: [AccessRules, boolean][] = [
    [open, false],
    [{ ...open, host: 'localhost' }, false],
    [outside, true],
    [{ ...open, host: '::' }, true],
    [{ ...outside, tokens }, false],
    [{ ...outside, names: ['admin.example'] }, false],
  ];
  for (const [rules, isOpen] of rows) {
    t.equal(openToPages(rules), isOpen, `${rules.host}, ${rules.names.join()}`);
    t.equal(decideAccess(rules, rebound).ok, isOpen, 'the warning tells the truth');
  }
  for (const [rules, isOpen] of rows.filter(([{ host }]) => host !== '::')) {
    const warned: string[] = [];
    const server = await startAdminServer({
      ...rules,
      port: 0,
      groups: [],
      log: (level, message) => void (level === 'warn' && warned.push(message)),
    });
    await server.close();
    t.equal(warned.length, isOpen ? 1 : 0);
    if (isOpen) t.match(warned[0], /^OPEN: .*MILLRACE_READ_TOKEN.*MILLRACE_ALLOWED_HOSTS/);
  }
});

t.test('a read-only server refuses changes, whoever asks for them', async (t) => {
  for (const known of [[], tokens]) {
    const rules = { ...open, tokens: known, readOnly: true };
    const asked = { ...request, authorization: 'Bearer admin-token' };
    t.match(decideAccess(rules, asked), { ok: false, status: 403, message: /--allow-changes/ });
    t.ok(decideAccess(rules, { ...asked, needs: 'read' }).ok);
  }
  t.match(
    decideAccess({ ...open, tokens, readOnly: true }, request),
    { ok: false, status: 401 },
    'a stranger does not learn of that',
  );
});

t.test('tokens from the environment and from files', async (t) => {
  const dir = testDir(t);
  const file = (name: string, text: string): string => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
  const path = file('operate', 'second\n');
  const read = (more: Record<string, string>) => roleTokens(readEnvironment(more));
  t.strictSame(read({}), []);
  const found = read({
    MILLRACE_READ_TOKEN: 'first',
    MILLRACE_OPERATE_TOKEN_FILE: path,
    MILLRACE_TOKEN: 'third',
  });
  t.strictSame(
    found.map(({ role, current }) => [role, current()]),
    [
      ['read', 'first'],
      ['operate', 'second'],
      ['admin', 'third'],
    ],
  );
  file('operate', 'exchanged\n');
  t.equal(found[1]?.current(), 'exchanged', 'a file may be exchanged');
  file('operate', '');
  t.equal(found[1]?.current(), null, 'and emptied: nobody has the role then');
  const wrong = {
    MILLRACE_READ_TOKEN: 'one',
    MILLRACE_READ_TOKEN_FILE: file('read', 'one'),
    MILLRACE_OPERATE_TOKEN_FILE: join(dir, 'none'),
    MILLRACE_TOKEN: 'one',
  };
  try {
    read(wrong);
    t.fail('wrong tokens are refused');
  } catch (error) {
    t.type(error, ConfigError);
    t.match((error as ConfigError).problems, [
      /MILLRACE_READ_TOKEN and MILLRACE_READ_TOKEN_FILE/,
      /MILLRACE_OPERATE_TOKEN_FILE: the file .*none cannot be read/,
      /MILLRACE_TOKEN is the token of MILLRACE_READ_TOKEN/,
    ]);
  }
});

t.test('a served registry: roles, headers, and a record of each change', async (t) => {
  const { call, admin, space } = await openAdmin(t, 'admin-token', tokens.slice(0, 2));
  const as = (role: string) => ({ authorization: `Bearer ${role}-token` });
  const message = 'syntax = "proto3"; message A { string a = 1; }';
  t.match(await call('GET', '/subjects', undefined, as('read')), { status: 200, body: [] });
  const versions = '/subjects/a.b/versions';
  const lookup = await call('POST', `/compatibility${versions}`, proto(message), as('read'));
  t.equal(lookup.status, 200, 'a check changes nothing');
  t.match(await call('POST', versions, proto(message), as('read')), { status: 403 });
  t.match(await call('POST', versions, proto(message), as('operate')), { status: 200 });
  const level = { compatibility: 'NONE' };
  t.match(await call('PUT', '/config/a.b', level, as('operate')), { status: 403 });
  t.match(await call('PUT', '/config/a.b', level, basicHeaders('anna:admin-token')), {
    status: 200,
  });
  t.match(await call('PUT', '/config/a.b', { compatibility: 'LOOSE' }, as('admin')), {
    status: 422,
  });
  t.match(await readAudit(space, 10), [
    {
      action: 'PUT',
      target: '/config/a.b',
      before: { level: 'NONE', versions: [1] },
      outcome: 'failed',
      error: /^HTTP 422: .*compatibility/,
    },
    {
      who: /^anna, token of the role admin, from 127\.0\.0\.1$/,
      via: 'http',
      wanted: level,
      before: { level: 'FULL_TRANSITIVE', versions: [1] },
      after: { status: 200, answer: { compatibility: 'NONE' } },
      outcome: 'done',
      error: null,
    },
    { who: /^token of the role operate, from/, target: versions, after: { status: 200 } },
  ]);
  t.equal((await readAudit(space, 10)).length, 3, 'refused requests and looks are not recorded');
  t.equal((await readAudit(space, 1)).length, 1);
  const { headers } = await fetch(`${admin.url}/subjects`, { headers: as('read') });
  t.equal(headers.get('x-frame-options'), 'DENY');
  t.equal(headers.get('x-content-type-options'), 'nosniff');

  await t.test('a change whose record is refused is not made', async (t) => {
    await space.connection.command('DEL', space.keys.audit());
    await space.connection.command('SET', space.keys.audit(), 'in the way');
    const answer = await call('PUT', '/config/a.b', { compatibility: 'FULL' }, as('admin'));
    t.match(answer, { status: 503, body: { message: /not begun.*mr:audit.*Nothing was changed/ } });
    t.match(await call('GET', '/config/a.b', undefined, as('read')), {
      body: { compatibilityLevel: 'NONE' },
    });
  });
});

t.test('each request that may change something has one record', async (t) => {
  const { call, space } = await openAdmin(t);
  const message = 'syntax = "proto3"; message A { string a = 1; }';
  const prepare = async (): Promise<void> => {
    await call('POST', '/subjects/a.b/versions', proto(message));
  };
  const level = { compatibility: 'NONE' };
  const changes: readonly [string, string, unknown?][] = [
    ['POST', '/subjects/a.b/versions', proto(message)],
    ['PUT', '/config', level],
    ['PUT', '/config/', level],
    ['PUT', '/config/a.b', level],
    ['DELETE', '/config'],
    ['DELETE', '/config', {}],
    ['DELETE', '/config/a.b'],
    ['PUT', '/mode', { mode: 'READWRITE' }],
    ['PUT', '/mode/a.b', { mode: 'READWRITE' }],
    ['DELETE', '/mode/a.b'],
    ['DELETE', '/subjects/a.b/versions/1'],
    ['DELETE', '/subjects/a.b/versions/1?permanent=true'],
    ['DELETE', '/subjects/a.b'],
    ['DELETE', '/subjects/a.b', {}],
    ['DELETE', '/subjects/a.b?permanent=true'],
    ['PATCH', '/subjects/a.b'],
  ];
  for (const [method, path, body] of changes) {
    await prepare();
    await space.connection.command('DEL', space.keys.audit());
    const { status } = await call(method, path, body);
    const records = await readAudit(space, 10);
    t.match(
      records,
      [
        {
          action: method,
          target: path.replace(/\/$/, ''),
          outcome: status < 400 ? 'done' : 'failed',
        },
      ],
      `${method} ${path}${body === undefined ? '' : ' with a body'}: ${status}`,
    );
    t.equal(records.length, 1, 'and no other');
  }
});

function basicHeaders(pair: string): Record<string, string> {
  return { authorization: basic(pair) };
}
