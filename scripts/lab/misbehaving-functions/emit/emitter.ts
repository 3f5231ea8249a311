import { emitter } from './_emitter.ts';

export default emitter('key');
