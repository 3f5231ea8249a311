/** The clock of the server. */
import type { RedisSource } from './source.ts';

/** Time by the server's clock, ms since 1970. */
export async function serverTime({ connection }: Pick<RedisSource, 'connection'>): Promise<number> {
  const [seconds, micros] = (await connection.command('TIME')) as [string, string];
  return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
}
