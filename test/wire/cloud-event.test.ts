import fc from 'fast-check';
import t from 'tap';
import { createCatalog } from '../../src/wire/catalog.ts';
import { parseCloudEvent, toCloudEvent } from '../../src/wire/cloud-event.ts';

const catalog = createCatalog([{
  name: 'a.proto',
  text: `syntax = "proto3"; package a; import "millrace/v1/options.proto";
    message Inner { bytes y = 1; }
    message M {
      option (millrace.v1.event) = { type: "m", subject: "s" };
      string s = 1; int64 w = 2; bytes y = 3; repeated bytes l = 4; map<string, bytes> k = 5; Inner inner = 6; repeated M more = 7; double d = 8; enum E { ZERO = 0; ONE = 1; } E e = 9;
    }`,
}]);
const type = catalog.get('m');
const header = { id: 'i-1', subject: 's-1', source: 'shop', timeMs: 1_795_450_694_309, extensions: null };

/** To JSON text and back, as over a pipe. */
function throughJson(data: unknown): unknown {
  return parseCloudEvent(JSON.parse(JSON.stringify(toCloudEvent(header, 'm', data))), catalog).data;
}

t.test('an event as CloudEvents JSON, and back', async (t) => {
  const event = toCloudEvent({ ...header, extensions: { traceparent: '00-1', CausationId: 'c' } }, 'm', { s: 's-1', w: 5 });
  t.same(event, {
    specversion: '1.0', id: 'i-1', source: 'shop', type: 'm', subject: 's-1', time: '2026-11-23T16:18:14.309Z', datacontenttype: 'application/json', data: { s: 's-1', w: 5 }, traceparent: '00-1', causationid: 'c',
  });
  t.same(parseCloudEvent(event, catalog), { type: 'm', subject: 's-1', id: 'i-1', source: 'shop', timeMs: header.timeMs, data: { s: 's-1', w: 5 }, extensions: { traceparent: '00-1', causationid: 'c' } });
  t.notOk('time' in toCloudEvent({ ...header, timeMs: 0 }, 'm', {}), 'no time, none claimed');
  t.notOk('time' in toCloudEvent({ ...header, timeMs: 2 ** 53 - 1 }, 'm', {}), 'nor one beyond the calendar');
});

t.test('an extension never takes the place of an attribute', async (t) => {
  const event = toCloudEvent({ ...header, extensions: { data: 'x', id: 'x', Type: 'x', 'no name': 'x', ['__proto__']: 'x' } }, 'm', { s: 'a' });
  t.equal(event.id, 'i-1');
  t.same(event.data, { s: 'a' });
  t.same(Object.keys(event), ['specversion', 'id', 'source', 'type', 'subject', 'time', 'datacontenttype', 'data']);
});

t.test('any payload survives the way through JSON, a decoded one too', async () => {
  const bytes = fc.uint8Array({ maxLength: 20 }).map((a) => Buffer.from(a));
  const inside = {
    s: fc.string({ unit: 'grapheme' }), w: fc.maxSafeInteger().map((n) => n + 0), y: bytes, l: fc.array(bytes, { maxLength: 3 }), k: fc.dictionary(fc.string(), bytes, { maxKeys: 3 }),
    inner: fc.record({ y: bytes }), d: fc.double().map((n) => n + 0), e: fc.nat(1),
  };
  const payload = fc.record({ ...inside, more: fc.array(fc.record(inside), { maxLength: 2 }) });
  fc.assert(fc.property(payload, (data) => {
    const encoded = Buffer.from(type.encode(data));
    return encoded.equals(type.encode(throughJson(data))) && encoded.equals(type.encode(throughJson(type.decode(encoded))));
  }), { numRuns: 300 });
});

t.test('bytes that are no base64 are left for the check to refuse', async (t) => {
  for (const y of ['*', 'a', 'ab=c', 'YQ']) t.throws(() => type.check(parseCloudEvent({ type: 'm', data: { y } }, catalog).data), { code: 'INVALID_EVENT', path: 'y' }, y);
});

t.test('what is no CloudEvent is refused, naming the attribute', async (t) => {
  const base = { type: 'm', data: {} };
  const refused: [unknown, string][] = [
    [null, ''], [[], ''], ['x', ''], [{ data: {} }, 'type'], [{ type: 5, data: {} }, 'type'], [{ type: 'm' }, 'data'], [{ type: 'm', data_base64: '' }, 'data_base64'],
    [{ ...base, specversion: '0.3' }, 'specversion'], [{ ...base, id: 5 }, 'id'], [{ ...base, time: 'yesterday' }, 'time'], [{ ...base, time: '2026' }, 'time'], [{ ...base, time: '2026-02-30T99:00:00Z' }, 'time'],
    [{ ...base, time: '1969-12-31T23:59:59Z' }, 'time'], [{ ...base, datacontenttype: 'text/xml' }, 'datacontenttype'], [{ ...base, Trace: 'x' }, 'Trace'], [{ ...base, trace: {} }, 'trace'],
  ];
  for (const [json, path] of refused) t.throws(() => parseCloudEvent(json, catalog), { code: 'INVALID_EVENT', path }, JSON.stringify(json));
});

t.test('what is left out is left to the publisher', async (t) => {
  t.same(parseCloudEvent({ data: { s: 'a' }, id: null, source: '' }, catalog, 'm'), { type: 'm', data: { s: 'a' }, extensions: null });
  t.same(parseCloudEvent({ type: 'unknown', data: 5 }, catalog), { type: 'unknown', data: 5, extensions: null }, 'whether the type is declared is not asked here');
  t.equal(parseCloudEvent({ type: 'm', data: {}, time: '2026-11-23t17:18:14.309+01:00' }, catalog).timeMs, header.timeMs);
  t.same(parseCloudEvent({ type: 'm', data: {}, flag: true, count: 5 }, catalog).extensions, { flag: 'true', count: '5' });
});
