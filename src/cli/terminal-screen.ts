/**
 * The terminal as a screen: lines in, keys out. It uses the terminal's alternate screen, so that
 * the user's lines come back. The terminal is put in order again when the screen closes, and while
 * the process is suspended. Every end of the process but SIGKILL closes the screen.
 */
import { emitKeypressEvents } from 'node:readline';
import type { ReadStream, WriteStream } from 'node:tty';

const ENTER = '\u001b[?1049h\u001b[?25l';
const LEAVE = '\u001b[?25h\u001b[?1049l';
const HOME = '\u001b[H';
const END_OF_LINE = '\u001b[K';
const END_OF_SCREEN = '\u001b[J';

/** A key: the name of Node's readline, `ctrl-` in front with that key held. */
export interface ScreenKey {
  readonly name: string;
  /** Character that the key types; '' for a key without one. */
  readonly text: string;
}

/** The part of a process that a screen needs. */
export interface TerminalProcess {
  readonly stdin: Pick<ReadStream, 'isTTY' | 'setRawMode' | 'on' | 'off' | 'resume' | 'pause'>;
  readonly stdout: Pick<
    WriteStream,
    'isTTY' | 'columns' | 'rows' | 'write' | 'on' | 'off' | 'hasColors'
  >;
  readonly pid: number;
  on(event: 'exit' | 'SIGHUP' | 'SIGCONT', listener: () => void): unknown;
  off(event: 'exit' | 'SIGHUP' | 'SIGCONT', listener: () => void): unknown;
  exit(status: number): unknown;
  kill(pid: number, signal: NodeJS.Signals): unknown;
}

interface Keypress {
  readonly name?: string;
  readonly ctrl?: boolean;
}

/** Returns null where stdin or stdout is no terminal. */
export function openScreen(of: TerminalProcess): TerminalScreen | null {
  return of.stdin.isTTY && of.stdout.isTTY ? new TerminalScreen(of) : null;
}

export class TerminalScreen {
  readonly #process: TerminalProcess;
  #key: (key: ScreenKey) => void = () => {};
  #resized: () => void = () => {};
  #closed = false;
  /** Whether the terminal is the shell's: from Ctrl-Z until the process goes on. */
  #suspended = false;

  constructor(of: TerminalProcess) {
    this.#process = of;
    const { stdin, stdout } = of;
    emitKeypressEvents(stdin as ReadStream);
    stdin.on('keypress', this.#pressed);
    stdout.on('resize', this.#changed);
    of.on('exit', this.#leave);
    of.on('SIGHUP', this.#hungUp);
    of.on('SIGCONT', this.#continued);
    this.#enter();
  }

  get columns(): number {
    // A terminal that does not tell its size has 0 columns.
    return this.#process.stdout.columns || 80;
  }

  get rows(): number {
    return this.#process.stdout.rows || 24;
  }

  /** Whether it shows colours, and the user wants them (NO_COLOR). */
  get colours(): boolean {
    return this.#process.stdout.hasColors();
  }

  /** @param key told of each key. @param resized told that the size has changed */
  listen(key: (key: ScreenKey) => void, resized: () => void): void {
    this.#key = key;
    this.#resized = resized;
  }

  /** Shows the lines, from the top. They must fit. */
  draw(lines: readonly string[]): void {
    if (this.#closed || this.#suspended) return;
    const text = lines.map((line) => line + END_OF_LINE).join('\r\n');
    this.#process.stdout.write(HOME + text + END_OF_SCREEN);
  }

  /** Puts the terminal in order. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#leave();
    this.#closed = true;
    const { stdin, stdout } = this.#process;
    stdin.off('keypress', this.#pressed);
    stdin.pause();
    stdout.off('resize', this.#changed);
    this.#process.off('exit', this.#leave);
    this.#process.off('SIGHUP', this.#hungUp);
    this.#process.off('SIGCONT', this.#continued);
  }

  #enter(): void {
    this.#suspended = false;
    const { stdin, stdout } = this.#process;
    stdin.setRawMode(true);
    stdin.resume();
    stdout.write(ENTER);
  }

  readonly #leave = (): void => {
    if (this.#closed || this.#suspended) return;
    this.#suspended = true;
    const { stdin, stdout } = this.#process;
    stdout.write(LEAVE);
    stdin.setRawMode(false);
  };

  readonly #changed = (): void => this.#resized();

  readonly #hungUp = (): void => {
    this.close();
    this.#process.exit(1);
  };

  /** The shell has put the process into the foreground again. */
  readonly #continued = (): void => {
    this.#enter();
    this.#resized();
  };

  readonly #pressed = (text: string | undefined, { name, ctrl }: Keypress): void => {
    if (ctrl && name === 'z') {
      this.#leave();
      this.#process.kill(this.#process.pid, 'SIGTSTP');
      return;
    }
    const typed = text !== undefined && text.length === 1 && text >= ' ' ? text : '';
    const plain = name === 'enter' ? 'return' : (name ?? typed);
    this.#key({ name: ctrl ? `ctrl-${plain}` : plain, text: typed });
  };
}
