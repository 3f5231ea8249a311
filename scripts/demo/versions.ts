/**
 * Versions of the shop's order.created: the present one, one that may follow it, and one that must
 * not.
 */
import { readFileSync } from 'node:fs';

export function orderVersions(ordersProto: string): {
  readonly first: string;
  readonly second: string;
  readonly wrong: string;
} {
  const first = readFileSync(ordersProto, 'utf8');
  return {
    first,
    /** Removes one field of a nested message and adds two, one of them an enum. */
    second: replaced(
      replaced(first, '  string description = 2;\n', '  reserved 2;\n  reserved "description";\n'),
      '  Money total = 5;\n}',
      '  Money total = 5;\n  Channel channel = 6;\n  optional string voucher = 7;\n}\n\nenum Channel {\n  CHANNEL_UNSPECIFIED = 0;\n  CHANNEL_WEB = 1;\n  CHANNEL_APP = 2;\n}',
    ),
    /** Removes the same field without reserving it, and changes the meaning of another number. */
    wrong: replaced(
      replaced(first, '  string description = 2;\n', ''),
      'string country = 3;',
      'int32 country = 3;',
    ),
  };
}

function replaced(text: string, from: string, to: string): string {
  if (!text.includes(from))
    throw new Error(`proto/shop/v1/orders.proto no longer has ${JSON.stringify(from)}`);
  return text.replace(from, to);
}
