/**
 * A big deployment for the cost of pages: millions of events that are done, subjects that wait for
 * retries, and dead letters. Its functions are files of a project of its own.
 */

export const SIZES = {
  full: { events: 5_000_000, parked: 100_000, dead: 200_000 },
  quick: { events: 200_000, parked: 4000, dead: 8000 },
} as const;

export const FILES: Readonly<Record<string, string>> = {
  'proto/big.proto': `syntax = "proto3";
package big.v1;
import "millrace/v1/options.proto";
message Ticked {
  option (millrace.v1.event) = { type: "clock.ticked", subject: "clock" };
  string clock = 1;
  int64 count = 2;
}
message Ordered {
  option (millrace.v1.event) = { type: "order.placed", subject: "order" };
  string order = 1;
  bool fatal = 2;
}
`,
  'workers/counter.ts': `import { defineFunction } from 'millrace/define';
export default defineFunction({ name: 'counter', on: ['clock.ticked'], handle() {} });
`,
  'workers/shipping.ts': `import { defineFunction, NonRetryableError } from 'millrace/define';
export default defineFunction({
  name: 'shipping',
  on: ['order.placed'],
  retry: { attempts: 20, minDelayMs: 86_400_000, maxDelayMs: 86_400_000 },
  handle({ data }) {
    if (data.fatal) throw new NonRetryableError('no carrier delivers to Atlantis');
    throw new Error('the carrier does not answer');
  },
});
`,
};

export const tick = (i: number) => ({
  type: 'clock.ticked' as string,
  data: { clock: `clock-${i % 5000}`, count: i },
});

export const order = (i: number, fatal: boolean) => ({
  type: 'order.placed' as string,
  data: { order: `${fatal ? 'dead' : 'late'}-${i}`, fatal },
});

/** Pages of the console, and the way to each. */
export const PAGES = [
  '/',
  '/console/trend',
  '/console/functions/shipping',
  '/console/find',
  '/console/find?subject=clock-17',
  '/console/dead',
  '/console/dead/shipping',
  '/console/parked',
  '/console/lanes',
  '/console/waiting',
  '/console/history',
  '/console/views',
  '/console/schemas',
  '/console/schema?subject=clock.ticked',
  '/console/alerts',
  '/console/losses',
  '/console/audit',
] as const;
