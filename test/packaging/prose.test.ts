/** The check of the prose (scripts/check-prose.mjs): what it reads in a file, and what it finds. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, normalize } from 'node:path';
import t from 'tap';
import { projectDir } from '../../scripts/lab/redis-server.ts';

const LONG = 'one two three four five six seven eight nine ten eleven twelve thirteen';
/** 26 words and 27 words. */
const W26 = `${LONG} ${LONG}`;
const W27 = `${W26} more`;

interface Row {
  readonly about: string;
  readonly file: string;
  readonly text: readonly string[];
  /** Lines with faults. */
  readonly faults: readonly number[];
}

const ROWS: readonly Row[] = [
  { about: 'short sentences', file: 'a.ts', text: ['// Reads a line. Writes it.'], faults: [] },
  { about: 'a long one', file: 'a.ts', text: [`// ${W26}.`], faults: [1] },
  { about: 'two long ones', file: 'a.ts', text: [`/** ${W26}. ${W27}. */`], faults: [1, 1] },
  { about: 'a clause', file: 'a.ts', text: ['/** What it reads. */'], faults: [1] },
  { about: 'an emphasised clause', file: 'a.md', text: ['**What** it reads.'], faults: [1] },
  { about: 'a question', file: 'a.ts', text: ['// What does it read?'], faults: [] },
  { about: 'an abbreviation', file: 'a.ts', text: ['// A file, e.g. of a view.'], faults: [] },
  { about: 'a template string', file: 'a.ts', text: [`const a = \`// ${W26}\`;`], faults: [] },
  {
    about: 'a template string with substitutions',
    file: 'a.ts',
    text: [`const a = \`\${b} // ${W26} \${c} /* What */ \${d} // ${W26}\`;`],
    faults: [],
  },
  {
    about: 'a comment within a substitution',
    file: 'a.ts',
    text: ['const a = `', '${b /* What it is. */} // What', '`;'],
    faults: [2],
  },
  {
    about: 'a message of an error',
    file: 'src/a.ts',
    text: ["throw new Error('it failed');", '', `throw new Error('${W26}. Fine.');`],
    faults: [3],
  },
  {
    about: 'a clause at the start of a message',
    file: 'src/a.ts',
    text: ["super('what it reads is gone');", "log('warn', `Fine. How it reads.`);"],
    faults: [1, 2],
  },
  {
    about: 'a value within a message is one word',
    file: 'src/a.ts',
    text: [`fail(\`\${a.b(1, 2, 3)} \${c} ${LONG}, \${d ? 'e f' : \`g h\`}\`);`],
    faults: [],
  },
  {
    about: 'texts within a value stand by themselves',
    file: 'src/a.ts',
    text: ['fail(`fine ${a ? `', `${W26}\` : ''}\`);`, '', "fail(b ? 'what it is' : c);"],
    faults: [2, 4],
  },
  {
    about: 'a message in several parts',
    file: 'src/a.ts',
    text: ['new AnError(', `  '${LONG} ' +`, `    a + \` ${LONG}\` +`, "    ' to the end',", ');'],
    faults: [2],
  },
  {
    about: 'the help of a command',
    file: 'src/a.ts',
    text: [
      "a.command('b').description('what it reads').option('-c', 'how often');",
      'a.addHelpText("after", `',
      'Targets:',
      `  one  ${LONG}`,
      `  two  ${LONG}`,
      '',
      'What follows.`);',
    ],
    faults: [1, 1, 7],
  },
  {
    about: 'code of another language',
    file: 'src/a.ts',
    text: [`const a = /* sh */ \`${W27}\`;`, 'const b = /* proto */', `  \`${W27}\`;`],
    faults: [],
  },
  {
    about: 'a text of a test',
    file: 'a.ts',
    text: [`t.test('${W27}');`],
    faults: [],
  },
  { about: 'a string', file: 'a.ts', text: [`const a = '// What' + "/* What */";`], faults: [] },
  { about: 'a regular expression', file: 'a.ts', text: ['const a = /[/*] What/;'], faults: [] },
  { about: 'text of JSX', file: 'a.tsx', text: ['const a = <a>// What it is.</a>;'], faults: [] },
  {
    about: 'a block comment at the end of the file',
    file: 'a.ts',
    text: ['a();', '/*', ' * Fine.', ' * What it is.', ' */'],
    faults: [3],
  },
  { about: 'a comment without its end', file: 'a.ts', text: ['a();', '/* What'], faults: [2] },
  {
    about: 'comments behind code stand apart',
    file: 'a.ts',
    text: [`a(); // ${LONG}`, `b(); // ${LONG}`],
    faults: [],
  },
  {
    about: 'two comments in a line',
    file: 'a.ts',
    text: ['a(/* What it is. */ 1 /* Who it is. */);'],
    faults: [1, 1],
  },
  {
    about: 'a comment in several lines',
    file: 'a.ts',
    text: [`// ${LONG}`, `// ${LONG}`],
    faults: [1],
  },
  {
    about: 'a comment before a closing brace',
    file: 'a.ts',
    text: ['if (a) {', '  b();', '  // What it is.', '}'],
    faults: [3],
  },
  {
    about: 'an empty object, an empty call',
    file: 'a.ts',
    text: ['a({', '  // What it is.', '});', 'b(/* Who it is. */);'],
    faults: [2, 4],
  },
  {
    about: 'tags',
    file: 'a.ts',
    text: ['/**', ` * ${LONG}`, ` * @param name ${LONG}`, ` * @returns ${LONG}`, ' */'],
    faults: [],
  },
  {
    about: 'an example',
    file: 'a.ts',
    text: [
      '/**',
      ' * @example',
      ` * ${W27}`,
      ' *',
      ` * ${W27}`,
      ' * @returns What it reads.',
      ' */',
    ],
    faults: [6],
  },
  {
    about: 'a drawing',
    file: 'a.ts',
    text: ['/**', ' * States:', ' *', ` *   ${W27}`, ' *', ' * What follows.', ' */'],
    faults: [6],
  },
  {
    about: 'a directive',
    file: 'a.ts',
    text: [`// eslint-disable-next-line a -- ${W27}`],
    faults: [],
  },
  {
    about: 'nested lists',
    file: 'a.md',
    text: [`- ${LONG}`, `  - ${LONG}`, `    1. ${LONG}`, `       - ${LONG}`, `         ${LONG}`],
    faults: [4],
  },
  {
    about: 'a paragraph of a list item',
    file: 'a.md',
    text: ['- One', '', '    What it is.'],
    faults: [3],
  },
  {
    about: 'a number at the start of a line',
    file: 'a.md',
    text: [`${LONG} until the year`, `2026. ${LONG}`],
    faults: [],
  },
  {
    about: 'a number that goes on with a sentence',
    file: 'a.md',
    text: [LONG, `12) ${LONG}`],
    faults: [1],
  },
  { about: 'a code span', file: 'a.md', text: ['A `What. ' + W27 + '` span.'], faults: [1] },
  {
    about: 'code spans in several lines, and with backticks within',
    file: 'a.md',
    text: ['A ``span ` What. ' + LONG, `${LONG}\`\``, `and \`${LONG}\``, `and \`${LONG}\`.`],
    faults: [],
  },
  {
    about: 'code blocks',
    file: 'a.md',
    text: ['````', '```', W27, '````', '', '~~~ts', '```', 'What', '~~~', 'What.'],
    faults: [10],
  },
  { about: 'indented code', file: 'a.md', text: ['Text', '', `    ${W27}`], faults: [1 + 2] },
  { about: 'HTML comments', file: 'a.md', text: ['<!-- What', 'Who', '-->', 'What.'], faults: [4] },
  { about: 'headings and tables', file: 'a.md', text: ['## What', '', `| ${W27} |`], faults: [] },
  { about: 'a wide line', file: 'a.md', text: [`${'long '.repeat(20)}x`], faults: [1] },
  { about: 'a wide table', file: 'a.md', text: [`| ${'x | '.repeat(50)}`], faults: [] },
  {
    about: 'a wide link',
    file: 'a.md',
    text: [`- [two words](https://example.com/${'x'.repeat(100)})`],
    faults: [],
  },
  {
    about: 'a wide command',
    file: 'a.md',
    text: ['```sh', `ls ${'x '.repeat(50)}`, '```'],
    faults: [2],
  },
  {
    about: 'a wide output',
    file: 'a.md',
    text: ['```', `ls ${'x '.repeat(50)}`, '```'],
    faults: [],
  },
  {
    about: 'Lua',
    file: 'a.lua',
    text: [
      "local a = '-- What' .. [[ -- What ]] -- Who it is.",
      '--[[ What it is.',
      ']]',
      '--[==[ Fine ]] too. What. ]==]',
      '-- What',
      '-- it is.',
    ],
    faults: [1, 2, 4, 5],
  },
  {
    about: 'a wide line of Lua',
    file: 'a.lua',
    text: [
      `local a = '${'x'.repeat(88)}'`,
      `local a = '${'x'.repeat(89)}'`,
      `-- ${'x'.repeat(98)}`,
    ],
    faults: [2, 3],
  },
  {
    about: 'a wide line of JavaScript beside the code',
    file: 'a.mjs',
    text: [`a('${'x'.repeat(95)}');`, `a(); // ${'x'.repeat(93)}`],
    faults: [1, 2],
  },
  {
    about: 'a wide line of TypeScript, which ESLint judges',
    file: 'a.ts',
    text: [`a('${'x'.repeat(95)}');`],
    faults: [],
  },
  {
    about: 'the contract of a Lua header',
    file: 'a.lua',
    text: [
      '-- What it is.',
      `-- KEYS 1 ${LONG}`,
      `--       2 ${LONG}`,
      '-- What',
      `return 1 -- KEYS ${LONG}`,
    ],
    faults: [1, 4],
  },
  {
    about: 'protobuf',
    file: 'a.proto',
    text: ['string a = 1 [default = "// What"]; // Who', '/* Of a view. */'],
    faults: [1, 2],
  },
  {
    about: 'a shell script',
    file: 'a.sh',
    text: ['#!/bin/sh', 'echo "# What" ${#a}', '  # What it is.'],
    faults: [3],
  },
];

t.test('what it finds', async (t) => {
  const names = ROWS.map(({ file }, i) => file.replace(/a\.(?=\w+$)/, `${i}.`));
  const inFolder = (folder: string): Record<string, string> =>
    Object.fromEntries(
      names.flatMap((name, i) =>
        dirname(name) === folder ? [[basename(name), ROWS[i]?.text.join('\n') ?? '']] : [],
      ),
    );
  const dir = t.testdir({ ...inFolder('.'), src: inFolder('src') });
  const script = join(projectDir, 'scripts/check-prose.mjs');
  const paths = names.map((name) => join(dir, name));
  const { stdout, stderr, status } = spawnSync(process.execPath, [script, '--files', ...paths], {
    encoding: 'utf8',
    cwd: dir,
  });
  t.equal(stderr, '');
  t.equal(status, 1);
  ROWS.forEach(({ about, faults }, i) => {
    const path = paths[i] as string;
    const found = stdout.split('\n').filter((line) => line.startsWith(`${path}:`));
    t.strictSame(
      found.map((line) => Number(line.slice(path.length + 1).split(':')[0])),
      faults,
      `${about}: ${found.join('; ')}`,
    );
  });
});

/** As GitHub makes anchors of headings. */
const anchorOf = (heading: string): string =>
  heading
    .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replace(/\s/g, '-');

/** Pages of docs/. Its folders hold files for other programs. */
const pagesOfDocs = (): string[] =>
  readdirSync(join(projectDir, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`);

t.test('each link of the docs leads somewhere', async (t) => {
  const docs = pagesOfDocs();
  const pages = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', ...docs];
  const proseOf = (page: string): string =>
    readFileSync(join(projectDir, page), 'utf8').replace(/^```[^]*?^```/gm, '');
  const anchors = new Map(
    pages.map((page) => [
      page,
      [...proseOf(page).matchAll(/^#+ (.*)$/gm)].map(([, heading]) => anchorOf(heading as string)),
    ]),
  );
  for (const page of pages)
    for (const [, target] of proseOf(page).matchAll(/\]\((?!https?:)([^)]+)\)/g)) {
      const [path, anchor] = (target as string).split('#');
      const file = path ? normalize(join(dirname(page), path)) : page;
      t.ok(existsSync(join(projectDir, file)), `${page}: ${target}`);
      if (anchor !== undefined)
        t.ok(anchors.get(file)?.includes(anchor), `${page}: no heading for ${target}`);
    }
});

/** Tracked files; generated and ignored ones are left out. */
const filesOf = (...patterns: string[]): string[] =>
  spawnSync('git', ['ls-files', '-z', '--', ...patterns], { cwd: projectDir, encoding: 'utf8' })
    .stdout.split('\0')
    .filter((path) => path !== '');

t.test('each path, script, variable and flag that the docs name is there', async (t) => {
  const docs = pagesOfDocs();
  const code = filesOf('src', 'scripts', 'test', 'workers', '.ci', '*.json', '*.js')
    .map((path) => readFileSync(join(projectDir, path), 'utf8'))
    .join('\n');
  const names = new Set(code.match(/\b[A-Z][A-Z0-9_]+\b/g));
  const flags = new Set(code.match(/--[a-z][a-z-]+/g));
  const { scripts } = JSON.parse(readFileSync(join(projectDir, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  for (const page of ['README.md', 'CONTRIBUTING.md', ...docs]) {
    const text = readFileSync(join(projectDir, page), 'utf8');
    for (const [, path] of text.matchAll(/`((?:test|src|scripts)\/[\w./-]+)`/g))
      t.ok(existsSync(join(projectDir, path as string)), `${page}: ${path}`);
    for (const [, script] of text.matchAll(/npm run (?:--silent )?([a-z][\w:-]*)/g))
      t.ok(Object.hasOwn(scripts, script as string), `${page}: npm run ${script}`);
    for (const [name] of text.matchAll(/\bMILLRACE_[A-Z0-9_]+\b/g))
      t.ok(names.has(name), `${page}: ${name}`);
    for (const [, flag] of text.matchAll(/millrace [^\n`|]*?(--[a-z][a-z-]+)/g))
      t.ok(flags.has(flag as string), `${page}: ${flag}`);
  }
});
