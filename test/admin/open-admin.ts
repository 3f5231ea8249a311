/** Opens an admin server over a registry of its own. */
import type { RoleToken } from '../../src/admin/access.ts';
import { registryApi } from '../../src/admin/registry-api.ts';
import { startAdminServer, type AdminServer } from '../../src/admin/server.ts';
import type { RedisSpace } from '../../src/redis/source.ts';
import { openRegistry, type OpenRegistry } from '../registry/open-registry.ts';
import type { TestLike } from '../../scripts/lab/redis-server.ts';

export interface OpenAdmin extends OpenRegistry {
  readonly admin: AdminServer;
  /** Place of the audit log. */
  readonly space: RedisSpace;
  /** Sends a request. Returns the status, the parsed body and the media type of the answer. */
  call(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<{ status: number; body: unknown; type: string | null }>;
}

export async function openAdmin(
  t: TestLike,
  token?: string,
  tokens: readonly RoleToken[] = [],
): Promise<OpenAdmin> {
  const opened = await openRegistry(t);
  const space = { connection: opened.connection, keys: opened.keys };
  const errors: unknown[] = [];
  const admin = await startAdminServer({
    host: '127.0.0.1',
    port: 0,
    token,
    tokens,
    audit: space,
    groups: [registryApi({ registry: opened.registry })],
    log: (level, message, fields) =>
      void (level === 'error' && errors.push({ message, ...fields })),
  });
  t.teardown(async () => {
    await admin.close();
    if (errors.length > 0)
      throw new Error(
        `the admin server logged ${JSON.stringify(errors, (_, v: unknown) => (v instanceof Error ? v.stack : v))}`,
      );
  });
  return {
    ...opened,
    admin,
    space,
    async call(method, path, body, headers = {}) {
      const response = await fetch(`${admin.url}${path}`, {
        method,
        headers: { 'content-type': 'application/vnd.schemaregistry.v1+json', ...headers },
        ...(body === undefined
          ? {}
          : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      });
      const text = await response.text();
      let parsed: unknown = text;
      try {
        parsed = JSON.parse(text);
      } catch {
        // plain text
      }
      return { status: response.status, body: parsed, type: response.headers.get('content-type') };
    },
  };
}

export const proto = (schema: string, more: object = {}): object => ({
  schemaType: 'PROTOBUF',
  schema,
  ...more,
});
