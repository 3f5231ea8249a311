import t from 'tap';
import { ConfigError } from '../../src/core/errors/input-errors.ts';
import { applyUpcasts, defineFunction, upcast, type Upcast } from '../../src/define/index.ts';
import { chainOf } from '../../src/define/upcast.ts';
import { createCatalog } from '../../src/wire/catalog.ts';
import { orderProto } from '../registry/open-registry.ts';

interface V1 {
  orderId: string;
  pounds: number;
  name: string;
}
interface V2 {
  orderId: string;
  pence: number;
  name: string;
}
const toPence = upcast('order.created', { from: 1, to: 2 }, ({ pounds, ...rest }: V1) => ({
  ...rest,
  pence: pounds * 100,
}));
const toNames = upcast('order.created', { from: 2, to: 3 }, ({ name, ...rest }: V2) => {
  const [first, last] = name.split(' ');
  return { ...rest, first, last };
});
const chain = [toNames, toPence];

/**
 * Events as the versions of their time wrote them. The bytes are kept; the code that wrote them is
 * gone.
 */
const GOLDEN = [
  {
    version: 1,
    fields: ['int64 pounds = 2;', 'string name = 3;'],
    hex: '0a034f2d3110071a0c416461204c6f76656c616365',
    now: { orderId: 'O-1', pence: 700, first: 'Ada', last: 'Lovelace' },
  },
  {
    version: 2,
    fields: ['string name = 3;', 'int64 pence = 4;'],
    hex: '0a034f2d321a0b416c616e20547572696e6720fa01',
    now: { orderId: 'O-2', pence: 250, first: 'Alan', last: 'Turing' },
  },
  {
    version: 3,
    fields: ['int64 pence = 4;', 'string first = 5;', 'string last = 6;'],
    hex: '0a034f2d3320052a0547726163653206486f70706572',
    now: { orderId: 'O-3', pence: 5, first: 'Grace', last: 'Hopper' },
  },
] as const;

t.test('golden events of every version become what the newest one would be', async (t) => {
  const latest = createCatalog([
    { name: 'orders.proto', text: orderProto(...GOLDEN[2].fields) },
  ]).get('order.created');
  for (const { version, fields, hex, now } of GOLDEN) {
    const writer = createCatalog([{ name: 'orders.proto', text: orderProto(...fields) }]).get(
      'order.created',
    );
    const data = applyUpcasts(
      chain,
      'order.created',
      version,
      writer.decode(Buffer.from(hex, 'hex')),
    );
    t.same({ ...(data as object) }, now, `version ${version}`);
    latest.check(data);
    t.same({ ...(latest.decode(latest.encode(data)) as object) }, now, 'it fits the newest schema');
  }
});

t.test("chains start at the event's version and end at the function's", async (t) => {
  t.same(chainOf(chain, 'order.created', 1), [toPence, toNames]);
  t.same(chainOf(chain, 'order.created', 1, 2), [toPence], 'not beyond what the function reads');
  t.same(chainOf(chain, 'order.created', 3), []);
  t.same(chainOf(chain, 'other', 1), []);
});

t.test('what is no upcast is refused with every problem', async (t) => {
  const convert = (data: object): object => data;
  for (const [from, to] of [
    [0, 1],
    [1, 1],
    [2, 1],
    [1.5, 2],
    ['1', 2],
  ]) {
    t.throws(
      () => upcast('order.created', { from: from as number, to: to as number }, convert),
      ConfigError,
      `${String(from)} to ${String(to)}`,
    );
  }
  t.throws(() => upcast('Order Created', { from: 1, to: 2 }, convert), ConfigError);
  t.throws(() => upcast('order.created', { from: 1, to: 2 }, null as never), ConfigError);
  const define = (upcasts: unknown) =>
    defineFunction({
      name: 'f',
      on: ['order.created'],
      handle: () => {},
      upcasts: upcasts as Upcast[],
    });
  t.throws(() => define([toPence, toPence]), {
    message: /two upcasts of order\.created from version 1/,
  });
  t.throws(() => define([upcast('other', { from: 1, to: 2 }, convert)]), {
    message: /does not consume/,
  });
  t.throws(() => define([{}]), { message: /made with upcast/ });
  t.throws(() => define('no'), { message: /must be a list/ });
  t.same(define([toPence]).spec.upcasts, [{ type: 'order.created', from: 1, to: 2 }]);
});

t.test('a step that returns no data says which one', async (t) => {
  const bad = (result: unknown) => [
    upcast('order.created', { from: 1, to: 2 }, () => result as object),
  ];
  for (const result of [undefined, null, 7, []])
    t.throws(() => applyUpcasts(bad(result), 'order.created', 1, {}), {
      name: 'TypeError',
      message: /version 1 to 2 must return/,
    });
  t.throws(() => applyUpcasts(bad(Promise.resolve({})), 'order.created', 1, {}), {
    message: /must not be async/,
  });
});
