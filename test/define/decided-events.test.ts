import t from 'tap';
import {
  checkOptions,
  APPEND_EVENT,
  EMIT_OPTIONS,
  PUBLISH_ITEM,
} from '../../src/core/known-options.ts';
import { decidedEvents } from '../../src/define/decided-events.ts';
import type { NewEvent } from '../../src/define/define-aggregate.ts';

const event = { type: 'test.event', data: {} } as unknown as NewEvent<string>;

void t.test('what decide returns: events, or an error that says what it did', async (t) => {
  t.strictSame(decidedEvents('c', event), [event]);
  t.strictSame(decidedEvents('c', []), []);
  for (const [decided, said] of [
    [Promise.resolve([event]), /returned a Promise.*must not wait/],
    [Promise.reject(new Error('x')), /returned a Promise/],
    [undefined, /returned undefined/],
    [null, /returned null/],
    [[event, undefined], /no event \(number 2\)/],
    ['test.event', /no event/],
    [[[event]], /no event/],
    [{ data: {} }, /no event/],
  ] as [NewEvent<string>, RegExp][])
    t.throws(() => decidedEvents('c', decided), { code: 'DECISION', category: 'c', message: said });
});

void t.test('options that nobody reads are refused, with the one that was meant', async (t) => {
  for (const [options, known, name, meant] of [
    [{ type: 'x', data: {}, delay: 5000 }, PUBLISH_ITEM, 'delay', /./],
    [{ type: 'x', data: {}, delayMS: 5 }, PUBLISH_ITEM, 'delayMS', /did you mean "delayMs"/],
    [{ Subject: 's' }, EMIT_OPTIONS, 'Subject', /did you mean "subject"/],
    [{ source: 's' }, EMIT_OPTIONS, 'source', /./],
    [{ type: 'x', subject: 's' }, APPEND_EVENT, 'subject', /./],
  ] as const)
    t.throws(() => checkOptions('x', options, known), {
      code: 'INVALID_EVENT',
      path: name,
      message: meant,
    });
  checkOptions(
    'x',
    {
      type: 'x',
      data: 1,
      id: 'a',
      subject: 's',
      source: 'b',
      time: 1,
      extensions: {},
      delayMs: 5,
      deliverAt: undefined,
      extra: undefined,
    },
    PUBLISH_ITEM,
  );
});
