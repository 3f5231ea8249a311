import { emitter } from '../emit/_emitter.ts';

export default emitter('none');
