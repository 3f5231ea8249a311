/**
 * The canonical form of a .proto text: the same whatever its comments, spaces and the order of
 * fields, another one as soon as anything else differs. Messages stay in their order, nested ones
 * too, because message indexes count them.
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
  /** Messages; of an enum its values: the first one is the default. */
  readonly ordered: readonly Statement[];
  /** A repeated one may have several values. */
  readonly options: readonly Statement[];
  readonly sorted: readonly Statement[];
}

function* words(text: string): Generator<string, undefined> {
  for (const token of tokensOf(text)) yield token.text;
}

/** Up to the brace that closes it. */
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
    // Braces within an option's value are a part of it.
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

/** `message`, `enum`, also behind `export` and `local`; else the first word. */
function kindOf(statement: Statement): unknown {
  return statement[0] === 'export' || statement[0] === 'local' ? statement[1] : statement[0];
}
