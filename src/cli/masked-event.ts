/** Events without their masked fields, for `--masked`. */
import { maskData, type MaskedData } from '../payload/mask-data.ts';
import type { Catalog } from '../wire/catalog.ts';
import { shapeOf, type MessageShape } from '../wire/message-shape.ts';
import { formatEvent } from './event-json.ts';

/**
 * Masks data by the local schema of its type.
 * @throws UnknownEventTypeError
 */
export function maskedData(catalog: Catalog, type: string, data: unknown): MaskedData {
  const shape = shapeOf(catalog.root, catalog.get(type).messageName) as MessageShape;
  return maskData(shape, data);
}

/**
 * Formats an event as one line. Masked values are null, and `masked` lists their paths. Extensions
 * are texts, so no event can have such a list.
 */
export function formatMasked(
  catalog: Catalog,
  header: Parameters<typeof formatEvent>[0],
  type: string,
  data: unknown,
  more: Readonly<Record<string, unknown>> = {},
): string {
  const { data: left, masked } = maskedData(catalog, type, data);
  return formatEvent(header, type, left, { ...more, masked });
}
