/** A redis-server as a child process, under a supervisor of a few lines of sh. */
import { spawn, type ChildProcess } from 'node:child_process';
import type { Socket } from 'node:net';
import type { ServerBinary } from './server-program.ts';

/** Another process runs a server in this folder. */
export class FolderInUse extends Error {
  override readonly name = 'FolderInUse';
}

/** Exit status of the supervisor where another process holds the lock. */
const LOCKED = 75;
/** Time from SIGTERM to SIGKILL by the supervisor, s. */
const GRACE_SECONDS = 20;

// Arguments: $1 lock file, $2 LD_LIBRARY_PATH or empty, $3 grace in seconds, then the server and
// its arguments. Prints the server's pid. A process group of its own (see spawn) keeps Ctrl-C from
// reaching the server before the owner has finished.
const SUPERVISOR = /* sh */ `
lock=$1; libraries=$2; grace=$3; shift 3
exec 3<&0 9>>"$lock" || exit 70
if command -v flock >/dev/null 2>&1; then
  flock -n 9 || exit ${LOCKED}
else
  read -r other <"$lock" && kill -0 "$other" 2>/dev/null && exit ${LOCKED}
fi
if [ -n "$libraries" ]; then
  env LD_LIBRARY_PATH="$libraries" "$@" </dev/null 3<&- &
else
  "$@" </dev/null 3<&- &
fi
server=$!
trap 'kill -TERM $server' TERM INT HUP
echo $server >"$lock"
echo $server
exec 9>&- >/dev/null
(
  trap - TERM INT HUP
  while read -r _ <&3; do :; done
  kill -CONT $server; kill -TERM $server
  while [ $grace -gt 0 ] && kill -0 $server; do sleep 1; grace=$((grace - 1)); done
  kill -KILL $server
) 2>/dev/null &
watcher=$!
wait $server; code=$?
while kill -0 $server 2>/dev/null; do wait $server; code=$?; done
kill $watcher 2>/dev/null
exit $code
`;

export interface SupervisedServer {
  readonly pid: number;
  /**
   * Resolves with the exit status (or -1) when the server and its supervisor are gone. Does not
   * keep this process alive.
   */
  readonly exited: Promise<number>;
  /** Text that it wrote to stderr: Redis complains there about its arguments. */
  stderr(): string;
  /** Asks the server to shut down (SIGTERM, SIGKILL after the grace), and waits. */
  stop(): Promise<void>;
  /** Sends SIGKILL, and waits. */
  kill(): Promise<void>;
}

/**
 * Starts a server that dies with this process.
 * @throws FolderInUse
 */
export async function superviseServer(
  binary: ServerBinary,
  lockFile: string,
  args: readonly string[],
  graceSeconds = GRACE_SECONDS,
): Promise<SupervisedServer> {
  const child = spawn(
    'sh',
    [
      '-c',
      SUPERVISOR,
      'millrace-supervisor',
      lockFile,
      binary.libraryPath,
      String(graceSeconds),
      binary.path,
      ...args,
    ],
    {
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
    },
  );
  const exited = new Promise<number>((resolve) => {
    child.once('error', () => resolve(-1));
    child.once('exit', (code) => resolve(code ?? -1));
  });
  let stderr = '';
  child.stderr
    .setEncoding('utf8')
    .on('data', (text: string) => (stderr = (stderr + text).slice(-4_000)));
  const pid = await Promise.race([firstNumber(child), exited.then((code) => ({ code }))]);
  if (typeof pid !== 'number') {
    if (pid.code === LOCKED) throw new FolderInUse(`${lockFile} is locked`);
    throw new Error(
      `the supervisor of the embedded server ended with status ${pid.code}: ${stderr.trim()}`,
    );
  }
  // An owner with nothing else to do may end. The pipe then closes, and the server ends with it.
  child.unref();
  for (const stream of child.stdio) (stream as Socket | null)?.unref();
  return {
    pid,
    exited,
    stderr: () => stderr,
    async stop() {
      child.ref();
      child.stdin.destroy();
      await exited;
    },
    async kill() {
      child.ref();
      if (child.exitCode === null) process.kill(pid, 'SIGKILL');
      await exited;
    },
  };
}

function firstNumber(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    let text = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      if (text.includes('\n')) resolve(Number.parseInt(text, 10));
    });
  });
}
