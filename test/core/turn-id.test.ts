/** The ids of a lane's turns: how they are made, sent and compared. */
import t from 'tap';
import { hasGoneBack, turnIdOf, withLastTurn, withoutLastTurn } from '../../src/core/turn-id.ts';

t.test('an id has the epoch of the lease and the number of the turn', async (t) => {
  t.equal(turnIdOf('host-12-ab:7', 3), '7.3');
  t.equal(turnIdOf('a:b:40', 12), '40.12', 'a dispatcher with a colon in its name');
});

t.test('a commit is sent with the id of the last commit behind its own', async (t) => {
  t.equal(withLastTurn('7.3', '7.2'), '7.3 7.2');
  t.equal(withLastTurn('7.1', ''), '7.1', 'nothing was committed before');
  t.equal(withoutLastTurn('7.3 7.2'), '7.3');
  t.equal(withoutLastTurn('7.1'), '7.1');
});

t.test(
  'Redis has gone back in time where it knows only a turn before the last commit',
  async (t) => {
    t.equal(hasGoneBack('1.12', ''), false, 'the lane has committed nothing yet');
    t.equal(hasGoneBack('1.12', '1.12'), false);
    t.equal(hasGoneBack('1.12', '1.9'), false, 'a commit came in between');
    t.equal(hasGoneBack('1.9', '1.12'), true);
    t.equal(hasGoneBack('', '1.1'), true);
    t.equal(hasGoneBack('1.40', '2.3'), true, 'the turn of an owner before');
    t.equal(hasGoneBack('2.3', '1.40'), true, 'the turn of an owner after');
  },
);
