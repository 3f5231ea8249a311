/** systemd hears of the process: through the real systemd-notify, at a socket like its own. */
import t from 'tap';
import { ServiceManager } from '../../src/cli/service-manager.ts';
import { notifyAddress } from '../../src/config.ts';
import { reasonFor, type HealthReason } from '../../src/core/health-reason.ts';
import { openNotifySocket } from '../../scripts/lab/notify-socket.ts';
import { until } from '../../scripts/lab/until.ts';

const PATH = process.env['PATH'];

t.test('ready, alive as long as a restart would not help, its state, stopping', async (t) => {
  const socket = await openNotifySocket(t);
  if (socket === null) return void t.comment('no python3 or systemd-notify here');
  let reasons: HealthReason[] = [];
  let live = true;
  const failures: unknown[] = [];
  const manager = new ServiceManager({
    address: notifyAddress({ PATH, NOTIFY_SOCKET: socket.path, WATCHDOG_USEC: '300000' }),
    health: () => ({ live, ready: reasons.length === 0, lanes: 3, reasons }),
    log: (...line) => failures.push(line),
  });
  t.teardown(() => manager.stop());
  manager.waits('waiting until Redis takes writes again:\nMISCONF');
  manager.start();
  await socket.until(
    'it is fed',
    (all) => all.filter((one) => one.includes('WATCHDOG=1')).length > 2,
  );
  const [waits, ready, first] = socket.messages;
  t.equal(
    waits,
    'STATUS=waiting until Redis takes writes again: MISCONF\nEXTEND_TIMEOUT_USEC=120000000',
  );
  t.equal(ready, 'READY=1');
  t.equal(first, 'WATCHDOG=1\nSTATUS=ready: 3 lanes');

  reasons = [reasonFor('writes-oom', 'Redis refused SET: OOM', 'Raise maxmemory')];
  await socket.until('it is fed, and told of Redis, which a restart does not cure', (all) =>
    all.some((one) => /^WATCHDOG=1\nSTATUS=not ready: writes-oom: .*Raise maxmemory$/.test(one)),
  );

  live = false;
  const hungry = (n: number): string => `STATUS=not ready: lease-overdue: ${n}. cure`;
  for (let n = 0; n < 8; n++) {
    reasons = [reasonFor('lease-overdue', String(n), 'cure')];
    await socket.until('it is told of the new state', (all) =>
      all.some((one) => one.endsWith(hungry(n))),
    );
    if (n === 0) socket.forget();
  }
  t.strictSame(
    socket.messages,
    [1, 2, 3, 4, 5, 6, 7].map(hungry),
    'told of its state, and not fed for longer than between two meals',
  );

  live = true;
  reasons = [];
  await socket.until('it is fed again', (all) => all.includes('WATCHDOG=1\nSTATUS=ready: 3 lanes'));
  manager.stopping(5000);
  await manager.stop();
  t.ok(socket.messages.includes('STOPPING=1\nEXTEND_TIMEOUT_USEC=35000000'));
  t.strictSame(failures, []);
});

t.test(
  'without a service manager nothing is sent; without systemd-notify the log says so',
  async (t) => {
    t.equal(notifyAddress({ PATH }), null);
    const at = { PATH, NOTIFY_SOCKET: '/s' };
    t.match(notifyAddress(at), { watchdogMs: null });
    t.match(notifyAddress({ ...at, WATCHDOG_USEC: '5000000' }), { watchdogMs: 5000 });
    t.match(notifyAddress({ ...at, WATCHDOG_USEC: '5000000', WATCHDOG_PID: String(process.pid) }), {
      watchdogMs: 5000,
    });
    t.match(
      notifyAddress({ ...at, WATCHDOG_USEC: '5000000', WATCHDOG_PID: '1' }),
      { watchdogMs: null },
      'the watchdog of another process',
    );
    const lines: string[] = [];
    const manager = new ServiceManager({
      address: notifyAddress({ PATH: '/nowhere', NOTIFY_SOCKET: '/s', WATCHDOG_USEC: '30000' }),
      health: () => ({ live: true, ready: true, lanes: lines.length, reasons: [] }),
      log: (_level, message) => lines.push(message),
    });
    manager.start();
    await until('the log says so', () => lines.length > 0);
    await manager.stop();
    t.match(lines[0], /systemd-notify failed/);
  },
);
