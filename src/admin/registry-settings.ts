/** Routes of the registry API for settings, and for facts about the server. */
import type { Context, Hono } from 'hono';
import { packageVersion } from '../core/package-info.ts';
import type { SchemaRegistry } from '../registry/registry.ts';
import { ApiError } from './registry-errors.ts';
import { answering, bodyOf, flag, json, levelInBody, subjectInPath } from './registry-request.ts';

/** First segments of the API's paths. */
export const PREFIXES = [
  '/subjects',
  '/schemas',
  '/compatibility',
  '/config',
  '/mode',
  '/contexts',
  '/v1/metadata',
];

export function config(app: Hono, registry: SchemaRegistry): void {
  app.get(
    '/config',
    answering(async (c) => json(c, { compatibilityLevel: (await registry.level()).level })),
  );
  app.put(
    '/config',
    answering(async (c) => {
      const level = await levelInBody(c);
      await registry.setLevel(null, level);
      return json(c, { compatibility: level });
    }),
  );
  app.delete(
    '/config',
    answering(async (c) => {
      const { level } = await registry.level();
      await registry.setLevel(null, null);
      return json(c, { compatibilityLevel: level });
    }),
  );
  const ownLevel = async (c: Context, globalToo: boolean): Promise<string> => {
    const { level, own } = await registry.level(subjectInPath(c));
    if (!own && !globalToo)
      throw new ApiError(
        404,
        40408,
        `Subject '${subjectInPath(c)}' does not have subject-level compatibility configured`,
      );
    return level;
  };
  app.get(
    '/config/:subject',
    answering(async (c) =>
      json(c, { compatibilityLevel: await ownLevel(c, flag(c, 'defaultToGlobal')) }),
    ),
  );
  app.put(
    '/config/:subject',
    answering(async (c) => {
      const level = await levelInBody(c);
      await registry.setLevel(subjectInPath(c), level);
      return json(c, { compatibility: level });
    }),
  );
  app.delete(
    '/config/:subject',
    answering(async (c) => {
      const level = await ownLevel(c, false);
      await registry.setLevel(subjectInPath(c), null);
      return json(c, { compatibilityLevel: level });
    }),
  );
}

const MODES = ['READWRITE', 'READONLY', 'READONLY_OVERRIDE', 'IMPORT', 'FORWARD'];

/** Routes of the mode. The mode is always READWRITE. */
export function mode(app: Hono): void {
  app.get(
    '/mode',
    answering((c) => json(c, { mode: 'READWRITE' })),
  );
  const none = (c: Context): ApiError =>
    new ApiError(
      404,
      40409,
      `Subject '${subjectInPath(c)}' does not have subject-level mode configured`,
    );
  app.get(
    '/mode/:subject',
    answering((c) => {
      if (flag(c, 'defaultToGlobal')) return json(c, { mode: 'READWRITE' });
      throw none(c);
    }),
  );
  for (const path of ['/mode', '/mode/:subject']) {
    app.put(
      path,
      answering(async (c) => {
        const { mode } = await bodyOf(c, ['mode'], []);
        const wanted = typeof mode === 'string' ? mode.toUpperCase() : '';
        if (!MODES.includes(wanted))
          throw new ApiError(422, 42204, `Invalid mode. Valid values are ${MODES.join(', ')}`);
        if (wanted !== 'READWRITE')
          throw new ApiError(422, 42205, 'the mode is READWRITE and cannot be changed');
        return json(c, { mode: 'READWRITE' });
      }),
    );
  }
  app.delete(
    '/mode',
    answering((c) => json(c, { mode: 'READWRITE' })),
  );
  app.delete(
    '/mode/:subject',
    answering((c) => {
      throw none(c);
    }),
  );
}

/** Routes with facts about the server. */
export function server(app: Hono): void {
  const cluster = { 'kafka-cluster': '', 'schema-registry-cluster': 'millrace' };
  app.get(
    '/v1/metadata/id',
    answering((c) => json(c, { scope: { path: [], clusters: cluster }, id: '' })),
  );
  app.get(
    '/v1/metadata/version',
    answering((c) => json(c, { version: packageVersion(), commitId: '' })),
  );
  app.get(
    '/',
    answering((c) => json(c, {})),
  );
  const allowed = { allow: 'GET, HEAD, POST, PUT, DELETE, OPTIONS' };
  for (const prefix of PREFIXES)
    for (const path of [prefix, `${prefix}/*`]) app.options(path, (c) => c.body('', 200, allowed));
}
