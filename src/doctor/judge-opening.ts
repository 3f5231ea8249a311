/** Findings of the opening, where a look at the deployment is possible all the same. */
import type { UnfitProblem } from '../deployment.ts';
import type { Diagnosis } from './diagnosis.ts';

/**
 * @param namespace MILLRACE_NAMESPACE
 * @param target address of the server
 */
export function judgeEmptiness(namespace: string, target: string): Diagnosis {
  return {
    code: 'deployment-empty',
    severity: 'info',
    about: namespace,
    problem: 'Nothing was published here yet, and no function started',
    evidence: `no settings in the namespace ${namespace} of ${target}`,
    cure: 'If there should be something, check REDIS_URL and MILLRACE_NAMESPACE',
    command: 'millrace start',
  };
}

/** @param partitions number of the deployment */
export function judgeRefusal({ kind, problem }: UnfitProblem, partitions: number): Diagnosis[] {
  if (kind === 'server') return [];
  if (kind === 'proto')
    return [
      {
        code: 'proto-invalid',
        severity: 'error',
        about: null,
        problem: 'The event types under proto/ cannot be read: no process starts',
        evidence: problem,
        cure: 'Mend the file',
        command: 'millrace schema check',
      },
    ];
  return [
    {
      code: 'partitions-differ',
      severity: 'error',
      about: null,
      problem: `MILLRACE_PARTITIONS is not the number of the deployment: no process starts`,
      evidence: problem,
      cure: 'Unset the variable, or set it to the number of the deployment',
      command: `export MILLRACE_PARTITIONS=${partitions}`,
    },
  ];
}
