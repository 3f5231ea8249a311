import t from 'tap';
import { InvalidEventError, OversizeError } from '../../src/core/errors/input-errors.ts';
import { readLag } from '../../src/lag/lag.ts';
import { EditRefusedError, makeEdit, planEdit } from '../../src/mend/edit-letter.ts';
import { PayloadCodecs } from '../../src/mend/payload-codecs.ts';
import { DeadLetterNotFoundError, type DeadLetter } from '../../src/pipeline/dead/dead-letters.ts';
import { readLetterGroups } from '../../src/pipeline/dead/letter-groups.ts';
import { purgeDeadLetters } from '../../src/pipeline/dead/purge.ts';
import { replayDeadLetter } from '../../src/pipeline/dead/replay.ts';
import { readEvent } from '../../src/wire/batch-reader.ts';
import { decodeParked } from '../../src/wire/parked.ts';
import { meddled } from '../outbox/emitting-lane.ts';
import { openDeadBed, type DeadBed } from './dead-bed.ts';

const JSON_DATA = { key: 's', number: 2, order: 'better' };

function numberIn({ service }: DeadBed, event: Buffer): number {
  const { dataOffset, dataLength } = readEvent(event);
  const type = service.deployment.catalog.get('test.event');
  const data = type.decode(event.subarray(dataOffset, dataOffset + dataLength));
  return (data as { readonly number: number }).number;
}

t.test('an edited event keeps its place, and a replay runs it', async (t) => {
  const dead = await openDeadBed(t, 'f', { onDead: 'hold' });
  const { bed, lane, service } = dead;
  await dead.die(['one']);
  await dead.die(['two']);
  const client = bed.redis.client();
  const [letter] = (await dead.letters()) as [DeadLetter];
  const groups = await readLetterGroups(bed);
  const counts = await client.hgetall('mr:{0}:counters');

  const plan = await planEdit(new PayloadCodecs(service.deployment), letter, { ...JSON_DATA });
  t.match(plan, {
    schemaOf: 'local',
    schema: service.deployment.schemas.get('test.event')?.id,
    differences: {
      list: [
        { path: 'number', before: 1, after: 2 },
        { path: 'order', before: 'ok', after: 'better' },
      ],
      more: false,
    },
  });
  const id = await makeEdit(bed, plan, 'anna');
  const [edited, ...others] = (await dead.letters()) as [DeadLetter];
  t.strictSame(others, [], 'the second event waits behind the held subject');
  t.equal(edited.id, id);
  t.not(edited.id, letter.id);
  const { id: _id, letterId: _letterId, bytes: _bytes, edits, history, original, ...rest } = edited;
  const { id: _1, letterId: _2, bytes: _3, edits: _4, history: _5, original: _6, ...was } = letter;
  t.strictSame(rest, was, 'all else is as before');
  t.match(edits, [
    { by: 'anna', bytesBefore: letter.bytes.length, bytesAfter: edited.bytes.length },
  ]);
  t.match(history.at(-1), { name: 'Edited', message: 'by anna' });
  t.strictSame(original, letter.bytes);
  t.equal(numberIn(dead, edited.bytes), 2);
  t.strictSame(await client.hgetall('mr:{0}:counters'), counts);
  t.equal(await client.hget('mr:{0}:held:f', 's'), edited.letterId, 'the new letter holds');
  const after = await readLetterGroups(bed);
  t.strictSame(
    after.groups.map(({ group, letters }) => ({ group, letters })),
    groups.groups.map(({ group, letters }) => ({ group, letters })),
  );
  t.equal(after.groups[0]?.example, edited.id);

  t.equal(await replayDeadLetter(bed, edited), 'replayed');
  const [head] = (await bed.connection.commandBuffer(
    'LRANGE',
    bed.keys.parked(0, 'f', 's'),
    0,
    0,
  )) as [Buffer];
  const record = decodeParked(head);
  t.match(record, { eventId: 'one', entryId: letter.entryId, index: letter.index });
  t.equal(numberIn(dead, Buffer.from(record.event)), 2);
  t.match(record.history.at(-1), { name: 'Edited' });
  await lane.drain();
  t.match((await readLag(bed)).functions, [{ done: 2, dead: 0, conserved: true }]);
});

t.test('each edit is kept, and the first original', async (t) => {
  const dead = await openDeadBed(t);
  await dead.die(['one']);
  const codecs = new PayloadCodecs(dead.service.deployment);
  const [first] = (await dead.letters()) as [DeadLetter];
  for (const [number, by] of [
    [2, 'anna'],
    [3, 'ben'],
  ] as const) {
    const [letter] = (await dead.letters()) as [DeadLetter];
    await makeEdit(
      dead.bed,
      await planEdit(codecs, letter, { ...JSON_DATA, number }, 'writer'),
      by,
    );
  }
  const [last] = (await dead.letters()) as [DeadLetter];
  t.equal(numberIn(dead, last.bytes), 3);
  t.strictSame(last.original, first.bytes);
  t.strictSame(
    last.edits.map(({ by }) => by),
    ['anna', 'ben'],
  );
});

t.test('data that does not fit is refused, and changes nothing', async (t) => {
  const dead = await openDeadBed(t);
  await dead.die(['one']);
  const [letter] = (await dead.letters()) as [DeadLetter];
  const codecs = new PayloadCodecs(dead.service.deployment);
  const refused: readonly (readonly [unknown, new (...args: never[]) => Error])[] = [
    [{ key: 's', number: 'many' }, InvalidEventError],
    [{ key: 's', colour: 'red' }, InvalidEventError],
    [[], InvalidEventError],
    [null, InvalidEventError],
    [{ key: 'other', number: 1 }, EditRefusedError],
    [{ key: 's', filler: Buffer.alloc(300_000).toString('base64') }, OversizeError],
  ];
  for (const [json, error] of refused)
    await t.rejects(planEdit(codecs, letter, json), error, JSON.stringify(json).slice(0, 60));
  await t.rejects(planEdit(codecs, { ...letter, kind: 'entry' }, JSON_DATA), EditRefusedError);
  t.strictSame(await dead.letters(), [letter]);
});

t.test('a lost reply makes one edit; a letter that is gone, none', async (t) => {
  const dead = await openDeadBed(t);
  await dead.die(['one']);
  const [letter] = (await dead.letters()) as [DeadLetter];
  const codecs = new PayloadCodecs(dead.service.deployment);
  const plan = await planEdit(codecs, letter, { ...JSON_DATA });
  let lost = 0;
  const connection = meddled(dead.bed.connection, {
    lose: (script) => script === 'rewrite-letter.lua' && lost++ === 0,
  });
  const id = await makeEdit({ ...dead.bed, connection }, plan, 'anna');
  t.equal(lost, 2, 'it was sent twice');
  t.strictSame(
    (await dead.letters()).map((one) => one.id),
    [id],
  );
  await t.rejects(makeEdit(dead.bed, plan, 'ben'), DeadLetterNotFoundError);
  await purgeDeadLetters(dead.bed, await dead.letters());
  await t.rejects(makeEdit(dead.bed, plan, 'ben'), DeadLetterNotFoundError);
  t.strictSame(await dead.letters(), []);
});

t.test('an edit is made under full memory', async (t) => {
  const dead = await openDeadBed(t);
  await dead.die(['one']);
  const [letter] = (await dead.letters()) as [DeadLetter];
  const plan = await planEdit(new PayloadCodecs(dead.service.deployment), letter, { ...JSON_DATA });
  await dead.bed.redis.client().config('SET', 'maxmemory', '1');
  const id = await makeEdit(dead.bed, plan, 'anna');
  t.strictSame(
    (await dead.letters()).map((one) => one.id),
    [id],
  );
});
