/**
 * The .proto files of another state of the source: another folder, or a git revision of the folder.
 */
import { execFile } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { loadProtoFolder, type ProtoSource } from '../wire/proto-folder.ts';
import { UsageError } from './exit-status.ts';

const run = promisify(execFile);
const MAX_BYTES = 16 * 1024 * 1024;

/**
 * @param against a folder, or a git revision (branch, tag, commit) at which `protoDir` is read
 * @throws UsageError if `against` is neither; ConfigError for files that are too many or too large
 */
export async function protoAt(against: string, protoDir: string): Promise<ProtoSource[]> {
  if (existsSync(against) && statSync(against).isDirectory())
    return loadProtoFolder(resolve(against));
  const cwd = resolve(protoDir);
  const git = async (...args: string[]): Promise<string> =>
    (await run('git', args, { cwd, maxBuffer: MAX_BYTES })).stdout;
  let revision: string;
  try {
    // --end-of-options: `against` is a revision, never an option.
    revision = (
      await git('rev-parse', '--verify', '--quiet', '--end-of-options', `${against}^{commit}`)
    ).trim();
  } catch {
    throw new UsageError(
      `${JSON.stringify(against)} is neither a folder nor a git revision known in ${protoDir}`,
    );
  }
  const names = (await git('ls-tree', '-r', '-z', '--name-only', revision, '.')).split('\0');
  const wanted = names
    .filter((name) => name.endsWith('.proto') && !name.startsWith('millrace/v1/'))
    .sort();
  if (wanted.length > 2000)
    throw new UsageError(
      `revision ${against} holds ${wanted.length} .proto files below ${protoDir}, the limit is 2000`,
    );
  const sources: ProtoSource[] = [];
  for (const name of wanted)
    sources.push({ name, text: await git('show', `${revision}:./${name}`) });
  return sources;
}
