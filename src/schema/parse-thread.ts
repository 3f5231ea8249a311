/**
 * The thread that parses schemas of strangers. The prototypes of all objects are frozen first, so
 * that nothing that one schema does can reach the next.
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
