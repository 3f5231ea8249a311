/** The pure half of alerts: the language of rules, their file, and their evaluation. */
import t from 'tap';
import fc from 'fast-check';
import { readAlertRecord, type AlertRecord } from '../../src/alerts/alert-record.ts';
import type { AlertRule } from '../../src/alerts/alert-rule.ts';
import { BUILT_IN_RULES } from '../../src/alerts/built-in-rules.ts';
import {
  evaluateRules,
  FORGET_RESOLVED_MS,
  MOST_ALERTS,
  MOST_ALERTS_OF_RULE,
  type Evaluated,
  type EvaluationState,
} from '../../src/alerts/evaluate-rules.ts';
import { ExpressionError, matchesOf, parseExpression } from '../../src/alerts/expression.ts';
import type { FigureName, Readings, FigureSample } from '../../src/alerts/figures.ts';
import { MOST_SERIES, NO_HISTORY, packHistory, unpackHistory } from '../../src/alerts/history.ts';
import { readingsOf, type ReadingsOptions } from '../../src/alerts/readings.ts';
import { AlertRulesError, parseAlertSettings } from '../../src/alerts/rules-file.ts';
import type { Measured } from '../../src/alerts/measured.ts';
import type { StateLag, TypeLag } from '../../src/lag/lag.ts';

const START_MS = 1_800_000_000_000;

function ruleOf(expression: string, more: Partial<AlertRule> = {}): AlertRule {
  return {
    name: 'r',
    expression: parseExpression(expression),
    forMs: 0,
    severity: 'warning',
    labels: {},
    summary: 's',
    runbook: '',
    ...more,
  };
}

function readings(
  samples: Partial<Record<FigureName, readonly FigureSample[]>>,
  unread: readonly FigureName[] = [],
): Readings {
  return {
    samples: new Map(Object.entries(samples) as [FigureName, readonly FigureSample[]][]),
    unread: new Set(unread),
  };
}

const lagOf = (values: Readonly<Record<string, number>>): Readings =>
  readings({
    lag_events: Object.entries(values).map(([fn, value]) => ({ labels: { function: fn }, value })),
  });

const EMPTY: EvaluationState = { alerts: new Map(), history: NO_HISTORY };

function evaluate(
  rules: readonly AlertRule[],
  now: Readings,
  nowMs: number,
  state: EvaluationState = EMPTY,
): Evaluated {
  return evaluateRules({
    rules,
    readings: now,
    state,
    nowMs,
    deployment: 'd',
    labels: { env: 'x' },
  });
}

t.test('expressions choose series', async (t) => {
  const samples: Partial<Record<FigureName, readonly FigureSample[]>> = {
    lag_events: [
      { labels: { function: 'a' }, value: 5 },
      { labels: { function: 'b' }, value: 50 },
    ],
    backlog_ratio: [
      { labels: { function: 'a', type: 't' }, value: 0.95 },
      { labels: { function: 'b', type: 't' }, value: 0.5 },
    ],
    oldest_event_seconds: [{ labels: { function: 'a' }, value: 61 }],
    redis_writes_refused: [{ labels: {}, value: 1 }],
  };
  const rows: [string, string[]][] = [
    ['lag_events > 5', ['b']],
    ['lag_events >= 5', ['a', 'b']],
    ['lag_events < 50', ['a']],
    ['lag_events <= 50', ['a', 'b']],
    ['lag_events == 5', ['a']],
    ['lag_events != 5', ['b']],
    ['millrace_lag_events > 5', ['b']],
    ['lag_events{function="a"} > 0', ['a']],
    ['lag_events{function!="a"}>0', ['b']],
    ['lag_events{function="a",function="b"} > 0', []],
    ['oldest_event_seconds > 1m', ['a']],
    ['oldest_event_seconds > 61000ms', []],
    ['backlog_ratio > 90%', ['a']],
    ['lag_events > 1 and backlog_ratio > 0.9', ['a']],
    ['lag_events > 1 and redis_writes_refused > 0', ['a', 'b']],
    ['lag_events > 1 and parked_events > 0', []],
    ['parked_events > 0', []],
    ['lag_events > -1', ['a', 'b']],
  ];
  for (const [text, wanted] of rows) {
    const found = matchesOf(parseExpression(text), ({ figure }) => samples[figure] ?? []);
    t.strictSame(
      found.map(({ labels }) => labels['function']),
      wanted,
      text,
    );
  }
});

t.test('a wrong expression is told with its column and cure', async (t) => {
  const rows: [string, number, RegExp][] = [
    [
      'lag_event > 5',
      1,
      /no such figure \(did you mean "lag_events"\?\); there are appended_events/,
    ],
    ['lag_events', 11, /expected one of > >= < <= == !=, found the end/],
    ['lag_events >', 13, /expected a number, found the end/],
    ['lag_events > x', 14, /expected a number, found "x"/],
    ['lag_events > 5x', 14, /cannot read "5x"/],
    ['lag_events > 5 or lag_events > 6', 16, /expected "and" or the end, found "or"/],
    ['lag_events{fn="a"} > 5', 12, /lag_events has the labels function/],
    ['redis_writes_refused{a="b"} > 0', 22, /has no labels/],
    ['lag_events{function=~"a"} > 5', 21, /cannot read "~/],
    ['lag_events{function=a} > 5', 21, /a text in double quotes/],
    ['lag_events{function="a" > 5', 25, /expected "}"/],
    ['increase(lag_events) > 5', 20, /expected "\["/],
    ['delta(lag_events[1s]) > 5', 18, /expected a time from 10 s to 86400 s/],
    ['delta(lag_events[50%]) > 5', 18, /expected a time/],
    ['rate(lag_events[1m]) > 5', 1, /there is no such figure/],
    ['', 1, /expected a figure, found the end/],
    ['__proto__ > 1', 1, /there is no such figure/],
    [`lag_events > ${'1'.repeat(1000)}`, 1, /longer than 1000 letters/],
    [
      Array.from({ length: 9 }, () => 'lag_events > 1').join(' and '),
      149,
      /expected "and" or the end/,
    ],
  ];
  for (const [text, column, problem] of rows) {
    try {
      parseExpression(text);
      t.fail(`${text} was read`);
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      t.equal(error.column, column, text);
      t.match(error.problem, problem, text);
    }
  }
});

t.test('no text breaks the parser', async () => {
  const pieces = fc.constantFrom(
    ...'lag_events conserved increase delta ( ) [ ] { } , = != > >= 5 5m 90% "a" function and'.split(
      ' ',
    ),
  );
  const texts = fc.oneof(
    fc.string(),
    fc.array(pieces).map((some) => some.join(' ')),
  );
  fc.assert(
    fc.property(texts, (text) => {
      try {
        parseExpression(text);
      } catch (error) {
        if (!(error instanceof ExpressionError)) throw error;
      }
    }),
  );
});

t.test('an alert is pending, fires, ends, and is forgotten once all are told', async (t) => {
  const rules = [ruleOf('lag_events > 10', { forMs: 1000, labels: { team: 'x' } })];
  let last = evaluate(rules, lagOf({ a: 11 }), START_MS);
  const alert = (): AlertRecord | undefined => [...last.state.alerts.values()][0];
  t.match(alert(), {
    state: 'pending',
    value: 11,
    labels: { alertname: 'r', severity: 'warning', function: 'a', team: 'x', env: 'x' },
  });
  last = evaluate(rules, lagOf({ a: 12 }), START_MS + 999, last.state);
  t.equal(last.fired.length, 0);
  last = evaluate(rules, lagOf({ a: 13 }), START_MS + 1000, last.state);
  t.match(last.fired, [
    { state: 'firing', value: 13, pendingMs: START_MS, firedMs: START_MS + 1000 },
  ]);
  last = evaluate(rules, lagOf({ a: 14 }), START_MS + 2000, last.state);
  t.strictSame([last.fired, last.resolved], [[], []], 'it goes on without another change');
  const fingerprint = alert()?.fingerprint as string;
  const told = {
    ...(alert() as AlertRecord),
    told: { hook: { status: 'firing', atMs: 1 } as const },
  };
  last = { ...last, state: { ...last.state, alerts: new Map([[fingerprint, told]]) } };
  last = evaluate(rules, lagOf({ a: 1 }), START_MS + 3000, last.state);
  t.match(last.resolved, [{ fingerprint, state: 'resolved', resolvedMs: START_MS + 3000 }]);
  last = evaluate(rules, lagOf({ a: 1 }), START_MS + 4000, last.state);
  t.match(alert(), { state: 'resolved', resolvedMs: START_MS + 3000 }, 'a receiver is to be told');
  const late = START_MS + 3000 + FORGET_RESOLVED_MS;
  t.equal(evaluate(rules, lagOf({ a: 1 }), late, last.state).state.alerts.size, 0, 'after a day');
  const again = evaluate(rules, lagOf({ a: 99 }), START_MS + 5000, last.state);
  t.match([...again.state.alerts.values()], [{ state: 'pending', pendingMs: START_MS + 5000 }]);
  const all = {
    ...(alert() as AlertRecord),
    told: { hook: { status: 'resolved', atMs: 2 } as const },
  };
  const done = { ...last.state, alerts: new Map([[fingerprint, all]]) };
  t.equal(evaluate(rules, lagOf({ a: 1 }), START_MS + 5000, done).state.alerts.size, 0);
});

t.test(
  'a rule that is gone ends its alerts; an unread figure leaves them as they are',
  async (t) => {
    const rules = [ruleOf('lag_events > 10')];
    const { state } = evaluate(rules, lagOf({ a: 11 }), START_MS);
    const unread = evaluate(rules, readings({}, ['lag_events']), START_MS + 1, state);
    t.strictSame([...unread.state.alerts], [...state.alerts]);
    t.strictSame([unread.fired, unread.resolved], [[], []]);
    t.match(evaluate([], lagOf({ a: 11 }), START_MS + 1, state).resolved, [{ name: 'r' }]);
    t.match(evaluate(rules, readings({}), START_MS + 1, state).resolved, [{ name: 'r' }]);
  },
);

t.test('alerts are bounded, and a bound ends none that holds', async (t) => {
  const many = Object.fromEntries(Array.from({ length: 150 }, (_, i) => [`f${i}`, 11]));
  const rules = Array.from({ length: 8 }, (_, i) => ruleOf('lag_events > 10', { name: `r${i}` }));
  const first = evaluate(rules, lagOf(many), START_MS);
  t.equal(first.state.alerts.size, MOST_ALERTS);
  t.equal(first.dropped, 8 * 150 - MOST_ALERTS);
  const ofRule = [...first.state.alerts.values()].filter(({ name }) => name === 'r0');
  t.equal(ofRule.length, MOST_ALERTS_OF_RULE);
  const more = {
    ...Object.fromEntries(Array.from({ length: 150 }, (_, i) => [`g${i}`, 11])),
    ...many,
  };
  const second = evaluate(rules, lagOf(more), START_MS + 1, first.state);
  t.strictSame([second.fired, second.resolved], [[], []]);
  const wide = Object.fromEntries(Array.from({ length: 1200 }, (_, i) => [`f${i}`, i]));
  const growing = evaluate([ruleOf('delta(lag_events[1m]) > 0')], lagOf(wide), START_MS);
  const series = [...growing.state.history.values()].reduce((sum, of) => sum + of.size, 0);
  t.equal(series, MOST_SERIES);
});

t.test('changes within a window', async (t) => {
  const rules = [
    ruleOf('increase(lag_events[60s]) > 8', { name: 'increase' }),
    ruleOf('delta(lag_events[60s]) > 8', { name: 'delta' }),
  ];
  const rows: [number, number, string[]][] = [
    [0, 100, []],
    [10, 105, []],
    [20, 101, []],
    [30, 106, ['increase']],
    [40, 109, ['delta', 'increase']],
    [80, 109, []],
    [200, 109, []],
  ];
  let state = EMPTY;
  for (const [second, value, wanted] of rows) {
    ({ state } = evaluate(rules, lagOf({ a: value }), START_MS + second * 1000, state));
    // A restart in between changes nothing.
    state = {
      ...state,
      history: unpackHistory(JSON.parse(JSON.stringify(packHistory(state.history)))) ?? NO_HISTORY,
    };
    const firing = [...state.alerts.values()].filter((alert) => alert.state === 'firing');
    t.strictSame(firing.map(({ name }) => name).sort(), wanted, `after ${second} s`);
  }
  const points = state.history.get('lag_events')?.values().next().value;
  t.ok((points?.length ?? 99) <= 13, 'the values of a series are bounded');
  t.equal(unpackHistory('junk'), null);
});

t.test('a counter that began within the window counts from 0', async (t) => {
  const rules = [ruleOf('increase(dead_events[60s]) > 0')];
  const dead = (values: Readonly<Record<string, number>>): Readings =>
    readings({
      dead_events: Object.entries(values).map(([fn, value]) => ({
        labels: { function: fn },
        value,
      })),
    });
  const look = (
    now: Readings,
    nowMs: number,
    createdMs: number,
    state: EvaluationState = EMPTY,
  ): string[] & { state: EvaluationState } => {
    const evaluated = evaluateRules({
      rules,
      readings: now,
      state,
      nowMs,
      createdMs,
      deployment: 'd',
      labels: {},
    });
    const names = [...evaluated.state.alerts.values()]
      .filter((alert) => alert.state === 'firing')
      .map((alert) => `${alert.labels['function']} ${alert.value}`);
    return Object.assign(names, { state: evaluated.state });
  };
  const fired = look(dead({ a: 3 }), START_MS, START_MS - 59_000);
  t.strictSame([...fired], ['a 3'], 'the deployment is younger than the window');
  t.strictSame([...look(dead({ a: 3 }), START_MS, START_MS - 61_000)], [], 'an older one');
  t.strictSame([...look(dead({ a: 3 }), START_MS, 0)], [], 'its age is not known');
  const later = look(dead({ a: 3 }), START_MS + 90_000, START_MS - 59_000, fired.state);
  t.strictSame([...later], [], 'the alert ends');
  const restarted = look(dead({ a: 3 }), START_MS + 91_000, START_MS - 59_000, later.state);
  t.strictSame([...restarted], [], 'it does not fire again');
  const added = look(dead({ a: 3, b: 2 }), START_MS + 92_000, 0, restarted.state);
  t.strictSame([...added], ['b 2'], 'a function that the look before did not have');
});

/** The rule as one would write it down: it holds for all moments from `since` on. */
t.test(
  'an alert fires where its rule has held for long enough, whatever comes between',
  async () => {
    const steps = fc.array(
      fc.record({
        value: fc.constantFrom(0, 20),
        afterMs: fc.integer({ min: 0, max: 700 }),
        read: fc.boolean(),
        restart: fc.boolean(),
      }),
      { maxLength: 40 },
    );
    fc.assert(
      fc.property(steps, fc.constantFrom(0, 1000), (some, forMs) => {
        const rules = [ruleOf('lag_events > 10', { forMs })];
        let state = EMPTY;
        let nowMs = START_MS;
        let since: number | null = null;
        let firing = false;
        for (const { value, afterMs, read, restart } of some) {
          nowMs += afterMs;
          const before = JSON.stringify([...state.alerts]);
          const result = evaluate(
            rules,
            read ? lagOf({ a: value }) : readings({}, ['lag_events']),
            nowMs,
            state,
          );
          if (JSON.stringify([...state.alerts]) !== before) throw new Error('it changed its input');
          if (read) since = value > 10 ? (since ?? nowMs) : null;
          const fires: boolean = read ? since !== null && nowMs - since >= forMs : firing;
          if (result.fired.length !== Number(fires && !firing)) throw new Error('fired');
          if (result.resolved.length !== Number(firing && !fires)) throw new Error('resolved');
          firing = fires;
          ({ state } = result);
          if (restart) state = { ...state, alerts: reread(state.alerts) };
        }
      }),
    );
  },
);

/** As Redis gives them back. */
function reread(alerts: ReadonlyMap<string, AlertRecord>): Map<string, AlertRecord> {
  const texts = [...alerts.values()].map((alert) => JSON.stringify(alert));
  const read = texts.map(readAlertRecord).filter((alert) => alert !== null);
  return new Map(read.map((alert) => [alert.fingerprint, alert]));
}

t.test('the fingerprint is that of labels and deployment, and nothing else', async (t) => {
  const one = (deployment: string, rule: AlertRule): string =>
    [
      ...evaluateRules({
        rules: [rule],
        readings: lagOf({ a: 11 }),
        state: EMPTY,
        nowMs: START_MS,
        deployment,
        labels: {},
      }).state.alerts.keys(),
    ][0] as string;
  const rule = ruleOf('lag_events > 10');
  t.match(one('d', rule), /^[0-9a-f]{16}$/);
  t.equal(one('d', rule), one('d', ruleOf('lag_events > 1', { summary: 'other' })));
  t.not(one('d', rule), one('e', rule));
  t.not(one('d', rule), one('d', { ...rule, labels: { a: 'b' } }));
  for (const text of ['', '{', 'null', '{"fingerprint":"x"}', '[]'])
    t.equal(readAlertRecord(text), null);
});

const FILE = `
every: 30s
labels: { environment: test }
rules:
  - name: oldest-event
    expression: oldest_event_seconds > 5m
    severity: critical
  - name: loss
    enabled: false
  - name: mail-late
    expression: oldest_event_seconds{function="mail"} > 10s
    for: 2m
    labels: { team: shop }
    runbook: https://wiki.example/mail
receivers:
  - name: on-call
    type: pagerduty
    routingKey: \${PD}
    severities: [critical]
  - name: team
    type: slack
    url: \${SLACK}
`;

t.test('a file changes built-in rules, switches them off, and adds its own', async (t) => {
  const settings = parseAlertSettings('f.yaml', FILE);
  t.match(settings, { everyMs: 30_000, labels: { environment: 'test' }, off: ['loss'] });
  const names = settings.rules.map(({ name }) => name);
  t.strictSame(names, [
    ...BUILT_IN_RULES.map(({ name }) => name).filter((name) => name !== 'loss'),
    'mail-late',
  ]);
  const of = (name: string) => settings.rules.find((rule) => rule.name === name);
  t.match(of('oldest-event'), {
    severity: 'critical',
    expression: { text: 'oldest_event_seconds > 5m' },
    runbook: 'docs/alerts.md#oldest-event',
  });
  t.match(of('mail-late'), { forMs: 120_000, severity: 'warning', labels: { team: 'shop' } });
  t.match(settings.receivers, [
    { name: 'on-call', url: 'https://events.pagerduty.com/v2/enqueue', severities: ['critical'] },
    { name: 'team', url: '${SLACK}', explain: true },
  ]);
  for (const empty of ['', '# nothing\n', '{}'])
    t.strictSame(parseAlertSettings('f.yaml', empty).rules, BUILT_IN_RULES);
});

t.test('every problem of a file is told with its place and its cure', async (t) => {
  const rows: [string, RegExp][] = [
    ['rules: [', /^f\.yaml:1:\d+: /],
    ['- a', /f\.yaml:1:1: the file must be a mapping/],
    ['evry: 30s', /f\.yaml:1:1: the file has no field "evry" \(did you mean "every"\?\)/],
    ['every: 30', /f\.yaml:1:1: the file: every must be a time .* such as 90s/],
    ['every: 1ms', /every must be a time/],
    ['a: 1\na: 2', /f\.yaml:2:1: Map keys must be unique/],
    ['rules: 5', /f\.yaml:1:1: rules must be a list, got 5/],
    ['rules:\n  - expression: lag_events > 1', /f\.yaml:2:5: the rule needs the field "name"/],
    ['rules:\n  - name: own', /f\.yaml:2:5: the rule "own" needs the field "expression"/],
    [
      'rules:\n  - name: own\n    enabled: false',
      /f\.yaml:2:5: there is no built-in rule "own"; there are oldest-event/,
    ],
    ['rules:\n  - name: "a b"', /f\.yaml:2:5: the rule: name must match/],
    [
      'rules:\n  - name: x\n    expression: lag > 1',
      /f\.yaml:3:5: the rule: expression column 1: there is no such figure/,
    ],
    [
      'rules:\n  - name: loss\n    severity: high',
      /f\.yaml:3:5: the rule: severity must be one of critical, warning, info/,
    ],
    ['rules:\n  - name: loss\n    for: 5', /for must be a time/],
    ['rules:\n  - name: loss\n    labels: { severity: x }', /Millrace sets "severity" itself/],
    ['rules:\n  - name: loss\n  - name: loss', /f\.yaml:3:5: there are two rules "loss"/],
    [
      'receivers:\n  - name: a\n    type: mail',
      /type must be one of webhook, pagerduty, slack, cloudevent/,
    ],
    ['receivers:\n  - name: log\n    type: slack\n    url: http://x', /the name "log" is taken/],
    [
      'receivers:\n  - name: a\n    type: slack',
      /f\.yaml:2:5: a receiver of type slack needs the field "url"/,
    ],
    [
      'receivers:\n  - name: a\n    type: webhook\n    url: ftp://x',
      /url must be an http or https address/,
    ],
    ['receivers:\n  - name: a\n    type: pagerduty', /needs the field "routingKey"/],
    [
      'receivers:\n  - name: a\n    type: pagerduty\n    routingKey: R0UT1NG',
      /f\.yaml:4:5: the receiver: routingKey is a secret: name an environment variable/,
    ],
    ['x: &a [1]\ny: *b', /^f\.yaml: Unresolved alias/],
    [`# ${'x'.repeat(300_000)}`, /more than 262144 characters/],
  ];
  for (const [source, wanted] of rows) {
    try {
      parseAlertSettings('f.yaml', source);
      t.fail(`${source} was read`);
    } catch (error) {
      if (!(error instanceof AlertRulesError)) throw error;
      t.match(error.problems.join('\n'), wanted, source.slice(0, 80));
      t.notMatch(error.message, /R0UT1NG/);
    }
  }
  const many = `
rules:
  - { name: loss, for: 5 }
  - { name: loss, severity: high }
  - { name: own, severity: high }
receivers:
  - { name: log, type: mail }
  - { name: a, type: webhook, url: "\${UNSET}", explain: 5 }
`;
  try {
    parseAlertSettings('f.yaml', many, () => undefined);
    t.fail('it was read');
  } catch (error) {
    if (!(error instanceof AlertRulesError)) throw error;
    for (const one of [
      /:3:.*for must be a time/,
      /:4:.*severity must be one of/,
      /:4:.*there are two rules "loss"/,
      /:5:.*severity must be one of/,
      /:5:.*the rule "own" needs the field "expression"/,
      /:7:.*type must be one of/,
      /:7:.*the name "log" is taken/,
      /:8:.*explain must be true or false/,
      /:8:.*url names \$\{UNSET\}, which is not set/,
    ])
      t.ok(
        error.problems.some((text) => one.test(text)),
        one.source,
      );
    t.equal(error.problems.length, 9);
  }
  const both = 'every: x\nrepeat: y';
  t.throws(() => parseAlertSettings('f.yaml', both), /2 problems:\n.*f\.yaml:1:1.*\n.*f\.yaml:2:1/);
});

// ---------------------------------------------------------------- from counts to figures

const NO_STATE: StateLag = { events: 0, oldestMs: null };
const ROW: TypeLag = {
  type: 't',
  partition: 0,
  appended: 0,
  done: 0,
  skipped: 0,
  parked: 0,
  dead: 0,
  purged: 0,
  pending: 0,
  lag: 0,
  oldestMs: null,
  states: { lag: NO_STATE, pending: NO_STATE, parked: NO_STATE, held: NO_STATE },
};

/** A row whose waiting events are all of the given age. */
function rowOf(given: Partial<TypeLag>): TypeLag {
  const row = { ...ROW, ...given };
  const state = (events: number): StateLag => ({
    events,
    oldestMs: events > 0 ? row.oldestMs : null,
  });
  const { lag, pending, parked } = row;
  const states = { lag: state(lag), pending: state(pending), parked: state(parked) };
  return { ...row, states: { ...states, held: NO_STATE } };
}

function lagReport(...types: Partial<TypeLag>[]): Measured['lag'] {
  const fn = { ...ROW, name: 'f', letters: 0, conserved: true, types: types.map(rowOf) };
  return { functions: [fn] };
}

const MEASURED: Measured = {
  lag: { functions: [] },
  outboxes: [],
  limits: new Map(),
  losses: new Map(),
  nodes: [],
  diskRatio: undefined,
};

function figures(measured: Partial<Measured>, more: Partial<ReadingsOptions> = {}) {
  return readingsOf({
    measured: { ...MEASURED, ...measured },
    partitions: 2,
    nowMs: START_MS,
    history: NO_HISTORY,
    lanes: new Map(),
    writesRefused: false,
    ...more,
  });
}

const valuesOf = ({ samples }: Readings, figure: FigureName) =>
  (samples.get(figure) ?? []).map(({ value }) => value);

t.test('a lane is stalled since it has had work and has settled nothing', async (t) => {
  const rows: [number, Partial<TypeLag>, number[]][] = [
    [0, { lag: 1 }, [0]],
    [10, { lag: 2 }, [10]],
    [20, { pending: 2 }, [20]],
    [30, { pending: 1, done: 1 }, [0]],
    [40, { parked: 1, done: 1 }, []],
    [50, { lag: 1, parked: 1, done: 1 }, [0]],
  ];
  let lanes: ReadingsOptions['lanes'] = new Map();
  for (const [second, row, wanted] of rows) {
    const now = figures({ lag: lagReport(row) }, { lanes, nowMs: START_MS + second * 1000 });
    ({ lanes } = now);
    t.strictSame(valuesOf(now.readings, 'lane_stalled_seconds'), wanted, `after ${second} s`);
  }
  const unread = figures({ lag: null }, { lanes });
  t.equal(unread.lanes, lanes, 'a look that failed forgets nothing');
  t.ok(unread.readings.unread.has('lane_stalled_seconds'));
  t.ok(unread.readings.unread.has('conserved'));
});

t.test('limits: the time until they are reached, and the age that is held', async (t) => {
  const LIMITS = { maxBacklog: 200, maxAgeMs: 60_000, maxEvents: 100 };
  const limits = new Map([['t', LIMITS]]);
  const at = (lag: number, minutesAgo: number) => {
    const key = JSON.stringify(Object.entries({ function: 'f', type: 't' }));
    const points = [[START_MS - minutesAgo * 60_000, 0.25]] as const;
    const history = new Map([['backlog_ratio' as const, new Map([[key, points]])]]);
    const report = lagReport({ lag, oldestMs: 30_000 }, { partition: 1 });
    return figures({ lag: report, limits }, { history }).readings;
  };
  t.strictSame(valuesOf(at(50, 2), 'backlog_ratio'), [0.5], 'of the even part of a partition');
  t.strictSame(valuesOf(at(50, 2), 'backlog_limit_seconds'), [240]);
  t.strictSame(valuesOf(at(100, 2), 'backlog_limit_seconds'), [0]);
  t.strictSame(valuesOf(at(25, 2), 'backlog_limit_seconds'), [], 'it does not grow');
  t.strictSame(valuesOf(at(20, 2), 'backlog_limit_seconds'), []);
  const beyond = lagReport({ lag: 50 }, { partition: 1 }, { lag: 500, partition: 2 });
  t.strictSame(
    valuesOf(figures({ lag: beyond, limits }).readings, 'backlog_ratio'),
    [0.5],
    'a partition that the deployment does not have shares no limit',
  );
  const heldAt = (row: Partial<TypeLag>) =>
    valuesOf(figures({ lag: lagReport(row), limits }).readings, 'retention_held_seconds');
  t.strictSame(heldAt({ lag: 1, oldestMs: 60_001 }), [60.001]);
  t.strictSame(heldAt({ lag: 1, oldestMs: 59_000 }), []);
  t.strictSame(heldAt({ pending: 51, oldestMs: 5000 }), [5], 'above the part of a partition');
  t.strictSame(heldAt({ pending: 50, oldestMs: 5000 }), []);
  limits.set('t', { ...LIMITS, maxEvents: 0 });
  t.strictSame(heldAt({ lag: 1, oldestMs: 5000 }), [5], 'no event is to be kept');
  limits.set('t', LIMITS);
  t.strictSame(heldAt({ parked: 5, oldestMs: 60_001 }), [], 'parked events hold no entry');
  t.strictSame(heldAt({ parked: 5, lag: 1, oldestMs: 60_001 }), [60.001]);
});

t.test('the other figures', async (t) => {
  const { readings: now } = figures(
    {
      losses: new Map([['wedged', START_MS - 5000]]),
      outboxes: [
        { partition: 3, entries: 2, bytes: 9, oldestMs: 1500, targets: [] },
        { partition: 4, entries: 0, bytes: 0, oldestMs: null, targets: [] },
      ],
      nodes: [{ node: 'h:1', memoryRatio: 0.5, persistenceOk: false }],
      diskRatio: 0.7,
    },
    { writesRefused: true },
  );
  t.strictSame(now.samples.get('loss_age_seconds'), [{ labels: { kind: 'wedged' }, value: 5 }]);
  t.strictSame(now.samples.get('outbox_oldest_seconds'), [
    { labels: { partition: '3' }, value: 1.5 },
  ]);
  t.strictSame(valuesOf(now, 'outbox_flushes'), [2, 0]);
  t.strictSame(valuesOf(now, 'redis_persistence_ok'), [0]);
  t.strictSame(valuesOf(now, 'redis_disk_ratio'), [0.7]);
  t.strictSame(valuesOf(now, 'redis_writes_refused'), [1]);
  const { state } = evaluateRules({
    rules: BUILT_IN_RULES,
    readings: now,
    state: EMPTY,
    nowMs: START_MS,
    deployment: 'd',
    labels: {},
  });
  const firing = [...state.alerts.values()].map(({ name }) => name).sort();
  t.strictSame(
    firing,
    ['redis-not-persisting', 'redis-refuses-writes'],
    'a wedged unit is no loss',
  );
});
