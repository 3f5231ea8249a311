/**
 * The other implementation: @bufbuild/protobuf, on descriptors that the real buf compiled from the
 * same text.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import {
  create,
  createFileRegistry,
  fromBinary,
  toBinary,
  type DescField,
  type DescMessage,
  type Message,
} from '@bufbuild/protobuf';
import {
  reflect,
  reflectMap,
  type ReflectList,
  type ReflectMap,
  type ReflectMessage,
} from '@bufbuild/protobuf/reflect';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';

export type Data = Readonly<Record<string, unknown>>;

/** A 64-bit integer that no JavaScript number holds. Millrace refuses it. */
export class BeyondError extends Error {}

/** 3: legacy required, 2: implicit. */
const IMPLICIT = 2;

/**
 * Returns the messages by full name.
 * @param root path of the project
 */
export function compileOracle(
  files: readonly { readonly name: string; readonly text: string }[],
  root: string,
): (name: string) => DescMessage {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-differential-'));
  try {
    const own = ['millrace/v1/options.proto', 'millrace/v1/batch.proto'].map((name) => ({
      name,
      text: readFileSync(join(root, 'proto', name), 'utf8'),
    }));
    for (const { name, text } of [...files, ...own]) {
      mkdirSync(dirname(join(dir, name)), { recursive: true });
      writeFileSync(join(dir, name), text);
    }
    // This is the binary itself: the script in .bin starts a Node.
    const binary = join(
      root,
      `node_modules/@bufbuild/buf-${process.platform}-${process.arch}/bin/buf`,
    );
    const buf = existsSync(binary) ? binary : join(root, 'node_modules/.bin/buf');
    execFileSync(buf, ['build', dir, '-o', join(dir, 'set.binpb')], {
      timeout: 120_000,
      env: { ...process.env, HOME: dir },
    });
    const registry = createFileRegistry(
      fromBinary(FileDescriptorSetSchema, readFileSync(join(dir, 'set.binpb'))),
    );
    return (name) => {
      const found = registry.getMessage(name);
      if (!found) throw new Error(`the schema has no message ${name}`);
      return found;
    };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/**
 * Reads bytes into the form that Millrace gives.
 * @throws BeyondError, and the library's errors on invalid bytes
 */
export function readByOracle(desc: DescMessage, bytes: Uint8Array): Data {
  return plainOf(reflect(desc, fromBinary(desc, bytes)));
}

export function writeByOracle(desc: DescMessage, data: Data): Uint8Array {
  return toBinary(desc, messageOf(desc, data));
}

function plainOf(message: ReflectMessage): Data {
  const out: Record<string, unknown> = {};
  for (const field of message.desc.fields) {
    const value = message.get(field);
    switch (field.fieldKind) {
      case 'list':
        out[field.localName] = [...(value as ReflectList)].map(plainValue);
        break;
      case 'map':
        // The prototype is null: a key __proto__ is an ordinary key.
        out[field.localName] = Object.fromEntries(
          [...(value as ReflectMap)].map(([key, one]) => [
            String(plainValue(key)),
            plainValue(one),
          ]),
        );
        break;
      default: {
        const nullable =
          field.fieldKind === 'message' ||
          field.oneof !== undefined ||
          Number(field.presence) !== IMPLICIT;
        out[field.localName] = nullable && !message.isSet(field) ? null : plainValue(value);
      }
    }
  }
  return out;
}

function plainValue(value: unknown): unknown {
  if (typeof value === 'bigint') {
    if (!Number.isSafeInteger(Number(value))) throw new BeyondError(`${value}`);
    return Number(value);
  }
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  return typeof value === 'object' && value !== null ? plainOf(value as ReflectMessage) : value;
}

function messageOf(desc: DescMessage, data: Data): Message {
  const message = reflect(desc, create(desc));
  for (const field of desc.fields) {
    const value = data[field.localName];
    if (value === undefined || value === null) continue;
    if (field.fieldKind === 'list')
      for (const one of value as unknown[])
        (message.get(field) as ReflectList).add(valueOf(field, one));
    else if (field.fieldKind === 'map') {
      const map = reflectMap(field);
      for (const [key, one] of Object.entries(value))
        map.set(keyOf(field, key), valueOf(field, one));
      message.set(field, map);
    } else message.set(field, valueOf(field, value));
  }
  return message.message;
}

const WIDE = /64$/;

/** @param type number of the type in descriptor.proto */
function isWide(type: number | undefined): boolean {
  return type !== undefined && WIDE.test(SCALAR_NAMES[type] ?? '');
}

export const SCALAR_NAMES: Readonly<Record<number, string>> = {
  1: 'double',
  2: 'float',
  3: 'int64',
  4: 'uint64',
  5: 'int32',
  6: 'fixed64',
  7: 'fixed32',
  8: 'bool',
  9: 'string',
  12: 'bytes',
  13: 'uint32',
  15: 'sfixed32',
  16: 'sfixed64',
  17: 'sint32',
  18: 'sint64',
};

function keyOf(
  field: DescField & { readonly fieldKind: 'map' },
  key: string,
): string | number | bigint | boolean {
  const type = SCALAR_NAMES[field.mapKey] as string;
  return type === 'string'
    ? key
    : type === 'bool'
      ? key === 'true'
      : WIDE.test(type)
        ? BigInt(key)
        : Number(key);
}

function valueOf(field: DescField, value: unknown): unknown {
  if (field.message) return reflect(field.message, messageOf(field.message, value as Data));
  return isWide(field.scalar) ? BigInt(value as number) : value;
}

/** Returns Millrace's data with bytes as text, for comparing. */
export function comparable(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map(comparable);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, comparable(one)]));
}
