/** The rules that a silence may name, and the labels of their alerts. */
import { didYouMean } from '../core/suggest.ts';
import type { AlertsState, RuleLabels } from './alert-store.ts';
import { BUILT_IN_RULES } from './built-in-rules.ts';
import { FIGURES } from './figures.ts';
import type { AlertSettings } from './rules-file.ts';
import type { Silence } from './silences.ts';

/** Labels of every alert. */
const EVERY_ALERT = ['alertname', 'severity', 'deployment'];

/** Returns the names of the labels that alerts of each rule have. */
export function labelsOfRules({
  rules,
  labels,
}: Pick<AlertSettings, 'rules' | 'labels'>): RuleLabels {
  return new Map(
    rules.map(({ name, expression, labels: own }) => {
      const { figure } = expression.comparisons[0].operand;
      const all = [...EVERY_ALERT, ...Object.keys(labels), ...Object.keys(own)];
      return [name, [...new Set([...all, ...FIGURES[figure].labels])]];
    }),
  );
}

/**
 * Returns what makes a silence match no alert; null: it may match one. The rules are the built-in
 * ones, those of the last evaluation, those of the alerts, and `more`.
 */
export function silenceFault(
  { alert, labels }: Pick<Silence, 'alert' | 'labels'>,
  { rules, alerts }: Pick<AlertsState, 'rules' | 'alerts'>,
  more: RuleLabels,
): string | null {
  const known = new Map<string, Set<string>>();
  const add = (name: string, names: readonly string[]): void => {
    known.set(name, new Set([...(known.get(name) ?? []), ...names]));
  };
  for (const [name, names] of labelsOfRules({ rules: BUILT_IN_RULES, labels: {} }))
    add(name, names);
  for (const [name, names] of [...rules, ...more]) add(name, names);
  for (const one of alerts.values()) add(one.name, Object.keys(one.labels));
  const names = [...known.keys()];
  if (alert !== null && !known.has(alert))
    return `there is no rule "${alert}"${didYouMean(alert, names)}; there are ${names.join(', ')}`;
  const chosen = alert === null ? names : [alert];
  const wanted = Object.keys(labels);
  const has = (name: string, label: string): boolean => known.get(name)?.has(label) === true;
  if (chosen.some((name) => wanted.every((label) => has(name, label)))) return null;
  const may = [...new Set(chosen.flatMap((name) => [...(known.get(name) ?? [])]))];
  const of = alert === null ? 'no rule' : `the rule "${alert}"`;
  const wrong = wanted.find((label) => !may.includes(label));
  if (wrong === undefined) return `${of} has all of the labels ${wanted.join(', ')}`;
  const negation = alert === null ? 'has' : 'has no';
  return `${of} ${negation} label "${wrong}"${didYouMean(wrong, may)}; there are ${may.join(', ')}`;
}
