/**
 * A small shop for the console's test and pictures: functions that emit, fail, retry and wait.
 * There are a view over histories, and fields that readers must not see. The shop is a project of
 * its own, in a folder of its own.
 */
import type { NewEvent } from '../../src/define/define-aggregate.ts';

/** Fields of cards and mail addresses are masked. */
export const SHOP_PROTO = `syntax = "proto3";
package shop.v1;
import "millrace/v1/options.proto";
message BasketChanged {
  option (millrace.v1.event) = { type: "basket.changed", subject: "basket" };
  string basket = 1;
  string article = 2;
  int32 quantity = 3;
}
message OrderPlaced {
  option (millrace.v1.event) = { type: "order.placed", subject: "order" };
  string order = 1;
  string customer = 2;
  string email = 3 [(millrace.v1.masked) = true];
  string country = 4;
  int64 cents = 5;
}
message PaymentCaptured {
  option (millrace.v1.event) = { type: "payment.captured", subject: "order" };
  string order = 1;
  int64 cents = 2;
  string card = 3 [(millrace.v1.masked) = true];
}
message ParcelSent {
  option (millrace.v1.event) = { type: "parcel.sent", subject: "order" };
  string order = 1;
  string carrier = 2;
}
`;

const BILLING = `import { defineFunction } from 'millrace/define';
export default defineFunction({
  name: 'billing',
  on: ['order.placed'],
  handle(event, ctx) {
    const { order, cents } = event.data;
    ctx.emit('payment.captured', { order, cents, card: '4111 1111 1111 1111' });
  },
});
`;

/** Knows no carrier for Lemuria, and none for Atlantis until the file `mended` is there. */
const SHIPPING = `import { existsSync } from 'node:fs';
import { defineFunction, NonRetryableError } from 'millrace/define';
const CARRIERS = { DE: 'DHL', FR: 'Colissimo', GB: 'Royal Mail' };
export default defineFunction({
  name: 'shipping',
  on: ['order.placed'],
  handle(event, ctx) {
    const { order, country } = event.data;
    const sunk = country === 'Atlantis' && existsSync('mended') ? 'Neptune' : undefined;
    const carrier = CARRIERS[country] ?? sunk;
    if (carrier === undefined) throw new NonRetryableError('no carrier delivers to ' + country);
    ctx.emit('parcel.sent', { order, carrier });
  },
});
`;

/** Its mail server refuses one customer: their events wait for their retries. */
const MAIL = `import { defineFunction } from 'millrace/define';
export default defineFunction({
  name: 'mail',
  on: ['payment.captured', 'parcel.sent'],
  retry: { attempts: 12, minDelayMs: 60_000 },
  handle(event) {
    if (event.data.order.startsWith('late')) throw new Error('SMTP 451: try again later');
  },
});
`;

const BASKETS = `import { defineView } from 'millrace/define';
export default defineView({
  name: 'baskets',
  version: 1,
  on: ['basket.changed'],
  evolve(row, event) {
    const { article, quantity } = event.data;
    const articles = { ...(row?.articles ?? {}), [article]: quantity };
    if (quantity === 0) delete articles[article];
    const pieces = Object.values(articles).reduce((sum, n) => sum + n, 0);
    return { articles, pieces };
  },
  indexes: { pieces: { sort: 'pieces' } },
});
`;

/** Files of the shop's project. */
export const SHOP_FILES: Readonly<Record<string, string>> = {
  'proto/shop.proto': SHOP_PROTO,
  'workers/billing.ts': BILLING,
  'workers/shipping.ts': SHIPPING,
  'workers/mail.ts': MAIL,
  'workers/baskets.ts': BASKETS,
};

const COUNTRIES = ['DE', 'FR', 'GB'] as const;

/** An order that all functions can handle. */
export function orderOf(order: string, i: number, country: string = COUNTRIES[i % 3] ?? 'DE') {
  return {
    type: 'order.placed' as string,
    data: {
      order,
      customer: `customer-${i % 40}`,
      email: `customer-${i % 40}@example.org`,
      country,
      cents: 500 + ((i * 1337) % 20_000),
    },
  };
}

/** The changes of a basket, one after the other. The shop's types are not those of this project. */
export function basketChanges(basket: string, changes: number): NewEvent[] {
  const articles = ['tea', 'honey', 'oats', 'figs', 'rice'];
  return Array.from({ length: changes }, (_, i) => ({
    type: 'basket.changed',
    data: { basket, article: articles[(i * 7) % 5] ?? 'tea', quantity: (i * 3) % 4 },
  })) as unknown as NewEvent[];
}
