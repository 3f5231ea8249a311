/**
 * The thread that parses schemas of strangers. What every object inherits from is frozen first, so
 * that nothing a schema does to it can reach the next one.
 */
import { parentPort } from 'node:worker_threads';
import { readModel } from './read-model.ts';
import type { SchemaFile } from './model.ts';

for (const shared of [
  Object,
  Array,
  Function,
  String,
  Number,
  Boolean,
  Map,
  Set,
  RegExp,
  Promise,
]) {
  Object.freeze(shared.prototype);
  Object.freeze(shared);
}

parentPort?.on('message', (files: readonly SchemaFile[]) => {
  try {
    parentPort?.postMessage({ model: readModel(files) });
  } catch (error) {
    parentPort?.postMessage({ problem: (error as Error).message });
  }
});
