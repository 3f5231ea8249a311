/** The embedded server's socket, by hand: no client, no reconnecting, no log lines. */
import { createConnection } from 'node:net';

/** One PING. */
export function ping(socket: string, timeoutMs = 2_000): Promise<'ready' | 'busy' | 'nobody'> {
  return new Promise((resolve) => {
    const connection = createConnection(socket);
    let connected = false;
    const done = (state: 'ready' | 'busy' | 'nobody'): void => {
      clearTimeout(timer);
      connection.destroy();
      resolve(state);
    };
    // Accepted but no answer: it is there (blocked by a long script, or stopped).
    const timer = setTimeout(() => done(connected ? 'busy' : 'nobody'), timeoutMs);
    connection.once('connect', () => {
      connected = true;
      connection.write('PING\r\n');
    });
    // MISCONF: its disk is full. It is up and answers; what it refuses it says itself.
    connection.once('data', (reply) =>
      done(/^(\+PONG|-MISCONF)/.test(reply.toString('latin1')) ? 'ready' : 'busy'),
    );
    connection.once('error', () => done('nobody'));
    connection.once('close', () => done('nobody'));
  });
}

/** One command; its reply as it comes. */
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
