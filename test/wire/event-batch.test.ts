import fc from 'fast-check';
import t from 'tap';
import { CorruptDataError } from '../../src/core/errors/data-errors.ts';
import { checkBatch, countEvents, scanBatch, walkBatch } from '../../src/wire/batch-reader.ts';
import { BatchBuilder, encodeEvent, writeEnvelope } from '../../src/wire/batch-writer.ts';
import type { EventHeader } from '../../src/wire/event-header.ts';
import { millrace } from '../../src/wire/generated/millrace.js';
import { decodeParked, encodeParked } from '../../src/wire/parked.ts';
import { PayloadArena } from '../../src/wire/payload-arena.ts';

const { EventBatch, Event } = millrace.v1;
const text = (max: number) => fc.string({ unit: 'grapheme', maxLength: max });
const event = fc.record({
  id: text(200),
  subject: text(200),
  data: fc.uint8Array({ maxLength: 500 }),
  timeMs: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
  source: text(40),
  schema: fc.nat({ max: 2 ** 32 - 1 }),
  position: fc.nat({ max: 65_535 }),
  extensions: fc.option(fc.dictionary(text(20), text(60), { maxKeys: 4 }), { nil: null }),
});

function headers(bytes: Uint8Array): EventHeader[] {
  const out: EventHeader[] = [];
  walkBatch(bytes, (header) => out.push(header));
  return out;
}

t.test(
  'what the builder writes, the generated code reads the same; and so does the cursor',
  async () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 20 }), text(20), (events, source) => {
        const builder = new BatchBuilder(source);
        for (const e of events)
          builder.add({ ...e, dataBuffer: e.data, dataStart: 0, dataEnd: e.data.length });
        const { bytes, count, crc } = builder.finish();
        checkBatch(bytes, crc);
        const oracle = EventBatch.toObject(EventBatch.decode(bytes), {
          longs: Number,
          defaults: true,
          arrays: true,
          objects: true,
        }) as { source: string; events: Record<string, unknown>[] };
        const read = headers(bytes);
        if (
          oracle.events.length !== count ||
          read.length !== count ||
          countEvents(bytes) !== count ||
          scanBatch(bytes) !== count
        )
          return false;
        return events.every((e, i) => {
          const o = oracle.events[i] as Record<string, unknown>;
          const h = read[i] as EventHeader;
          const effective = (o['source'] as string) === '' ? oracle.source : o['source'];
          return (
            o['id'] === e.id &&
            o['subject'] === e.subject &&
            Buffer.compare(Buffer.from(o['data'] as Uint8Array), e.data) === 0 &&
            o['timeMs'] === e.timeMs &&
            o['schema'] === e.schema &&
            o['position'] === e.position &&
            h.id === e.id &&
            h.subject === e.subject &&
            h.timeMs === e.timeMs &&
            h.schema === e.schema &&
            h.position === e.position &&
            h.source === effective &&
            Buffer.compare(bytes.subarray(h.dataOffset, h.dataOffset + h.dataLength), e.data) ===
              0 &&
            JSON.stringify(Object.entries(h.extensions ?? {}).sort()) ===
              JSON.stringify(Object.entries(e.extensions ?? {}).sort())
          );
        });
      }),
    );
  },
);

t.test(
  "an event written by the publisher's way is the one the builder would have written",
  async () => {
    fc.assert(
      fc.property(event, (e) => {
        const arena = new PayloadArena();
        arena.bytes(0x1a, e.data);
        writeEnvelope(arena, e);
        const builder = new BatchBuilder();
        builder.addWritten(arena.buffer, 0, arena.end, e.position);
        const [h] = headers(builder.finish().bytes) as [EventHeader];
        return (
          h.id === e.id &&
          h.subject === e.subject &&
          h.timeMs === e.timeMs &&
          h.source === e.source &&
          h.schema === e.schema &&
          h.position === e.position &&
          h.dataLength === e.data.length
        );
      }),
    );
  },
);

t.test('raw events keep fields nobody knows', async (t) => {
  const known = encodeEvent({
    id: 'a',
    subject: 's',
    dataBuffer: Buffer.alloc(0),
    dataStart: 0,
    dataEnd: 0,
    timeMs: 1,
    source: '',
    schema: 0,
    position: 0,
    extensions: null,
  });
  // field 111, varint 42
  const withUnknown = Buffer.concat([known, Buffer.from([0xf8, 0x06, 0x2a])]);
  const builder = new BatchBuilder();
  builder.addRaw(withUnknown);
  const { bytes } = builder.finish();
  const [h] = headers(bytes) as [EventHeader];
  t.equal(h.id, 'a');
  t.same(bytes.subarray(h.offset, h.offset + h.length), withUnknown);
});

t.test(
  'no bytes make the reader throw anything but CorruptDataError; scan and walk agree',
  async () => {
    const good = fc.array(event, { minLength: 1, maxLength: 4 }).map((events) => {
      const builder = new BatchBuilder('x');
      for (const e of events)
        builder.add({ ...e, dataBuffer: e.data, dataStart: 0, dataEnd: e.data.length });
      return builder.finish().bytes;
    });
    const damaged = fc
      .tuple(good, fc.nat(), fc.nat(7), fc.nat(), fc.boolean())
      .map(([bytes, at, bit, cut, truncate]) => {
        const copy = Buffer.from(bytes);
        copy[at % copy.length] = (copy[at % copy.length] as number) ^ (1 << bit);
        return truncate ? copy.subarray(0, cut % (copy.length + 1)) : copy;
      });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 400 }), damaged), (bytes) => {
        const attempt = (run: () => number): number | null => {
          try {
            return run();
          } catch (error) {
            if (error instanceof CorruptDataError) return null;
            throw error;
          }
        };
        // scan checks a batch before anything runs: a batch that passes must be readable
        const scanned = attempt(() => scanBatch(bytes));
        const walked = attempt(() => headers(bytes).length);
        return scanned === walked;
      }),
      { numRuns: 2000 },
    );
  },
);

t.test('a wrong checksum is noticed', async (t) => {
  const { bytes, crc } = new BatchBuilder('s').finish();
  t.throws(() => checkBatch(bytes, crc ^ 1), { code: 'CORRUPT_DATA', reason: 'checksum' });
  t.doesNotThrow(() => checkBatch(bytes, null));
});

t.test('a parked record survives; garbage is a CorruptDataError', async (t) => {
  const record = {
    event: Buffer.from(Event.encode({ id: 'e', subject: 's' }).finish()),
    type: 'a.b',
    entryId: '1-2',
    index: 3,
    position: 4,
    attempts: 2,
    firstFailedMs: 1_795_450_694_309,
    lastFailedMs: 1_795_450_694_400,
    waitingSinceMs: 1_795_450_694_200,
    history: [{ atMs: 5, attempt: 1, name: 'E', message: 'm' }],
    isolate: true,
    eventId: 'e',
    subject: 's',
  };
  t.same({ ...decodeParked(encodeParked(record)), event: record.event }, record);
  t.same(Buffer.from(decodeParked(encodeParked(record)).event), record.event);
  t.throws(() => decodeParked(Buffer.from([0xff, 0xff])), { code: 'CORRUPT_DATA' });
});
