import type { Fault } from '../fault.ts';
import { handlerFaults } from './handlers.ts';
import { networkFaults } from './network.ts';
import { operationFaults } from './operations.ts';
import { processFaults } from './processes.ts';
import { serverFaults } from './server.ts';
import { tornFileFaults } from './torn-file.ts';

/** No fault: shows the harness's own effect on a run. */
const calm: Fault = {
  name: 'none',
  about: 'no fault: the harness itself',
  inject: ({ pause }) => pause(300, 600),
};

export const FAULTS: readonly Fault[] = [
  calm,
  ...processFaults,
  ...handlerFaults,
  ...serverFaults,
  ...tornFileFaults,
  ...networkFaults,
  ...operationFaults,
];

/** @throws RangeError */
export function faultNamed(name: string): Fault {
  const fault = FAULTS.find((one) => one.name === name);
  if (!fault)
    throw new RangeError(
      `no such fault: ${name}; there are ${FAULTS.map((one) => one.name).join(', ')}`,
    );
  return fault;
}
