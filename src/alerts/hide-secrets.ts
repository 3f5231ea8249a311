/**
 * Hides the secrets of a receiver in a text of another program: its answer, or an error of the
 * network. Programs echo a secret in forms of their own: percent-encoded, as JSON, as HTML, one
 * within another, or only a part of it. So the text is decoded in every order, and each decoded
 * character knows its place in the text.
 */
import type { Receiver } from './receiver.ts';

/** Least length of a secret, in characters: shorter texts occur by chance. */
const LEAST_SECRET = 4;
/** Most forms of encoding, one within another. */
const MOST_NESTED = 4;
/** Most readings of one text. */
const MOST_READINGS = 128;
const HIDDEN = '…';

/** A text, decoded some times. */
interface Reading {
  readonly text: string;
  /** Place of each UTF-16 unit in the original text: begin and end. */
  readonly places: readonly (readonly [number, number])[];
}

interface Decoder {
  readonly pattern: RegExp;
  readonly decode: (match: RegExpMatchArray) => string;
}

const HTML_NAMES: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
};
const JSON_NAMES: Readonly<Record<string, string>> = {
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

const DECODERS: readonly Decoder[] = [
  { pattern: /(?:%[0-9a-f]{2})+/gi, decode: ([match]) => bytesOf(match).toString('utf8') },
  { pattern: /(?:%[0-9a-f]{2})+/gi, decode: ([match]) => bytesOf(match).toString('latin1') },
  { pattern: /\+/g, decode: () => ' ' },
  {
    pattern: /&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|(amp|lt|gt|quot|apos));/gi,
    decode: ([match, decimal, hex, name]) =>
      name === undefined
        ? (charOf(decimal === undefined ? parseInt(hex ?? '', 16) : Number(decimal)) ?? match)
        : (HTML_NAMES[name.toLowerCase()] ?? match),
  },
  {
    pattern: /\\(?:u([0-9a-f]{4})|x([0-9a-f]{2})|([^ux]))/gi,
    decode: ([, unit, byte, char = '']) => {
      const hex = unit ?? byte;
      return hex === undefined
        ? (JSON_NAMES[char] ?? char)
        : String.fromCharCode(parseInt(hex, 16));
    },
  },
];

/** The beginning of an escape at the end of a text that was cut. */
const CUT_ESCAPE = /\ufffd*(?:%[0-9a-f]?|&#?[a-z0-9]{0,8}|\\(?:[ux][0-9a-f]{0,3})?)?$/i;

/** @param isCut whether the text may end within a secret */
export function hideSecrets(receiver: Receiver, text: string, isCut: boolean): string {
  const secrets = [...secretForms(receiver)];
  const hidden: [number, number][] = [];
  for (const reading of readingsOf(text)) {
    const found = placesOf(folded(reading.text), secrets, isCut);
    for (const [from, to] of found) {
      const first = reading.places[from];
      const last = reading.places[to - 1];
      if (first && last)
        hidden.push([first[0], to === reading.text.length ? text.length : last[1]]);
    }
  }
  return without(text, hidden);
}

function* placesOf(
  text: string,
  secrets: readonly string[],
  isCut: boolean,
): Generator<readonly [number, number]> {
  const whole = isCut ? text.replace(CUT_ESCAPE, '') : '';
  for (const secret of secrets) {
    for (let at = text.indexOf(secret); at >= 0; at = text.indexOf(secret, at + 1))
      yield [at, at + secret.length];
    const longest = Math.min(secret.length, whole.length);
    for (let length = longest; length >= LEAST_SECRET; length--) {
      if (!whole.endsWith(secret.slice(0, length))) continue;
      yield [whole.length - length, text.length];
      break;
    }
  }
}

function without(text: string, hidden: [number, number][]): string {
  let shown = '';
  let end = 0;
  for (const [from, to] of hidden.sort(([a], [b]) => a - b)) {
    if (from >= end) shown += text.slice(end, from) + HIDDEN;
    end = Math.max(end, to);
  }
  return shown + text.slice(end);
}

// ---------------------------------------------------------------- readings of a text

function readingsOf(text: string): Reading[] {
  const readings: Reading[] = [{ text, places: Array.from(text.split(''), (_, i) => [i, i + 1]) }];
  const seen = new Set([text]);
  let from = 0;
  for (let nested = 0; nested < MOST_NESTED; nested++) {
    const to = readings.length;
    for (const reading of readings.slice(from, to)) {
      for (const decoder of DECODERS) {
        const next = decoded(reading, decoder);
        if (seen.has(next.text) || readings.length >= MOST_READINGS) continue;
        seen.add(next.text);
        readings.push(next);
      }
    }
    from = to;
  }
  return readings;
}

function decoded({ text, places }: Reading, { pattern, decode }: Decoder): Reading {
  let made = '';
  const madePlaces: (readonly [number, number])[] = [];
  let end = 0;
  const keepTo = (to: number): void => {
    made += text.slice(end, to);
    madePlaces.push(...places.slice(end, to));
  };
  for (const match of text.matchAll(pattern)) {
    keepTo(match.index);
    end = match.index + match[0].length;
    const chars = decode(match);
    const place = [places[match.index]?.[0] ?? 0, places[end - 1]?.[1] ?? 0] as const;
    made += chars;
    for (let i = 0; i < chars.length; i++) madePlaces.push(place);
  }
  keepTo(text.length);
  return { text: made, places: madePlaces };
}

function bytesOf(escapes: string): Buffer {
  return Buffer.from(escapes.replaceAll('%', ''), 'hex');
}

function charOf(code: number): string | null {
  return code <= 0x10ffff ? String.fromCodePoint(code) : null;
}

/** Programs change the case of addresses and of headers. Each place must stay, so length too. */
function folded(text: string): string {
  return text.replace(/\p{Lu}/gu, (letter) => {
    const low = letter.toLowerCase();
    return low.length === letter.length ? low : letter;
  });
}

// ---------------------------------------------------------------- secrets of a receiver

/** Returns the parts of the receiver that may be secret, in all their readings. */
function secretForms(receiver: Receiver): Set<string> {
  const forms = new Set<string>();
  for (const secret of secretsOf(receiver)) {
    for (const { text } of readingsOf(secret)) {
      for (const form of [text, text.replace(/\s+/g, ' ').trim()])
        if (form.length >= LEAST_SECRET) forms.add(folded(form));
    }
  }
  return forms;
}

/** Headers whose words occur in every answer, such as `json`. */
const PUBLIC_HEADER = /^(?:accept|content|user-agent)/i;

function secretsOf({ url, routingKey, headers }: Receiver): string[] {
  // The host stays: an error of the network is of no use without it.
  const path = url.replace(/^[a-z]+:\/\/[^/?#\\]*/i, '');
  const secrets = [url, routingKey, path, ...wordsOf(path)];
  for (const [name, value] of Object.entries(headers))
    secrets.push(value, ...(PUBLIC_HEADER.test(name) ? [] : credentialsOf(value)));
  try {
    const { href, pathname, search, hash, username, password } = new URL(url);
    secrets.push(href, pathname, search, hash, username, password);
    for (const part of [pathname, search, hash]) secrets.push(part.slice(1), ...wordsOf(part));
  } catch {
    // The address as a whole is among the secrets.
  }
  return secrets;
}

/** Returns the secrets within a header's value, such as the token behind `Bearer`. */
function credentialsOf(value: string): string[] {
  const [, scheme = '', rest = value] = /^([A-Za-z][\w-]*)\s+(.+)$/s.exec(value) ?? [];
  const secrets = [rest, ...wordsOf(rest)];
  if (scheme.toLowerCase() !== 'basic') return secrets;
  const pair = Buffer.from(rest, 'base64').toString('utf8');
  const colon = pair.indexOf(':');
  return [...secrets, pair, pair.slice(0, Math.max(0, colon)), pair.slice(colon + 1)];
}

function wordsOf(text: string): string[] {
  return text.split(/[\s,;:=&?#/"'@]+/);
}
