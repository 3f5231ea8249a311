/**
 * A socket that takes the messages of services for their manager, as systemd's does: datagrams, and
 * descriptors that the sender waits for. Python listens, because Node has no such sockets.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestLike } from './redis-server.ts';
import { outputOf, untilTold } from './until.ts';

const LISTENER = `
import array, json, os, socket, sys
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind(sys.argv[1])
print(json.dumps('listening'), flush=True)
while True:
    data, ancillary, _, _ = listener.recvmsg(65536, socket.CMSG_SPACE(64))
    for level, kind, body in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors = array.array('i')
            descriptors.frombytes(body[: len(body) - len(body) % descriptors.itemsize])
            for descriptor in descriptors:
                os.close(descriptor)
    if data != b'BARRIER=1':
        print(json.dumps(data.decode()), flush=True)
`;

export interface NotifySocket {
  readonly path: string;
  /** Messages so far, each with its assignments as lines. */
  readonly messages: readonly string[];
  /** Resolves when the check holds. It gets the messages since the last call of `forget`. */
  until(what: string, check: (messages: readonly string[]) => boolean): Promise<void>;
  forget(): void;
}

/** Opens the socket. Null: this machine lacks python3 or systemd-notify. */
export async function openNotifySocket(t: TestLike): Promise<NotifySocket | null> {
  for (const program of ['python3', 'systemd-notify'])
    if (spawnSync(program, ['--version']).status !== 0) return null;
  const dir = mkdtempSync(join(tmpdir(), 'millrace-notify-'));
  const path = join(dir, 'notify.sock');
  const child = spawn('python3', ['-c', LISTENER, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  const gone = new Promise((resolve) => child.once('close', resolve));
  t.teardown(async () => {
    child.kill('SIGKILL');
    await gone;
    rmSync(dir, { recursive: true, force: true });
  });
  const messages: string[] = [];
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    messages.push(...lines.map((line) => JSON.parse(line) as string));
  });
  const until: NotifySocket['until'] = async (what, check) => {
    await untilTold(outputOf(child.stdout), what, () => check(messages));
  };
  await until('the socket listens', ([first]) => first === 'listening');
  messages.length = 0;
  return { path, messages, until, forget: () => void (messages.length = 0) };
}
