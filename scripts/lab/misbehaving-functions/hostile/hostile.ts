import { defineFunction } from '../../../../src/define/index.ts';
import { POLICY } from '../behave.ts';
import { THROWS } from './_throws.ts';

/**
 * Throws the value named by `order`, or the text after `text:`, in JSON. Subjects that begin with
 * `ok` succeed.
 */
export default defineFunction({
  name: 'hostile',
  on: ['test.event'],
  ...POLICY,
  retry: { attempts: 2, minDelayMs: 1, maxDelayMs: 1 },
  handle({ data }) {
    const { key, order } = data;
    if (key.startsWith('ok')) return;
    if (!order.startsWith('text:')) throw THROWS[order]?.();
    const text = JSON.parse(order.slice(5)) as string;
    throw Object.assign(new Error(text), { name: text, stack: text });
  },
});
