import fc from 'fast-check';
import t from 'tap';
import { decodeFrame, encodeFrame } from '../../src/registry/confluent-frame.ts';

const PAYLOAD = Buffer.from([8, 1]);
const hex = (messageIndexes?: number[]): string =>
  encodeFrame({
    schema: 0x01020304,
    payload: PAYLOAD,
    ...(messageIndexes ? { messageIndexes } : {}),
  }).toString('hex');

t.test('the golden vectors of the message indexes', async (t) => {
  t.equal(hex([0]), '0001020304' + '00' + '0801');
  t.equal(hex(), hex([0]), 'the default');
  t.equal(hex([1]), '0001020304' + '0202' + '0801');
  t.equal(hex([1, 0]), '0001020304' + '040200' + '0801');
  t.equal(hex([64]), '0001020304' + '028001' + '0801', 'two bytes from 64 on: zig-zag doubles');
  t.same(
    decodeFrame(Buffer.from('0001020304' + '0200' + '0801', 'hex')).messageIndexes,
    [0],
    'the long form of [0] is read too',
  );
});

t.test('what is encoded is decoded', async () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 0xffffffff }),
      fc.array(fc.integer({ min: 0, max: 0x3fffffff }), { minLength: 1, maxLength: 100 }),
      fc.uint8Array({ maxLength: 40 }),
      (schema, messageIndexes, payload) => {
        const frame = decodeFrame(encodeFrame({ schema, messageIndexes, payload }));
        return (
          frame.schema === schema &&
          JSON.stringify(frame.messageIndexes) === JSON.stringify(messageIndexes) &&
          Buffer.compare(frame.payload, payload) === 0
        );
      },
    ),
  );
});

t.test('garbage is a CorruptDataError, bad input is refused', async (t) => {
  for (const bytes of [
    '',
    '00',
    '0000000001',
    '010000000100',
    '000000000101',
    '0000000001ffffffffff00',
    '000000000104' + '02',
    '0000000001' + '9003',
  ]) {
    t.throws(() => decodeFrame(Buffer.from(bytes, 'hex')), { code: 'CORRUPT_DATA' }, bytes);
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 30 }), (bytes) => {
      try {
        decodeFrame(bytes);
        return true;
      } catch (error) {
        return (error as { code?: string }).code === 'CORRUPT_DATA';
      }
    }),
  );
  t.throws(() => encodeFrame({ schema: -1, payload: PAYLOAD }), { code: 'OVERSIZE' });
  t.throws(() => encodeFrame({ schema: 2 ** 32, payload: PAYLOAD }), { code: 'OVERSIZE' });
  t.throws(() => encodeFrame({ schema: 1, messageIndexes: [-1], payload: PAYLOAD }), {
    code: 'OVERSIZE',
  });
  t.throws(
    () =>
      encodeFrame({
        schema: 1,
        messageIndexes: Array.from({ length: 101 }, () => 0),
        payload: PAYLOAD,
      }),
    { code: 'OVERSIZE' },
  );
});
