import t from 'tap';
import { decideAccess, isLoopback } from '../../src/admin/access.ts';

const request = {
  changes: true,
  authorization: undefined,
  hostHeader: undefined,
  origin: undefined,
};

t.test('with a token everything guarded needs it', async (t) => {
  const rules = { token: 's3cret', host: '127.0.0.1', readOnly: false };
  for (const changes of [true, false]) {
    t.match(decideAccess(rules, { ...request, changes }), { ok: false, status: 401 });
    t.match(decideAccess(rules, { ...request, changes, authorization: 'Bearer wrong' }), {
      ok: false,
      status: 401,
    });
    t.ok(decideAccess(rules, { ...request, changes, authorization: 'Bearer s3cret' }).ok);
  }
  const basic = (pair: string): string => `Basic ${Buffer.from(pair).toString('base64')}`;
  t.ok(decideAccess(rules, { ...request, authorization: basic('anyone:s3cret') }).ok);
  t.notOk(decideAccess(rules, { ...request, authorization: basic('s3cret:') }).ok);
  t.ok(
    decideAccess(rules, {
      ...request,
      authorization: 'bearer s3cret',
      origin: 'https://elsewhere.example',
      hostHeader: 'admin.example',
    }).ok,
    'the token is enough',
  );
});

t.test('without a token: on loopback all may be done, elsewhere only read', async (t) => {
  t.ok(decideAccess({ token: undefined, host: '127.0.0.1', readOnly: false }, request).ok);
  t.match(decideAccess({ token: undefined, host: '0.0.0.0', readOnly: false }, request), {
    ok: false,
    status: 403,
    message: /MILLRACE_TOKEN/,
  });
  t.ok(
    decideAccess(
      { token: undefined, host: '0.0.0.0', readOnly: false },
      { ...request, changes: false },
    ).ok,
  );
});

t.test(
  'a web page cannot reach a loopback server through a name or from another origin',
  async (t) => {
    const rules = { token: undefined, host: '127.0.0.1', readOnly: false };
    t.match(
      decideAccess(rules, { ...request, changes: false, hostHeader: 'evil.example:9464' }),
      { ok: false, status: 403 },
      'rebinding',
    );
    t.match(
      decideAccess(rules, {
        ...request,
        hostHeader: 'localhost:9464',
        origin: 'https://evil.example',
      }),
      { ok: false, status: 403 },
    );
    t.match(decideAccess(rules, { ...request, hostHeader: 'localhost:9464', origin: 'null' }), {
      ok: false,
      status: 403,
    });
    t.ok(
      decideAccess(rules, {
        ...request,
        hostHeader: 'localhost:9464',
        origin: 'http://localhost:9464',
      }).ok,
      'its own page',
    );
    for (const host of ['localhost', '127.0.0.1', '127.1.2.3', '[::1]', '::1', 'x.localhost'])
      t.ok(isLoopback(host), host);
    for (const host of [
      '',
      '0.0.0.0',
      '::',
      '127.0.0.1.evil.example',
      '10.0.0.1',
      'localhost.evil.example',
    ])
      t.notOk(isLoopback(host), host);
  },
);

t.test('a read-only server refuses changes, whoever asks for them', async (t) => {
  for (const token of [undefined, 's3cret']) {
    const rules = { token, host: '127.0.0.1', readOnly: true };
    const asked = {
      ...request,
      ...(token === undefined ? {} : { authorization: 'Bearer s3cret' }),
    };
    t.match(decideAccess(rules, asked), { ok: false, status: 403, message: /--allow-changes/ });
    t.ok(decideAccess(rules, { ...asked, changes: false }).ok);
  }
  t.match(
    decideAccess({ token: 's3cret', host: '127.0.0.1', readOnly: true }, request),
    { ok: false, status: 401 },
    'a stranger does not learn of that',
  );
});
