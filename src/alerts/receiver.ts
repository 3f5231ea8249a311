/** A receiver of notifications, as the rules file declares it. */
import type { AlertSeverity } from './alert-rule.ts';

export const RECEIVER_TYPES = ['webhook', 'pagerduty', 'slack', 'cloudevent'] as const;
export type ReceiverType = (typeof RECEIVER_TYPES)[number];

export interface Receiver {
  readonly name: string;
  readonly type: ReceiverType;
  /** Address. It may be a secret. */
  readonly url: string;
  /** Key of the PagerDuty service. Empty for other types. */
  readonly routingKey: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Severities that it is told of. */
  readonly severities: readonly AlertSeverity[];
  /** Whether it is told of the worst event, which names subjects and errors. */
  readonly explain: boolean;
}

/** The receiver of every deployment: the log. */
export const LOG_RECEIVER = 'log';

/** A text that may name environment variables: `${NAME}`. */
const REFERENCE = /\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g;

export function namesSecret(text: string): boolean {
  return text.search(REFERENCE) >= 0;
}

/** Reads an environment variable. Undefined: it is not set. */
export type SecretOf = (name: string) => string | undefined;

/**
 * Puts the values of environment variables into a receiver's texts.
 * @returns the receiver, and a problem for each variable that is not set
 */
export function withSecrets(
  receiver: Receiver,
  secretOf: SecretOf,
): { readonly receiver: Receiver; readonly problems: readonly string[] } {
  const problems: string[] = [];
  const filled = (text: string, what: string): string =>
    text.replace(REFERENCE, (_, name: string) => {
      const value = secretOf(name);
      if (value !== undefined && value !== '') return value;
      problems.push(
        `receiver "${receiver.name}": ${what} names \${${name}}, which is not set. Set it in the environment of each process that evaluates alerts`,
      );
      return '';
    });
  const headers = Object.entries(receiver.headers).map(([header, value]) => [
    header,
    filled(value, `header ${header}`),
  ]);
  const url = filled(receiver.url, 'url');
  const routingKey = filled(receiver.routingKey, 'routingKey');
  const all = {
    ...receiver,
    url,
    routingKey,
    headers: Object.fromEntries(headers) as Receiver['headers'],
  };
  if (problems.length === 0 && !isHttpUrl(url))
    problems.push(
      `receiver "${receiver.name}": url is no http or https address, once its variables are filled in`,
    );
  return { receiver: all, problems };
}

export function isHttpUrl(text: string): boolean {
  try {
    return ['http:', 'https:'].includes(new URL(text).protocol);
  } catch {
    return false;
  }
}
