/** Real clients of the Confluent Schema Registry against our API. */
import { SchemaRegistryClient } from '@confluentinc/schemaregistry';
import { SchemaRegistry as KafkaJsRegistry, SchemaType } from '@kafkajs/confluent-schema-registry';
import t from 'tap';
import { decodeFrame } from '../../src/registry/confluent-frame.ts';
import { orderProto } from '../registry/open-registry.ts';
import { openAdmin } from './open-admin.ts';

const V1 = orderProto('int32 amount = 2;');
const V2 = orderProto('int32 amount = 2;', 'string note = 3;');
const BAD = orderProto('string amount = 2;');
const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'no failure',
    (error: unknown) => error,
  );
const schema = (text: string) => ({ schema: text, schemaType: 'PROTOBUF' });

t.test('@confluentinc/schemaregistry', async (t) => {
  const { admin } = await openAdmin(t);
  const open = () => new SchemaRegistryClient({ baseURLs: [admin.url], cacheCapacity: 100 });
  const client = open();
  const subject = 'order.created';
  const first = await client.register(subject, schema(V1));
  const second = await client.register(subject, schema(V2));
  t.ok(first > 0 && second > 0 && first !== second);
  t.same(await client.getAllSubjects(), [subject]);
  t.same(await client.getAllVersions(subject), [1, 2]);
  const other = open();
  t.match(await other.getBySubjectAndId(subject, first), { schema: V1, schemaType: 'PROTOBUF' });
  t.equal(await other.getId(subject, schema(V1)), first);
  t.equal(await other.getVersion(subject, schema(V2)), 2);
  t.match(await other.getLatestSchemaMetadata(subject), { id: second, version: 2, schema: V2 });
  t.match(await other.getSchemaMetadata(subject, 1), { id: first, version: 1 });
  t.equal(await other.testSubjectCompatibility(subject, schema(V2)), true);
  t.equal(await other.testCompatibility(subject, 1, schema(BAD)), false);
  t.match(await failure(open().register(subject, schema(BAD))), { status: 409 });
  t.match(await failure(open().getBySubjectAndId(subject, 99)), { status: 404, errorCode: 40403 });
  t.match(await failure(open().getAllVersions('nothing')), { errorCode: 40401 });

  t.equal(await client.getDefaultCompatibility(), 'FULL_TRANSITIVE');
  t.equal(await client.updateCompatibility(subject, 'BACKWARD' as never), 'BACKWARD');
  t.equal(await open().getCompatibility(subject), 'BACKWARD');
  t.equal(await client.updateDefaultCompatibility('FULL' as never), 'FULL');
  t.same(await client.deleteSubjectVersion(subject, 1), 1);
  t.same(await client.deleteSubject(subject), [2]);
});

t.test('@confluentinc/schemaregistry with a token', async (t) => {
  const { admin } = await openAdmin(t, 's3cret');
  const client = new SchemaRegistryClient({
    baseURLs: [admin.url],
    basicAuthCredentials: { credentialsSource: 'USER_INFO', userInfo: 'anyone:s3cret' },
    createAxiosDefaults: {},
  } as never);
  t.ok(await client.register('order.created', schema(V1)));
  const without = new SchemaRegistryClient({ baseURLs: [admin.url] });
  t.match(await failure(without.getAllSubjects()), { status: 401 });
});

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

t.test('@kafkajs/confluent-schema-registry', async (t) => {
  const { admin, registry } = await openAdmin(t);
  const client = new KafkaJsRegistry({ host: admin.url, retry: { retries: 0 } });
  const plain =
    'syntax = "proto3"; package shop.v1; message Paid { string order_id = 1; int32 amount = 2; }';
  const { id } = await client.register(
    { type: SchemaType.PROTOBUF, schema: plain },
    { subject: 'paid-value' },
  );
  t.ok(id > 0 && id < 2 ** 31);
  t.same(
    await registry.level('paid-value'),
    { level: 'BACKWARD', own: true },
    'the client sets its own default',
  );
  t.equal(await client.getRegistryId('paid-value', 1), id);
  t.equal(await client.getLatestSchemaId('paid-value'), id);
  t.equal(
    await client.getRegistryIdBySchema('paid-value', { type: SchemaType.PROTOBUF, schema: plain }),
    id,
  );

  const bytes = await client.encode(id, { orderId: 'A-1', amount: 7 });
  t.match(
    await new KafkaJsRegistry({ host: admin.url }).decode(bytes),
    { orderId: 'A-1', amount: 7 },
    'another instance fetches the schema by its id',
  );
  t.match(bytes.subarray(0, 5), Buffer.concat([Buffer.from([0]), uint32(id)]));
  t.match(
    await failure(
      client.register(
        { type: SchemaType.PROTOBUF, schema: plain.replace('int32', 'string') },
        { subject: 'paid-value' },
      ),
    ),
    { status: 409 },
  );
  t.match(await failure(client.getLatestSchemaId('nothing')), { status: 404 });

  // The client finds schemas that Millrace registered, too.
  const event = await registry.register(
    { subject: 'order.created', files: [{ name: 'orders.proto', text: V1 }] },
    { by: 'me', gitRevision: '' },
  );
  const frame = await client.encode(event.id, { orderId: 'A-1', amount: 9 });
  t.match(await client.decode(frame), { orderId: 'A-1', amount: 9 });
  t.equal(
    decodeFrame(Buffer.concat([frame.subarray(0, 5), Buffer.from([0]), frame.subarray(5)])).schema,
    event.id,
    'this client writes no message indexes',
  );
});
