/**
 * The parts of docs/ that repeat the code: tables, and the dashboard. `npm run docs` writes them,
 * and `npm run docs -- --check` fails where they differ. Each table stands between two comments,
 * `<!-- begin NAME -->` and `<!-- end NAME -->`.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { format, resolveConfig } from 'prettier';
import { BUILT_IN_RULES } from '../src/alerts/built-in-rules.ts';
import { FIGURES } from '../src/alerts/figures.ts';
import { ENVIRONMENT } from '../src/config.ts';
import { HEALTH_REASONS } from '../src/core/health-reason.ts';
import type { OptionRules } from '../src/core/option-rule.ts';
import { DISPATCHER_OPTIONS } from '../src/dispatcher/dispatcher-options.ts';
import { DIAGNOSES } from '../src/doctor/diagnosis.ts';
import { EXPRESSION_NAMES } from '../src/find/event-expression.ts';
import { DURABILITY_OPTIONS } from '../src/pipeline/append/durability-options.ts';
import { PUBLISHER_OPTIONS } from '../src/pipeline/append/publisher-options.ts';
import { STORE_OPTIONS } from '../src/store/store-options.ts';
import { MARK_KINDS } from '../src/trend/mark.ts';
import { DEPLOYMENT_FIGURES, FUNCTION_FIGURES } from '../src/trend/trend-figures.ts';
import {
  DEPLOYMENT_METRICS,
  PROCESS_METRICS,
  STATE_METRICS,
  type MetricRule,
} from '../src/metrics/catalogue.ts';
import { dashboard } from './dashboard/dashboard.ts';

/** By file, then by name of the table: its lines. */
const TABLES: Readonly<Record<string, Readonly<Record<string, () => string>>>> = {
  'docs/operations.md': {
    settings: settingsTable,
    'dispatcher-options': () => optionsTable(DISPATCHER_OPTIONS),
    'health-reasons': reasonsTable,
    'trend-figures': trendTable,
    'mark-kinds': marksTable,
  },
  'docs/cli.md': { 'doctor-codes': codesTable, 'expression-names': namesTable },
  'docs/alerts.md': { figures: figuresTable, rules: rulesTable },
  'docs/event-store.md': { 'store-options': () => optionsTable(STORE_OPTIONS) },
  'docs/metrics.md': {
    'process-metrics': () => metricsTable(PROCESS_METRICS),
    'state-metrics': () => metricsTable(STATE_METRICS),
    'deployment-metrics': () => metricsTable(DEPLOYMENT_METRICS),
  },
  'docs/publishing.md': {
    options: () => optionsTable({ ...DURABILITY_OPTIONS, ...PUBLISHER_OPTIONS }),
  },
};

function settingsTable(): string {
  return table('variable', ENVIRONMENT);
}

function optionsTable(rules: OptionRules): string {
  return table('option', rules);
}

function codesTable(): string {
  const lines = Object.entries(DIAGNOSES).map(([code, meaning]) => `| \`${code}\` | ${meaning} |`);
  return ['| code | meaning |', '| --- | --- |', ...lines].join('\n');
}

function namesTable(): string {
  return [
    '| name | type | meaning |',
    '| --- | --- | --- |',
    ...Object.entries(EXPRESSION_NAMES).map(
      ([name, { type, text }]) => `| \`${name}\` | \`${type}\` | ${text} |`,
    ),
  ].join('\n');
}

function figuresTable(): string {
  return [
    '| figure | labels | meaning |',
    '| --- | --- | --- |',
    ...Object.entries(FIGURES).map(
      ([name, { labels, text }]) =>
        `| \`${name}\` | ${labels.map((label) => `\`${label}\``).join(', ')} | ${text} |`,
    ),
  ].join('\n');
}

function trendTable(): string {
  const ofAll = { 'a function': FUNCTION_FIGURES, 'the deployment': DEPLOYMENT_FIGURES };
  const lines = Object.entries(ofAll).flatMap(([of, figures]) =>
    Object.entries(figures).map(
      ([name, { unit, text }]) => `| ${of} | \`${name}\` | ${unit} | ${text} |`,
    ),
  );
  return ['| of | figure | unit | meaning |', '| --- | --- | --- | --- |', ...lines].join('\n');
}

function marksTable(): string {
  const lines = Object.entries(MARK_KINDS).map(([kind, cause]) => `| \`${kind}\` | ${cause} |`);
  return ['| kind | cause |', '| --- | --- |', ...lines].join('\n');
}

function rulesTable(): string {
  return [
    '| rule | severity | for | expression |',
    '| --- | --- | --- | --- |',
    ...BUILT_IN_RULES.map(
      ({ name, severity, forMs, expression }) =>
        `| [${name}](#${name}) | ${severity} | ${forMs === 0 ? '' : `${forMs / 60_000} min`} | \`${expression.text}\` |`,
    ),
  ].join('\n');
}

function reasonsTable(): string {
  const lines = Object.entries(HEALTH_REASONS).map(([code, { cause, meaning, cure }]) => {
    const [healthz, livez] = [cause !== 'phase', cause === 'process'].map((red) =>
      red ? 503 : 200,
    );
    return `| \`${code}\` | ${meaning} | ${healthz} | ${livez} | ${cure} |`;
  });
  const head = '| code | meaning | `/healthz` | `/livez` | cure |';
  return [head, '| --- | --- | --- | --- | --- |', ...lines].join('\n');
}

interface Row {
  readonly unset: string;
  readonly range: string;
  readonly text: string;
}

function table(of: string, rows: Readonly<Record<string, Row>>): string {
  const lines = Object.entries(rows).map(
    ([name, { unset, range, text }]) => `| \`${name}\` | ${unset} | ${range} | ${text} |`,
  );
  return [`| ${of} | default | range | meaning |`, '| --- | --- | --- | --- |', ...lines].join(
    '\n',
  );
}

function metricsTable(metrics: Readonly<Record<string, MetricRule>>): string {
  const lines = Object.entries(metrics).map(([name, { type, labels, unit, text }]) => {
    const shown = labels.map((label) => `\`${label}\``).join(', ');
    return `| \`${name}\` | ${type} | ${shown} | ${unit} | ${text} |`;
  });
  return [
    '| metric | type | labels | unit | meaning |',
    '| --- | --- | --- | --- | --- |',
    ...lines,
  ].join('\n');
}

/** @throws Error where the file lacks the place of a table */
function withTable(text: string, file: string, name: string, table: string): string {
  const [begin, end] = [`<!-- begin ${name} -->`, `<!-- end ${name} -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from)
    throw new Error(`${file} has no place for "${name}": ${begin} … ${end}`);
  return `${text.slice(0, from + begin.length)}\n\n${table}\n\n${text.slice(to)}`;
}

const check = process.argv.includes('--check');
const DASHBOARD = 'docs/prometheus/millrace-dashboard.json';
for (const [file, tables] of Object.entries(TABLES)) {
  const before = readFileSync(file, 'utf8');
  let text = before;
  for (const [name, table] of Object.entries(tables)) text = withTable(text, file, name, table());
  const after = await format(text, { ...(await resolveConfig(file)), parser: 'markdown' });
  keep(file, before, after);
}
const now = existsSync(DASHBOARD) ? readFileSync(DASHBOARD, 'utf8') : '';
const form = { ...(await resolveConfig(DASHBOARD)), parser: 'json' };
keep(DASHBOARD, now, await format(JSON.stringify(dashboard()), form));

function keep(file: string, before: string, after: string): void {
  if (after === before) return;
  if (check) {
    console.error(`${file} differs from what the code declares: npm run docs`);
    process.exitCode = 1;
  } else {
    writeFileSync(file, after);
    console.log(`written: ${file}`);
  }
}
