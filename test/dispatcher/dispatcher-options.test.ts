/** The options of a dispatcher are checked before it is made. */
import t from 'tap';
import type { DispatcherOptions } from '../../src/dispatcher/dispatcher-options.ts';
import { openService } from '../../scripts/lab/dispatcher-process.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';

t.test('options of the wrong kind, missing or unknown are named, all at once', async (t) => {
  const redis = await startRedis(t);
  const service = await openService(t, redis.url, 1);
  const options = { skipFiles: ['a.ts', 7], choose: 'all', onTurn: undefined, skip: [] };
  t.throws(() => service.dispatcher(options as unknown as DispatcherOptions), {
    code: 'CONFIG',
    problems: [
      'dispatcher option functionsDir must be the path of a folder, got undefined',
      'dispatcher option skipFiles must be a list of file names, got ["a.ts",7]',
      'dispatcher option choose must be a function, got "all"',
      'dispatcher option skip is unknown',
    ],
  } as unknown as Error);

  const strange: [unknown, string][] = [
    [undefined, 'dispatcher options must be an object, got undefined'],
    [{ functionsDir: '' }, 'dispatcher option functionsDir must be the path of a folder, got ""'],
    [
      { functionsDir: 'f', skipFiles: Object.create(null) as unknown },
      'dispatcher option skipFiles must be a list of file names, got {}',
    ],
  ];
  for (const [given, problem] of strange)
    t.throws(() => service.dispatcher(given as DispatcherOptions), {
      code: 'CONFIG',
      problems: [problem],
    } as unknown as Error);
});
