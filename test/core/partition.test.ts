import fc from 'fast-check';
import t from 'tap';
import { crc16, partitionOf } from '../../src/core/partition.ts';

/** The definition of the checksum, bit by bit. */
function plain(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++)
      crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return crc;
}

t.test('crc16 has the check value of CRC16/XMODEM', async (t) => {
  t.equal(crc16('123456789'), 0x31c3);
  t.equal(crc16(''), 0);
});

t.test('crc16 equals its definition over the UTF-8 bytes of any subject', async (t) => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary', maxLength: 300 }),
      (s) => crc16(s) === plain(new TextEncoder().encode(s)),
    ),
  );
  const long = 'ü'.repeat(3000);
  t.equal(crc16(long), plain(new TextEncoder().encode(long)));
});

t.test('a partition lies between 0 and P - 1', async () => {
  fc.assert(
    fc.property(fc.string(), fc.integer({ min: 1, max: 1024 }), (s, p) => {
      const partition = partitionOf(s, p);
      return partition >= 0 && partition < p && Number.isInteger(partition);
    }),
  );
});
