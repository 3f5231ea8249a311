/** Alerts in Prometheus' text format. Labels are names of rules and receivers: bounded. */
import type { AlertsState } from './alert-store.ts';
import { shownState } from './shown-alert.ts';
import type { Silence } from './silences.ts';

interface Line {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export function alertMetrics(
  { alerts, receivers }: AlertsState,
  silences: readonly Silence[],
): string {
  const counts = new Map<string, Line>();
  for (const alert of alerts.values()) {
    const labels = {
      alert: alert.name,
      severity: alert.severity,
      state: shownState(alert, silences),
    };
    const key = JSON.stringify(labels);
    counts.set(key, { labels, value: (counts.get(key)?.value ?? 0) + 1 });
  }
  return [
    ...gaugeLines(
      'millrace_alerts',
      'alerts of the deployment by rule, severity and state: pending, firing, silenced, resolved',
      [...counts.values()],
    ),
    ...gaugeLines(
      'millrace_alert_receiver_failures',
      'attempts in a row that a receiver has not taken; missing where it takes notifications',
      [...receivers].map(([receiver, { failures }]) => ({ labels: { receiver }, value: failures })),
    ),
    '',
  ].join('\n');
}

function gaugeLines(name: string, help: string, lines: readonly Line[]): string[] {
  return [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} gauge`,
    ...lines.map(({ labels, value }) => {
      const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
      return `${name}{${pairs.join(',')}} ${value}`;
    }),
  ];
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
