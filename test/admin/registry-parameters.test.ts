import t from 'tap';
import { orderProto } from '../registry/open-registry.ts';
import { openAdmin, proto } from './open-admin.ts';

const V1 = orderProto('int32 amount = 2;');
const V2 = orderProto('int32 amount = 2;', 'string note = 3;');
const BAD = orderProto('string amount = 2;');
const SUBJECT = '/subjects/order.created';

type Row = readonly [method: string, path: string, body: unknown, status: number, answer: unknown];

/** Requests with their answers: each parameter is heeded, or refused with a code and a reason. */
const ROWS: readonly Row[] = [
  // the server
  ['GET', '/', undefined, 200, {}],
  ['GET', '/v1/metadata/id', undefined, 200, { scope: { path: [], clusters: Object } }],
  ['GET', '/v1/metadata/version', undefined, 200, { version: /^\d/, commitId: String }],
  ['OPTIONS', '/subjects', undefined, 200, ''],
  ['OPTIONS', `${SUBJECT}/versions/1`, undefined, 200, ''],
  ['GET', '/subjects/', undefined, 200, ['order.created', 'gone']],
  ['GET', `${SUBJECT}/versions/`, undefined, 200, [1, 2]],
  ['POST', `${SUBJECT}/versions/`, proto(V1), 200, { version: 1 }],
  ['GET', '/config/', undefined, 200, { compatibilityLevel: 'FULL_TRANSITIVE' }],
  ['GET', '/schemas/types/', undefined, 200, ['PROTOBUF']],
  ['GET', '/contexts', undefined, 200, ['.']],
  // registering
  [
    'POST',
    `${SUBJECT}/versions`,
    proto(V1, { id: 7 }),
    422,
    { error_code: 42205, message: /not in import mode/ },
  ],
  [
    'POST',
    `${SUBJECT}/versions`,
    proto(V1, { version: 3 }),
    422,
    { error_code: 42205, message: /not in import mode/ },
  ],
  ['POST', `${SUBJECT}/versions`, proto(V1, { id: 7, version: 3 }), 422, { error_code: 42205 }],
  ['POST', `${SUBJECT}/versions`, proto(V1, { id: 'x' }), 422, { error_code: 42201 }],
  [
    'POST',
    `${SUBJECT}/versions`,
    proto(V1, { id: -1, version: 0, references: null, metadata: null, ruleSet: null }),
    200,
    { version: 1 },
  ],
  ['POST', `${SUBJECT}/versions?normalize=true`, proto(V1), 200, { version: 1 }],
  [
    'POST',
    `${SUBJECT}/versions?normalize=perhaps`,
    proto(V1),
    422,
    { error_code: 42201, message: /normalize/ },
  ],
  [
    'POST',
    `${SUBJECT}/versions`,
    proto(V1, { colour: 'red' }),
    422,
    { error_code: 422, message: /Unrecognized field: colour/ },
  ],
  [
    'POST',
    `${SUBJECT}/versions`,
    proto(V1, { metadata: { properties: { a: 'b' } } }),
    422,
    { error_code: 42201, message: /metadata/ },
  ],
  [
    'POST',
    `${SUBJECT}/versions`,
    proto(V1, { ruleSet: { domainRules: [{}] } }),
    422,
    { error_code: 42201, message: /ruleSet/ },
  ],
  ['POST', `${SUBJECT}/versions`, proto(V1, { schemaTagsToAdd: [{}] }), 422, { error_code: 42201 }],
  [
    'POST',
    `${SUBJECT}/versions`,
    proto(V1, { schemaType: 'AVRO' }),
    422,
    { error_code: 42201, message: /PROTOBUF/ },
  ],
  ['POST', `${SUBJECT}/versions`, proto(V1, { schemaType: 'JSON' }), 422, { error_code: 42201 }],
  [
    'POST',
    `${SUBJECT}/versions`,
    { schema: '"string"' },
    422,
    { error_code: 42201, message: /AVRO/ },
  ],
  ['POST', `${SUBJECT}/versions`, proto('  '), 422, { error_code: 42201 }],
  ['POST', `${SUBJECT}/versions`, '[]', 400, { error_code: 400 }],
  ['POST', `${SUBJECT}/versions`, '{"schema":', 400, { error_code: 400 }],
  ['POST', `${SUBJECT}/versions`, proto(V1, { references: {} }), 422, { error_code: 42201 }],
  [
    'POST',
    `${SUBJECT}/versions`,
    proto(BAD),
    409,
    {
      error_code: 409,
      message: /amount.*\{oldSchemaVersion: 2\}.*compatibility: FULL_TRANSITIVE/s,
    },
  ],
  ['POST', '/subjects/:.:order.created/versions', proto(V1), 200, { version: 1 }],
  [
    'POST',
    '/subjects/:.eu:order.created/versions',
    proto(V1),
    422,
    { error_code: 42208, message: /context/ },
  ],
  ['POST', SUBJECT, proto(V2), 200, { version: 2 }],
  ['POST', `${SUBJECT}?deleted=maybe`, proto(V2), 422, { error_code: 42201 }],
  // lists
  ['GET', '/subjects?deleted=true', undefined, 200, ['gone', 'order.created']],
  ['GET', '/subjects?deletedOnly=true', undefined, 200, []],
  ['GET', '/subjects?deleted=yes', undefined, 422, { error_code: 42201 }],
  ['GET', '/subjects?subjectPrefix=:*:order', undefined, 200, ['order.created']],
  ['GET', '/subjects?subjectPrefix=:.eu:', undefined, 422, { error_code: 42208 }],
  ['GET', '/subjects?offset=1&limit=1', undefined, 200, ['order.created']],
  ['GET', '/subjects?limit=-1', undefined, 200, ['gone', 'order.created']],
  ['GET', '/subjects?limit=many', undefined, 422, { error_code: 42201, message: /limit/ }],
  ['GET', '/subjects/gone/versions?deletedOnly=true', undefined, 200, [1]],
  ['GET', '/subjects/gone/versions', undefined, 200, [2]],
  ['GET', '/subjects/gone/versions?deleted=true&offset=1', undefined, 200, [2]],
  ['GET', '/subjects/gone/versions?deletedAsNegative=true', undefined, 422, { error_code: 42201 }],
  [
    'GET',
    '/schemas?latestOnly=true&subjectPrefix=order',
    undefined,
    200,
    [{ subject: 'order.created', version: 2 }],
  ],
  ['GET', '/schemas?deletedOnly=true', undefined, 200, [{ subject: 'gone', version: 1 }]],
  ['GET', '/schemas?aliases=true', undefined, 422, { error_code: 42201, message: /aliases/ }],
  ['GET', '/schemas?ruleType=CEL', undefined, 422, { error_code: 42201, message: /ruleType/ }],
  // one schema
  [
    'GET',
    `${SUBJECT}/versions/1?format=serialized`,
    undefined,
    422,
    { error_code: 42201, message: /serialized/ },
  ],
  ['GET', `${SUBJECT}/versions/1?format=`, undefined, 200, { schema: V1 }],
  ['GET', `${SUBJECT}/versions/1/schema?format=serialized`, undefined, 422, { error_code: 42201 }],
  ['GET', `${SUBJECT}/versions/1?findTags=true`, undefined, 422, { error_code: 42201 }],
  ['GET', `${SUBJECT}/versions/0`, undefined, 422, { error_code: 42202 }],
  ['GET', `${SUBJECT}/versions/1/referencedby`, undefined, 200, []],
  // compatibility
  [
    'POST',
    '/compatibility/subjects/order.created/versions',
    proto(BAD),
    200,
    { is_compatible: false, messages: undefined },
  ],
  [
    'POST',
    '/compatibility/subjects/order.created/versions?verbose=true',
    proto(BAD),
    200,
    { is_compatible: false, messages: [/amount/] },
  ],
  [
    'POST',
    '/compatibility/subjects/order.created/versions?verbose=true',
    proto(V2),
    200,
    { is_compatible: true, messages: [] },
  ],
  [
    'POST',
    '/compatibility/subjects/order.created/versions/latest',
    proto(BAD),
    200,
    { is_compatible: false, messages: undefined },
  ],
  [
    'POST',
    '/compatibility/subjects/order.created/versions/9',
    proto(V1),
    404,
    { error_code: 40402 },
  ],
  // configuration
  [
    'PUT',
    '/config/order.created',
    { compatibility: 'full_transitive' },
    200,
    { compatibility: 'FULL_TRANSITIVE' },
  ],
  ['PUT', '/config/order.created', { compatibility: 'Full' }, 200, { compatibility: 'FULL' }],
  [
    'PUT',
    '/config',
    { compatibility: 'FULL_TRANSITIVE', normalize: true },
    200,
    { compatibility: 'FULL_TRANSITIVE' },
  ],
  ['PUT', '/config', { compatibility: 'sometimes' }, 422, { error_code: 42203 }],
  ['PUT', '/config', {}, 422, { error_code: 42203 }],
  [
    'PUT',
    '/config',
    { compatibility: 'FULL', compatibilityGroup: 'v' },
    422,
    { error_code: 42201, message: /compatibilityGroup/ },
  ],
  [
    'PUT',
    '/config/order.created',
    { compatibility: 'FULL', alias: 'other' },
    422,
    { error_code: 42201, message: /alias/ },
  ],
  [
    'PUT',
    '/config',
    { compatibility: 'FULL', defaultMetadata: { properties: { a: 'b' } } },
    422,
    { error_code: 42201 },
  ],
  [
    'PUT',
    '/config',
    { compatibility: 'FULL', overrideRuleSet: { domainRules: [{}] } },
    422,
    { error_code: 42201 },
  ],
  ['PUT', '/config', { compatibility: 'FULL', level: 3 }, 422, { error_code: 422 }],
  ['PUT', '/config', 'FULL', 400, { error_code: 400 }],
  // modes
  ['GET', '/mode', undefined, 200, { mode: 'READWRITE' }],
  ['PUT', '/mode', { mode: 'READWRITE' }, 200, { mode: 'READWRITE' }],
  ['PUT', '/mode/order.created', { mode: 'import' }, 422, { error_code: 42205 }],
  ['PUT', '/mode?force=true', { mode: 'READONLY' }, 422, { error_code: 42205 }],
  ['PUT', '/mode', { mode: 'SLOW' }, 422, { error_code: 42204 }],
  ['GET', '/mode/order.created?defaultToGlobal=true', undefined, 200, { mode: 'READWRITE' }],
  ['DELETE', '/mode/order.created', undefined, 404, { error_code: 40409 }],
];

t.test('table: every parameter is heeded, or refused with a reason', async (t) => {
  const { call } = await openAdmin(t);
  await call('POST', `${SUBJECT}/versions`, proto(V1));
  await call('POST', `${SUBJECT}/versions`, proto(V2));
  const other = (field: string): object =>
    proto(`syntax = "proto3"; package a; message G { string a = 1; ${field} }`);
  await call('POST', '/subjects/gone/versions', other(''));
  await call('POST', '/subjects/gone/versions', other('string b = 2;'));
  await call('DELETE', '/subjects/gone/versions/1');
  for (const [method, path, body, status, answer] of ROWS) {
    const got = await call(method, path, body);
    const label = `${method} ${path} ${JSON.stringify(body ?? null).slice(0, 80)}`;
    t.equal(got.status, status, label);
    if (Array.isArray(answer) && answer.every((one) => typeof one !== 'object'))
      t.same([...(got.body as unknown[])].sort(), [...(answer as unknown[])].sort(), label);
    else t.match(got.body, answer, label);
    if (status >= 400) t.match(got.body, { error_code: Number, message: /\S/ }, label);
  }
  t.match(
    await call('GET', `${SUBJECT}/versions`),
    { body: [1, 2] },
    'what was refused has changed nothing',
  );
  const { id } = (await call('POST', SUBJECT, proto(V1))).body as { id: number };
  t.match(await call('GET', `/schemas/ids/${id}?fetchMaxId=true`), {
    body: { schema: V1, maxId: Number },
  });
  t.notOk('maxId' in ((await call('GET', `/schemas/ids/${id}`)).body as object));
  t.match(await call('GET', `/schemas/ids/${id}?format=serialized`), {
    status: 422,
    body: { error_code: 42201 },
  });
});

t.test('media types: 415 and 406', async (t) => {
  const { call } = await openAdmin(t);
  const post = (headers: Record<string, string>) =>
    call('POST', `${SUBJECT}/versions`, proto(V1), headers);
  for (const type of [
    'application/json',
    'application/json; charset=utf-8',
    'application/vnd.schemaregistry+json',
    'application/octet-stream',
  ]) {
    t.equal((await post({ 'content-type': type })).status, 200, type);
  }
  for (const type of ['application/x-www-form-urlencoded', 'text/plain', 'application/xml'])
    t.match(await post({ 'content-type': type }), { status: 415, body: { error_code: 415 } }, type);
  for (const accept of [
    '*/*',
    'application/*',
    'application/json',
    'text/html, application/json;q=0.9',
  ])
    t.equal((await call('GET', '/subjects', undefined, { accept })).status, 200, accept);
  for (const accept of ['text/html', 'application/xml', 'image/png'])
    t.match(
      await call('GET', '/subjects', undefined, { accept }),
      { status: 406, body: { error_code: 406 } },
      accept,
    );
  t.equal(
    (await call('GET', `${SUBJECT}/versions/1/schema`, undefined, { accept: 'text/plain' })).status,
    200,
  );
});

t.test(
  'another reference is another version, and frees the old one, also where nothing reachable changes',
  async (t) => {
    const { call } = await openAdmin(t);
    const money = (more: string): object =>
      proto(`syntax = "proto3"; package a; message Money { int64 amount = 1; } ${more}`);
    await call('POST', '/subjects/money/versions', money(''));
    await call('POST', '/subjects/money/versions', money('message Unused { string a = 1; }'));
    const user =
      'syntax = "proto3"; package a; import "money.proto"; message User { Money m = 1; }';
    const referring = (version: number): object =>
      proto(user, { references: [{ name: 'money.proto', subject: 'money', version }] });
    const first = await call('POST', '/subjects/user/versions', referring(1));
    const second = await call('POST', '/subjects/user/versions', referring(2));
    t.match([first.body, second.body], [{ version: 1 }, { version: 2 }]);
    t.not((first.body as { id: number }).id, (second.body as { id: number }).id);
    t.match(
      await call('POST', '/subjects/user/versions', referring(1)),
      { body: { version: 1 } },
      'each is found by its references',
    );
    t.match(await call('GET', '/subjects/user/versions/2'), {
      body: { references: [{ version: 2 }] },
    });
    t.match(await call('DELETE', '/subjects/money/versions/1'), {
      status: 422,
      body: { error_code: 42206 },
    });
    await call('DELETE', '/subjects/user/versions/1');
    t.match(await call('DELETE', '/subjects/money/versions/1'), { status: 200, body: 1 });
    t.match(await call('DELETE', '/subjects/money/versions/2'), {
      status: 422,
      body: { error_code: 42206 },
    });
  },
);
