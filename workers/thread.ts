/** The pool's thread entry: loads src/thread, nothing else. */
export { default } from '../src/thread/main.ts';
