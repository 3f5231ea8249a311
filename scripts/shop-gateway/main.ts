/**
 * `npm run gateway`: the shop's HTTP door, on the server in REDIS_URL or the embedded one of this
 * folder.
 */
import { connect } from 'millrace';
import type { OrderSummary } from '../../workers/order-summary.ts';
import { buildGateway } from './app.ts';

const port = Number(process.env['GATEWAY_PORT'] ?? 3000);
if (!Number.isInteger(port) || port < 0 || port > 65_535)
  throw new Error(`GATEWAY_PORT must be a port, it is ${String(process.env['GATEWAY_PORT'])}`);

const millrace = await connect({ name: 'gateway' });
const app = buildGateway({
  store: millrace.store({ source: 'gateway' }),
  summaries: millrace.view<OrderSummary>('order-summary'),
  logger: true,
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    void app.close().then(() => millrace.close());
  });
}
await app.listen({ port, host: '127.0.0.1' });
