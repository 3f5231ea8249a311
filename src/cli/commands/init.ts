/** `millrace init`: writes a small project that runs as it is. Overwrites nothing. */
import { existsSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { makeFolder } from '../../core/make-folder.ts';
import type { CliContext } from '../context.ts';
import { createCatalog } from '../../wire/catalog.ts';
import { generateTypes } from '../../wire/generate-types.ts';
import { packageFolder, packageVersion } from '../../core/package-info.ts';

const PROTO_NAME = 'example/v1/greetings.proto';
const PROTO = `syntax = "proto3";

package example.v1;

import "millrace/v1/options.proto";

// This option declares the event type. Events of one subject are handled one after the other, in
// their order.
message GreetingRequested {
  option (millrace.v1.event) = { type: "greeting.requested", subject: "name" };
  string name = 1;
  string language = 2;
}
`;

export function registerInit(program: Command, context: CliContext): void {
  program
    .command('init')
    .description('create a project with one event type and one function')
    .argument('<dir>', 'folder to create; it may exist, without any of the files that init writes')
    .addHelpText(
      'after',
      `
Example:
  millrace init greetings`,
    )
    .action((dir: string) => init(dir, context));
}

function init(dir: string, context: CliContext): void {
  const root = resolve(dir);
  const files = scaffold(packageName(root), dependencyOf(root));
  const taken = [...files.keys()].filter((name) => existsSync(join(root, name)));
  if (taken.length > 0)
    throw new Error(
      `${dir} already has ${taken.join(', ')}; nothing was written. Move these files, or choose another folder`,
    );
  for (const [name, text] of files) {
    const path = join(root, name);
    makeFolder(dirname(path));
    // wx: a file that has appeared meanwhile stays.
    writeFileSync(path, text, { flag: 'wx' });
  }
  for (const name of files.keys()) context.out(`created ${join(dir, name)}`);
  context.err(`
Next:
  cd ${quoted(dir)}
  npm install
  npm start
and in a second terminal:
  npx millrace publish greeting.requested --data '{"name":"Ada"}'
  npx millrace lag`);
}

/** Quotes a path for a shell. */
function quoted(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) && !path.startsWith('-')
    ? path
    : `'${path.replaceAll("'", "'\\''")}'`;
}

/** Returns the folder's name in a form that npm accepts. */
function packageName(root: string): string {
  const name = basename(root)
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, '-')
    .replace(/^[._-]+|[._-]+$/g, '');
  return name === '' ? 'millrace-project' : name;
}

/**
 * Returns the dependency for `npm install`: the version in the registry, or the checkout that runs
 * this command.
 */
function dependencyOf(root: string): string {
  const own = fileURLToPath(packageFolder());
  return own.split(sep).includes('node_modules')
    ? `^${packageVersion()}`
    : `file:${relative(root, own).split(sep).join('/')}`;
}

function scaffold(name: string, millrace: string): Map<string, string> {
  const manifest = {
    name,
    version: '0.0.0',
    private: true,
    type: 'module',
    scripts: { start: 'millrace start', types: 'millrace proto' },
    dependencies: { millrace },
  };
  // The editor and `npx tsc` need this file. Running the project does not.
  const compiler = {
    compilerOptions: {
      target: 'ES2022',
      module: 'NodeNext',
      strict: true,
      noEmit: true,
      allowImportingTsExtensions: true,
      skipLibCheck: true,
    },
    include: ['workers'],
  };
  return new Map([
    ['package.json', `${JSON.stringify(manifest, null, 2)}\n`],
    ['tsconfig.json', `${JSON.stringify(compiler, null, 2)}\n`],
    ['.gitignore', 'node_modules/\n.millrace/\n'],
    [`proto/${PROTO_NAME}`, PROTO],
    [
      'workers/generated/events.ts',
      generateTypes(createCatalog([{ name: PROTO_NAME, text: PROTO }])),
    ],
    [
      'workers/hello.ts',
      `import { defineFunction } from 'millrace/define';

export default defineFunction({
  name: 'hello',
  on: ['greeting.requested'],
  async handle(event, ctx) {
    ctx.logger.info({ name: event.data.name }, 'hello');
  },
});
`,
    ],
    [
      'README.md',
      `# ${name}

Events in, functions out, with [Millrace](https://www.npmjs.com/package/millrace).

    npm install
    npm start

In a second terminal:

    npx millrace publish greeting.requested --data '{"name":"Ada"}'
    npx millrace tail greeting.requested --from start --limit 1
    npx millrace lag

\`lag\` shows what became of the event:

    function  appended  done  parked  dead  pending  lag  oldest  conserved
    hello            1     1       0     0        0    0       -  yes

- \`proto/\` declares the event types. After a change, \`npm run types\` writes their TypeScript types to \`workers/generated/\`.
- \`workers/\` holds the functions, one a file. TypeScript runs as it is.
- Without \`REDIS_URL\` Millrace runs a private Redis with its data in \`.millrace/\`.
`,
    ],
  ]);
}
