/** Findings of a comparison of two versions of a schema. */

export type Breaks = 'backward' | 'forward' | 'both';

/** The two sides of one part of a schema. */
export interface FindingPlace {
  /** Path of the part, such as `shop.v1.OrderCreated.total`. */
  readonly path: string;
  /** The part in the new version; empty if it is not there. */
  readonly reader: string;
  /** The part in the older version; empty if it is not there. */
  readonly writer: string;
}

export interface Finding extends FindingPlace {
  /** Id of the rule, as in docs/schemas.md. */
  readonly rule: string;
  readonly what: string;
  /** The remedy. */
  readonly cure: string;
  readonly breaks: Breaks;
}

export interface Comparison {
  readonly findings: readonly Finding[];
  /** Findings that refuse nothing, but that somebody should know. */
  readonly warnings: readonly Finding[];
}

export class Report implements Comparison {
  readonly findings: Finding[] = [];
  readonly warnings: Finding[] = [];

  add(
    rule: string,
    { path, reader, writer }: FindingPlace,
    what: string,
    cure: string,
    breaks: Breaks,
  ): void {
    this.findings.push({ rule, path, reader, writer, what, cure, breaks });
  }

  warn(rule: string, { path, reader, writer }: FindingPlace, what: string, cure: string): void {
    this.warnings.push({ rule, path, reader, writer, what, cure, breaks: 'both' });
  }
}
