/** The registry is lost while a thread's question about a schema is open. */
import t from 'tap';
import type { LocalSchema } from '../../src/core/schema-id.ts';
import type { ChannelMessage, SchemaAnswer } from '../../src/core/thread-protocol.ts';
import { upcast } from '../../src/define/index.ts';
import { PayloadWays, type Reader } from '../../src/thread/payload-ways.ts';
import { SchemaQuestions } from '../../src/thread/schema-questions.ts';
import { createCatalog } from '../../src/wire/catalog.ts';
import { order } from '../registry/open-registry.ts';

const TYPE = 'order.created';
const WRITER = 7;

function openThread() {
  const asked: Extract<ChannelMessage, { kind: 'schema?' }>[] = [];
  const questions = new SchemaQuestions({
    postMessage: (message) => void asked.push(message as (typeof asked)[number]),
  });
  const schemas = new Map<string, LocalSchema>([[TYPE, { id: 8, version: 2 }]]);
  const catalog = createCatalog(order('int32 pence = 3;').files);
  const ways = new PayloadWays(catalog, schemas, questions.ask);
  const reader: Reader = {
    spec: { name: 'f' },
    upcasts: [upcast(TYPE, { from: 1, to: 2 }, (data) => data)],
  };
  return { asked, questions, schemas, wayOf: () => ways.wayOf(reader, TYPE, WRITER) };
}

const usedAs = (version: number): SchemaAnswer => ({
  id: WRITER,
  message: 'shop.v1.OrderCreated',
  uses: [{ subject: TYPE, version }],
  files: order('int32 pounds = 2;').files,
});

t.test('an open question is asked again after a loss, and its answer is not kept', async (t) => {
  const { asked, questions, schemas, wayOf } = openThread();
  const before = wayOf();
  schemas.set(TYPE, { id: 8, version: 2, lost: 1 });
  const after = wayOf();
  t.same(
    asked.map(({ key, lost }) => [key, lost]),
    [
      ['id:7', 0],
      ['id:7', 1],
    ],
  );

  questions.answered({ key: 'id:7', lost: 0 }, usedAs(2));
  questions.answered({ key: 'id:7', lost: 1 }, usedAs(1));
  await new Promise(setImmediate);
  t.same(
    asked.slice(2).map(({ key, lost }) => [key, lost]),
    [
      ['text:7', 1],
      ['id:7', 1],
    ],
  );
  questions.answered({ key: 'id:7', lost: 1 }, usedAs(1));
  questions.answered({ key: 'text:7', lost: 1 }, usedAs(1));
  t.match(await before, { kind: 'upcast' }, 'the way is looked for again');
  t.match(await after, { kind: 'upcast' });
  t.match(await wayOf(), { kind: 'upcast' });
});
