/**
 * Partition of a subject: `crc16(subject) mod P`. The checksum is CRC16/XMODEM (polynomial 0x1021,
 * initial 0) over the subject's UTF-8 bytes. Redis Cluster uses the same checksum for key slots, so
 * every Redis client has an implementation:
 * https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#appendix
 */

/** The method is looked up once, not for every character: see wire/payload-arena.ts. */
const { charCodeAt } = String.prototype as unknown as {
  readonly charCodeAt: (this: string, at: number) => number;
};

const TABLE = new Uint16Array(256);
for (let i = 0; i < 256; i++) {
  let crc = i << 8;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  TABLE[i] = crc & 0xffff;
}

const scratch = new Uint8Array(4096);
const encoder = new TextEncoder();

export function crc16(text: string): number {
  const { length } = text;
  let crc = 0;
  let i = 0;
  // ASCII needs no copy. Nearly every subject is ASCII.
  for (; i < length; i++) {
    const c = charCodeAt.call(text, i);
    if (c > 127) break;
    crc = ((crc << 8) & 0xffff) ^ (TABLE[((crc >> 8) ^ c) & 0xff] as number);
  }
  if (i === length) return crc;
  const bytes =
    length * 3 <= scratch.length
      ? scratch.subarray(0, encoder.encodeInto(text, scratch).written)
      : encoder.encode(text);
  crc = 0;
  for (const byte of bytes)
    crc = ((crc << 8) & 0xffff) ^ (TABLE[((crc >> 8) ^ byte) & 0xff] as number);
  return crc;
}

/**
 * Returns the subject's partition, from 0.
 * @param partitions P, 1 … 1024
 */
export function partitionOf(subject: string, partitions: number): number {
  return crc16(subject) % partitions;
}
