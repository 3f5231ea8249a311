/**
 * `npm run proto`: writes the static code of the wire format (src/wire/generated) and the types of
 * the example's events (workers/generated). With `--check` it writes nothing, and exits with 1
 * where the committed files are out of date.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createCatalog } from '../src/wire/catalog.ts';
import { loadProtoFolder } from '../src/wire/proto-folder.ts';
import { generateTypes } from '../src/wire/generate-types.ts';

const check = process.argv.includes('--check');
const work = mkdtempSync(join(tmpdir(), 'millrace-proto-'));
const bin = (name: string): string => join('node_modules', '.bin', name);

try {
  const js = join(work, 'millrace.js');
  const dts = join(work, 'millrace.d.ts');
  const sources = ['proto/millrace/v1/batch.proto', 'proto/millrace/v1/parked.proto'];
  execFileSync(bin('pbjs'), [
    '-t',
    'static-module',
    '-w',
    'es6',
    '-r',
    'millrace_v1',
    '--no-service',
    '-p',
    'proto',
    '-o',
    js,
    ...sources,
  ]);
  execFileSync(bin('pbts'), ['-o', dts, js]);
  const wanted: [string, string][] = [
    [
      'src/wire/generated/millrace.js',
      readFileSync(js, 'utf8').replace(
        /from "protobufjs\/minimal"/,
        'from "protobufjs/minimal.js"',
      ),
    ],
    ['src/wire/generated/millrace.d.ts', readFileSync(dts, 'utf8')],
    ['workers/generated/events.ts', generateTypes(createCatalog(loadProtoFolder('proto')))],
  ];
  let stale = 0;
  for (const [path, text] of wanted) {
    const now = existsSync(path) ? readFileSync(path, 'utf8') : null;
    if (now === text) continue;
    if (check) {
      stale++;
      console.error(`${path} is not what proto/ says: run npm run proto`);
    } else {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text);
      console.log(`wrote ${path}`);
    }
  }
  if (check && stale === 0) console.log('generated code is up to date');
  process.exitCode = stale > 0 ? 1 : 0;
} finally {
  rmSync(work, { recursive: true, force: true });
}
