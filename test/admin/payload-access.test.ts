import t from 'tap';
import { payloadAccess } from '../../src/admin/payload-access.ts';
import { readEnvironment } from '../../src/config.ts';

t.test('payloads by role', async (t) => {
  const usual = readEnvironment({});
  t.equal(payloadAccess({ role: 'read', byToken: true }, usual), 'masked');
  t.equal(payloadAccess({ role: 'operate', byToken: true }, usual), 'full');
  t.equal(payloadAccess({ role: 'admin', byToken: false }, usual), 'full', 'loopback, no token');
  t.equal(payloadAccess({ role: 'read', byToken: false }, usual), 'none', 'anybody');
  const set = readEnvironment({
    MILLRACE_PAYLOADS_READ: 'full',
    MILLRACE_PAYLOADS_OPERATE: 'masked',
  });
  t.equal(payloadAccess({ role: 'read', byToken: true }, set), 'full');
  t.equal(payloadAccess({ role: 'read', byToken: false }, set), 'none');
  t.equal(payloadAccess({ role: 'admin', byToken: true }, set), 'masked');
  t.throws(() => readEnvironment({ MILLRACE_PAYLOADS_READ: 'all' }), {
    problems: ['MILLRACE_PAYLOADS_READ: must be one of none, masked, full (got "all")'],
  } as unknown as Error);
});
