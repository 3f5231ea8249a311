/**
 * The framing of Confluent's serializers, for producers and consumers on both sides of a bridge to
 * Kafka. A frame is the magic byte 0, the schema's id in four bytes (big endian), and the payload.
 * For Protobuf the path to the message within its file stands before the payload.
 *
 * The path (message indexes) is a list of zig-zag varints: their number, then each index. [0], the
 * first message, is the one byte 00. Readers also take 02 00 for it.
 */
import { CorruptDataError } from '../core/errors/data-errors.ts';
import { OversizeError } from '../core/errors/input-errors.ts';

export interface ConfluentFrame {
  /** Id of the schema in the registry. */
  readonly schema: number;
  /** Path to the message. `[1, 0]`: the first message within the file's second one. */
  readonly messageIndexes: readonly number[];
  /** The encoded message. The result of decodeFrame is a view of the frame's bytes. */
  readonly payload: Uint8Array;
}

const MAGIC = 0;
const HEADER = 5;
const FIRST: readonly number[] = [0];
/** Limit of the path's length. Messages nest, but never so deep. */
const MAX_INDEXES = 100;

/** @throws OversizeError for an id beyond 32 bits, more than 100 indexes, or an invalid index */
export function encodeFrame(frame: {
  readonly schema: number;
  readonly messageIndexes?: readonly number[];
  readonly payload: Uint8Array;
}): Buffer {
  const { schema, messageIndexes = FIRST, payload } = frame;
  whole('the schema id of a frame', schema, 0xffffffff);
  whole('the list of message indexes of a frame', messageIndexes.length, MAX_INDEXES);
  for (const index of messageIndexes) whole('a message index of a frame', index, 0x3fffffff);
  const path =
    messageIndexes.length === 1 && messageIndexes[0] === 0
      ? [0]
      : [messageIndexes.length, ...messageIndexes].flatMap(zigZag);
  const bytes = Buffer.allocUnsafe(HEADER + path.length + payload.length);
  bytes[0] = MAGIC;
  bytes.writeUInt32BE(schema, 1);
  bytes.set(path, HEADER);
  bytes.set(payload, HEADER + path.length);
  return bytes;
}

/** @throws CorruptDataError('decode') if the bytes are no frame */
export function decodeFrame(bytes: Uint8Array): ConfluentFrame {
  if (bytes.length < HEADER + 1) fail(`${bytes.length} bytes are too few`);
  if (bytes[0] !== MAGIC) fail(`it starts with ${String(bytes[0])}, not with the magic byte 0`);
  const schema = new DataView(bytes.buffer, bytes.byteOffset).getUint32(1);
  let at = HEADER;
  const next = (): number => {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      if (at >= bytes.length) fail('its message indexes are cut off');
      const byte = bytes[at++] as number;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : fail(`a message index is negative`);
    }
    return fail('a message index of more than five bytes');
  };
  const count = next();
  if (count > MAX_INDEXES) fail(`${count} message indexes, the limit is ${MAX_INDEXES}`);
  const messageIndexes = count === 0 ? FIRST : Array.from({ length: count }, next);
  return { schema, messageIndexes, payload: bytes.subarray(at) };
}

function zigZag(value: number): number[] {
  const bytes: number[] = [];
  let rest = value * 2;
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  bytes.push(rest);
  return bytes;
}

function whole(what: string, value: number, max: number): void {
  if (!Number.isInteger(value) || value < 0 || value > max)
    throw new OversizeError(what, value, max, '(a whole number from 0 is needed)');
}

function fail(what: string): never {
  throw new CorruptDataError('decode', `not a frame of Confluent's wire format: ${what}`);
}
