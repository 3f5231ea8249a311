import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import t from 'tap';
import type { FileDescription } from '../../../src/core/thread-protocol.ts';
import { findIn } from '../../../src/pipeline/run/describe-functions.ts';
import { FunctionLoader } from '../../../src/thread/load-functions.ts';

type Files = Readonly<Record<string, string>>;

// The compiled test lies below dist/test/pipeline/run/.
const REPOSITORY = fileURLToPath(new URL('../../../..', import.meta.url));

function project(t: Tap, files: Files, links: Files = {}): string {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'millrace-files-')));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const all = { 'package.json': '{"type":"module"}', ...files };
  for (const [name, text] of Object.entries(all)) {
    mkdirSync(dirname(join(dir, name)), { recursive: true });
    writeFileSync(join(dir, name), text);
  }
  mkdirSync(join(dir, 'node_modules'), { recursive: true });
  symlinkSync(REPOSITORY, join(dir, 'node_modules', 'millrace'));
  for (const [name, target] of Object.entries(links)) symlinkSync(target, join(dir, name));
  return dir;
}

type Tap = Pick<typeof t, 'teardown'>;

/** A function file whose consumer's name tells the value of `value`. */
function fn(name: string, head: string, value: string): string {
  return `import { defineFunction } from 'millrace/define';\n${head}\n(globalThis.told ??= {})['${name}'] = ${value};\nexport default defineFunction({ name: '${name}', on: ['a.b'], async handle() {} });\n`;
}

async function load(
  dir: string,
): Promise<{ told: Record<string, unknown>; problems: string[]; described: FileDescription[] }> {
  const shared = globalThis as { told?: Record<string, unknown> };
  shared.told = {};
  const { files, problems } = await findIn(join(dir, 'workers'));
  const described = await new FunctionLoader(files).describe();
  const failed = described.flatMap(({ source, problem }) =>
    problem === null ? [] : [`${source} ${problem}`],
  );
  return { told: shared.told, problems: [...problems, ...failed], described };
}

const COUNTER = 'export const state = { n: 0 };\nexport const next = () => ++state.n;\n';

interface Case {
  readonly title: string;
  readonly files: Files;
  readonly links?: Files;
  readonly told: (dir: string) => Record<string, unknown>;
}

const CASES: readonly Case[] = [
  {
    title: 'a CommonJS helper with require',
    files: {
      'workers/a.ts': fn(
        'a',
        "import { up } from './lib/helper.cjs'; import old from './lib/old/index.js';",
        '[up, old.here]',
      ),
      'workers/lib/helper.cjs':
        "const { join } = require('node:path'); exports.up = join('x', '..', require('./n.json').n);",
      'workers/lib/n.json': '{"n":"y"}',
      'workers/lib/old/package.json': '{}',
      'workers/lib/old/index.js':
        "module.exports = { here: require('node:path').basename(__dirname) };",
    },
    told: () => ({ a: ['y', 'old'] }),
  },
  {
    title: 'the place of each source',
    files: {
      'workers/a.ts': fn(
        'a',
        "import { at } from './lib/at.ts'; import { cjs } from './lib/c.cts';",
        '[import.meta.url, import.meta.dirname, import.meta.filename, at, cjs]',
      ),
      'workers/lib/at.ts': 'export const at = [import.meta.dirname, import.meta.filename];',
      'workers/lib/c.cts':
        "import path = require('node:path'); exports.cjs = [__dirname, path.basename(__filename)];",
    },
    told: (dir) => ({
      a: [
        pathToFileURL(`${dir}/workers/a.ts`).href,
        `${dir}/workers`,
        `${dir}/workers/a.ts`,
        [`${dir}/workers/lib`, `${dir}/workers/lib/at.ts`],
        [`${dir}/workers/lib`, 'c.cts'],
      ],
    }),
  },
  {
    title: 'a workspace package and a package in TypeScript',
    files: {
      'packages/shop/package.json':
        '{"name":"shop","type":"module","exports":{".":"./src/index.ts"}}',
      'packages/shop/src/index.ts':
        "import type { T } from './t.ts';\nexport { half } from './half.js';\nexport const whole: T = 2;",
      'packages/shop/src/t.ts': 'export type T = number;',
      'packages/shop/src/half.ts': 'enum E { One = 1 }\nexport const half: number = E.One;',
      'node_modules/raw/package.json': '{"name":"raw","type":"module","exports":"./i.ts"}',
      'node_modules/raw/i.ts': 'export const raw: number = 3;',
      'node_modules/dual/package.json':
        '{"name":"dual","exports":{"module":"./m.js","import":"./i.mjs","require":"./r.cjs"}}',
      'node_modules/dual/i.mjs': "export default 'import';",
      'node_modules/dual/r.cjs': "module.exports = 'require';",
      'workers/a.ts': fn(
        'a',
        "import { half, whole } from 'shop'; import { raw } from 'raw'; import dual from 'dual';",
        "[half, whole, raw, dual, require('dual')]",
      ),
    },
    links: { 'node_modules/shop': '../packages/shop' },
    told: () => ({ a: [1, 2, 3, 'import', 'require'] }),
  },
  {
    title: 'one instance of a shared module, whoever imports it',
    files: {
      'workers/a.ts': fn(
        'a',
        "import { next } from './_ts.ts'; import { next as js } from './_js.js';",
        '[next(), js()].length',
      ),
      'workers/b.ts': fn(
        'b',
        "import { next } from './_ts.js'; import { next as js } from './_js.js';",
        '[next(), js()].length',
      ),
      'workers/c.js': fn(
        'c',
        "import { next } from './_ts.ts'; import { next as js } from './_js.js';",
        '[next(), js()].length',
      ),
      'workers/d.js': fn('d', "import { next as js } from './_js.js';", '[js()].length'),
      'workers/z.ts': fn(
        'z',
        "import './a.ts'; import './b.ts'; import './c.js'; import './d.js'; import { state } from './_ts.ts'; import { state as js } from './_js.js';",
        '[state.n, js.n]',
      ),
      'workers/_ts.ts': COUNTER,
      'workers/_js.js': COUNTER,
    },
    told: () => ({ a: 2, b: 2, c: 2, d: 1, z: [3, 4] }),
  },
  {
    title: 'every extension',
    files: Object.fromEntries(
      ['ts', 'mts', 'tsx', 'js', 'mjs', 'jsx', 'cjs', 'cts', 'd.cts', 'test.tsx'].map((ext) => {
        const text = fn(ext, '', '1');
        const cjs = `const { kind } = { kind: 'millrace.function' };\n(globalThis.told ??= {})['${ext}'] = 1;\nmodule.exports = { kind, spec: { name: '${ext}' } };`;
        return [`workers/f${ext.replaceAll('.', '')}.${ext}`, ext === 'cjs' ? cjs : text];
      }),
    ),
    told: () =>
      Object.fromEntries(
        ['ts', 'mts', 'tsx', 'js', 'mjs', 'jsx', 'cjs', 'cts'].map((ext) => [ext, 1]),
      ),
  },
  {
    title:
      'what a compiler did before: JSON, cycles, types exported on, ES modules in an untyped package',
    files: {
      'package.json': '{}',
      'data.json': '{"n":1}',
      'workers/a.ts': fn(
        'a',
        "import { n } from '../data.json'; import { ping } from './lib/ping'; import { T, v } from './lib/types.ts'; import { js } from './lib/js.js'; const x: T = v;",
        '[n, ping(2), x, js]',
      ),
      'workers/lib/ping.ts':
        "import { pong } from './pong';\nexport const ping = (n: number): string => n === 0 ? 'end' : pong(n - 1);",
      'workers/lib/pong.ts':
        "import { ping } from './ping';\nexport const pong = (n: number): string => ping(n);",
      'workers/lib/types.ts':
        "import { T } from './own-types.ts';\nexport { T };\nexport { U } from './own-types.ts';\nexport const v: T = 5;",
      'workers/lib/own-types.ts': 'export type T = number;\nexport interface U { a: T }\n',
      'workers/lib/js.js': "import { more } from './more';\nexport const js = more;",
      'workers/lib/more.js': "export const more = 'more';",
    },
    told: () => ({ a: [1, 'end', 5, 'more'] }),
  },
  {
    title: 'a project folder that cannot be written',
    files: {
      '.millrace': '',
      'workers/a.ts': fn('a', "import { next } from './_ts.ts';", 'next()'),
      'workers/_ts.ts': COUNTER,
    },
    told: () => ({ a: 1 }),
  },
];

for (const { title, files, links, told } of CASES) {
  t.test(title, async (t) => {
    const dir = project(t, files, links);
    const loaded = await load(dir);
    t.strictSame(loaded.problems, []);
    t.strictSame(loaded.told, told(dir));
  });
}

t.test('the version of a function is that of its code, wherever it lies', async (t) => {
  const files = {
    'workers/a.ts': fn('a', "import { at } from './lib/at.ts';", 'at'),
    'workers/b.ts': fn('b', '', 'import.meta.url'),
    'workers/lib/at.ts': 'export const at = import.meta.url;',
  };
  const changed = { ...files, 'workers/lib/at.ts': 'export const at = 1;' };
  const versions: string[][] = [];
  for (const each of [files, files, changed]) {
    const dir = project(t, each);
    versions.push((await load(dir)).described.map(({ version }) => version));
  }
  t.strictSame(versions[0], versions[1]);
  t.not(versions[2]?.[0], versions[0]?.[0], 'a helper changed');
  t.equal(versions[2]?.[1], versions[0]?.[1], 'nothing of it changed');
});

t.test('what does not compile is named with its file and line', async (t) => {
  const dir = project(t, {
    'workers/a.ts': fn('a', "import './lib/broken.ts';", '1'),
    'workers/b.ts': fn('b', "import 'not-installed';", '1'),
    'workers/c.ts': fn('c', "import { gone } from './lib/good.ts';", 'gone'),
    'workers/lib/broken.ts': '\nexport const = 1;',
    'workers/lib/good.ts': 'export const good = 1;',
    'workers/ok.ts': fn(
      'ok',
      "let found = 0; try { require('not-installed'); } catch { found = 2; }",
      'found',
    ),
  });
  const { problems, told } = await load(dir);
  t.match(problems[0], /a\.ts does not compile: .*broken\.ts, line 2/);
  t.match(problems[1], /b\.ts does not compile: line 2: Could not resolve "not-installed"/);
  t.match(problems[2], /c\.ts does not compile: line 2: No matching export/);
  t.equal(problems.length, 3);
  t.strictSame(told, { ok: 2 });
});
