/**
 * Decides whether a new version of a schema may stand beside the older ones, by structural rules
 * for protobuf. A rule is the stricter one of two: the WIRE rules of Buf, and the effect of a
 * change on decoding. Confluent's rules are added where they forbid a loss. docs/schemas.md prints
 * the table. Sources: https://buf.build/docs/breaking/rules (WIRE), and
 * https://protobuf.dev/programming-guides/proto3/#updating
 *
 * A finding breaks reading old events with the new schema (backward), reading new events with the
 * old schema (forward), or both.
 */
import { Comparing } from './comparing.ts';
import { Report, type Comparison, type Finding } from './finding.ts';
import type { Level, ParsedSchema } from './model.ts';

/** Findings kept. A schema with more findings is refused with these. */
export const MOST_FINDINGS = 1000;

/**
 * Collects the findings of a candidate against older schemas, each once. The caller chooses the
 * older schemas that the level names.
 */
export class Judgement {
  readonly #direction: string;
  readonly #candidate: ParsedSchema;
  readonly #roots: readonly string[];
  readonly #findings = new Map<string, Finding>();
  readonly #warnings = new Map<string, Finding>();

  /** @param roots names of the messages that are compared */
  constructor(level: Level, candidate: ParsedSchema, roots: readonly string[]) {
    this.#direction = level.replace('_TRANSITIVE', '');
    this.#candidate = candidate;
    this.#roots = roots;
  }

  compareWith(older: ParsedSchema, roots: readonly string[]): void {
    if (this.#direction === 'NONE') return;
    const { findings, warnings } = compare(this.#candidate, this.#roots, older, roots);
    for (const finding of findings) {
      const counts =
        this.#direction === 'FULL' ||
        finding.breaks === 'both' ||
        finding.breaks === this.#direction.toLowerCase();
      if (counts) keep(this.#findings, finding);
    }
    for (const warning of warnings) keep(this.#warnings, warning);
  }

  verdict(): { readonly compatible: boolean } & Comparison {
    return {
      compatible: this.#findings.size === 0,
      findings: [...this.#findings.values()],
      warnings: [...this.#warnings.values()],
    };
  }
}

function keep(kept: Map<string, Finding>, finding: Finding): void {
  if (kept.size < MOST_FINDINGS)
    kept.set(`${finding.rule} ${finding.path} ${finding.writer}`, finding);
}

/**
 * Returns the findings that keep `reader` from decoding the events of `writer`. Rules about the
 * future (reservations) are left out.
 */
export function canRead(
  reader: ParsedSchema,
  readerRoots: readonly string[],
  writer: ParsedSchema,
  writerRoots: readonly string[],
): readonly Finding[] {
  return compare(reader, readerRoots, writer, writerRoots).findings.filter(
    (finding) => finding.breaks !== 'forward' && !FUTURE.has(finding.rule),
  );
}

/** Rules for events that are not written yet. */
const FUTURE = new Set([
  'FIELD_REMOVED_UNRESERVED',
  'RESERVATION_REMOVED',
  'ENUM_VALUE_REMOVED_UNRESERVED',
  'ONEOF_RENAMED',
  'ONEOF_JOINED_ALONE',
]);

export function compare(
  now: ParsedSchema,
  nowRoots: readonly string[],
  before: ParsedSchema,
  beforeRoots: readonly string[],
): Comparison {
  const report = new Report();
  if (nowRoots.length === 1 && beforeRoots.length === 1 && nowRoots[0] !== beforeRoots[0]) {
    const [fresh, old] = [nowRoots[0] as string, beforeRoots[0] as string];
    report.add(
      'MESSAGE_RENAMED',
      { path: old, reader: fresh, writer: old },
      `the message was ${old} and is ${fresh}`,
      `Name it ${old} again, package included, or declare a new event type`,
      'both',
    );
  } else {
    const comparing = new Comparing(now, before, report);
    for (const root of beforeRoots) {
      if (Object.hasOwn(now.messages, root)) comparing.messages(root);
      else
        report.add(
          'MESSAGE_REMOVED',
          { path: root, reader: '', writer: root },
          'the message is gone: its events can no longer be read',
          'Put it back; leave the messages of old events where they are',
          'both',
        );
    }
  }
  return report;
}
