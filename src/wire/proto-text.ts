/**
 * Strips .proto text of parts without data: custom options, and `extend` blocks.
 *
 * Options are for other tools (validation, HTTP mappings, access rules). Their values may be
 * anything in the text format, which protobufjs does not read in full. Their declarations extend
 * descriptor.proto. So both are removed before the text is parsed; line numbers stay. Extensions of
 * other messages do carry data: the caller is told of them.
 */

/** An `extend` block. */
export interface Extension {
  /** Extended message as written: `google.protobuf.FieldOptions`, `.shop.v1.Order`, `Order`. */
  readonly of: string;
  /**
   * Scope of the block: package and enclosing messages, `shop.v1.Order`; '' at the top of a file
   * without a package.
   */
  readonly scope: string;
  readonly fields: readonly string[];
  readonly line: number;
}

/** A custom option whose name begins with `millrace`, and that Millrace does not have. */
export interface UnknownOption {
  readonly name: string;
  readonly line: number;
}

export interface StrippedText {
  readonly text: string;
  readonly extensions: readonly Extension[];
  readonly unknown: readonly UnknownOption[];
}

interface Token {
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

/** The custom options that Millrace reads. */
export const OWN_OPTIONS = ['millrace.v1.event', 'millrace.v1.masked'] as const;
/** Beginning of a name that is meant for Millrace, also where blanks cut the name. */
const OWN_PREFIX = /^\.?millrace(?:\.|$)/;

/** Strips a text. An unfinished end stays as it is: the parser reports the missing part. */
export function stripOptions(text: string): StrippedText {
  return new Stripper(text).run();
}

/** Pattern of tokens. A comment or a string is one token; comments are left out. */
const TOKEN =
  /\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|"(?:[^"\\\n]|\\[\s\S])*"?|'(?:[^'\\\n]|\\[\s\S])*'?|[\w.]+|[^\s]/g;
const OPENS = '{[(<';
const CLOSES = '}])>';

/** Tokens of a text, in order, without blanks and comments. */
export function* tokensOf(text: string): Generator<Token, undefined> {
  for (const match of text.matchAll(TOKEN)) {
    const [token] = match;
    if (token.startsWith('//') || token.startsWith('/*')) continue;
    yield { text: token, start: match.index, end: match.index + token.length };
  }
}

class Stripper {
  readonly #text: string;
  readonly #tokens: Generator<Token, undefined>;
  readonly #cuts: [start: number, end: number][] = [];
  readonly #extensions: Extension[] = [];
  readonly #unknown: UnknownOption[] = [];
  /** Scopes of the open blocks; '' for a block that is no scope. */
  readonly #scope: string[] = [];
  #package = '';
  /** Token that was put back. */
  #waiting: Token | undefined;

  constructor(text: string) {
    this.#text = text;
    this.#tokens = tokensOf(text);
  }

  run(): StrippedText {
    for (let token = this.#next(); token; token = this.#next()) {
      if (token.text === '}') this.#scope.pop();
      else if (token.text === 'option') this.#option(token);
      else if (token.text === 'extend') this.#extend(token);
      else if (token.text !== ';') this.#statement(token);
    }
    return { text: this.#withoutCuts(), extensions: this.#extensions, unknown: this.#unknown };
  }

  #next(): Token | undefined {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    return waiting ?? this.#tokens.next().value;
  }

  /** Reads `option (name).more = value;` */
  #option(first: Token): void {
    let token = this.#next();
    const named = token?.text === '(';
    if (named) token = this.#next();
    const custom = named && this.#isForeign(token);
    let depth = named ? 1 : 0;
    for (let before = token; (token = this.#next()); before = token) {
      if (depth === 0 && token.text === ';') break;
      // Some texts have no semicolon behind an aggregate.
      if (depth === 0 && before?.text === '}') {
        this.#waiting = token;
        token = before;
        break;
      }
      depth += depthOf(token);
      if (depth < 0) return;
    }
    if (custom && token) this.#cuts.push([first.start, token.end]);
  }

  /** Whether the option is for another tool. A misspelt name of Millrace's own is noted. */
  #isForeign(name: Token | undefined): boolean {
    const text = name?.text.replace(/^\./, '');
    if ((OWN_OPTIONS as readonly (string | undefined)[]).includes(text)) return false;
    if (name && OWN_PREFIX.test(name.text))
      this.#unknown.push({ name: name.text, line: this.#lineOf(name) });
    return true;
  }

  #lineOf({ start }: Token): number {
    return this.#text.slice(0, start).split('\n').length;
  }

  #extend(first: Token): void {
    let of = '';
    let token = this.#next();
    for (; token && /^[\w.]+$/.test(token.text); token = this.#next()) of += token.text;
    if (token?.text !== '{') {
      this.#waiting = token;
      return;
    }
    const fields: string[] = [];
    let depth = 1;
    for (let before = token; depth > 0; before = token) {
      token = this.#next();
      if (!token) return;
      if (depth === 1 && token.text === '=') fields.push(before.text);
      // Angle brackets enclose aggregates here, and the types of maps.
      depth += depthOf(token);
    }
    if (!token) return;
    this.#cuts.push([first.start, token.end]);
    const scope = [this.#package, ...this.#scope].filter((name) => name !== '').join('.');
    this.#extensions.push({
      of,
      scope,
      fields,
      line: this.#lineOf(first),
    });
  }

  /** Reads up to the statement's semicolon, or to the brace that opens its block. */
  #statement(first: Token): void {
    const words: string[] = [];
    for (let token: Token | undefined = first; token; token = this.#next()) {
      if (token.text === ';') break;
      if (token.text === '}') {
        this.#waiting = token;
        return;
      }
      if (token.text === '{') {
        this.#scope.push(scopeName(words));
        return;
      }
      if (token.text === '[') this.#options(token, first.text === 'extensions');
      else if (words.length < 8) words.push(token.text);
    }
    if (words[0] === 'package') this.#package = words.slice(1).join('');
  }

  /** Reads `[a = 1, (b) = { … }]` behind a field, an enum value or an extension range. */
  #options(open: Token, all: boolean): void {
    const cuts: [number, number][] = [];
    let kept = 0;
    let comma: Token | null = null;
    for (let token = this.#next(); token;) {
      const { start } = token;
      let end = start;
      const named: boolean = token.text === '(';
      if (named) token = this.#next();
      const custom = all || (named && this.#isForeign(token));
      for (
        let depth = named ? 1 : 0;
        token && (depth > 0 || (token.text !== ',' && token.text !== ']'));
        token = this.#next()
      ) {
        depth += depthOf(token);
        end = token.end;
      }
      if (!token) return;
      if (custom) cuts.push([start, end]);
      if (comma && (custom || kept === 0)) cuts.push([comma.start, comma.end]);
      if (!custom) kept++;
      if (token.text === ']') {
        if (kept > 0) this.#cuts.push(...cuts);
        else this.#cuts.push([open.start, token.end]);
        return;
      }
      comma = token;
      token = this.#next();
    }
  }

  #withoutCuts(): string {
    if (this.#cuts.length === 0) return this.#text;
    let out = '';
    let at = 0;
    for (const [start, end] of this.#cuts.sort((a, b) => a[0] - b[0])) {
      out += this.#text.slice(at, start) + this.#text.slice(start, end).replace(/[^\n]/g, ' ');
      at = end;
    }
    return out + this.#text.slice(at);
  }
}

function depthOf({ text }: Token): number {
  return text.length > 1 ? 0 : OPENS.includes(text) ? 1 : CLOSES.includes(text) ? -1 : 0;
}

/**
 * Returns the scope that a statement such as `message Order` or `export message Order` opens; '':
 * none.
 */
function scopeName(words: readonly string[]): string {
  const at = words.indexOf('message');
  return at === 0 || (at === 1 && /^(export|local)$/.test(words[0] as string))
    ? (words[at + 1] ?? '')
    : '';
}
