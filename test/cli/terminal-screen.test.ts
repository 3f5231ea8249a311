/** The terminal as a screen: it is put in order again, however the process ends. */
import { EventEmitter } from 'node:events';
import t from 'tap';
import { openScreen, type ScreenKey, type TerminalProcess } from '../../src/cli/terminal-screen.ts';

const ENTER = '\u001b[?1049h\u001b[?25l';
const LEAVE = '\u001b[?25h\u001b[?1049l';

/** A process with a terminal that notes all that is done to it. */
function madeUp(terminal = true) {
  const did: string[] = [];
  const stdin = Object.assign(new EventEmitter(), {
    isTTY: terminal,
    setRawMode: (raw: boolean) => void did.push(raw ? 'raw' : 'cooked'),
    resume: () => void did.push('resume'),
    pause: () => void did.push('pause'),
  });
  const stdout = Object.assign(new EventEmitter(), {
    isTTY: terminal,
    columns: 40,
    rows: 10,
    hasColors: () => false,
    write: (text: string) => did.push(text),
  });
  const process = Object.assign(new EventEmitter(), {
    stdin,
    stdout,
    pid: 7,
    exit: (status: number) => did.push(`exit ${status}`),
    kill: (pid: number, signal: string) => did.push(`${signal} ${pid}`),
  });
  // A stream of the test has what the screen uses of a terminal.
  return { did, stdin, stdout, process, as: process as unknown as TerminalProcess };
}

/** Number of listeners of all kinds. */
function listeners(...emitters: EventEmitter[]): number {
  return emitters.reduce(
    (sum, one) => sum + one.eventNames().reduce((all, name) => all + one.listenerCount(name), 0),
    0,
  );
}

t.test('no terminal, no screen', async (t) => {
  const { did, as } = madeUp(false);
  t.equal(openScreen(as), null);
  t.strictSame(did, []);
});

t.test('enters, draws, closes once', async (t) => {
  const { did, as, process, stdout } = madeUp();
  const screen = openScreen(as);
  if (screen === null) throw new Error('no screen');
  t.strictSame(did.splice(0), ['raw', 'resume', ENTER]);
  t.match(screen, { columns: 40, rows: 10, colours: false });
  screen.draw(['one', 'two']);
  t.strictSame(did.splice(0), ['\u001b[Hone\u001b[K\r\ntwo\u001b[K\u001b[J']);
  let resized = 0;
  screen.listen(
    () => {},
    () => resized++,
  );
  stdout.emit('resize');
  t.equal(resized, 1);
  Object.assign(stdout, { columns: 0, rows: 0 });
  t.match(screen, { columns: 80, rows: 24 }, 'a terminal that does not tell its size');
  screen.close();
  screen.close();
  t.strictSame(did.splice(0), [LEAVE, 'cooked', 'pause']);
  screen.draw(['late']);
  process.emit('exit');
  t.strictSame(did, [], 'nothing is written behind the end');
  t.equal(listeners(process, stdout), 0, 'no listener is left');
});

t.test('the end of the process, and a terminal that hangs up', async (t) => {
  const ended = madeUp();
  openScreen(ended.as);
  ended.did.length = 0;
  ended.process.emit('exit');
  t.strictSame(ended.did, [LEAVE, 'cooked'], 'also behind an uncaught error');

  const hung = madeUp();
  openScreen(hung.as);
  hung.did.length = 0;
  hung.process.emit('SIGHUP');
  t.strictSame(hung.did, [LEAVE, 'cooked', 'pause', 'exit 1']);
});

t.test('Ctrl-Z gives the terminal back until the process goes on', async (t) => {
  const { did, as, process, stdin } = madeUp();
  const screen = openScreen(as);
  did.length = 0;
  stdin.emit('keypress', '\u001a', { name: 'z', ctrl: true });
  t.strictSame(did.splice(0), [LEAVE, 'cooked', 'SIGTSTP 7']);
  screen?.draw(['not into the shell']);
  t.strictSame(did, []);
  process.emit('SIGCONT');
  t.strictSame(did.splice(0), ['raw', 'resume', ENTER]);
  screen?.close();
});

t.test('keys', async (t) => {
  const { as, stdin } = madeUp();
  const keys: ScreenKey[] = [];
  const screen = openScreen(as);
  screen?.listen(
    (key) => keys.push(key),
    () => {},
  );
  stdin.emit('keypress', 'q', { name: 'q' });
  stdin.emit('keypress', '/', {});
  stdin.emit('keypress', '\n', { name: 'enter' });
  stdin.emit('keypress', undefined, { name: 'up' });
  stdin.emit('keypress', '\u0003', { name: 'c', ctrl: true });
  t.strictSame(keys, [
    { name: 'q', text: 'q' },
    { name: '/', text: '/' },
    { name: 'return', text: '' },
    { name: 'up', text: '' },
    { name: 'ctrl-c', text: '' },
  ]);
  screen?.close();
});
