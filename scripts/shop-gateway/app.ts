/**
 * The shop's HTTP door: orders come in as commands, and are read back. An example of a service in
 * front of Millrace; it is no part of Millrace.
 *
 * A request that changes something has an Idempotency-Key. A repeated request gets the first
 * answer. A request that changes an existing order has If-Match with the revision that its sender
 * has seen (the ETag). If the order has changed meanwhile, the answer is 412.
 */
import { createHash } from 'node:crypto';
import Fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify';
import {
  BackpressureError,
  ConflictError,
  handleCommand,
  HistoryFullError,
  InvalidEventError,
  OversizeError,
  StoreInputError,
  UnknownOutcomeError,
  UnknownViewError,
  ViewQueryError,
  type CommandResult,
  type EventStore,
  type ExpectedRevision,
  type View,
} from 'millrace';
import type { Item, Money } from '../../workers/generated/events.ts';
import type { OrderSummary } from '../../workers/order-summary.ts';
import {
  OrderRefusedError,
  orders,
  type OrderCommand,
  type OrderState,
} from '../../workers/_orders.ts';

export interface GatewayOptions {
  readonly store: EventStore;
  /** View for lists. A single order is read from its history, which is always up to date. */
  readonly summaries: View<OrderSummary>;
  readonly logger?: boolean;
}

interface OrderParams {
  readonly id: string;
}

const BODY_LIMIT = 262_144;
const text = { type: 'string', minLength: 1, maxLength: 256 } as const;
const whole = { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER } as const;
const closed = <T extends Record<string, object>>(
  properties: T,
  required: readonly (keyof T & string)[] = Object.keys(properties),
) => ({ body: { type: 'object', additionalProperties: false, required, properties } }) as const;
const item = {
  type: 'object',
  additionalProperties: false,
  required: ['sku', 'quantity', 'unitPrice'],
  properties: {
    sku: text,
    description: { type: 'string', maxLength: 1000, default: '' },
    quantity: { type: 'integer', minimum: 1, maximum: 1_000_000 },
    unitPrice: whole,
  },
} as const;
const currency = { type: 'string', pattern: '^[A-Z]{3}$' } as const;

const CREATE = closed({
  userId: text,
  country: text,
  currency,
  items: { type: 'array', minItems: 1, maxItems: 1000, items: item },
});
const PAY = closed({ paymentId: text, amount: whole, currency });
const CANCEL = closed({ reason: { type: 'string', maxLength: 1000 } });

/** Schema of a page of orders: by status or by customer, newest first. */
const LIST = {
  querystring: {
    type: 'object',
    additionalProperties: false,
    oneOf: [{ required: ['status'] }, { required: ['customer'] }],
    properties: {
      status: text,
      customer: text,
      limit: { type: 'string', pattern: '^[1-9]\\d{0,2}$', default: '50' },
      cursor: { type: 'string', maxLength: 4096 },
    },
  },
} as const;

/** A fault of a request, found before the store is asked. */
class RequestError extends Error {
  readonly statusCode: number;
  constructor(statusCode: number, message: string) {
    super(message);
    this.statusCode = statusCode;
  }
}

export function buildGateway({
  store,
  summaries,
  logger = false,
}: GatewayOptions): FastifyInstance {
  // Values are not coerced: "2" is no quantity.
  const app = Fastify({
    logger,
    bodyLimit: BODY_LIMIT,
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false } },
  });
  app.setErrorHandler((error: FastifyError, request, reply) => answerError(error, request, reply));
  addCommands(app, store);
  addReads(app, store, summaries);
  return app;
}

/** Adds the routes that create, pay and cancel. */
function addCommands(app: FastifyInstance, store: EventStore): void {
  app.post<{ Body: { userId: string; country: string; currency: string; items: Item[] } }>(
    '/orders',
    { schema: CREATE },
    async (request, reply) => {
      const key = idempotencyKey(request);
      // The key also names the order, because a repeated request must not make another one.
      const id = `order-${createHash('sha256').update(key).digest('hex').slice(0, 24)}`;
      const command: OrderCommand = { kind: 'create', ...request.body };
      const result = await run(store, id, command, {
        commandId: key,
        expectedRevision: 'no-stream',
      });
      tellRepeated(request, key, result);
      return reply
        .code(201)
        .header('location', `/orders/${id}`)
        .header('etag', etag(result.revision))
        .send(shown(id, result));
    },
  );

  app.post<{ Params: OrderParams; Body: { paymentId: string; amount: number; currency: string } }>(
    '/orders/:id/pay',
    { schema: PAY },
    async (request, reply) => {
      const { paymentId, ...amount } = request.body;
      return change(store, request, reply, {
        kind: 'pay',
        paymentId,
        amount: amount satisfies Money,
      });
    },
  );

  app.post<{ Params: OrderParams; Body: { reason: string } }>(
    '/orders/:id/cancel',
    { schema: CANCEL },
    async (request, reply) =>
      change(store, request, reply, { kind: 'cancel', reason: request.body.reason }),
  );
}

/** Adds the routes that read one order from its history, and lists of orders from the view. */
function addReads(app: FastifyInstance, store: EventStore, summaries: View<OrderSummary>): void {
  app.get<{ Params: OrderParams }>('/orders/:id', async (request, reply) => {
    const { id } = request.params;
    const { state, revision } = await store.load(orders, id);
    if (revision === 0) throw new RequestError(404, `there is no order ${id}`);
    void reply.header('etag', etag(revision));
    return request.headers['if-none-match'] === etag(revision)
      ? reply.code(304).send()
      : reply.send(shown(id, { state, revision }));
  });
  app.get<{ Querystring: { status?: string; customer?: string; limit: string; cursor?: string } }>(
    '/orders',
    { schema: LIST },
    async (request, reply) => {
      const { status, customer, limit, cursor } = request.query;
      const {
        rows,
        cursor: next,
        lag,
        asOf,
      } = await summaries.list({
        ...(status === undefined
          ? { index: 'customer', equals: customer as string }
          : { index: 'status', equals: status }),
        order: 'desc',
        limit: Number(limit),
        ...(cursor === undefined ? {} : { cursor }),
      });
      // The view follows the histories, and says how far behind it is.
      return reply.send({
        orders: rows.map(({ row, revision }) => ({ ...row, revision })),
        next,
        lag,
        asOf,
      });
    },
  );
}

/** Sends a command to an existing order. */
async function change(
  store: EventStore,
  request: FastifyRequest<{ Params: OrderParams }>,
  reply: FastifyReply,
  command: OrderCommand,
): Promise<FastifyReply> {
  const { id } = request.params;
  const commandId = idempotencyKey(request);
  const result = await run(store, id, command, { commandId, expectedRevision: ifMatch(request) });
  tellRepeated(request, commandId, result);
  return reply.header('etag', etag(result.revision)).send(shown(id, result));
}

async function run(
  store: EventStore,
  id: string,
  command: OrderCommand,
  { commandId, expectedRevision }: { commandId: string; expectedRevision: ExpectedRevision },
): Promise<CommandResult<OrderState>> {
  const fingerprint = createHash('sha256')
    .update(JSON.stringify(command))
    .digest('hex')
    .slice(0, 32);
  const result = await handleCommand(store, orders, id, command, {
    commandId,
    expectedRevision,
    extensions: { fingerprint },
  });
  if (result.repeated) {
    const first = result.events[0]?.revision ?? 1;
    for await (const event of store.read('order', id, { from: first, to: first })) {
      if (event.extensions['fingerprint'] !== fingerprint)
        throw new RequestError(
          422,
          `the Idempotency-Key ${commandId} was used for another request`,
        );
    }
  }
  return result;
}

function tellRepeated(
  request: FastifyRequest,
  commandId: string,
  { repeated }: CommandResult<OrderState>,
): void {
  if (repeated) request.log.info({ commandId }, 'answered as the first time');
}

function shown(
  id: string,
  { state, revision }: { readonly state: OrderState; readonly revision: number },
): object {
  return { orderId: id, revision, ...state };
}

const etag = (revision: number): string => `"${revision}"`;

function idempotencyKey(request: FastifyRequest): string {
  const key = request.headers['idempotency-key'];
  if (typeof key !== 'string' || key === '' || Buffer.byteLength(key) > 256)
    throw new RequestError(
      400,
      'an Idempotency-Key of 1 to 256 bytes is needed: it makes it safe to send the request again',
    );
  return key;
}

function ifMatch(request: FastifyRequest): ExpectedRevision {
  const given = request.headers['if-match'];
  if (given === undefined)
    throw new RequestError(
      428,
      'If-Match is needed: the ETag of the order as you have seen it, or * for whatever it is now',
    );
  if (given === '*') return 'stream-exists';
  const match = /^"(\d{1,9})"$/.exec(given);
  if (!match) throw new RequestError(400, `If-Match ${given} is no ETag of an order`);
  return Number(match[1]);
}

/** Answers every refusal as application/problem+json (RFC 9457). */
function answerError(
  error: FastifyError,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const answer = (status: number, detail: string, more: object = {}): FastifyReply =>
    reply
      .code(status)
      .type('application/problem+json')
      .send({ title: error.name, status, detail, ...more });
  if (error instanceof ConflictError) {
    void reply.header('etag', etag(error.actual));
    // A request that creates an order expects no revision. A request that changes one names the
    // revision that its sender saw.
    if (error.actual === 0) return answer(404, `there is no order ${error.id}`);
    return answer(error.expected === 'no-stream' ? 409 : 412, error.message, {
      expected: error.expected,
      actual: error.actual,
    });
  }
  if (error instanceof OrderRefusedError)
    return answer(error.status === 'none' ? 404 : 409, error.message, {
      orderStatus: error.status,
    });
  if (error instanceof HistoryFullError) return answer(409, error.message);
  if (
    error instanceof InvalidEventError ||
    error instanceof OversizeError ||
    error instanceof StoreInputError ||
    error instanceof ViewQueryError
  )
    return answer(400, error.message);
  if (error instanceof BackpressureError || error instanceof UnknownOutcomeError) {
    void reply.header(
      'retry-after',
      error instanceof BackpressureError ? Math.ceil(error.retryAfterMs / 1000) : 1,
    );
    return answer(
      503,
      error instanceof BackpressureError
        ? error.message
        : 'whether it was done is not known: send it again with the same Idempotency-Key',
    );
  }
  if (error instanceof UnknownViewError)
    return answer(503, 'there are no lists yet: the dispatcher has not started');
  const status = error.statusCode ?? 500;
  if (status < 500) return answer(status, error.message);
  request.log.error(error);
  return answer(500, 'something went wrong here');
}
