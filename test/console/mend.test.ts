/**
 * Dead letters of a real fault, mended from end to end in the browser: rehearsed, edited, replayed
 * with a canary, discarded. Nothing is lost, and nothing is done twice.
 */
import type { Page } from 'playwright-core';
import t from 'tap';
import { orderOf } from '../../scripts/lab/console-shop.ts';
import { until } from '../../scripts/lab/until.ts';
import { parseLines } from '../cli/run-cli.ts';
import { BROWSER, openConsole, violations } from './console-bed.ts';

const SUNK = 38;
const FINE = 20;
const LATE = 6;

/** Opens a change, checks that its command is shown, and presses its button. */
async function change(page: Page, title: string, button = title): Promise<void> {
  const details = page.locator('details.change', { hasText: title }).first();
  await details.locator('summary').click();
  await details.locator('.command').waitFor();
  const answered = page.waitForEvent('framenavigated');
  await details.getByRole('button', { name: button }).click();
  await answered;
}

t.test('a real fault is mended in the browser', BROWSER, async (t) => {
  const bed = await openConsole(t);
  const { p, url, millrace, books } = bed;
  await millrace
    .publisher()
    .publishMany([
      ...Array.from({ length: FINE }, (_, i) => orderOf(`order-${i}`, i)),
      ...Array.from({ length: SUNK }, (_, i) => orderOf(`sunk-${i}`, i, 'Atlantis')),
      ...Array.from({ length: LATE }, (_, i) => orderOf(`late-${i}`, i)),
    ]);
  const died = async (letters: number): Promise<unknown> =>
    until(
      `${letters} letters are left`,
      async () => (await books('shipping'))?.letters === letters,
    );
  await died(SUNK);
  const page = await bed.page(t);

  await t.test('the letters are one group, and its size is told', async (t) => {
    await page.goto(`${url}/console/dead`);
    await page.getByRole('link', { name: 'shipping' }).click();
    t.equal(await page.locator('table').first().locator('tbody tr').count(), 1);
    t.match(await page.locator('main').innerText(), /no carrier delivers to Atlantis/);
    t.match(await page.locator('main').innerText(), new RegExp(`Replay all ${SUNK} letters`));
  });

  await t.test('a rehearsal before the mend fails as before, and changes nothing', async (t) => {
    await page.getByRole('rowheader').getByRole('link').last().click();
    await change(page, 'Rehearse this letter');
    await page.getByRole('heading', { level: 1, name: 'Rehearsal' }).waitFor();
    t.match(await page.locator('main').innerText(), /failed[^]*Failure, as before/);
    t.strictSame(await violations(page), []);
    t.equal((await books('shipping'))?.letters, SUNK);
  });

  await t.test('an edit is checked, kept beside the original, and heals a letter', async (t) => {
    await page.goto(`${url}/console/dead/shipping`);
    await page.locator('table').last().getByRole('rowheader').getByRole('link').first().click();
    await page.getByRole('link', { name: 'Edit the data of this event' }).click();
    const data = page.getByRole('textbox');
    const before = await data.inputValue();
    t.match(before, /"Atlantis"/);
    await data.fill('{"order": 7}');
    await page.getByRole('button', { name: 'Check' }).click();
    t.match(await page.locator('main').innerText(), /Nothing was changed[^]*order/);
    t.equal(await page.getByRole('textbox').inputValue(), '{"order": 7}', 'the text is kept');
    await page.getByRole('textbox').fill(before.replace('Atlantis', 'FR'));
    await page.getByRole('button', { name: 'Check' }).click();
    await page.getByText('country').first().waitFor();
    t.strictSame(await violations(page), []);
    await change(page, 'Write this data into the letter');
    await page.waitForURL(/console\/letter\?id=/);
    await change(page, 'Replay this letter');
    await died(SUNK - 1);
  });

  await t.test('one is discarded by keyboard alone', async () => {
    await page.goto(`${url}/console/dead/shipping`);
    await page.locator('table').last().getByRole('rowheader').getByRole('link').first().focus();
    await page.keyboard.press('Enter');
    await page.getByText('Discard this letter…').focus();
    await page.keyboard.press('Enter');
    await page.getByText(/millrace dlq purge/).waitFor();
    await page.getByRole('button', { name: 'Discard this letter' }).focus();
    await page.keyboard.press('Enter');
    await page.waitForURL(/console\/dead\/shipping$/);
    await died(SUNK - 2);
  });

  await t.test('the mended function is rehearsed: the emitted event is shown', async (t) => {
    p.write('mended', '');
    await page.locator('table').last().getByRole('rowheader').getByRole('link').first().click();
    await change(page, 'Rehearse this letter');
    await page.getByRole('heading', { level: 1, name: 'Rehearsal' }).waitFor();
    t.match(await page.locator('main').innerText(), /done[^]*parcel\.sent[^]*Neptune/);
    t.equal((await books('shipping'))?.letters, SUNK - 2);
  });

  await t.test('the rest is replayed: a canary first', async (t) => {
    await page.goto(`${url}/console/dead/shipping`);
    const replay = page.locator('details.change', { hasText: 'Replay all' });
    await replay.locator('summary').click();
    t.match(await replay.innerText(), /millrace dlq replay --function shipping --canary 10/);
    await replay.getByLabel('letters a second').fill('1000');
    await replay.getByRole('button').last().click();
    await page.waitForURL(/console\/replay\?id=/);
    t.strictSame(await violations(page), []);
    await until('the replay has ended', async () => {
      await page.reload();
      return (await page.locator('main').innerText()).includes('all chosen letters were handled');
    });
    t.match(await page.locator('main').innerText(), /passed/);
    await died(0);
  });

  await t.test('parked events run when they are told to', async () => {
    await until(
      'all late mails are parked',
      async () => (await books('mail'))?.parked === 2 * LATE,
    );
    await page.goto(`${url}/console/parked?function=mail`);
    await change(page, 'Run now');
    await page.waitForURL(/console\/parked\?function=mail$/);
    await change(page, 'Run all of mail now');
    await page.waitForURL(/console\/parked\?function=mail$/);
    await until('every first mail was tried again', async () => {
      const list = parseLines((await p.here(['parked', 'list', 'mail', '--json'])).stdout);
      return list.length === LATE && list.every(({ attempts }) => Number(attempts) >= 2);
    });
  });

  await t.test('nothing is lost, and nothing is doubled', async (t) => {
    const orders = FINE + SUNK + LATE;
    const shipping = await until('shipping is done', async () => {
      const found = await books('shipping');
      return found && found.lag + found.pending + found.parked === 0 ? found : null;
    });
    // The discarded event counts as dead for good.
    t.match(shipping, { appended: orders, done: orders - 1, conserved: true, letters: 0 });
    const mail = await until('mail has what was emitted', async () => {
      const found = await books('mail');
      return found && found.lag + found.pending === 0 ? found : null;
    });
    t.match(mail, { appended: orders + orders - 1, conserved: true });
  });

  await t.test('each change is in the audit log', async (t) => {
    await page.goto(`${url}/console/audit`);
    const text = await page.locator('main').innerText();
    for (const action of ['replay', 'purge', 'edit', 'rehearse'])
      t.ok(text.includes(`dlq ${action}`), action);
    t.ok(text.includes('parked run-now'));
    t.notMatch(text, /example\.org/, 'no payload is in it');
  });

  await t.test('all of a group are discarded, with the number told before', async (t) => {
    await millrace
      .publisher()
      .publishMany(Array.from({ length: 12 }, (_, i) => orderOf(`lost-${i}`, i, 'Lemuria')));
    await died(12);
    await page.goto(`${url}/console/dead/shipping`);
    await page.locator('table').first().getByRole('link').click();
    await page.waitForURL(/group=/);
    await change(page, 'Discard all 12 letters of this group');
    await page.waitForURL(/console\/dead\/shipping$/);
    await died(0);
    t.equal((await books('shipping'))?.conserved, true);
  });
});
