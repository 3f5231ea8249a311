/** Every page of the console in a real browser: for eyes, keyboards and readers, in three looks. */
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { basketChanges, orderOf } from '../../scripts/lab/console-shop.ts';
import { until } from '../../scripts/lab/until.ts';
import { BROWSER, openConsole, violations, type ConsoleBed } from './console-bed.ts';

/** Texts that a page must show as text. */
const HOSTILE = [
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  '\u202egnp.exe',
  "' or 1",
];

const PAGES = [
  '/',
  '/console/trend',
  '/console/functions/shipping',
  '/console/find',
  '/console/find?subject=order-1',
  '/console/find?expression=data.cents+%3E+600',
  '/console/dead',
  '/console/dead/shipping',
  '/console/parked',
  '/console/parked?function=mail',
  '/console/lanes',
  '/console/waiting',
  '/console/history',
  '/console/history?category=basket&id=b1&view=baskets%401&at=4',
  '/console/views',
  '/console/schemas',
  '/console/schema?subject=order.placed',
  '/console/alerts',
  '/console/losses',
  '/console/audit',
] as const;

/** Fills the shop: orders, hostile subjects that die, events that wait, and a history. */
async function fill({ millrace, books }: ConsoleBed): Promise<void> {
  await millrace
    .publisher()
    .publishMany([
      ...Array.from({ length: 30 }, (_, i) => orderOf(`order-${i}`, i)),
      ...HOSTILE.map((order, i) => orderOf(order, i, 'Atlantis')),
      ...Array.from({ length: 5 }, (_, i) => orderOf(`late-${i}`, i)),
    ]);
  const store = millrace.store();
  for (const change of basketChanges('b1', 12))
    await store.append('basket', 'b1', [change], { expectedRevision: 'any' });
  await until('all is done that can be', async () => {
    const [shipping, mail, baskets] = await Promise.all(
      ['shipping', 'mail', 'baskets@1'].map(books),
    );
    return shipping?.letters === HOSTILE.length && mail?.parked === 10 && baskets?.done === 12;
  });
}

t.test('the pages in a browser', BROWSER, async (t) => {
  const bed = await openConsole(t);
  const { url, redis, browser } = bed;
  await fill(bed);
  const paths = [...PAGES, ...(await pathsOf(url))];

  // The looks differ in colours and in width only.
  for (const [name, options, rules] of [
    ['light', { colorScheme: 'light' }, []],
    ['dark', { colorScheme: 'dark' }, ['color-contrast']],
    [
      'phone',
      { viewport: { width: 390, height: 844 } },
      ['scrollable-region-focusable', 'target-size'],
    ],
  ] as const) {
    await t.test(`every page: ${name}`, async (t) => {
      const page = await bed.page(t, options);
      for (const path of paths) {
        const answer = await page.goto(url + path);
        t.equal(answer?.status(), 200, path);
        t.strictSame(await violations(page, rules), [], `${path}: accessible`);
        t.equal(
          await page.evaluate('document.documentElement.scrollWidth > innerWidth'),
          false,
          `${path}: no wider than the screen`,
        );
        t.match(await page.locator('footer').innerText(), /\d+ calls? to Redis/);
      }
    });
  }

  await t.test('data is whole for the role admin, and hostile texts are texts', async (t) => {
    const page = await bed.page(t);
    await page.goto(`${url}/console/find?subject=order-1`);
    await page.locator('h2 a').last().click();
    await page.getByRole('heading', { name: 'Data' }).waitFor();
    t.match(await page.locator('main').innerText(), /customer-1@example\.org/, 'role admin: all');
    await page.goto(`${url}/console/dead/shipping`);
    const text = await page.locator('main').innerText();
    for (const hostile of HOSTILE.filter((one) => !one.includes('\u202e')))
      t.ok(text.includes(hostile), hostile);
    t.notMatch(text, /\u202e/, 'nothing reorders the line');
  });

  await t.test('the first page is live, and stops when it is told to', async (t) => {
    const page = await bed.page(t);
    await page.goto(url);
    await page.getByText('Live', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Pause' }).click();
    await page.getByText('Paused', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Go on' }).click();
    await page.getByText('Live', { exact: true }).waitFor();
  });

  await t.test('the skip link and the navigation work by keyboard', async (t) => {
    const page = await bed.page(t);
    await page.goto(url);
    await page.keyboard.press('Tab');
    t.equal(
      await page.evaluate('document.activeElement.textContent.trim()'),
      'Skip to the content',
    );
    await page.keyboard.press('Enter');
    t.equal(await page.evaluate('document.activeElement.id'), 'content');
    await page.getByRole('link', { name: 'Lanes' }).focus();
    await page.keyboard.press('Enter');
    await page.waitForURL(/console\/lanes$/);
  });

  await t.test('without scripts every page has its content', async (t) => {
    const page = await bed.page(t, { javaScriptEnabled: false });
    await page.goto(url);
    t.match(await page.locator('main').innerText(), /shipping/);
  });

  await t.test('below a path, behind a proxy that takes the path off', async (t) => {
    const base = await startStrippingProxy(t, url);
    const page = await bed.page(t, {}, base);
    await page.goto(`${base}/`);
    await page.getByText('Live', { exact: true }).waitFor();
    await page.getByRole('link', { name: 'Parked' }).click();
    await page.locator('summary', { hasText: 'Run all of mail now' }).click();
    await page.getByRole('button', { name: 'Run all of mail now' }).click();
    await page.waitForURL(`${base}/console/parked?function=mail`);
    await page.getByRole('link', { name: 'Millrace' }).click();
    await page.waitForURL(`${base}/`);
  });

  await t.test('while Redis is away, the page says so and how to mend it', async (t) => {
    await redis.kill();
    const context = await browser.newContext();
    const page = await context.newPage();
    const answer = await page.goto(`${url}/console/losses`);
    t.equal(answer?.status(), 503);
    t.match(await page.locator('main').innerText(), /Redis does not answer[^]*millrace doctor/);
  });
});

/** Pages of one letter and of one event. */
async function pathsOf(url: string): Promise<string[]> {
  const first = async (path: string, pattern: RegExp): Promise<string> => {
    const text = await (await fetch(url + path, { headers: { accept: 'text/html' } })).text();
    const found = pattern.exec(text)?.[1];
    if (found === undefined) throw new Error(`${path} has no ${String(pattern)}: ${text}`);
    return `/${found.replaceAll('&amp;', '&')}`;
  };
  const letter = await first('/console/dead/shipping', /(console\/letter\?id=[^"]+)"/);
  return [
    letter,
    letter.replace('letter?', 'letter/edit?'),
    await first('/console/find?subject=order-1', /(console\/event\?where=[^"]+)"/),
  ];
}

/** Serves the console below /mill, as a reverse proxy does. Resolves with the address. */
async function startStrippingProxy(t: Test, url: string): Promise<string> {
  const proxy = createServer((asked, answer) => {
    const path = (asked.url ?? '').replace(/^\/mill/, '');
    const { method, headers } = asked;
    const onward = request(url + path, { method, headers }, (reply) => {
      answer.writeHead(reply.statusCode ?? 502, reply.headers);
      reply.pipe(answer);
    });
    onward.on('error', () => answer.destroy());
    answer.on('close', () => onward.destroy());
    asked.pipe(onward);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    proxy.closeAllConnections();
    proxy.close();
  });
  return `http://127.0.0.1:${(proxy.address() as AddressInfo).port}/mill`;
}
