/** `/api/audit`: the last changes of operators as JSON, the newest first. */
import { readAudit } from '../audit/read-audit.ts';
import type { Environment } from '../config.ts';
import type { RedisSpace } from '../redis/source.ts';
import { grantedTo } from './guard.ts';
import { payloadAccess } from './payload-access.ts';
import type { RouteGroup } from './server.ts';

const MAX_LIMIT = 1000;

/** @param environment says who sees data of payloads */
export function auditRoutes(space: RedisSpace, environment: Environment): RouteGroup {
  return {
    prefixes: ['/api/audit'],
    access: 'guarded',
    mount(app) {
      app.get('/api/audit', async (c) => {
        const limit = Number(c.req.query('limit') ?? 50);
        if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT)
          return c.json({ error: `limit must be a whole number from 1 to ${MAX_LIMIT}` }, 400);
        const changes = await readAudit(space, limit);
        const seesData = payloadAccess(grantedTo(c), environment) === 'full';
        return c.json({
          changes: changes.map(({ atMs, endedMs, data, ...change }) => ({
            at: new Date(atMs).toISOString(),
            ended: endedMs === null ? null : new Date(endedMs).toISOString(),
            ...change,
            data: seesData ? data : null,
          })),
        });
      });
    },
  };
}
