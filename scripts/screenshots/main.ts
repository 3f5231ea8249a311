/**
 * Takes the pictures of docs/console: `npm run screenshots`. Starts Redis, a small shop under load
 * and a browser, and ends them. Needs Chromium, from PATH or from Debian's package.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { connect } from '../../src/index.ts';
import { basketChanges, orderOf, SHOP_FILES } from '../lab/console-shop.ts';
import { findChromium, startBrowser } from '../lab/chromium.ts';
import { projectDir, startRedis, type TestLike } from '../lab/redis-server.ts';
import { until } from '../lab/until.ts';
import { LOOKS, PICTURES, type Subjects } from './pictures.ts';

/** Orders a second, while pictures are taken. */
const RATE = 400;
const BASKET = 'basket-7';

const ends: (() => void | Promise<void>)[] = [];
const run: TestLike = { teardown: (end) => void ends.unshift(end) };

try {
  await takePictures();
} finally {
  for (const end of ends) await end();
}

async function takePictures(): Promise<void> {
  const program = await findChromium();
  if (typeof program === 'string') throw new Error(`there is no Chromium: ${program}`);
  const redis = await startRedis(run, { tcp: true });
  const dir = createShop();
  const url = await startShop(dir, redis.tcpUrl);
  const millrace = await connect({
    environment: { REDIS_URL: redis.url },
    protoDir: join(dir, 'proto'),
  });
  ends.unshift(() => millrace.close());
  const stopLoad = await beginLoad(millrace);
  ends.unshift(stopLoad);
  const subjects = await findSubjects(url);
  const browser = await startBrowser(program);
  ends.unshift(() => browser.close());
  const out = join(projectDir, 'docs/console');
  mkdirSync(out, { recursive: true });
  for (const { name, looks, path, prepare } of PICTURES) {
    for (const look of looks) {
      const context = await browser.newContext(LOOKS[look]);
      const page = await context.newPage();
      await page.goto(url + path(subjects));
      await prepare?.(page);
      await page.screenshot({ path: join(out, `${name}-${look}.png`) });
      await context.close();
      console.log(`docs/console/${name}-${look}.png`);
    }
  }
}

function createShop(): string {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-shop-'));
  ends.unshift(() => rmSync(dir, { recursive: true, force: true, maxRetries: 10 }));
  for (const [name, text] of Object.entries(SHOP_FILES)) {
    mkdirSync(dirname(join(dir, name)), { recursive: true });
    writeFileSync(join(dir, name), text);
  }
  mkdirSync(join(dir, 'node_modules'));
  symlinkSync(projectDir, join(dir, 'node_modules/millrace'));
  return dir;
}

/** Resolves with the address of the console. */
function startShop(dir: string, redisUrl: string): Promise<string> {
  const child = spawn(process.execPath, [join(projectDir, 'dist/src/cli/main.js'), 'start'], {
    cwd: dir,
    env: {
      ...process.env,
      REDIS_URL: redisUrl,
      WORKERS: '1',
      MILLRACE_PARTITIONS: '4',
      MILLRACE_PORT: '0',
      LOG_LEVEL: 'fatal',
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  ends.unshift(() => {
    child.kill('SIGTERM');
    return ended;
  });
  return new Promise((resolve, reject) => {
    let told = '';
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      told += chunk;
      const match = /, admin (http:\S+)$/m.exec(told);
      if (match?.[1]) resolve(match[1]);
    });
    child.once('close', () => reject(new Error(`the shop did not start: ${told}`)));
  });
}

type Millrace = Awaited<ReturnType<typeof connect>>;

/** Publishes orders at a pace, a history, dead orders and late ones. Returns the end of it. */
async function beginLoad(millrace: Millrace): Promise<() => Promise<void>> {
  const publisher = millrace.publisher();
  const store = millrace.store();
  for (const change of basketChanges(BASKET, 15))
    await store.append('basket', BASKET, [change], { expectedRevision: 'any' });
  await publisher.publishMany([
    ...Array.from({ length: 38 }, (_, i) => orderOf(`sunk-${i}`, i, 'Atlantis')),
    ...Array.from({ length: 12 }, (_, i) => orderOf(`late-${i}`, i)),
  ]);
  let i = 0;
  let publishing: Promise<unknown> = Promise.resolve();
  const timer = setInterval(() => {
    const orders = Array.from({ length: RATE / 10 }, () => orderOf(`order-${i}`, i++));
    publishing = publisher.publishMany(orders).catch(() => undefined);
  }, 100);
  return async () => {
    clearInterval(timer);
    await publishing;
  };
}

/** Waits until the pages have something to show, and finds the ids for them. */
async function findSubjects(url: string): Promise<Subjects> {
  const ask = async (path: string): Promise<unknown> => (await fetch(url + path)).json();
  await until('rates are known, and all has died that will', async () => {
    const { functions } = (await ask('/api/lag')) as {
      functions: { name: string; letters: number; rate: { done: number | null } | null }[];
    };
    const shipping = functions.find(({ name }) => name === 'shipping');
    return shipping?.letters === 38 && functions.every(({ rate }) => rate !== null);
  });
  const dead = (await (await fetch(`${url}/console/dead/shipping`)).text()).match(
    /console\/letter\?id=([^"]+)"/,
  );
  // The order itself is the oldest event of its subject.
  const found = [
    ...(await (await fetch(`${url}/console/find?subject=order-40`)).text()).matchAll(
      /console\/event\?where=([^"]+)"/g,
    ),
  ].at(-1);
  if (!dead?.[1] || !found?.[1]) throw new Error('the console shows no letter, or no event');
  return {
    deadLetter: decodeURIComponent(dead[1]),
    event: decodeURIComponent(found[1]),
    basket: BASKET,
  };
}
