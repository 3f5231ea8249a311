/**
 * `millrace tail | millrace publish -` is the identity, and lines that are no event are refused.
 */
import fc from 'fast-check';
import t from 'tap';
import { formatRfc3339 } from '../../src/core/rfc3339.ts';
import { formatEvent, parseEvent } from '../../src/cli/event-json.ts';
import { EventEncoder } from '../../src/wire/event-encoder.ts';
import { readEvent } from '../../src/wire/batch-reader.ts';
import { createCatalog } from '../../src/wire/catalog.ts';
import { createJsonReader } from '../../src/wire/payload-json.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { createProject, parseLines } from './run-cli.ts';

const PROTO = `syntax = "proto3";
import "millrace/v1/options.proto";
import "google/protobuf/timestamp.proto";
message Reading {
  option (millrace.v1.event) = { type: "Reading+Taken", subject: "sensor" };
  string sensor = 1; double value = 2; float coarse = 3; bytes raw = 4; int64 count = 5; repeated double all = 6;
  map<string, bytes> by_name = 7; optional bool sure = 8; google.protobuf.Timestamp at = 9;
}`;
const catalog = createCatalog([{ name: 'reading.proto', text: PROTO }]);
const type = catalog.get('Reading+Taken');
const readData = createJsonReader(catalog);

const text = fc.string({ unit: 'binary', minLength: 1, maxLength: 20 });
const event = fc.record({
  id: text,
  subject: text,
  source: text,
  time: fc
    .tuple(
      fc.integer({ min: 0, max: 253_402_300_799_999 }),
      fc.oneof(fc.constant(0), fc.nat(999_999)),
    )
    .map(([ms, nanos]) => formatRfc3339({ ms, nanos })),
  extensions: fc.dictionary(
    fc
      .stringMatching(/^[a-z0-9]{1,10}$/)
      .filter(
        (name) =>
          ![
            'id',
            'type',
            'time',
            'data',
            'source',
            'subject',
            'dataschema',
            'specversion',
          ].includes(name),
      ),
    text,
    { maxKeys: 3 },
  ),
  data: fc.record({
    sensor: text,
    value: fc.double(),
    coarse: fc.double().map(Math.fround),
    raw: fc.uint8Array().map((some): Buffer => Buffer.from(some)),
    count: fc.maxSafeInteger(),
    all: fc.array(fc.double()),
    byName: fc.dictionary(
      text,
      fc.uint8Array().map((some): Buffer => Buffer.from(some)),
    ),
    sure: fc.option(fc.boolean()),
    at: fc.option(fc.record({ seconds: fc.nat(), nanos: fc.nat({ max: 999_999_999 }) })),
  }),
});

function written(one: {
  id: string;
  subject: string;
  source: string;
  time: number | Date | string;
  extensions?: Record<string, string>;
  data: unknown;
}): Buffer {
  const encoder = new EventEncoder({
    catalog: { get: () => type },
    schemas: new Map(),
    source: '',
    options: null,
  });
  encoder.encode({ ...one, type: type.name }, one.id, 0, null);
  return Buffer.from(encoder.arena.buffer.subarray(encoder.start, encoder.arena.end));
}

void t.test('an event that is printed and published again is the same, byte for byte', async () => {
  fc.assert(
    fc.property(event, (one) => {
      const before = written(one);
      const header = readEvent(before);
      const data = type.decode(
        before.subarray(header.dataOffset, header.dataOffset + header.dataLength),
      );
      const item = parseEvent(JSON.parse(formatEvent(header, type.name, data)), undefined);
      const { id = '', subject = '', source = '', time = -1 } = item;
      const again = written({
        id,
        subject,
        source,
        time: time as number,
        data: readData(item.type, item.data),
        ...(item.extensions ? { extensions: item.extensions } : {}),
      });
      return item.type === type.name && again.equals(before);
    }),
    { numRuns: 300 },
  );
});

void t.test('lines that cannot be taken are refused, saying why', async (t) => {
  const good = { type: 'x', data: {} };
  for (const [line, said] of [
    [{ ...good, time: '2026-02-30T00:00:00Z' }, /RFC 3339/],
    [{ ...good, time: '12' }, /RFC 3339/],
    [{ ...good, time: '2026-01-01T00:00:00' }, /RFC 3339/],
    [{ ...good, time: '' }, /RFC 3339/],
    [{ ...good, time: '1969-12-31T23:59:59Z' }, /before 1970/],
    [{ ...good, time: 5 }, /must be a string/],
    [{ ...good, datacontenttype: 'application/xml' }, /must be JSON/],
    [{ ...good, data_base64: 'AA==', data: undefined }, /data_base64/],
    [{ ...good, 'x-tenant': 'a' }, /x-tenant.*lower case/],
    [{ ...good, tenant: 1.5 }, /tenant.*integer/],
    [{ ...good, tenant: 2 ** 31 }, /integer/],
    [{ ...good, tenant: {} }, /string, number or boolean/],
    [{ ...good, specversion: '0.3' }, /1\.0/],
    [{ ...good, specversion: 1 }, /1\.0/],
  ] as [Record<string, unknown>, RegExp][])
    t.throws(() => parseEvent(line, undefined), { message: said }, JSON.stringify(line));
  t.match(parseEvent({ ...good, a: -1, b: true, c: 'x', d: null }, undefined), {
    extensions: { a: '-1', b: 'true', c: 'x' },
  });
  t.match(
    parseEvent(
      { ...good, datacontenttype: 'application/cloudevents+json; charset=utf-8' },
      undefined,
    ),
    good,
  );
});

void t.test("extensions never take the place of the event's own attributes", async (t) => {
  const header = {
    id: 'i',
    source: 's',
    subject: 'u',
    timeMs: 1,
    extensions: {
      id: 'evil',
      type: 'evil',
      data: 'evil',
      specversion: 'evil',
      time: 'evil',
      ok: 'fine',
    },
  };
  t.strictSame(JSON.parse(formatEvent(header, 'x', { a: 1 })), {
    specversion: '1.0',
    id: 'i',
    source: 's',
    type: 'x',
    subject: 'u',
    time: '1970-01-01T00:00:00.001Z',
    datacontenttype: 'application/json',
    data: { a: 1 },
    ok: 'fine',
  });
});

void t.test('through the commands: what one namespace holds is what the other gets', async (t) => {
  const project = createProject(t, (await startRedis(t)).url, { 'proto/reading.proto': PROTO });
  const lines = [
    '{"type":"Reading+Taken","id":"1","data":{"sensor":"s","value":"NaN","all":["-0","Infinity",1e-300],"raw":"AP8","count":"-9007199254740991","by_name":{"__proto__":"AA=="}}}',
    '{"type":"Reading+Taken","id":"2","subject":"other","time":"2026-01-31T12:00:00.5+01:00","traceparent":"00-1","data":{"sensor":"s","sure":false,"at":"2026-01-31T12:00:00.000000001Z"}}',
  ];
  const published = await project.run(['publish', '-'], { stdin: lines.join('\n') });
  t.match(published, { status: 0, stderr: '' });
  const first = await project.run(['tail', 'Reading+Taken', '--no-follow']);
  t.match(
    parseLines(first.stdout)
      .map(({ id }) => id)
      .sort(),
    ['1', '2'],
  );
  const env = { MILLRACE_NAMESPACE: 'copy' };
  t.match(await project.run(['publish', '-'], { stdin: first.stdout, env }), {
    status: 0,
    stderr: '',
  });
  const second = await project.run(['tail', 'Reading+Taken', '--no-follow'], { env });
  t.same(second.stdout.split('\n').sort(), first.stdout.split('\n').sort());
});
