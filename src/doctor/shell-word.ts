/** Returns the text as one word of bash. */
export function shellWord(text: string): string {
  if (/^[\w@%+=:,./-]+$/.test(text)) return text;
  // Terminals and logs show no control characters, so that people cannot paste them.
  if (/[\p{C}\p{Zl}\p{Zp}]/u.test(text)) return `$'${[...text].map(escaped).join('')}'`;
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function escaped(character: string): string {
  if (/^['\\]$/.test(character)) return `\\${character}`;
  if (!/[\p{C}\p{Zl}\p{Zp}]/u.test(character)) return character;
  const bytes = [...Buffer.from(character)];
  return bytes.map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('');
}
