/**
 * `millrace top`: a live view of the functions and their dispatchers. Where there is no terminal it
 * prints lines. Reads only.
 */
import type { Command } from 'commander';
import { Option } from 'commander';
import { isoTime } from '../../core/rfc3339.ts';
import { monotonicMs, sleep, untilAborted, wallClockMs } from '../../core/clock.ts';
import type { Deployment } from '../../deployment.ts';
import {
  newest,
  NO_LOOK,
  seriesOf,
  withProblem,
  withSample,
  type TopModel,
} from '../../top/looks.ts';
import { render, type TopPlace } from '../../top/render.ts';
import { rowLines } from '../../top/row-lines.ts';
import { readTop } from '../../top/sample.ts';
import { painted } from '../../top/screen-line.ts';
import { FIRST_VIEW, pressed, rowsOf, SORTS, type Sort, type TopView } from '../../top/view.ts';
import type { LongRunningContext, Stop } from '../context.ts';
import { timeSpan, wholeNumber } from '../options.ts';
import { printable, safeJson } from '../printable.ts';
import type { TerminalScreen } from '../terminal-screen.ts';

interface TopFlags {
  readonly every: number;
  readonly count: number;
  readonly sort: Sort;
  readonly filter: string;
  readonly json?: boolean;
}

/** Time without an answer from which on the screen tells of it, ms. */
const SILENT_MS = 3000;

export function registerTop(program: Command, context: LongRunningContext): void {
  program
    .command('top')
    .description('watch functions, rates, lag and age, lanes and threads, live')
    .option(
      '--every <time>',
      'time between two looks: 500ms, 2s, 1m',
      timeSpan(100, '100ms or more, such as 500ms, 2s or 1m'),
      1000,
    )
    .option('--count <n>', 'end after this many looks', wholeNumber(1, 1e9), Infinity)
    .addOption(
      new Option('--sort <column>', 'sort by this column first').choices(SORTS).default('lag'),
    )
    .option('--filter <text>', 'show the functions with this text in their name', '')
    .option('--json', 'print one JSON object for each look, in place of the screen')
    .addHelpText(
      'after',
      `
Keys:
  arrows  select a function
  enter   look inside it; escape goes back
  s r     sort by the next column, reverse the order
  /       filter by name
  p       pause, and go on
  ?       explain the columns
  q       quit

Without a terminal there is one line for each function and look.
NO_COLOR switches colours off.

Examples:
  millrace top
  millrace top --every 5s --sort oldest
  millrace top --json --count 2 | jq '.functions[] | {name, outRate}'`,
    )
    .action((flags: TopFlags) => top(flags, context));
}

async function top(flags: TopFlags, context: LongRunningContext): Promise<void> {
  const stop = context.takeStop();
  let screen: TerminalScreen | null = null;
  const deployment = await context.open({
    protoDir: null,
    // On a screen the line of problems tells of the connection.
    log: (level, message) => {
      if (screen === null && level !== 'debug' && level !== 'info')
        context.err(`millrace: ${message}`);
    },
  });
  const watch = new Watch(deployment, flags);
  screen = flags.json ? null : context.screen();
  try {
    if (screen === null) await watch.printLines(stop, context, flags.json ?? false);
    else await watch.show(screen, stop);
  } finally {
    screen?.close();
  }
}

class Watch {
  readonly #deployment: Deployment;
  readonly #flags: TopFlags;
  readonly #place: TopPlace;
  #model: TopModel = NO_LOOK;
  #view: TopView;
  /** Since when a look is under way, by monotonicMs(). Null: none is. */
  #lookingSinceMs: number | null = null;

  constructor(deployment: Deployment, flags: TopFlags) {
    this.#deployment = deployment;
    this.#flags = flags;
    this.#place = {
      namespace: deployment.environment.MILLRACE_NAMESPACE,
      target: printable(deployment.connection.target),
      everyMs: flags.every,
    };
    this.#view = { ...FIRST_VIEW, sort: flags.sort, filter: flags.filter };
  }

  async printLines({ first }: Stop, context: LongRunningContext, json: boolean): Promise<void> {
    for (let look = 0; look < this.#flags.count && !first.aborted; look++) {
      if (look > 0) await sleep(this.#flags.every, first);
      if (first.aborted) return;
      await this.#look();
      const time = isoTime(wallClockMs()) ?? '-';
      if (json) context.out(safeJson({ at: time, ...this.#asJson() }));
      else for (const line of rowLines(this.#model, this.#view, time)) context.out(line);
    }
  }

  /** Shows the screen until a key, a signal or the number of looks ends it. */
  async show(screen: TerminalScreen, stop: Stop): Promise<void> {
    const quit = new AbortController();
    const end = (): void => quit.abort();
    stop.first.addEventListener('abort', end, { once: true });
    const draw = (): void => this.#draw(screen);
    screen.listen((key) => {
      const view = pressed(this.#view, key, this.#model);
      if (view === null) return end();
      this.#view = view;
      draw();
    }, draw);
    // The screen tells of a Redis that is silent, and keys work meanwhile.
    const ticking = setInterval(draw, Math.min(1000, this.#flags.every));
    try {
      draw();
      for (let look = 0; look < this.#flags.count && !quit.signal.aborted; look++) {
        if (!this.#view.paused) await untilAborted(this.#look(), quit.signal);
        draw();
        await sleep(this.#flags.every, quit.signal);
      }
    } finally {
      clearInterval(ticking);
    }
  }

  async #look(): Promise<void> {
    this.#lookingSinceMs = monotonicMs();
    try {
      this.#model = withSample(this.#model, await readTop(this.#deployment));
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      this.#model = withProblem(this.#model, printable(text, 300));
    } finally {
      this.#lookingSinceMs = null;
    }
  }

  #draw(screen: TerminalScreen): void {
    const { columns, rows, colours } = screen;
    const silentMs = this.#lookingSinceMs === null ? 0 : monotonicMs() - this.#lookingSinceMs;
    const model =
      silentMs < SILENT_MS
        ? this.#model
        : withProblem(this.#model, `Redis has not answered for ${Math.round(silentMs / 1000)} s`);
    const lines = render(model, this.#view, this.#place, { columns, rows });
    screen.draw(lines.map((line) => painted(line, colours)));
  }

  #asJson(): object {
    const { sample, problem } = this.#model;
    if (problem !== null || sample === null) return { problem };
    const functions = rowsOf(this.#model, this.#view).map(({ types: _types, owners, ...fn }) => {
      const { inRate, outRate } = seriesOf(this.#model, fn.name);
      return { ...fn, inRate: newest(inRate), outRate: newest(outRate), owners };
    });
    const { dispatchers, firing, unserved } = sample;
    return { functions, dispatchers, firing, unserved };
  }
}
