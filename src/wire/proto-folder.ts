/** The .proto files of a project's folder. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from '../core/errors/input-errors.ts';

export interface ProtoSource {
  /** Path below the proto folder, as imports give it. */
  readonly name: string;
  readonly text: string;
}

const FOLDER_LIMITS = { files: 2000, fileBytes: 1_048_576, allBytes: 16_777_216 };

/**
 * Reads the .proto files below a folder, sorted by name. `millrace/v1/` is left out, because those
 * files come with the package.
 * @throws ConfigError when the folder cannot be read or is too large
 */
export function loadProtoFolder(dir: string): ProtoSource[] {
  try {
    const names = (readdirSync(dir, { recursive: true }) as string[])
      .map((name) => name.replaceAll('\\', '/'))
      .filter(
        (name) =>
          name.endsWith('.proto') &&
          !name.startsWith('millrace/v1/') &&
          statSync(join(dir, name)).isFile(),
      )
      .sort();
    if (names.length > FOLDER_LIMITS.files)
      throw new ConfigError([
        `proto folder ${dir} holds ${names.length} files, the limit is ${FOLDER_LIMITS.files}`,
      ]);
    let total = 0;
    return names.map((name) => {
      const path = join(dir, name);
      const { size } = statSync(path);
      total += size;
      if (size > FOLDER_LIMITS.fileBytes)
        throw new ConfigError([`${path} is larger than ${FOLDER_LIMITS.fileBytes} bytes`]);
      if (total > FOLDER_LIMITS.allBytes)
        throw new ConfigError([
          `proto folder ${dir} holds more than ${FOLDER_LIMITS.allBytes} bytes`,
        ]);
      return { name, text: readFileSync(path, 'utf8') };
    });
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError([`proto folder ${dir} cannot be read: ${(error as Error).message}`]);
  }
}
