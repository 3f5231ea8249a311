/** A real HTTP server that takes notifications, and answers as the test says. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { TestLike } from '../../scripts/lab/redis-server.ts';

export interface TakenRequest {
  readonly path: string;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Record<string, unknown>;
}

export interface WebhookReceiver {
  readonly url: string;
  /** Requests in the order of their arrival. */
  readonly taken: TakenRequest[];
  /** Status, headers and body of the answers from now on. 'never': no answer. */
  answer: { status: number; headers?: Record<string, string>; body?: string } | 'never';
}

export async function startReceiver(t: TestLike): Promise<WebhookReceiver> {
  const taken: TakenRequest[] = [];
  const receiver = { url: '', taken, answer: { status: 200 } as WebhookReceiver['answer'] };
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      const { url = '', headers } = request;
      taken.push({ path: url, headers, body: JSON.parse(body) as Record<string, unknown> });
      if (receiver.answer === 'never') return;
      const { status, headers: more = {}, body: answer = 'ok' } = receiver.answer;
      response.writeHead(status, more).end(answer);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  receiver.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return receiver;
}
