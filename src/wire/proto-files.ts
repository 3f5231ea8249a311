/**
 * Parses .proto files into one protobufjs root, for the catalog and for the registry. Custom
 * options of other tools are left out. Google's files that protobufjs ships are added.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import protobuf from 'protobufjs';
import { BUNDLED, readBundled } from './bundled-protos.ts';
import { stripOptions, type Extension, type UnknownOption } from './proto-text.ts';

/** Google's files that are read where a file imports them and no copy is given. */
const GOOGLES = new Set(
  ['descriptor', 'type', 'source_context', 'api'].map((name) => `google/protobuf/${name}.proto`),
);
/** Files that declare options only. */
const OPTIONS_ONLY = /^google\/protobuf\/\w+_(?:features|options)\.proto$/;

/** Messages that carry no data, whoever extends them. */
const OPTIONS = /^google\.protobuf\.\w+Options$/;

export interface FoundExtension extends Extension {
  readonly file: string;
}

export interface ExtendedMessage {
  readonly extension: FoundExtension;
  /** Full name of the message. */
  readonly of: string;
}

export class ProtoFiles {
  readonly root = new protobuf.Root();
  readonly extensions: FoundExtension[] = [];
  /** Options with names of Millrace's own that it does not have. */
  readonly unknown: (UnknownOption & { readonly file: string })[] = [];
  readonly #keepCase: boolean;
  readonly #known: Set<string>;

  /**
   * @param names names of the files that will be added
   * @param keepCase true: fields are named as in the text; false: as in `data` (camelCase)
   */
  constructor(names: readonly string[], keepCase: boolean) {
    this.#keepCase = keepCase;
    this.#known = new Set<string>([...BUNDLED, ...names]);
    // options.proto is not parsed: its options are read from the parsed text of the users' files.
    for (const name of BUNDLED)
      if (!name.endsWith('options.proto')) this.#parse(name, readBundled(name));
  }

  /**
   * Adds a file.
   * @returns the files that it imports
   * @throws Error with the parser's message, which has the file and the line
   */
  add(name: string, text: string): readonly string[] {
    const parsed = this.#parse(name, text);
    return [...(parsed.imports ?? []), ...(parsed.weakImports ?? [])];
  }

  /**
   * Adds an imported file, where it is missing.
   * @returns false for an unknown file
   */
  load(path: string): boolean {
    if (this.#known.has(path) || OPTIONS_ONLY.test(path)) return true;
    const common = protobuf.common.get(path);
    if (!common && !GOOGLES.has(path)) return false;
    this.#known.add(path);
    if (common)
      this.root.addJSON(this.#keepCase ? (common.nested ?? {}) : camelCased(common.nested ?? {}));
    else {
      const text = readFileSync(
        createRequire(import.meta.url).resolve(`protobufjs/${path}`),
        'utf8',
      );
      for (const more of this.add(path, text)) this.load(more);
    }
    return true;
  }

  /**
   * Returns the extensions of messages other than descriptor options. Where events carry such a
   * message, their data could carry the extensions.
   */
  extended(): ExtendedMessage[] {
    return this.extensions.flatMap((extension) => {
      const of = candidates(extension).find((name) => this.#isMessage(name));
      return of === undefined || OPTIONS.test(of) ? [] : [{ extension, of }];
    });
  }

  /** Returns the extended messages that a message contains, directly or not. */
  carried(message: protobuf.Type): ExtendedMessage[] {
    const extended = this.extended();
    if (extended.length === 0) return [];
    const reached = new Set<string>();
    const walk = ({ fullName, fieldsArray }: protobuf.Type): void => {
      if (reached.has(fullName)) return;
      reached.add(fullName);
      for (const { resolvedType } of fieldsArray)
        if (resolvedType instanceof protobuf.Type) walk(resolvedType);
    };
    walk(message);
    return extended.filter(({ of }) => reached.has(`.${of}`));
  }

  /** Returns extensions whose target is no message: most likely a misspelt name. */
  dangling(): FoundExtension[] {
    return this.extensions.filter(
      (extension) =>
        !candidates(extension).some((name) => OPTIONS.test(name) || this.#isMessage(name)),
    );
  }

  #isMessage(name: string): boolean {
    return this.root.lookup(`.${name}`) instanceof protobuf.Type;
  }

  /** Parses one file into the root. Its messages know the file by name from then on. */
  #parse(name: string, text: string): protobuf.IParserResult {
    const stripped = stripOptions(text);
    this.extensions.push(...stripped.extensions.map((extension) => ({ ...extension, file: name })));
    this.unknown.push(...stripped.unknown.map((option) => ({ ...option, file: name })));
    // protobufjs reads the name from this global, which its types leave out
    const parse = protobuf.parse as typeof protobuf.parse & { filename: string | null };
    parse.filename = name;
    try {
      return parse(stripped.text, this.root, { keepCase: this.#keepCase });
    } finally {
      parse.filename = null;
    }
  }
}

/**
 * Renames fields to camelCase. protobufjs names `type_url` of Any as the .proto file does; all
 * other fields are camelCase already.
 */
function camelCased(
  nested: Readonly<Record<string, protobuf.AnyNestedObject>>,
): Record<string, protobuf.AnyNestedObject> {
  const renamed = (one: protobuf.AnyNestedObject): protobuf.AnyNestedObject => {
    const { fields, nested: inner } = one as protobuf.IType;
    const named = Object.entries(fields ?? {}).map(([name, field]) => [
      protobuf.util.camelCase(name),
      field,
    ]);
    return {
      ...one,
      ...(fields ? { fields: Object.fromEntries(named) } : {}),
      ...(inner ? { nested: camelCased(inner) } : {}),
    };
  };
  return Object.fromEntries(Object.entries(nested).map(([name, one]) => [name, renamed(one)]));
}

/** Describes the reason for which an extended message is not supported. */
export function describeExtended({
  extension: { file, line, fields },
  of,
}: ExtendedMessage): string {
  const names =
    fields.length === 1 ? `field ${fields[0] as string}` : `fields ${fields.join(', ')}`;
  return (
    `${file}, line ${line} extends ${of} with ${names}: extensions of messages that events carry are not supported. ` +
    `Declare the ${fields.length === 1 ? 'field' : 'fields'} in ${of}`
  );
}

/** Returns the full names that a reference may mean, the innermost first. */
function candidates({ of, scope }: Extension): string[] {
  if (of.startsWith('.')) return [of.slice(1)];
  const parts = scope === '' ? [] : scope.split('.');
  return [...parts.map((_, i) => [...parts.slice(0, parts.length - i), of].join('.')), of];
}
