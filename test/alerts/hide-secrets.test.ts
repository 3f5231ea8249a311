/** No form of a receiver's secret stays in a text of another program, whatever its characters. */
import fc from 'fast-check';
import t from 'tap';
import { ALERT_SEVERITIES } from '../../src/alerts/alert-rule.ts';
import { hideSecrets } from '../../src/alerts/hide-secrets.ts';
import type { Receiver } from '../../src/alerts/receiver.ts';

/** Letters that occur in no message of ours. */
const PARTS = ['zqxj', 'Jxqz', 'xz7j', 'qqzw'] as const;

const BARE: Receiver = {
  name: 'hook',
  type: 'webhook',
  url: 'https://hooks.example/in',
  routingKey: '',
  headers: {},
  severities: ALERT_SEVERITIES,
  explain: true,
};

const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** A user name of basic authentication and a part of a path have not all characters. */
const plain = (text: string): string => text.replace(/[/?#\\:]/g, '_');

/** Places of a secret in a receiver. */
const PLACES: readonly ((secret: string) => Partial<Receiver>)[] = [
  (s) => ({ routingKey: s }),
  (s) => ({ headers: { authorization: `Bearer ${s}` } }),
  (s) => ({ headers: { 'x-api-key': s } }),
  (s) => ({ headers: { authorization: `GenieKey ${s}` } }),
  (s) => ({ headers: { authorization: `Basic ${base64(`me:${s}`)}` } }),
  (s) => ({ url: `https://hooks.example/in/${encodeURIComponent(s)}/now` }),
  (s) => ({ url: `https://hooks.example/in?token=${encodeURIComponent(s)}&a=b` }),
  (s) => ({ url: `https://hooks.example/in?${encodeURIComponent(s)}` }),
  (s) => ({ url: `https://hooks.example/in#${encodeURIComponent(s)}` }),
  (s) => ({ url: `https://me:${encodeURIComponent(s)}@hooks.example/in` }),
  (s) => ({ headers: { authorization: `Basic ${base64(`${s}:x`)}` } }),
  (s) => ({ url: `https://hooks.example/in/${s}` }),
];
/** The last places take plain secrets only. */
const PLAIN_FROM = PLACES.length - 2;

const eachChar = (form: (code: number, char: string) => string) => (text: string) =>
  Array.from(text, (char) => form(char.codePointAt(0) as number, char)).join('');
const hex = (value: number, digits = 0): string => value.toString(16).padStart(digits, '0');

/** Forms in which programs echo a text. Each turns a part of the text into a part of the form. */
const FORMS: readonly ((text: string) => string)[] = [
  (s) => s,
  (s) => s.replace(/[A-Z]/g, (letter) => letter.toLowerCase()),
  (s) => encodeURIComponent(s),
  (s) => encodeURIComponent(s).replace(/%../g, (escape) => escape.toLowerCase()),
  (s) => encodeURI(s),
  (s) => encodeURIComponent(s).replaceAll('%20', '+'),
  eachChar((_, char) => `%${Buffer.from(char).toString('hex').match(/../g)?.join('%')}`),
  (s) => JSON.stringify(s).slice(1, -1),
  (s) => JSON.stringify(s).slice(1, -1).replaceAll('/', '\\/'),
  (s) => s.replace(/[^a-z0-9]/gi, (unit) => `\\u${hex(unit.charCodeAt(0), 4)}`),
  (s) => s.replace(/['"\\]/g, '\\$&'),
  (s) =>
    s
      .replaceAll('&', '&amp;')
      .replaceAll('<', '&lt;')
      .replaceAll('>', '&gt;')
      .replaceAll('"', '&quot;')
      .replaceAll("'", '&#39;'),
  (s) => s.replace(/[^a-z0-9]/giu, (char) => `&#x${hex(char.codePointAt(0) as number)};`),
  eachChar((code) => `&#${code};`),
];

const joint = fc.oneof(
  fc.constantFrom('', ' ', '  ', '/', '+', '%', '%2', '%25', '&', '&amp;', '"', "'", '\\', '\\u'),
  fc.constantFrom('<', '>', '=', ':', ';', '?', '#', '@', '.', '-', '$&', '\\"', '&#3', 'é', '🙂'),
  fc.string({ maxLength: 4, unit: 'grapheme' }),
);
const secret = fc
  .tuple(joint, joint, joint)
  .map(([a, b, c]) => `${PARTS[0]}${a}${PARTS[1]}${b}${PARTS[2]}${c}${PARTS[3]}`);
const noise = fc.oneof(
  fc.string({ maxLength: 8, unit: 'grapheme' }),
  fc.constantFrom('', '%', '&', '\\', 'no: ', '{"error":"', '\\u00', '&#', '%4'),
);

/** Fails where a part of the secret, in this form, is in the text. */
function mustHide(shown: string, form: (text: string) => string, cause: unknown): void {
  const low = shown.toLowerCase();
  for (const part of PARTS)
    if (low.includes(form(part).toLowerCase()))
      throw new Error(`${JSON.stringify(shown)} shows ${part}: ${JSON.stringify(cause)}`);
}

t.test('no form of a secret stays, wherever the receiver has it', async () => {
  fc.assert(
    fc.property(
      secret,
      fc.constantFrom(...PLACES),
      fc.constantFrom(...FORMS),
      fc.constantFrom(...FORMS),
      fc.tuple(noise, noise),
      (any, place, inner, outer, [before, after]) => {
        const text = PLACES.indexOf(place) < PLAIN_FROM ? any : plain(any);
        const receiver = { ...BARE, ...place(text) };
        const form = (one: string): string => outer(inner(one));
        const answer = `${before}${form(text)}${after}`;
        mustHide(hideSecrets(receiver, answer, false), form, { receiver, answer });
      },
    ),
    { numRuns: 5000 },
  );
});

t.test('no beginning of a secret stays at the end of an answer that was cut', async () => {
  fc.assert(
    fc.property(
      secret,
      fc.constantFrom(...PLACES.slice(0, 4)),
      fc.constantFrom(...FORMS),
      fc.nat({ max: 200 }),
      (text, place, form, at) => {
        const receiver = { ...BARE, ...place(text) };
        const answer = `no: ${form(text)}`.slice(0, 4 + at);
        mustHide(hideSecrets(receiver, answer, true), form, { receiver, answer });
      },
    ),
    { numRuns: 2000 },
  );
});

t.test('the rest of the answer stays', async (t) => {
  const receiver: Receiver = {
    ...BARE,
    url: 'https://hooks.example/services/T0KEN0/xyz',
    routingKey: 'a$b&c',
    headers: { authorization: 'Bearer t0k3n-1', 'content-type': 'application/json' },
  };
  const rows: [string, string][] = [
    ['the token t0k3n-1 has expired', 'the token … has expired'],
    ['invalid Bearer token', 'invalid Bearer token'],
    ['{"error":"no JSON"}', '{"error":"no JSON"}'],
    ['key "a$b&amp;c" is unknown, and a$b too', 'key "…" is unknown, and a$b too'],
    ['/services/T0KEN0/xyz: 100% + &amp; \\n', '…: 100% + &amp; \\n'],
    ['getaddrinfo ENOTFOUND hooks.example', 'getaddrinfo ENOTFOUND hooks.example'],
    ['T0KEN0T0KEN0 T0KEN0', '…… …'],
  ];
  for (const [answer, shown] of rows) t.equal(hideSecrets(receiver, answer, false), shown);
  t.equal(hideSecrets(receiver, 'no t0k3', false), 'no t0k3', 'an answer that is whole');
});
