/** Talks to the embedded server's socket without a client: no reconnecting, no log lines. */
import { createConnection } from 'node:net';

/**
 * - `ready`: it answers.
 * - `busy`: it answers that it loads its data, or runs a long script.
 * - `silent`: it takes connections and does not answer. It is stopped, or blocked.
 */
export type SocketState = 'ready' | 'busy' | 'silent' | 'nobody';

/** Sends one PING. */
export function ping(socket: string, timeoutMs = 2_000): Promise<SocketState> {
  return new Promise((resolve) => {
    const connection = createConnection(socket);
    let connected = false;
    const done = (state: SocketState): void => {
      clearTimeout(timer);
      connection.destroy();
      resolve(state);
    };
    const timer = setTimeout(() => done(connected ? 'silent' : 'nobody'), timeoutMs);
    connection.once('connect', () => {
      connected = true;
      connection.write('PING\r\n');
    });
    // MISCONF: the disk is full. The server is up and answers; it names its refusals by itself.
    connection.once('data', (reply) =>
      done(/^(\+PONG|-MISCONF)/.test(reply.toString('latin1')) ? 'ready' : 'busy'),
    );
    connection.once('error', () => done('nobody'));
    connection.once('close', () => done('nobody'));
  });
}

/** Sends one command. Resolves with the raw reply. */
export function ask(socket: string, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const connection = createConnection(socket);
    let text = '';
    connection
      .setEncoding('latin1')
      .once('connect', () => connection.write(`${command}\r\n`))
      .once('error', reject)
      .once('close', () => resolve(text));
    connection.on('data', (piece: string) => {
      text += piece;
      const size = /^\$(\d+)\r\n/.exec(text);
      if (size ? text.length >= Number(size[1]) + size[0].length + 2 : text.includes('\r\n'))
        connection.end();
    });
  });
}
