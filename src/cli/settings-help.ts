/** The settings for `--help`, printed from their one declaration. */
import { ENVIRONMENT } from '../config.ts';

const COLUMNS = 100;
const INDENT = '      ';

/** A name, its default and its range a line; its meaning below, wrapped. */
export function settingsHelp(): string {
  const settings = Object.entries(ENVIRONMENT).map(([name, { unset, range, text }]) => {
    const facts = [
      ...(unset === '' ? [] : [`default: ${unset}`]),
      ...(range === '' ? [] : [range]),
    ].join('; ');
    return [`  ${name}${facts === '' ? '' : `  (${facts})`}`, ...wrapped(plain(text))].join('\n');
  });
  return ['Settings, all from the environment:', ...settings].join('\n');
}

/** Markdown without its marks: the text of a link, code as it is. */
function plain(markdown: string): string {
  return markdown.replace(/\[([^\]]+)\]\([^)]*\)/g, '$1').replaceAll('`', '');
}

function wrapped(text: string): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > COLUMNS) lines.push(INDENT + word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}
