/** Times that the server's replies took, by command: those of all connections of a process. */
import { monotonicMs } from '../core/clock.ts';
import { ANSWER_SECONDS, Distributions } from '../core/distribution.ts';

export class RoundTrips {
  /**
   * By name of the script or command. Our own code names them, so there are few. Seconds, from the
   * call to the reply: the time in our own buffers is part of it.
   */
  readonly seconds = new Distributions(ANSWER_SECONDS);

  /** @param sentMs by monotonicMs() */
  answered(label: string, sentMs: number): void {
    this.seconds.of(label).observe((monotonicMs() - sentMs) / 1000);
  }
}
