import t from 'tap';
import { checkPoison, MISBEHAVIOURS } from '../support/poison.ts';

t.test('a bad event among 199 good ones, function with handle', (t) =>
  checkPoison(t, 'handle', MISBEHAVIOURS),
);
