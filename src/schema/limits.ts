/**
 * Limits of a schema, checked before anything else. A schema is input from strangers. Parsers of
 * .proto text have been made to run code by names and defaults, and to exhaust stack or memory by
 * nesting and size.
 */
import { MillraceError } from '../core/errors/millrace-error.ts';
import type { SchemaFile } from './model.ts';

export const SCHEMA_LIMITS = {
  files: 200,
  /** Characters of all files together. */
  characters: 2 * 1024 * 1024,
  /** Depth of nested braces. */
  depth: 32,
  messages: 2_000,
  /** Fields, enum values and reservations together. */
  members: 20_000,
  /** Characters of a name between dots. */
  name: 255,
  /** Time for one schema, in ms. */
  parseMs: 5_000,
  /** Heap of the thread that parses the schema, MB. */
  heapMb: 128,
} as const;

/** Characters of a refusal. A longer quotation of the schema is cut off. */
const MESSAGE = 1000;

/**
 * The text is no schema, or a schema that is not accepted. The message names the place, the reason
 * and the limit. Nothing was registered.
 */
export class InvalidSchemaError extends MillraceError {
  readonly code = 'INVALID_SCHEMA';
  constructor(message: string, options?: ErrorOptions) {
    super(message.length > MESSAGE ? `${message.slice(0, MESSAGE)} …` : message, options);
  }
}

/**
 * Names with a meaning for JavaScript objects. They are harmless in other languages, and refused
 * here.
 */
const UNSAFE = new Set([
  '__proto__',
  'prototype',
  'constructor',
  '__defineGetter__',
  '__defineSetter__',
  '__lookupGetter__',
  '__lookupSetter__',
  'hasOwnProperty',
  'isPrototypeOf',
  'propertyIsEnumerable',
  'toLocaleString',
  'toString',
  'valueOf',
]);
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** @throws InvalidSchemaError */
export function checkName(name: string, where: string): void {
  if (!NAME.test(name))
    throw new InvalidSchemaError(
      `${where}: ${JSON.stringify(name.slice(0, 80))} is no name: letters, digits and underscores`,
    );
  if (name.length > SCHEMA_LIMITS.name)
    throw new InvalidSchemaError(
      `${where}: a name of ${name.length} characters; the limit is ${SCHEMA_LIMITS.name}`,
    );
  if (UNSAFE.has(name))
    throw new InvalidSchemaError(
      `${where}: the name ${name} is not accepted, because it means something to JavaScript; rename it`,
    );
}

/**
 * Checks the text alone, without parsing it.
 * @throws InvalidSchemaError
 */
export function checkSchemaText(files: readonly SchemaFile[]): void {
  if (files.length === 0) throw new InvalidSchemaError('it has no file');
  if (files.length > SCHEMA_LIMITS.files)
    throw new InvalidSchemaError(`${files.length} files; the limit is ${SCHEMA_LIMITS.files}`);
  const characters = files.reduce((sum, file) => sum + file.text.length, 0);
  if (characters > SCHEMA_LIMITS.characters)
    throw new InvalidSchemaError(
      `${characters} characters; the limit is ${SCHEMA_LIMITS.characters}`,
    );
  for (const { name, text } of files) {
    if (text.includes('\0'))
      throw new InvalidSchemaError(
        `${name}: a NUL character: .proto text is expected, no compiled descriptor`,
      );
    let depth = 0;
    let line = 1;
    for (const { kind, text: token } of tokens(text)) {
      if (kind === 'lines') line += token.length;
      else if (token === '{') {
        if (++depth > SCHEMA_LIMITS.depth)
          throw new InvalidSchemaError(
            `${name}, line ${line}: nested deeper than ${SCHEMA_LIMITS.depth} levels`,
          );
      } else if (token === '}') depth--;
      else if (kind === 'word') {
        for (const part of token.split('.'))
          if (UNSAFE.has(part))
            throw new InvalidSchemaError(
              `${name}, line ${line}: the name ${part} is not accepted, because it means something to JavaScript; rename it`,
            );
      }
    }
  }
}

/**
 * Yields braces, words and line ends outside strings and comments. That is enough to bound the
 * nesting and to find the names.
 */
function* tokens(text: string): Generator<{ kind: 'brace' | 'word' | 'lines'; text: string }> {
  const pattern =
    /\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|"(?:[^"\\\n]|\\[\s\S])*"?|'(?:[^'\\\n]|\\[\s\S])*'?|[{}]|[A-Za-z_][\w.]*|\n/g;
  for (const [token] of text.matchAll(pattern)) {
    if (token === '{' || token === '}') yield { kind: 'brace', text: token };
    else if (/^[A-Za-z_]/.test(token)) yield { kind: 'word', text: token };
    else {
      const lines = token.split('\n').length - 1;
      if (lines > 0) yield { kind: 'lines', text: '\n'.repeat(lines) };
    }
  }
}
