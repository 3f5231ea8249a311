/** Rules for enums that both versions have, and for reserved numbers and names. */
import type { Report } from './finding.ts';
import { Reservations } from './indexed-message.ts';
import type { EnumModel, Reserved } from './model.ts';

export function compareEnum(report: Report, name: string, now: EnumModel, before: EnumModel): void {
  if (now.syntax !== before.syntax)
    report.add(
      'SYNTAX_CHANGED',
      { path: name, reader: now.syntax, writer: before.syntax },
      `its file was ${before.syntax} and is ${now.syntax}`,
      `Make the file ${before.syntax} again`,
      'both',
    );
  const names = new Map(now.values);
  const nameOf = new Map(now.values.map(([value, number]) => [number, value]));
  const reserved = new Reservations(now.reserved);
  for (const [value, number] of before.values) {
    const path = `${name}.${value}`;
    const moved = names.get(value);
    if (!nameOf.has(number)) {
      if (!reserved.reserves(number))
        report.add(
          'ENUM_VALUE_REMOVED_UNRESERVED',
          { path, reader: '', writer: String(number) },
          `value ${number} is gone and its number is not reserved: somebody may use it again`,
          `Add: reserved ${number}; reserved "${value}";`,
          'both',
        );
    } else if (moved === undefined)
      report.warn(
        'ENUM_VALUE_RENAMED',
        { path, reader: nameOf.get(number) ?? '', writer: value },
        `value ${number} has another name: the bytes are the same, JSON is not`,
        `Keep the name ${value}, or allow_alias`,
      );
    else if (moved !== number)
      report.add(
        'ENUM_VALUE_RENUMBERED',
        { path, reader: String(moved), writer: String(number) },
        `${value} was ${number} and is ${moved}`,
        `Give ${value} the number ${number} again`,
        'both',
      );
  }
  compareReservations(report, name, reserved, before.reserved);
}

export function compareReservations(
  report: Report,
  path: string,
  now: Reservations,
  before: Reserved,
): void {
  for (const [from, to] of before.ranges) {
    const numbers = from === to ? String(from) : `${from} to ${to}`;
    if (!now.reserves(from, to))
      report.add(
        'RESERVATION_REMOVED',
        { path, reader: '', writer: numbers },
        'a number that was reserved no longer is: an old field had it',
        `Add: reserved ${numbers};`,
        'both',
      );
  }
  for (const name of before.names) {
    if (!now.reservedNames.has(name))
      report.add(
        'RESERVATION_REMOVED',
        { path, reader: '', writer: `"${name}"` },
        'a name that was reserved no longer is: an old field had it',
        `Add: reserved "${name}";`,
        'both',
      );
  }
}
