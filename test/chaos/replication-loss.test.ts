/** A failover to a replica that is behind. */
import t from 'tap';
import { measureReplicationLoss } from '../../scripts/chaos/replication-loss.ts';

t.test(
  'a master dies with its replica 300 ms behind: replicated loses nothing, memory what was on the way, and everything goes on',
  async (t) => {
    let found = await measureReplicationLoss(t, { kind: 'delayed', ms: 300 });
    // On a busy machine nothing may be on the link when the master dies.
    for (let again = 0; found.memory.lost === 0 && again < 3; again++)
      found = await measureReplicationLoss(t, { kind: 'delayed', ms: 300 });
    const { memory, replicated, conserved, unhandled, ledger } = found;
    t.ok(
      memory.lost > 0 && memory.lost < memory.acknowledged,
      `memory: ${memory.lost} of ${memory.acknowledged} lost`,
    );
    t.ok(
      (memory.oldestLostMs ?? Infinity) < 1000,
      `the oldest of them ${memory.oldestLostMs} ms before the death`,
    );
    t.equal(replicated.lost, 0);
    t.ok(
      replicated.acknowledged > 0,
      `replicated: ${replicated.acknowledged} acknowledged before the death`,
    );
    t.ok(memory.acknowledgedLater > 0 && replicated.acknowledgedLater > 0, 'publishing goes on');
    t.equal(unhandled, 0, 'processing goes on');
    t.ok(conserved);
    t.ok((ledger['sequence'] ?? 0) > 0, 'the loss is in the ledger');
  },
);
