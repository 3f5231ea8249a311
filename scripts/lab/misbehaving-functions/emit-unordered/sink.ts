export { default } from '../emit/sink.ts';
