/**
 * The file of alert rules, by default `millrace.alerts.yaml`: rules, receivers and labels. Every
 * problem is told with its place and its cure, all at once. docs/alerts.md describes the fields.
 */
import { readFile } from 'node:fs/promises';
import { MillraceError } from '../core/errors/millrace-error.ts';
import { shownValue } from '../core/shown.ts';
import { ALERT_SEVERITIES, type AlertRule, type AlertSeverity } from './alert-rule.ts';
import { BUILT_IN_RULES } from './built-in-rules.ts';
import { ExpressionError, parseExpression } from './expression.ts';
import type { Labels } from './figures.ts';
import {
  isHttpUrl,
  LOG_RECEIVER,
  namesSecret,
  RECEIVER_TYPES,
  withSecrets,
  type Receiver,
  type ReceiverType,
  type SecretOf,
} from './receiver.ts';
import { RulesDocument, type DocumentPath, type ValueCheck } from './rules-document.ts';

export interface AlertSettings {
  /** Pause between two evaluations, ms. */
  readonly everyMs: number;
  /** Time after which a firing alert is told again, ms. */
  readonly repeatMs: number;
  readonly labels: Labels;
  readonly rules: readonly AlertRule[];
  /** Rules that are switched off, by name. */
  readonly off: readonly string[];
  /** Receivers, with references to secrets as the file has them. */
  readonly receivers: readonly Receiver[];
}

/** Rules of alerts that cannot be used. `problems` lists every problem, with its place. */
export class AlertRulesError extends MillraceError {
  readonly code = 'ALERT_RULES';
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(
      problems.length === 1
        ? `the alert rules cannot be used: ${problems[0]}`
        : `the alert rules cannot be used, ${problems.length} problems:\n${problems.map((one) => `  - ${one}`).join('\n')}`,
    );
    this.problems = problems;
  }
}

export const DEFAULT_RULES_FILE = 'millrace.alerts.yaml';

const SECOND_MS = 1000;
const DAY_MS = 86_400_000;
const UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: SECOND_MS,
  m: 60_000,
  h: 3_600_000,
  d: DAY_MS,
};
const EVERY = { least: SECOND_MS, most: 600_000, unset: 15_000 } as const;
const REPEAT = { least: 60_000, most: 30 * DAY_MS, unset: 4 * 3_600_000 } as const;
/** Most rules, receivers, and labels of a mapping. */
const MOST = { rules: 200, receivers: 20, labels: 32 } as const;
const NAME = /^[a-zA-Z][a-zA-Z0-9._-]{0,63}$/;
const LABEL = /^[a-zA-Z_][a-zA-Z0-9_]{0,63}$/;
/** Labels that Millrace sets itself. */
const OWN_LABELS: ReadonlySet<string> = new Set(['alertname', 'severity']);
const PAGERDUTY_URL = 'https://events.pagerduty.com/v2/enqueue';

/** Parses a time such as 90s or 4h. Null: the text is none. */
export function parseAlertTime(text: string): number | null {
  const [, amount, unit] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text) ?? [];
  return amount === undefined ? null : Number(amount) * (UNITS[unit as string] as number);
}

const text: ValueCheck = (value) =>
  typeof value === 'string' && value.trim() !== '' && value.length <= 1000
    ? null
    : `must be a text of at most 1000 characters, got ${shownValue(value)}`;
const named: ValueCheck = (value) =>
  typeof value === 'string' && NAME.test(value)
    ? null
    : `must match ${NAME.source}, got ${shownValue(value)}`;
const yesOrNo: ValueCheck = (value) =>
  typeof value === 'boolean' ? null : `must be true or false, got ${shownValue(value)}`;
const time =
  (least: number, most: number): ValueCheck =>
  (value) => {
    const ms = value === 0 ? 0 : typeof value === 'string' ? parseAlertTime(value) : null;
    if (ms !== null && ms >= least && ms <= most) return null;
    return `must be a time from ${least} ms to ${most} ms, such as 90s, 15m or 4h, got ${shownValue(value)}`;
  };
const oneOf =
  (names: readonly string[]): ValueCheck =>
  (value) =>
    names.includes(value as string)
      ? null
      : `must be one of ${names.join(', ')}, got ${shownValue(value)}`;
const expression: ValueCheck = (value) => {
  if (text(value) !== null) return text(value);
  try {
    parseExpression(value as string);
    return null;
  } catch (error) {
    if (error instanceof ExpressionError) return error.message;
    throw error;
  }
};
const texts =
  (
    what: string,
    name: RegExp,
    most: number,
    forbidden: ReadonlySet<string> = new Set(),
  ): ValueCheck =>
  (value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      return `must be a mapping of ${what} to texts, got ${shownValue(value)}`;
    const entries = Object.entries(value);
    if (entries.length > most) return `has ${entries.length} ${what}, ${most} are the most`;
    for (const [key, one] of entries) {
      if (!name.test(key)) return `: "${key}" must match ${name.source}`;
      if (forbidden.has(key)) return `: Millrace sets "${key}" itself`;
      if (text(one) !== null) return `: ${key} ${text(one)}`;
    }
    return null;
  };
const labelTexts = texts('labels', LABEL, MOST.labels, OWN_LABELS);
const severities: ValueCheck = (value) =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.every((one) => ALERT_SEVERITIES.includes(one as AlertSeverity))
    ? null
    : `must be a list of ${ALERT_SEVERITIES.join(', ')}, got ${shownValue(value)}`;
const address: ValueCheck = (value) =>
  typeof value === 'string' && (isHttpUrl(value) || namesSecret(value))
    ? null
    : 'must be an http or https address, or name one: ${NAME}';
/** A key in the file would be read by everybody who reads the file. */
const secret: ValueCheck = (value) =>
  typeof value === 'string' && namesSecret(value)
    ? null
    : 'is a secret: name an environment variable that holds it, such as ${PAGERDUTY_KEY}';
const anything: ValueCheck = () => null;

const TOP = {
  every: time(EVERY.least, EVERY.most),
  repeat: time(REPEAT.least, REPEAT.most),
  labels: labelTexts,
  rules: anything,
  receivers: anything,
};
const RULE = {
  name: named,
  expression,
  for: time(0, DAY_MS),
  severity: oneOf(ALERT_SEVERITIES),
  labels: labelTexts,
  summary: text,
  runbook: text,
  enabled: yesOrNo,
};
const RECEIVER = {
  name: named,
  type: oneOf(RECEIVER_TYPES),
  url: address,
  routingKey: secret,
  headers: texts('headers', /^[A-Za-z0-9-]{1,64}$/, MOST.labels),
  severities,
  explain: yesOrNo,
};

/** The settings where there is no file. */
export const DEFAULT_ALERT_SETTINGS: AlertSettings = {
  everyMs: EVERY.unset,
  repeatMs: REPEAT.unset,
  labels: {},
  rules: BUILT_IN_RULES,
  off: [],
  receivers: [],
};

/**
 * Reads the settings from a file.
 * @param path a file that does not exist is an error, unless it is the default one
 * @param secretOf reads the variables of receivers, so that those not set are problems, too
 * @throws AlertRulesError naming every problem
 */
export async function readAlertSettings(path: string, secretOf?: SecretOf): Promise<AlertSettings> {
  let source: string;
  try {
    source = await readFile(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && path === DEFAULT_RULES_FILE) return DEFAULT_ALERT_SETTINGS;
    throw new AlertRulesError([
      `${path} cannot be read (${code ?? String(error)}). MILLRACE_ALERTS names the file; "off" evaluates no alerts`,
    ]);
  }
  return parseAlertSettings(path, source, secretOf);
}

/** @throws AlertRulesError naming every problem */
export function parseAlertSettings(
  file: string,
  source: string,
  secretOf?: SecretOf,
): AlertSettings {
  const document = new RulesDocument(file, source);
  const settings = settingsOf(document, secretOf);
  if (document.problems.length > 0) throw new AlertRulesError(document.problems);
  return settings;
}

function settingsOf(document: RulesDocument, secretOf: SecretOf | undefined): AlertSettings {
  if (document.value === undefined || document.value === null) return DEFAULT_ALERT_SETTINGS;
  const top = document.fields([], 'the file', TOP);
  if (top === null) return DEFAULT_ALERT_SETTINGS;
  const { rules, off } = rulesOf(document);
  return {
    everyMs: timeOf(top['every'], EVERY.unset),
    repeatMs: timeOf(top['repeat'], REPEAT.unset),
    labels: (top['labels'] ?? {}) as Labels,
    rules,
    off,
    receivers: receiversOf(document, secretOf),
  };
}

function timeOf(value: unknown, unset: number): number {
  if (value === 0) return 0;
  return typeof value === 'string' ? (parseAlertTime(value) ?? unset) : unset;
}

/** The built-in rules, changed by those of the file, and followed by its new ones. */
function rulesOf(document: RulesDocument): Pick<AlertSettings, 'rules' | 'off'> {
  const rules = new Map(BUILT_IN_RULES.map((rule) => [rule.name, rule]));
  const off: string[] = [];
  const seen = new Set<string>();
  for (const path of boundedItems(document, 'rules', MOST.rules)) {
    const before = document.problems.length;
    const fields = document.fields(path, 'the rule', RULE, ['name']);
    if (fields === null || named(fields['name']) !== null) continue;
    const name = fields['name'] as string;
    if (seen.has(name)) document.problem([...path, 'name'], `there are two rules "${name}"`);
    seen.add(name);
    const built = BUILT_IN_RULES.find((rule) => rule.name === name);
    if (!built && fields['expression'] === undefined) tellMissing(document, path, fields);
    if (document.problems.length > before) continue;
    if (fields['enabled'] === false) {
      rules.delete(name);
      off.push(name);
    } else rules.set(name, ruleOf(name, fields, built));
  }
  return { rules: [...rules.values()], off };
}

/** A rule without an expression is to be a built-in one. */
function tellMissing(
  document: RulesDocument,
  path: DocumentPath,
  fields: Readonly<Record<string, unknown>>,
): void {
  const name = fields['name'] as string;
  const known = BUILT_IN_RULES.map((rule) => rule.name);
  if (fields['enabled'] === false)
    document.problem(
      [...path, 'name'],
      `there is no built-in rule "${name}"; there are ${known.join(', ')}`,
    );
  else
    document.problem(path, `the rule "${name}" needs the field "expression": it is not built in`);
}

function ruleOf(
  name: string,
  fields: Readonly<Record<string, unknown>>,
  built: AlertRule | undefined,
): AlertRule {
  const parsed =
    fields['expression'] === undefined ? null : parseExpression(fields['expression'] as string);
  return {
    name,
    expression: parsed ?? (built as AlertRule).expression,
    forMs: timeOf(fields['for'], built?.forMs ?? 0),
    severity: (fields['severity'] ?? built?.severity ?? 'warning') as AlertSeverity,
    labels: (fields['labels'] ?? built?.labels ?? {}) as Labels,
    summary: (fields['summary'] ?? built?.summary ?? `The rule ${name} holds.`) as string,
    runbook: (fields['runbook'] ?? built?.runbook ?? '') as string,
  };
}

/** @param secretOf undefined: variables are not looked at */
function receiversOf(document: RulesDocument, secretOf: SecretOf | undefined): Receiver[] {
  const receivers: Receiver[] = [];
  const names = new Set<string>([LOG_RECEIVER]);
  for (const path of boundedItems(document, 'receivers', MOST.receivers)) {
    const before = document.problems.length;
    const fields = document.fields(path, 'the receiver', RECEIVER, ['name', 'type']);
    if (fields === null) continue;
    const name = fields['name'] as string;
    const type = fields['type'] as ReceiverType;
    if (names.has(name))
      document.problem(
        [...path, 'name'],
        `the name "${name}" is taken; give the receiver another one`,
      );
    names.add(name);
    if (RECEIVER.type(type) === null) checkReceiver(document, path, type, fields);
    // A field with a problem of its own counts as missing here.
    const usable = <T>(field: keyof typeof RECEIVER, unset: T): T =>
      fields[field] !== undefined && RECEIVER[field](fields[field]) === null
        ? (fields[field] as T)
        : unset;
    const receiver = {
      name,
      type,
      url: usable('url', PAGERDUTY_URL),
      routingKey: usable('routingKey', ''),
      headers: usable<Receiver['headers']>('headers', {}),
      severities: usable<readonly AlertSeverity[]>('severities', ALERT_SEVERITIES),
      explain: fields['explain'] !== false,
    };
    if (secretOf && named(name) === null)
      for (const text of withSecrets(receiver, secretOf).problems) document.problem(path, text);
    if (document.problems.length === before) receivers.push(receiver);
  }
  return receivers;
}

function checkReceiver(
  document: RulesDocument,
  path: DocumentPath,
  type: ReceiverType,
  fields: Readonly<Record<string, unknown>>,
): void {
  const pagerDuty = type === 'pagerduty';
  if (pagerDuty && fields['routingKey'] === undefined)
    document.problem(path, 'a receiver of type pagerduty needs the field "routingKey"');
  if (!pagerDuty && fields['routingKey'] !== undefined)
    document.problem([...path, 'routingKey'], `a receiver of type ${type} has no routingKey`);
  if (!pagerDuty && fields['url'] === undefined)
    document.problem(path, `a receiver of type ${type} needs the field "url"`);
}

function boundedItems(document: RulesDocument, name: string, most: number): DocumentPath[] {
  const items = document.items([name]);
  if (items.length > most)
    document.problem([name], `there are ${items.length} ${name}, ${most} are the most`);
  return items.slice(0, most);
}

/**
 * Returns the receivers with their secrets.
 * @throws AlertRulesError naming every variable that is not set
 */
export function receiversWithSecrets(
  { receivers }: Pick<AlertSettings, 'receivers'>,
  secretOf: SecretOf,
): Receiver[] {
  const filled = receivers.map((receiver) => withSecrets(receiver, secretOf));
  const problems = filled.flatMap((one) => one.problems);
  if (problems.length > 0) throw new AlertRulesError(problems);
  return filled.map(({ receiver }) => receiver);
}
