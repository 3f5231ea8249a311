import fc from 'fast-check';
import t from 'tap';
import { RedisReplyError } from '../../src/core/errors/server-errors.ts';
import { REPLY_MEANINGS, replyCode } from '../../src/core/redis-replies.ts';

const SHA = 'a'.repeat(40);

/**
 * Forms in which servers send an error whose own text is `text`: as a plain reply, and from
 * scripts.
 */
const forms: readonly [string, (text: string, line: number) => string][] = [
  ['plain', (text) => text],
  ['with its dash', (text) => `-${text}`],
  ['7.0 script', (text, line) => `${text} script: ${SHA}, on @user_script:${line}.`],
  [
    '6.2 script, raised by the script engine',
    (text, line) =>
      `ERR Error running script (call to f_${SHA}): @user_script:${line}: @user_script: ${line}: -${text}`,
  ],
  [
    '6.2 script, raised by the command',
    (text, line) => `ERR Error running script (call to f_${SHA}): @user_script:${line}: ${text}`,
  ],
  [
    '6.0 script',
    (text, line) => `ERR Error running script (call to f_${SHA}): @user_script: ${line}: -${text}`,
  ],
  ['6 script, handed on', (text, line) => `@user_script: ${line}: -${text}`],
  ['without a place', (text) => `ERR Error running script (call to f_${SHA}): ${text}`],
];

const codes = [
  ...REPLY_MEANINGS.keys(),
  'NOGROUP',
  'BUSYGROUP',
  'WRONGTYPE',
  'NOSCRIPT',
  'MOVED',
  'ASK',
  'ERR',
  'EXECABORT',
];

t.test('every code is recognised in every form', async (t) => {
  for (const code of codes) {
    for (const [name, form] of forms)
      t.equal(
        replyCode(form(`${code} something about -READONLY and OOM`, 12)),
        code,
        `${code}, ${name}`,
      );
    t.equal(replyCode(code), code, 'alone');
  }
  fc.assert(
    fc.property(
      fc.constantFrom(...codes),
      fc.constantFrom(...forms),
      fc.integer({ min: 0, max: 99_999 }),
      fc.string(),
      (code, [, form], line, text) => replyCode(form(`${code} ${text}`, line)) === code,
    ),
  );
});

t.test(
  'a right that is missing within a script is NOPERM, in the words of every server',
  async (t) => {
    const CALL = `ERR Error running script (call to f_${SHA}): `;
    const [AT_7, PLACE_6] = [
      ` script: ${SHA}, on @user_script:5.`,
      '@user_script:5: @user_script: 5: ',
    ];
    const inner = [
      "The user executing the script can't run this command or subcommand",
      "The user executing the script can't access at least one of the keys mentioned in the command arguments",
      "The user executing the script can't publish to the channel mentioned in the command",
      'The user executing the script is lacking the permissions for the command',
      "ACL failure in script: User app has no permissions to run the 'xack' command",
      "ACL failure in script: User app has no permissions to access the 'k' key",
    ];
    const replies = inner.flatMap((text) => [
      // Redis 6: raised, and handed on by a script that has caught it.
      `${CALL}${PLACE_6}${text}`,
      `${CALL}@user_script: 5: ${text}`,
      `@user_script: 5: ${text}`,
      `-@user_script: 5: ${text}`,
      // Redis 7 and 8, Valkey: raised, and handed on.
      `ERR ${text}${AT_7}`,
      `-ERR ${text}${AT_7}`,
      `ERR ${text}`,
      text,
    ]);
    replies.push(
      "NOPERM this user has no permissions to run the 'evalsha' command or its subcommand",
      "NOPERM User app has no permissions to run the 'xack' command",
      `NOPERM User app has no permissions to run the 'xack' command${AT_7}`,
      `${CALL}${PLACE_6}-NOPERM this user has no permissions to run the 'xack' command`,
      'NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason: no permission to execute the command or subcommand',
    );
    for (const reply of replies) t.equal(replyCode(reply), 'NOPERM', reply);
    for (const text of ['it says: The user executing the script can’t', 'ERR ACL failure'])
      t.equal(replyCode(text), 'ERR', text);
  },
);

t.test('words that are no code are ERR, wherever they stand', async (t) => {
  const texts = [
    '',
    'unknown command',
    'Script attempted to access a non local key',
    'it says: -OOM command not allowed',
    `ERR Error running script (call to f_${SHA}): @user_script:1: attempt to index a nil value (READONLY)`,
    `ERR Error running script (call to f_${SHA}): @enable_strict_lua:8: user_script:1: Script attempted to access nonexistent global variable 'OOM'`,
    'ERR READONLY is what somebody wrote behind ERR',
  ];
  for (const text of texts) t.equal(replyCode(text), 'ERR', text);
});

t.test('what follows from a code', async (t) => {
  const table: readonly [string, { retryable: boolean; refuses: string; reconnect: boolean }][] = [
    ['READONLY', { retryable: true, refuses: 'writes', reconnect: true }],
    ['LOADING', { retryable: true, refuses: 'everything', reconnect: true }],
    ['MASTERDOWN', { retryable: true, refuses: 'everything', reconnect: true }],
    ['CLUSTERDOWN', { retryable: true, refuses: 'everything', reconnect: true }],
    ['UNBLOCKED', { retryable: true, refuses: 'everything', reconnect: true }],
    ['NOAUTH', { retryable: true, refuses: 'everything', reconnect: true }],
    ['WRONGPASS', { retryable: true, refuses: 'everything', reconnect: true }],
    ['MISCONF', { retryable: true, refuses: 'writes', reconnect: false }],
    ['OOM', { retryable: true, refuses: 'writes', reconnect: false }],
    ['NOREPLICAS', { retryable: true, refuses: 'writes', reconnect: false }],
    ['BUSY', { retryable: true, refuses: 'everything', reconnect: false }],
    ['TRYAGAIN', { retryable: true, refuses: 'call', reconnect: false }],
    ['NOPERM', { retryable: false, refuses: 'call', reconnect: false }],
    ['WRONGTYPE', { retryable: false, refuses: 'call', reconnect: false }],
    ['ERR', { retryable: false, refuses: 'call', reconnect: false }],
  ];
  t.same(
    [...REPLY_MEANINGS.keys()].filter((code) => !table.some(([c]) => c === code)),
    [],
    'each is in this table',
  );
  for (const [code, meaning] of table) {
    for (const [name, form] of forms) {
      const error = new RedisReplyError('commit.lua', form(`${code} text`, 3));
      t.match(error, { reply: code, ...meaning, outcomeUnknown: false }, `${code}, ${name}`);
      t.match(error.message, /^Redis refused commit\.lua: /);
    }
  }
});
