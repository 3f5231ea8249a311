/** `millrace proto`: the TypeScript types of the project's events. */
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import { makeFolder } from '../../core/make-folder.ts';
import { ConfigError } from '../../core/errors/input-errors.ts';
import { createCatalog } from '../../wire/catalog.ts';
import { loadProtoFolder } from '../../wire/proto-folder.ts';
import { generateTypes } from '../../wire/generate-types.ts';
import type { LongRunningContext } from '../context.ts';
import { plural } from '../options.ts';

export function registerProto(program: Command, context: LongRunningContext): void {
  program
    .command('proto')
    .description('write the TypeScript types of the event types')
    .argument('[dir]', 'folder of the .proto files', './proto')
    .option('--out <file>', 'file to write', './workers/generated/events.ts')
    .option('--check', 'write nothing; exit status 1 if the file is not up to date (for CI)')
    .addHelpText(
      'after',
      `
Example:
  millrace proto ./proto --out ./workers/generated/events.ts`,
    )
    .action((dir: string, flags: { out: string; check?: boolean }) => {
      const catalog = createCatalog(loadProtoFolder(resolve(dir)));
      if (catalog.types.size === 0)
        throw new ConfigError([
          `no message under ${dir} has option (millrace.v1.event): add it to the message of each event type`,
        ]);
      const text = generateTypes(catalog);
      if (flags.check) {
        if (read(flags.out) === text) return;
        context.err(`millrace: ${flags.out} is not up to date with ${dir}: run millrace proto`);
        context.fail();
        return;
      }
      // An unchanged file keeps its time, so that watchers stay quiet.
      if (read(flags.out) !== text) {
        makeFolder(dirname(resolve(flags.out)));
        writeFileSync(flags.out, text);
      }
      context.out(
        `${flags.out}: ${plural(catalog.types.size, 'event type')} (${[...catalog.types.keys()].join(', ')})`,
      );
    });
}

function read(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
