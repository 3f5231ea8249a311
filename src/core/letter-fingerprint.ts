/**
 * Fingerprints of dead letters. Letters with the same fingerprint died of the same fault, as far as
 * the error tells, and form a group.
 *
 * A fingerprint is the hash of these parts:
 *
 * - the function, the event type, and the id of the event's schema; 0 where none is known
 * - the error's name
 * - the class of its message: see messageClass()
 * - the top frames of its stack: see topFrames()
 *
 * The rule is part of the data in Redis. A changed rule makes new groups, and leaves the old ones
 * to the letters that are there.
 */
import { createHash } from 'node:crypto';
import { isOwnPlace, readFrames } from './own-frame.ts';
import { cut } from './well-formed.ts';

/** Facts that a fingerprint is made of. */
export interface LetterFault {
  readonly fn: string;
  readonly type: string;
  /** Id of the event's schema. 0: none is known. */
  readonly schema: number;
  readonly error: { readonly name: string; readonly message: string; readonly stack: string };
}

/** Description of a group, for people. */
export interface GroupAbout {
  readonly name: string;
  /** Class of the message. */
  readonly message: string;
  readonly frames: readonly string[];
  readonly type: string;
  /** Id of the schema. 0: none is known. */
  readonly schema: number;
}

export interface LetterGroupKey {
  readonly fingerprint: string;
  /** GroupAbout as JSON, some hundred bytes. */
  readonly about: string;
}

/** Characters of a fingerprint: 48 bits in hexadecimal. */
const FINGERPRINT_LENGTH = 12;
export const FINGERPRINT_PATTERN = /^[0-9a-f]{12}$/;

const FRAMES = 3;
/** Most characters of a message that are looked at, and of each text of a description. */
const MOST = { message: 500, class: 200, name: 100, frame: 120, type: 200 } as const;

export function groupKeyOf({ fn, type, schema, error }: LetterFault): LetterGroupKey {
  const about: GroupAbout = {
    name: cut(error.name, MOST.name),
    message: messageClass(error.message),
    frames: knownFrames(error.stack),
    type: cut(type, MOST.type),
    schema,
  };
  const text = JSON.stringify(about);
  const hash = createHash('sha256').update(fn).update('\0').update(text);
  return { fingerprint: hash.digest('hex').slice(0, FINGERPRINT_LENGTH), about: text };
}

/**
 * Parts of a message that differ from event to event, and numbers that do not. The first pattern
 * that fits wins:
 *
 * 1. a status or a code behind its word: kept (`HTTP 503`, `code 23505`)
 * 2. the property of V8's own messages: kept (`reading 'total'`)
 * 3. URLs and mail addresses
 * 4. paths: their last name is kept
 * 5. quoted texts
 * 6. words with a digit: ids, numbers, dates
 */
const VARIABLE = new RegExp(
  [
    /(?<kept>\b(?:HTTP(?:\/[\d.]+)?|status(?: code)?|code|errno)[ :=]{1,3}\d{1,5}\b|\b(?:reading|setting) '[\w$]{1,60}')/,
    /(?<url>\b[a-z][a-z0-9+.-]{1,15}:\/\/[^\s"'`<>]+)/,
    /(?<mail>[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+)/,
    /(?<path>(?<!\w)(?:[A-Za-z]:)?(?:[\\/][\w.@+~-]+){2,}(?::\d+){0,2})/,
    /(?<quoted>"[^"]*"|(?<!\w)'[^']*'|`[^`]*`)/,
    /(?<word>[\w-]*\d[\w-]*)/,
  ]
    .map(({ source }) => source)
    .join('|'),
  'g',
);

/**
 * Returns the class of an error's message: its first line, without the parts that differ from event
 * to event.
 *
 * - `no product "A-17" in 3 tries` -> `no product "…" in # tries`
 * - `connect ECONNREFUSED 10.0.0.7:5432` -> `connect ECONNREFUSED #`
 * - `HTTP 503 from https://shop/orders/7` -> `HTTP 503 from <url>`
 */
export function messageClass(message: string): string {
  const line = cut(message.trimStart(), MOST.message).split(/[\r\n]/, 1)[0] ?? '';
  const plain = line.replace(VARIABLE, (found: string, ...rest: unknown[]) => {
    const { kept, url, mail, path, quoted } = rest.at(-1) as Record<string, string | undefined>;
    if (kept !== undefined) return found;
    if (url !== undefined) return '<url>';
    if (mail !== undefined) return '<mail>';
    if (path !== undefined) return lastName(path);
    if (quoted !== undefined) return `${found[0]}…${found[0]}`;
    return '#';
  });
  const joined = plain.replace(/#(?:[.,:/-]?#)+/g, '#').replace(/\s+/g, ' ');
  return cut(joined.trim(), MOST.class);
}

/** Returns the last name of a path, without line and column: `/tmp/u/4711.png:3` -> `#.png`. */
function lastName(path: string): string {
  const name = path.replace(/(?::\d+)+$/, '').replace(/^.*[\\/]/, '');
  return name.replace(/[\w-]*\d[\w-]*/g, '#');
}

/** Frames by the text of the stack behind the message. Events of one fault share it. */
const framesKept = new Map<string, readonly string[]>();
const KEPT = 100;

function knownFrames(stack: string): readonly string[] {
  const text = stack.slice(Math.max(0, stack.search(/^[ \t]+at /m)));
  let frames = framesKept.get(text);
  if (frames === undefined) {
    frames = topFrames(text);
    if (framesKept.size >= KEPT) framesKept.clear();
    framesKept.set(text, frames);
  }
  return frames;
}

/**
 * Returns the top frames of a stack as `function (folder/file)`: those of the user's own code where
 * there are any, else all. Lines and columns are left out, and so are the folders above: they
 * differ between versions and machines.
 */
export function topFrames(stack: string): readonly string[] {
  const frames = readFrames(stack);
  const own = frames.filter(({ place }) => isOwnPlace(place));
  const top = (own.length > 0 ? own : frames).slice(0, FRAMES);
  return top.map(({ name, place }) => {
    const file = fileOf(place);
    return cut(name === '' ? file : `${name} (${file})`, MOST.frame);
  });
}

const PACKAGES = '/node_modules/';

/** `/srv/app/functions/hello.ts:3:7` -> `functions/hello.ts`; of a package: behind node_modules. */
function fileOf(place: string): string {
  const path = place.replace(/:\d+:\d+$/, '').replaceAll('\\', '/');
  const packages = path.lastIndexOf(PACKAGES);
  if (packages >= 0) return path.slice(packages + PACKAGES.length);
  return path.split('/').slice(-2).join('/');
}
