/** The shop under the console in a real browser, which notes every complaint of a page. */
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import type { Test } from 'tap';
import { findChromium, startBrowser } from '../../scripts/lab/chromium.ts';
import { SHOP_FILES } from '../../scripts/lab/console-shop.ts';
import { startRedis, type TestRedis } from '../../scripts/lab/redis-server.ts';
import { connect } from '../../src/index.ts';
import { createProject, type Project } from '../cli/run-cli.ts';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const program = await findChromium();

/** Option of a test that needs the browser: skips the test where there is none. */
export const BROWSER = { skip: typeof program === 'string' && program };

/** The books of a function, as `/api/lag` tells them. */
export interface Books {
  readonly name: string;
  readonly appended: number;
  readonly done: number;
  readonly parked: number;
  readonly dead: number;
  readonly pending: number;
  readonly lag: number;
  readonly letters: number;
  readonly conserved: boolean;
}

export interface ConsoleBed {
  readonly p: Project;
  readonly url: string;
  readonly redis: TestRedis;
  readonly millrace: Awaited<ReturnType<typeof connect>>;
  readonly browser: Browser;
  books(fn: string): Promise<Books | undefined>;
  /**
   * Opens a page whose complaints (policy, scripts, failed loads) fail the test.
   * @param base start of all addresses that it may load. Default: `url`
   */
  page(t: Test, options?: BrowserContextOptions, base?: string): Promise<Page>;
}

export async function openConsole(
  t: Test,
  files: Readonly<Record<string, string>> = SHOP_FILES,
): Promise<ConsoleBed> {
  const redis = await startRedis(t);
  const p = createProject(t, redis.url, files);
  const running = p.start(['start'], { MILLRACE_PORT: '0' });
  const [, url = ''] = await running.seen('stderr', /, admin (http:\S+)$/m);
  const millrace = await connect({
    environment: { REDIS_URL: redis.url },
    protoDir: join(p.dir, 'proto'),
    logger: pino({ level: 'silent' }),
  });
  t.teardown(() => millrace.close());
  const browser = await startBrowser(program as Exclude<typeof program, string>);
  t.teardown(() => browser.close());
  return {
    p,
    url,
    redis,
    millrace,
    browser,
    async books(fn) {
      const answer = (await (await fetch(`${url}/api/lag`)).json()) as { functions: Books[] };
      return answer.functions.find(({ name }) => name === fn);
    },
    async page(test, options = {}, base = url) {
      const context = await browser.newContext(options);
      test.teardown(() => context.close());
      const page = await context.newPage();
      page.setDefaultTimeout(10_000);
      page.on('console', (message) => {
        if (message.type() === 'error') test.fail(`${page.url()}: ${message.text()}`);
      });
      page.on('pageerror', (error) => test.fail(`${page.url()}: ${error.message}`));
      page.on('dialog', (dialog) => {
        test.fail(`${page.url()}: a dialog: ${dialog.message()}`);
        void dialog.dismiss();
      });
      page.on('request', (request) => {
        if (!request.url().startsWith(base)) test.fail(`${page.url()} loads ${request.url()}`);
      });
      return page;
    },
  };
}

/**
 * Returns the violations of the rules of accessibility, with the first element of each.
 * @param rules ids of rules. Default: all
 */
export async function violations(page: Page, rules: readonly string[] = []): Promise<string[]> {
  await page.evaluate(AXE);
  return page.evaluate(
    async (runOnly) => {
      const { axe } = globalThis as unknown as {
        axe: {
          run(
            options: object,
          ): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }>;
        };
      };
      const found = await axe.run(runOnly.length > 0 ? { runOnly } : {});
      return found.violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html ?? ''}`);
    },
    [...rules],
  );
}
