/**
 * Tells the customer. The mail server of this example is busy now and then: a retry helps. Some
 * mailboxes do not exist: no retry helps, and the event goes straight to the dead letters.
 */
import { defineFunction, NonRetryableError } from 'millrace/define';

export default defineFunction({
  name: 'notification',
  on: ['order.created', 'order.cancelled'],
  retry: { attempts: 4, minDelayMs: 50, maxDelayMs: 500 },
  handle(event, ctx) {
    const luck = checksum(event.subject);
    if (luck % 211 === 0)
      throw new NonRetryableError(`no such mailbox: ${event.data.userId || 'guest'}@example.com`);
    if (luck % 50 === 1 && ctx.attempt === 1) throw new Error('the mail server is busy');
    ctx.logger.debug({ to: event.data.userId, order: event.subject }, 'mail sent');
  },
});

function checksum(text: string): number {
  let sum = 7;
  for (let i = 0; i < text.length; i++) sum = (sum * 31 + text.charCodeAt(i)) % 1_000_003;
  return sum;
}
