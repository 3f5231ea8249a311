import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { makeFolder } from '../../src/core/make-folder.ts';
import { connectOrStart } from '../../src/redis/embedded-server.ts';

t.test(
  'folders are made with all above them, again without harm, and refused with a reason',
  (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'millrace-folder-'));
    t.teardown(() => rmSync(dir, { recursive: true, force: true }));
    makeFolder(join(dir, 'a/b/c'), 0o700);
    t.equal(statSync(join(dir, 'a/b/c')).mode & 0o777, 0o700);
    makeFolder(join(dir, 'a/b/c'));
    writeFileSync(join(dir, 'file'), '');
    t.throws(() => makeFolder(join(dir, 'file')), { code: 'EEXIST' });
    t.throws(() => makeFolder(join(dir, 'file/below')), /ENOTDIR|EEXIST/);
    t.end();
  },
);

t.test(
  'below /proc no folder can be made: said, and never tried for ever',
  { skip: existsSync('/proc/self') ? false : 'no /proc' },
  async (t) => {
    t.throws(() => makeFolder('/proc/millrace/data'), { code: 'ENOENT' });
    await t.rejects(connectOrStart({ dir: '/proc/millrace' }), {
      code: 'CONFIG',
      message: /the folder \/proc\/millrace for the embedded server cannot be used: ENOENT/,
    });
  },
);
