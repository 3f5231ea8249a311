/** The settings for `--help`, printed from their one declaration. */
import { ENVIRONMENT } from '../config.ts';

const COLUMNS = 100;
const INDENT = '      ';

/** Returns a line for each setting, with name, default and range, and its meaning wrapped below. */
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

/** Removes the marks of Markdown: of a link the text remains, of code the content. */
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
