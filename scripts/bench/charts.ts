/**
 * `npm run charts`: draws the charts of docs/performance.md from the results in
 * docs/bench/bench.json, as SVG beside them. `-- FILE…` names other results: the charts show all of
 * them and stand beside the first. Exits with 1 where there are no results.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { drawCharts } from './draw-charts.ts';
import type { BenchResult, ScenarioResult } from './result.ts';
import { PACKAGE_DIR } from './settings.ts';

function readResults(file: string): readonly ScenarioResult[] {
  try {
    return (JSON.parse(readFileSync(file, 'utf8')) as BenchResult).scenarios;
  } catch (error) {
    console.error(`charts: ${(error as Error).message}. Run npm run bench -- --json ${file}`);
    process.exitCode = 1;
    return [];
  }
}

const given = process.argv.slice(2);
const files =
  given.length > 0
    ? given.map((file) => resolve(file))
    : [join(PACKAGE_DIR, 'docs', 'bench', 'bench.json')];
const results = files.flatMap(readResults);
if (process.exitCode === undefined) {
  for (const [name, svg] of drawCharts(results)) {
    const file = join(dirname(files[0] ?? ''), `${name}.svg`);
    if (svg === null) console.error(`charts: the results have nothing for ${name}.svg`);
    else {
      writeFileSync(file, svg);
      console.log(file);
    }
  }
}
