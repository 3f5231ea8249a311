/** `--help` of every command: no text is missing, each has an example, and the prose is plain. */
import type { Command } from 'commander';
import t from 'tap';
import { buildProgram } from '../../src/cli/program.ts';
import { bareContext } from './bare-context.ts';

/** The two rules of CONTRIBUTING.md on prose that a machine can judge. */
const MAX_WORDS = 25;
const CLAUSE = /^(What|Who|Whoever|Whatever|Whose|Of|How|Those that|That which)\b/i;

const program = await buildProgram(bareContext({ stdout: '', stderr: '' }));
const commands = [program, ...program.commands.flatMap((one) => [one, ...one.commands])];

function nameOf(command: Command): string {
  return command.parent ? `${nameOf(command.parent)} ${command.name()}` : command.name();
}

/** The text below the options. */
function epilogueOf(command: Command): string {
  let text = '';
  command.configureOutput({ writeOut: (piece) => (text += piece) });
  command.outputHelp();
  return text.replace(command.helpInformation(), '');
}

/** Paragraphs of an epilogue, and the last cell of each row of its tables. No examples. */
function paragraphsOf(epilogue: string): string[] {
  const paragraphs: string[] = [];
  let last = -1;
  let inExamples = false;
  for (const line of epilogue.split('\n')) {
    const indent = line.search(/\S/);
    if (indent === 0) inExamples = /^Examples?:$/.test(line);
    const isRow = indent > 0 && indent <= 2;
    if (indent >= 0 && !inExamples) {
      const text = isRow
        ? (line
            .trim()
            .split(/\s{2,}/)
            .at(-1) as string)
        : line.trim();
      if (indent === last && !isRow) paragraphs.push(`${paragraphs.pop()} ${text}`);
      else paragraphs.push(text);
    }
    last = indent;
  }
  return paragraphs;
}

const sentencesOf = (text: string): string[] => text.split(/(?<=[.:?])\s+(?=[A-Z"])/);
const wordsOf = (sentence: string): number =>
  sentence.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word)).length;

t.test('each command, argument and option is described', async (t) => {
  t.ok(commands.length > 40, 'all commands are loaded');
  for (const command of commands) {
    t.match(command.description(), /\S/, nameOf(command));
    for (const { description, name } of command.registeredArguments.map((one) => ({
      description: one.description,
      name: one.name(),
    })))
      t.match(description, /\S/, `${nameOf(command)} <${name}>`);
    for (const { description, flags } of command.options)
      t.match(description, /\S/, `${nameOf(command)} ${flags}`);
  }
});

t.test('each command of the first level has an example', async (t) => {
  for (const command of program.commands)
    t.match(epilogueOf(command), /Examples?:\n +.*millrace /, nameOf(command));
});

t.test('each sentence is short, and begins with a noun or a verb', async (t) => {
  for (const command of commands) {
    const texts = [
      command.description(),
      ...command.registeredArguments.map((one) => one.description),
      ...command.options.map((one) => one.description),
      ...paragraphsOf(epilogueOf(command)),
    ];
    for (const sentence of texts.flatMap(sentencesOf)) {
      if (wordsOf(sentence) > MAX_WORDS)
        t.fail(`${nameOf(command)}: ${wordsOf(sentence)} words: ${sentence}`);
      if (CLAUSE.test(sentence)) t.fail(`${nameOf(command)}: begins with a clause: ${sentence}`);
    }
  }
});

t.test('a line has at most 100 columns', async (t) => {
  for (const command of commands)
    for (const line of epilogueOf(command).split('\n'))
      if (line.length > 100 && !line.includes(' millrace '))
        t.fail(`${nameOf(command)}: ${line.length} columns: ${line}`);
});
