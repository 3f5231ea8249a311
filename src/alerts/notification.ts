/**
 * The bodies of notifications, by type of receiver. Pure: alerts in, requests out. The fingerprint
 * is the same in each of them.
 */
import { cut } from '../core/well-formed.ts';
import type { AlertRecord } from './alert-record.ts';
import type { Labels } from './figures.ts';
import { isHttpUrl, type Receiver } from './receiver.ts';

/** One request to a receiver, for some alerts. */
export interface Notification {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly alerts: readonly AlertRecord[];
}

/** Identity of the deployment in notifications. */
export interface Sender {
  readonly namespace: string;
  readonly version: string;
  /** Time by the server's clock, ms since 1970. */
  readonly nowMs: number;
}

/** Most alerts of one request. */
const MOST_OF_GROUP = 50;
/** Limits of the services, in characters. */
const PAGERDUTY_SUMMARY = 1024;
const SLACK_SECTION = 2900;
/** Most alerts of one message in Slack, which has at most 50 blocks. */
const SLACK_ALERTS = 20;
/** `endsAt` of an alert that fires: the zero time of Go, as Alertmanager sends it. */
const NO_TIME = '0001-01-01T00:00:00Z';

const JSON_TYPE = 'application/json';

/** Makes the requests that tell a receiver of the alerts. */
export function notificationsFor(
  receiver: Receiver,
  alerts: readonly AlertRecord[],
  sender: Sender,
): Notification[] {
  const shown = receiver.explain ? alerts : alerts.map((alert) => ({ ...alert, worst: null }));
  switch (receiver.type) {
    case 'webhook':
      return groupsOf(shown, MOST_OF_GROUP).map((group) =>
        request(receiver, JSON_TYPE, webhookBody(receiver, group, sender), group),
      );
    case 'pagerduty':
      return shown.map((alert) =>
        request(receiver, JSON_TYPE, pagerDutyBody(receiver, alert, sender), [alert]),
      );
    case 'slack':
      return pagesOf(shown, SLACK_ALERTS).map((page) =>
        request(receiver, JSON_TYPE, slackBody(page, sender), page),
      );
    case 'cloudevent':
      return shown.map((alert) =>
        request(receiver, 'application/cloudevents+json', cloudEventBody(alert, sender), [alert]),
      );
  }
}

function request(
  { url, headers }: Receiver,
  contentType: string,
  body: unknown,
  alerts: readonly AlertRecord[],
): Notification {
  return {
    url,
    headers: { ...headers, 'content-type': `${contentType}; charset=utf-8` },
    body: JSON.stringify(body),
    alerts,
  };
}

/** Groups alerts by their rule, as Alertmanager does by `alertname`. */
function groupsOf(alerts: readonly AlertRecord[], most: number): AlertRecord[][] {
  const groups = new Map<string, AlertRecord[]>();
  for (const alert of alerts) {
    const group = groups.get(alert.name);
    if (group) group.push(alert);
    else groups.set(alert.name, [alert]);
  }
  return [...groups.values()].flatMap((group) => pagesOf(group, most));
}

function pagesOf(alerts: readonly AlertRecord[], most: number): AlertRecord[][] {
  const pages: AlertRecord[][] = [];
  for (let i = 0; i < alerts.length; i += most) pages.push(alerts.slice(i, i + most));
  return pages;
}

const statusOf = ({ state }: AlertRecord): 'firing' | 'resolved' =>
  state === 'firing' ? 'firing' : 'resolved';
const isoOf = (ms: number | null): string => (ms === null ? NO_TIME : new Date(ms).toISOString());
const startOf = (alert: AlertRecord): number => alert.firedMs ?? alert.pendingMs;

/** Labels without those that every alert has, in words. */
function whereOf({ labels }: AlertRecord): string {
  return Object.entries(labels)
    .filter(([name]) => name !== 'alertname' && name !== 'severity')
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
}

/** The alert in one line. */
export function headlineOf(alert: AlertRecord): string {
  const where = whereOf(alert);
  return `${alert.name}${where === '' ? '' : ` (${where})`}: ${alert.summary}`;
}

function annotationsOf(alert: AlertRecord): Record<string, string> {
  return {
    summary: alert.summary,
    description: describe(alert),
    value: shownNumber(alert.value),
    ...(isHttpUrl(alert.runbook) ? { runbook_url: alert.runbook } : {}),
    ...(alert.worst === null ? {} : { worst_event: alert.worst }),
  };
}

function describe(alert: AlertRecord): string {
  const value = shownNumber(alert.value);
  return statusOf(alert) === 'firing'
    ? `${alert.expression} holds; the value is ${value}`
    : `${alert.expression} holds no more; while it held, its last value was ${value}`;
}

/** A number with at most 6 digits. */
export function shownNumber(value: number): string {
  return String(Number(value.toPrecision(6)));
}

/** Pairs that all the records have in common. */
function commonOf(records: readonly Labels[]): Labels {
  const [first = {}, ...others] = records;
  return Object.fromEntries(
    Object.entries(first).filter(([name, value]) => others.every((other) => other[name] === value)),
  );
}

/** Body of Alertmanager's webhook, version 4. */
function webhookBody(receiver: Receiver, alerts: readonly AlertRecord[], sender: Sender): unknown {
  const name = (alerts[0] as AlertRecord).name;
  return {
    version: '4',
    groupKey: `{}:{alertname=${JSON.stringify(name)}}`,
    truncatedAlerts: 0,
    status: alerts.some((alert) => statusOf(alert) === 'firing') ? 'firing' : 'resolved',
    receiver: receiver.name,
    groupLabels: { alertname: name },
    commonLabels: commonOf(alerts.map(({ labels }) => labels)),
    commonAnnotations: commonOf(alerts.map(annotationsOf)),
    externalURL: `urn:millrace:${sender.namespace}`,
    alerts: alerts.map((alert) => ({
      status: statusOf(alert),
      labels: alert.labels,
      annotations: annotationsOf(alert),
      startsAt: isoOf(startOf(alert)),
      endsAt: statusOf(alert) === 'firing' ? NO_TIME : isoOf(alert.resolvedMs),
      generatorURL: `urn:millrace:${sender.namespace}:alert:${encodeURIComponent(alert.name)}`,
      fingerprint: alert.fingerprint,
    })),
  };
}

/** Event of PagerDuty's Events API v2. */
function pagerDutyBody(receiver: Receiver, alert: AlertRecord, sender: Sender): unknown {
  const isFiring = statusOf(alert) === 'firing';
  const event = {
    routing_key: receiver.routingKey,
    event_action: isFiring ? 'trigger' : 'resolve',
    dedup_key: alert.fingerprint,
  };
  if (!isFiring) return event;
  return {
    ...event,
    client: `Millrace ${sender.version}`,
    payload: {
      summary: cut(headlineOf(alert), PAGERDUTY_SUMMARY),
      source: `millrace/${sender.namespace}`,
      severity: alert.severity,
      timestamp: isoOf(startOf(alert)),
      ...(alert.labels['function'] === undefined ? {} : { component: alert.labels['function'] }),
      group: sender.namespace,
      class: alert.name,
      custom_details: { ...annotationsOf(alert), labels: alert.labels },
    },
    ...(isHttpUrl(alert.runbook) ? { links: [{ href: alert.runbook, text: 'Runbook' }] } : {}),
  };
}

/** Message of a Slack webhook. */
function slackBody(alerts: readonly AlertRecord[], sender: Sender): unknown {
  const lines = alerts.map((alert) => `${statusOf(alert)}: ${headlineOf(alert)}`);
  return {
    text: slackText(cut(lines.join('\n'), SLACK_SECTION)),
    blocks: alerts.flatMap((alert) => [
      {
        type: 'section',
        text: { type: 'mrkdwn', text: slackSection(alert) },
      },
      {
        type: 'context',
        elements: [
          {
            type: 'mrkdwn',
            text: `${sender.namespace} · ${alert.fingerprint} · since ${isoOf(startOf(alert))}`,
          },
        ],
      },
    ]),
  };
}

function slackSection(alert: AlertRecord): string {
  const isFiring = statusOf(alert) === 'firing';
  const head = `${isFiring ? ':rotating_light:' : ':white_check_mark:'} *${isFiring ? alert.severity : 'resolved'}* ${slackText(headlineOf(alert))}`;
  const lines = [head];
  if (isFiring) lines.push(slackText(`${alert.expression}: ${shownNumber(alert.value)}`));
  if (isHttpUrl(alert.runbook)) lines.push(`Runbook: ${slackText(alert.runbook)}`);
  if (isFiring && alert.worst !== null)
    lines.push(`>${slackText(alert.worst.replace(/\s+/g, ' '))}`);
  return cut(lines.join('\n'), SLACK_SECTION);
}

/** Slack reads these three as mark-up: a text could mention a whole channel. */
function slackText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** CloudEvents 1.0, structured mode. */
function cloudEventBody(alert: AlertRecord, sender: Sender): unknown {
  const status = statusOf(alert);
  return {
    specversion: '1.0',
    id: `${alert.fingerprint}-${startOf(alert)}-${status}`,
    source: `/millrace/${sender.namespace}`,
    type: `millrace.alert.${status}`,
    subject: alert.fingerprint,
    time: isoOf(sender.nowMs),
    datacontenttype: JSON_TYPE,
    data: {
      fingerprint: alert.fingerprint,
      alert: alert.name,
      status,
      severity: alert.severity,
      labels: alert.labels,
      annotations: annotationsOf(alert),
      startsAt: isoOf(startOf(alert)),
      endsAt: status === 'firing' ? null : isoOf(alert.resolvedMs),
      value: alert.value,
    },
  };
}
