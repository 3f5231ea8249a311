import t from 'tap';
import { checkPoison, MISBEHAVIOURS } from '../../scripts/lab/poison.ts';

t.test('a bad event among 199 good ones, function with handle', (t) =>
  checkPoison(t, 'handle', MISBEHAVIOURS),
);
