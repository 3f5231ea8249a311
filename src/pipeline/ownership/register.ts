/** Makes a function known in a partition: its consumer groups, and where its counting starts. */
import type { FunctionSpec } from '../../core/function-spec.ts';
import type { Keys } from '../../redis/keys.ts';
import type { RedisConnection } from '../../redis/contract.ts';
import { defineScript } from '../../redis/script.ts';
import { COUNTS } from '../../redis/lua/shared.ts';

const script = defineScript({
  url: new URL('./register.lua', import.meta.url),
  with: COUNTS,
  keys: 'variable',
});

/** See register.lua. */
export type RegisteredGroup = 'created' | 'exists' | 'recreated' | 'recount';

/** @returns an answer per type of `on` */
export async function registerFunction(
  connection: RedisConnection,
  keys: Keys,
  partition: number,
  spec: Pick<FunctionSpec, 'name' | 'on' | 'startFrom' | 'ordering'> &
    Partial<Pick<FunctionSpec, 'replaySafe'>>,
): Promise<RegisteredGroup[]> {
  return (await script.run(
    connection,
    [keys.counters(partition), ...spec.on.map((type) => keys.events(partition, type))],
    [
      spec.name,
      spec.startFrom,
      spec.ordering,
      spec.replaySafe === false ? 'unsafe' : '',
      ...spec.on,
    ],
  )) as RegisteredGroup[];
}
