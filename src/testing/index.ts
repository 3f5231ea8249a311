/** `millrace/testing`: for tests of what users define. Needs no server and no test framework. */
export { specify } from './specify.ts';
export type { Given, SpecifyOptions, When } from './specify.ts';
