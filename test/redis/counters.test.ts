/** The scripts write the names of counters as literals: each of them is one of counters.ts. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { COUNTER_NAMES, spoiltField, splitCounterField } from '../../src/redis/counters.ts';
import { projectDir } from '../../scripts/lab/redis-server.ts';

/** First parts of fields of other hashes: the views, and the schemas of a subject. */
const OF_VIEWS = ['generation', 'live', 'lookups', 'previous'];
const OF_SUBJECTS = ['at', 'by', 'deleted', 'git', 'gone', 'id'];

t.test('every name that a script puts together is known', (t) => {
  const src = join(projectDir, 'src');
  const scripts = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.lua'),
  );
  const unknown: string[] = [];
  const met = new Set<string>();
  for (const file of scripts) {
    const others = file.startsWith('registry') ? OF_SUBJECTS : OF_VIEWS;
    for (const [, name = ''] of readFileSync(join(src, file), 'utf8').matchAll(
      /'([a-z]+):' ?\.\./g,
    )) {
      met.add(name);
      if (!COUNTER_NAMES.has(name) && !others.includes(name)) unknown.push(`${file}: ${name}`);
    }
  }
  t.strictSame(unknown, []);
  t.ok(met.size > 30, 'the literals are found');
  t.end();
});

t.test('names are taken apart', (t) => {
  t.strictSame(splitCounterField('dead:f:a.b'), ['dead', 'f', 'a.b']);
  t.strictSame(splitCounterField('appended:a.b'), ['appended', 'a.b', undefined]);
  t.strictSame(splitCounterField('outbox'), ['outbox', undefined, undefined]);
  t.equal(spoiltField('spoilt:dead:f:a.b'), 'dead:f:a.b');
  t.equal(spoiltField('dead:f:a.b'), null);
  t.end();
});
