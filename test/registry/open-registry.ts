/** A registry on a redis-server of its own, and schema texts to fill it with. */
import { openConnection } from '../../src/redis/connection.ts';
import type { RedisConnection } from '../../src/redis/contract.ts';
import { createKeys, type Keys } from '../../src/redis/keys.ts';
import { SchemaRegistry } from '../../src/registry/registry.ts';
import type { SchemaDraft } from '../../src/registry/schema-draft.ts';
import { schemaIdentityOf, idsOf, prepareSchema } from '../../src/registry/schema-tools.ts';
import { RegistryStore } from '../../src/registry/registry-store.ts';
import { startRedis, type TestLike, type TestRedis } from '../../scripts/lab/redis-server.ts';

export interface OpenRegistry {
  readonly redis: TestRedis;
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly store: RegistryStore;
  readonly registry: SchemaRegistry;
}

export async function openRegistry(
  t: TestLike,
  args: readonly string[] = [],
): Promise<OpenRegistry> {
  const redis = await startRedis(t, { args });
  const connection = openConnection({ url: redis.url });
  t.teardown(() => connection.destroy());
  const keys = createKeys('mr');
  const store = new RegistryStore(connection, keys);
  return { redis, connection, keys, store, registry: new SchemaRegistry(store) };
}

/** A file that declares `order.created` with a subject and these fields after it. */
export function orderProto(...fields: readonly string[]): string {
  return `syntax = "proto3";
package shop.v1;
import "millrace/v1/options.proto";
message OrderCreated {
  option (millrace.v1.event) = { type: "order.created", subject: "order_id" };
  string order_id = 1;
${fields.map((field) => `  ${field}\n`).join('')}}
`;
}

export function order(...fields: readonly string[]): SchemaDraft {
  return {
    subject: 'order.created',
    files: [{ name: 'orders.proto', text: orderProto(...fields) }],
  };
}

/** Returns the id that a schema gets if no other schema has that id. */
export async function idOf(draft: SchemaDraft): Promise<number> {
  return idsOf(
    schemaIdentityOf(await prepareSchema(draft.subject, draft.files), draft.references),
  )[0] as number;
}

export const BY = { by: 'tester@here', gitRevision: 'abc123' };
