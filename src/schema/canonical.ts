/**
 * The canonical form of a .proto text. Comments, spaces and the order of fields do not change it;
 * any other difference does. Messages keep their order, nested ones too, because message indexes
 * count them.
 */
import { createHash } from 'node:crypto';
import { tokensOf } from '../wire/proto-text.ts';

/** SHA-256 of the canonical form, in hex. */
export function canonicalHash(text: string): string {
  return createHash('sha256')
    .update(JSON.stringify(readBlock(words(text), false)))
    .digest('hex');
}

type Statement = readonly (string | Block)[];
interface Block {
  /**
   * Statements whose order counts: messages; of an enum its values, because the first one is the
   * default.
   */
  readonly ordered: readonly Statement[];
  /** Options, sorted. A repeated option may have several values. */
  readonly options: readonly Statement[];
  readonly sorted: readonly Statement[];
}

function* words(text: string): Generator<string, undefined> {
  for (const token of tokensOf(text)) yield token.text;
}

/** Reads up to the closing brace of the block. */
function readBlock(tokens: Generator<string, undefined>, inOrder: boolean): Block {
  const ordered: Statement[] = [];
  const options: Statement[] = [];
  const others: (readonly [key: string, statement: Statement])[] = [];
  for (
    let first = tokens.next().value;
    first !== undefined && first !== '}';
    first = tokens.next().value
  ) {
    if (first === ';') continue;
    const statement = readStatement(first, tokens);
    if (first === 'option') options.push(statement);
    else if (inOrder || kindOf(statement) === 'message') ordered.push(statement);
    else others.push([JSON.stringify(statement), statement]);
  }
  others.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return { ordered, options, sorted: others.map(([, statement]) => statement) };
}

function readStatement(first: string, tokens: Generator<string, undefined>): Statement {
  const statement: (string | Block)[] = [];
  let depth = 0;
  for (let token: string | undefined = first; token !== undefined; token = tokens.next().value) {
    if (depth === 0 && token === ';') break;
    // Braces within an option's value are part of that value.
    if (depth === 0 && token === '{' && first !== 'option') {
      statement.push(readBlock(tokens, kindOf(statement) === 'enum'));
      break;
    }
    if (token === '{' || token === '[') depth++;
    else if (token === '}' || token === ']') depth--;
    statement.push(token);
  }
  return statement;
}

/**
 * The kind of a statement: `message` or `enum`, also behind `export` and `local`; else its first
 * word.
 */
function kindOf(statement: Statement): unknown {
  return statement[0] === 'export' || statement[0] === 'local' ? statement[1] : statement[0];
}
