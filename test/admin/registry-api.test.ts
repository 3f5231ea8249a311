import t from 'tap';
import { MAX_BODY_BYTES } from '../../src/admin/guard.ts';
import { startAdminServer } from '../../src/admin/server.ts';
import { BY, idOf, order, orderProto } from '../registry/open-registry.ts';
import { openAdmin, proto } from './open-admin.ts';

const V1 = orderProto('int32 amount = 2;');
const V2 = orderProto('int32 amount = 2;', 'string note = 3;');
const BAD = orderProto('string amount = 2;');
const FIRST = await idOf(order('int32 amount = 2;'));
const SECOND = await idOf(order('int32 amount = 2;', 'string note = 3;'));

t.test('the routes of the Confluent API', async (t) => {
  const { call } = await openAdmin(t);
  await t.test('subjects and versions', async (t) => {
    t.match(await call('GET', '/subjects'), {
      status: 200,
      body: [],
      type: /application\/vnd\.schemaregistry\.v1\+json/,
    });
    t.match(await call('POST', '/subjects/order.created/versions', proto(V1)), {
      status: 200,
      body: { id: FIRST, version: 1 },
    });
    t.match(
      await call('POST', '/subjects/order.created/versions', proto(V1)),
      { status: 200, body: { id: FIRST, version: 1 } },
      'registering again',
    );
    t.match(await call('POST', '/subjects/order.created/versions', proto(V2)), {
      body: { id: SECOND, version: 2 },
    });
    t.match(await call('GET', '/subjects'), { body: ['order.created'] });
    t.match(await call('GET', '/subjects?subjectPrefix=x'), { body: [] });
    t.match(await call('GET', '/subjects/order.created/versions'), { body: [1, 2] });
    t.match(await call('GET', '/subjects/order.created/versions/1'), {
      body: {
        subject: 'order.created',
        version: 1,
        id: FIRST,
        schemaType: 'PROTOBUF',
        schema: V1,
        references: [],
      },
    });
    for (const latest of ['latest', '-1'])
      t.match(await call('GET', `/subjects/order.created/versions/${latest}`), {
        body: { version: 2, id: SECOND },
      });
    t.match(await call('GET', '/subjects/order.created/versions/1/schema'), { body: V1 });
  });

  await t.test('schemas by id, and look-up', async (t) => {
    t.match(await call('GET', `/schemas/ids/${SECOND}`), {
      body: { schemaType: 'PROTOBUF', schema: V2 },
    });
    t.match(await call('GET', `/schemas/ids/${SECOND}/schema`), { body: V2 });
    t.match(await call('GET', `/schemas/ids/${SECOND}/subjects`), { body: ['order.created'] });
    t.match(await call('GET', `/schemas/ids/${SECOND}/versions`), {
      body: [{ subject: 'order.created', version: 2 }],
    });
    t.match(await call('GET', '/schemas/types'), { body: ['PROTOBUF'] });
    t.match(await call('GET', '/schemas?latestOnly=true'), {
      body: [{ subject: 'order.created', version: 2 }],
    });
    t.match(await call('GET', '/contexts'), { body: ['.'] });
    t.match(await call('POST', '/subjects/order.created', proto(V1)), {
      body: { subject: 'order.created', version: 1, id: FIRST },
    });
  });

  await t.test('compatibility', async (t) => {
    t.match(
      await call('POST', '/compatibility/subjects/order.created/versions/latest', proto(V2)),
      {
        status: 200,
        body: { is_compatible: true },
      },
    );
    const verdict = await call(
      'POST',
      '/compatibility/subjects/order.created/versions?verbose=true',
      proto(BAD),
    );
    t.match(verdict, { status: 200, body: { is_compatible: false } });
    t.match((verdict.body as { messages: string[] }).messages.join(), /amount/);
    t.match(await call('POST', '/compatibility/subjects/nothing/versions', proto(V1)), {
      body: { is_compatible: true },
    });
  });
  await t.test('levels and mode', async (t) => {
    t.match(await call('GET', '/config'), { body: { compatibilityLevel: 'FULL_TRANSITIVE' } });
    t.match(await call('PUT', '/config', { compatibility: 'FULL' }), {
      status: 200,
      body: { compatibility: 'FULL' },
    });
    t.match(await call('PUT', '/config/order.created', { compatibility: 'NONE' }), {
      status: 200,
      body: { compatibility: 'NONE' },
    });
    t.match(await call('GET', '/config/order.created'), { body: { compatibilityLevel: 'NONE' } });
    t.match(await call('DELETE', '/config/order.created'), {
      body: { compatibilityLevel: 'NONE' },
    });
    t.match(await call('GET', '/config/order.created?defaultToGlobal=true'), {
      body: { compatibilityLevel: 'FULL' },
    });
    t.match(await call('DELETE', '/config'), { body: { compatibilityLevel: 'FULL' } });
    t.match(await call('GET', '/mode'), { body: { mode: 'READWRITE' } });
  });

  await t.test('deletion', async (t) => {
    t.match(await call('DELETE', '/subjects/order.created/versions/1'), { status: 200, body: 1 });
    t.match(await call('GET', '/subjects/order.created/versions'), { body: [2] });
    t.match(await call('GET', '/subjects/order.created/versions?deleted=true'), { body: [1, 2] });
    t.match(await call('DELETE', '/subjects/order.created/versions/1?permanent=true'), {
      status: 200,
      body: 1,
    });
    t.match(await call('DELETE', '/subjects/order.created'), { status: 200, body: [2] });
    t.match(await call('DELETE', '/subjects/order.created?permanent=true'), {
      status: 200,
      body: [2],
    });
  });
});

t.test('its error codes', async (t) => {
  const { call } = await openAdmin(t);
  const error = async (
    method: string,
    path: string,
    body?: unknown,
  ): Promise<[number, unknown]> => {
    const answer = await call(method, path, body);
    t.match(answer.body, { error_code: Number, message: /\S/ }, `${method} ${path}`);
    return [answer.status, (answer.body as { error_code: unknown }).error_code];
  };
  await call('POST', '/subjects/order.created/versions', proto(V1));
  t.same(await error('GET', '/subjects/none/versions'), [404, 40401]);
  t.same(await error('GET', '/subjects/none/versions/1'), [404, 40401]);
  t.same(await error('GET', '/subjects/order.created/versions/9'), [404, 40402]);
  t.same(await error('GET', '/schemas/ids/99'), [404, 40403]);
  t.same(await error('GET', '/schemas/ids/x'), [404, 40403]);
  t.same(await error('POST', '/subjects/none', proto(V1)), [404, 40401]);
  t.same(await error('POST', '/subjects/order.created', proto(V2)), [404, 40403]);
  t.same(await error('POST', '/subjects/order.created/versions', proto(BAD)), [409, 409]);
  t.same(await error('POST', '/subjects/order.created/versions', proto('message {')), [422, 42201]);
  t.same(
    await error('POST', '/subjects/order.created/versions', { schema: '{"type":"string"}' }),
    [422, 42201],
    'Avro',
  );
  t.same(await error('POST', '/subjects/order.created/versions', proto('')), [422, 42201]);
  t.same(await error('POST', '/subjects/order.created/versions', '{'), [400, 400]);
  t.same(
    await error(
      'POST',
      '/subjects/x/versions',
      proto(V1, { references: [{ name: 'a.proto', subject: 'none', version: 1 }] }),
    ),
    [422, 42201],
  );
  t.same(
    await error('POST', '/subjects/x/versions', proto(V1, { ruleSet: { domainRules: [] } })),
    [422, 42201],
  );
  t.same(await error('GET', '/subjects/order.created/versions/zero'), [422, 42202]);
  t.same(
    await error('POST', '/compatibility/subjects/order.created/versions/7', proto(V1)),
    [404, 40402],
  );
  t.same(await error('PUT', '/config', { compatibility: 'SOMETIMES' }), [422, 42203]);
  t.same(await error('GET', '/config/order.created'), [404, 40408]);
  t.same(await error('PUT', '/mode', { mode: 'READONLY' }), [422, 42205]);
  t.same(await error('GET', '/mode/order.created'), [404, 40409]);
  t.same(await error('DELETE', '/subjects/order.created?permanent=true'), [404, 40405]);
  t.same(await error('DELETE', '/subjects/order.created/versions/1?permanent=true'), [404, 40407]);
  await call('DELETE', '/subjects/order.created/versions/1');
  t.same(await error('DELETE', '/subjects/order.created/versions/1'), [404, 40406]);
  t.same(await error('DELETE', '/subjects/order.created'), [404, 40404]);
  t.same(
    await error('POST', '/subjects/x/versions', `{"schema":"${' '.repeat(MAX_BODY_BYTES)}"}`),
    [413, 42209],
  );
  t.match(await call('GET', '/nowhere'), { status: 404 });
});

t.test('references: of clients, and of schemas that came with their imports', async (t) => {
  const { call, registry } = await openAdmin(t);
  const money = 'syntax = "proto3"; package a; message Money { int64 amount = 1; }';
  t.match(await call('POST', '/subjects/money.proto/versions', proto(money)), { status: 200 });
  const user = 'syntax = "proto3"; package a; import "money.proto"; message User { Money m = 1; }';
  t.match(
    await call('POST', '/subjects/user-value/versions', proto(user)),
    { status: 422 },
    'an import nobody provides',
  );
  const references = [{ name: 'money.proto', subject: 'money.proto', version: 1 }];
  const registered = await call(
    'POST',
    '/subjects/user-value/versions',
    proto(user, { references }),
  );
  t.equal(registered.status, 200);
  const { id: userId } = registered.body as { id: number };
  t.match(await call('GET', `/schemas/ids/${userId}`), { body: { references } });
  t.match(await call('GET', '/subjects/money.proto/versions/1/referencedby'), { body: [userId] });
  const refused = await call('DELETE', '/subjects/money.proto/versions/1');
  t.match(refused, { status: 422, body: { error_code: 42206 } });

  const orders = V1.replace(
    'import "millrace',
    'import "shop/money.proto";\nimport "millrace',
  ).replace('int32 amount = 2;', 'a.Money amount = 2;');
  const { id } = await registry.register(
    {
      subject: 'order.created',
      files: [
        { name: 'shop/orders.proto', text: orders },
        { name: 'shop/money.proto', text: money },
      ],
    },
    BY,
  );
  const made = { name: 'shop/money.proto', subject: `${id}:shop/money.proto`, version: 1 };
  t.match(await call('GET', `/schemas/ids/${id}`), {
    body: { schema: orders, references: [made] },
  });
  t.match(await call('GET', `/subjects/${encodeURIComponent(made.subject)}/versions/1`), {
    body: { subject: made.subject, schema: money, references: [] },
  });
  t.match(await call('GET', `/subjects/${encodeURIComponent(`${id}:other.proto`)}/versions/1`), {
    status: 404,
    body: { error_code: 40401 },
  });
});

t.test('a token, where there is one, is needed', async (t) => {
  const { call } = await openAdmin(t, 's3cret');
  t.match(await call('GET', '/subjects'), { status: 401, body: { error_code: 40101 } });
  t.match(await call('POST', '/subjects/order.created/versions', proto(V1)), { status: 401 });
  t.match(
    await call('POST', '/subjects/order.created/versions', proto(V1), {
      authorization: 'Bearer s3cret',
    }),
    { status: 200 },
  );
});

t.test('an address in use is a clear error', async (t) => {
  const { admin } = await openAdmin(t);
  const again = startAdminServer({
    host: '127.0.0.1',
    port: admin.port,
    token: undefined,
    groups: [],
    log: () => {},
  });
  await t.rejects(again, { code: 'ADMIN_ADDRESS', reason: 'EADDRINUSE', message: /MILLRACE_PORT/ });
  await admin.close();
  await admin.close();
});

t.test('the level that a subject was judged by holds whoever registers', async (t) => {
  const { call, registry } = await openAdmin(t);
  await registry.register(order('int32 amount = 2;'), BY);
  const answers = await Promise.all(
    Array.from({ length: 8 }, (_, i) =>
      call('POST', '/subjects/order.created/versions', proto(i % 2 ? V2 : BAD)),
    ),
  );
  t.same(
    answers.map((answer) => answer.status),
    [409, 200, 409, 200, 409, 200, 409, 200],
  );
  t.equal((await registry.versions('order.created')).length, 2);
});
