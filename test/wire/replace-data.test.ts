import fc from 'fast-check';
import t from 'tap';
import { CorruptDataError } from '../../src/core/errors/data-errors.ts';
import { readEvent } from '../../src/wire/batch-reader.ts';
import { millrace } from '../../src/wire/generated/millrace.js';
import { replaceData } from '../../src/wire/replace-data.ts';

const { Event } = millrace.v1;
/** Field 100, a text that no reader knows. */
const UNKNOWN = Buffer.from([0xa2, 0x06, 0x03, 0x61, 0x62, 0x63]);

t.test('only data and schema change', (t) => {
  const event = fc.record({
    id: fc.string({ maxLength: 20 }),
    subject: fc.string({ maxLength: 20 }),
    source: fc.string({ maxLength: 20 }),
    data: fc.uint8Array({ maxLength: 300 }),
    timeMs: fc.nat(),
    timeNanos: fc.nat(999_999),
    schema: fc.nat(),
    position: fc.nat(1000),
    extensions: fc.dictionary(fc.constantFrom('a', 'b1'), fc.string({ maxLength: 5 })),
  });
  fc.assert(
    fc.property(event, fc.uint8Array({ maxLength: 300 }), fc.nat(), (made, data, schema) => {
      const bytes = Buffer.concat([Event.encode(Event.fromObject(made)).finish(), UNKNOWN]);
      const edited = replaceData(bytes, data, schema);
      const { dataOffset, dataLength, length: _, schema: found, ...header } = readEvent(edited);
      const {
        dataOffset: _at,
        dataLength: _long,
        length: _l,
        schema: _s,
        ...was
      } = readEvent(bytes);
      t.strictSame(header, was);
      t.equal(found, schema);
      t.strictSame(edited.subarray(dataOffset, dataOffset + dataLength), Buffer.from(data));
      t.ok(edited.includes(UNKNOWN), 'an unknown field stays');
      t.strictSame(replaceData(edited, data, schema), edited, 'once more changes nothing');
    }),
  );
  t.end();
});

t.test('bytes that are no event are refused', (t) => {
  t.throws(
    () => replaceData(Buffer.from([0x0a, 0x05, 0x61]), Buffer.alloc(0), 1),
    CorruptDataError,
  );
  t.end();
});
