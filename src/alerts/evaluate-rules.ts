/**
 * The evaluation of alert rules, pure: rules, readings, state and time in; the next state and its
 * changes out. No part of it reads a clock or Redis.
 */
import { fingerprintOf, isBelievedFiring, type AlertRecord } from './alert-record.ts';
import type { AlertRule } from './alert-rule.ts';
import { matchesOf, type Expression, type Operand } from './expression.ts';
import type { Labels, Readings, FigureSample } from './figures.ts';
import { BACKLOG_WINDOW_MS } from './readings.ts';
import { changesOf, remember, windowsOf, type History } from './history.ts';

export interface EvaluationState {
  /** By fingerprint. */
  readonly alerts: ReadonlyMap<string, AlertRecord>;
  readonly history: History;
}

export interface Evaluation {
  readonly rules: readonly AlertRule[];
  readonly readings: Readings;
  readonly state: EvaluationState;
  /** Time by the server's clock, ms since 1970. */
  readonly nowMs: number;
  /** Identity of the deployment: see fingerprintOf(). */
  readonly deployment: string;
  /** Time at which the deployment was created, ms since 1970. Default 0: it is not known. */
  readonly createdMs?: number;
  /** Labels of every alert. */
  readonly labels: Labels;
}

export interface Evaluated {
  readonly state: EvaluationState;
  /** Alerts that began to fire, and those that ceased to. */
  readonly fired: readonly AlertRecord[];
  readonly resolved: readonly AlertRecord[];
  /** Series beyond MOST_ALERTS, for which no alert is kept. */
  readonly dropped: number;
}

/** Most alerts that are kept, and most of one rule. */
export const MOST_ALERTS = 500;
export const MOST_ALERTS_OF_RULE = 100;
/**
 * Time after which a resolved alert is forgotten, ms, although a receiver was not to be reached.
 */
export const FORGET_RESOLVED_MS = 86_400_000;

/** readings.ts derives a figure from its history, whatever the rules are. */
const BACKLOG = {
  figure: 'backlog_ratio',
  change: { kind: 'delta', windowMs: BACKLOG_WINDOW_MS },
} as const;

export function evaluateRules(evaluation: Evaluation): Evaluated {
  const { rules, readings, state, nowMs } = evaluation;
  const operands = rules.flatMap((rule) => operandsOf(rule.expression));
  const windows = windowsOf([...operands, BACKLOG]);
  const history = remember(state.history, windows, readings, nowMs, evaluation.createdMs);
  const pass = new Pass(evaluation);
  for (const rule of rules) {
    const operands = operandsOf(rule.expression);
    if (operands.some(({ figure }) => readings.unread.has(figure))) pass.keep(rule);
    else {
      const valuesOf = (operand: Operand): readonly FigureSample[] =>
        changesOf(history, operand, readings.samples.get(operand.figure) ?? []);
      pass.judge(rule, matchesOf(rule.expression, valuesOf));
    }
  }
  pass.endOthers();
  return { ...pass.result, state: { alerts: pass.alerts, history } };
}

function operandsOf({ comparisons }: Expression): Operand[] {
  return comparisons.map(({ operand }) => operand);
}

/** One pass over all rules. */
class Pass {
  readonly alerts = new Map<string, AlertRecord>();
  readonly #evaluation: Evaluation;
  readonly #fired: AlertRecord[] = [];
  readonly #resolved: AlertRecord[] = [];
  #dropped = 0;
  /** Further alerts that may be kept. Known alerts need no room: a bound never resolves them. */
  #room: number;

  constructor(evaluation: Evaluation) {
    this.#evaluation = evaluation;
    this.#room = MOST_ALERTS - evaluation.state.alerts.size;
  }

  get result(): Omit<Evaluated, 'state'> {
    return { fired: this.#fired, resolved: this.#resolved, dropped: this.#dropped };
  }

  /** Keeps the alerts of a rule whose figures are not known. */
  keep({ name }: AlertRule): void {
    for (const alert of this.#evaluation.state.alerts.values())
      if (alert.name === name) this.alerts.set(alert.fingerprint, alert);
  }

  judge(rule: AlertRule, matches: readonly FigureSample[]): void {
    const { deployment, labels, state } = this.#evaluation;
    const found = matches.map((match) => {
      const all = {
        ...labels,
        ...rule.labels,
        ...match.labels,
        alertname: rule.name,
        severity: rule.severity,
      };
      return { fingerprint: fingerprintOf(deployment, all), labels: all, value: match.value };
    });
    let ofRule = found.filter(({ fingerprint }) => state.alerts.has(fingerprint)).length;
    for (const { fingerprint, labels: all, value } of found) {
      if (!state.alerts.has(fingerprint)) {
        if (ofRule >= MOST_ALERTS_OF_RULE || this.#room <= 0) {
          this.#dropped++;
          continue;
        }
        ofRule++;
        this.#room--;
      }
      this.#hold(rule, fingerprint, all, value);
    }
  }

  /** The expression holds for these labels. */
  #hold(rule: AlertRule, fingerprint: string, labels: Labels, value: number): void {
    const { state, nowMs } = this.#evaluation;
    const before = state.alerts.get(fingerprint);
    const goesOn = before !== undefined && before.state !== 'resolved';
    const pendingMs = goesOn ? Math.min(before.pendingMs, nowMs) : nowMs;
    const isFiring = before?.state === 'firing' || nowMs - pendingMs >= rule.forMs;
    const alert: AlertRecord = {
      fingerprint,
      name: rule.name,
      severity: rule.severity,
      labels,
      summary: rule.summary,
      runbook: rule.runbook,
      expression: rule.expression.text,
      figure: rule.expression.comparisons[0].operand.figure,
      state: isFiring ? 'firing' : 'pending',
      pendingMs,
      firedMs: isFiring ? ((goesOn ? before.firedMs : null) ?? nowMs) : null,
      resolvedMs: isFiring ? null : (before?.resolvedMs ?? null),
      value,
      told: before?.told ?? {},
      worst: goesOn ? before.worst : null,
    };
    this.alerts.set(fingerprint, alert);
    if (isFiring && before?.state !== 'firing') this.#fired.push(alert);
  }

  /** Ends the alerts that hold no more, and those whose rule is gone. */
  endOthers(): void {
    const { state, nowMs } = this.#evaluation;
    for (const before of state.alerts.values()) {
      if (this.alerts.has(before.fingerprint)) continue;
      const isEnding = before.state === 'firing';
      const resolvedMs = isEnding ? nowMs : (before.resolvedMs ?? nowMs);
      const alert: AlertRecord = { ...before, state: 'resolved', resolvedMs };
      if (isEnding) this.#resolved.push(alert);
      const isAwaited = isEnding || isBelievedFiring(before);
      if (isAwaited && nowMs - resolvedMs < FORGET_RESOLVED_MS)
        this.alerts.set(alert.fingerprint, alert);
    }
  }
}
