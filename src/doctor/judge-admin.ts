/** Findings about the admin server, as the settings of this environment start it. */
import { isLoopback } from '../core/loopback.ts';
import type { Deployment } from '../deployment.ts';
import type { Diagnosis } from './diagnosis.ts';

const TOKENS = [
  'MILLRACE_TOKEN',
  'MILLRACE_TOKEN_FILE',
  'MILLRACE_OPERATE_TOKEN',
  'MILLRACE_OPERATE_TOKEN_FILE',
  'MILLRACE_READ_TOKEN',
  'MILLRACE_READ_TOKEN_FILE',
] as const;

export function judgeAdmin({ environment }: Pick<Deployment, 'environment'>): Diagnosis[] {
  const { MILLRACE_HOST: host, MILLRACE_ALLOWED_HOSTS: names } = environment;
  if (isLoopback(host) || TOKENS.some((name) => environment[name] !== undefined)) return [];
  const pages = names.length === 0 ? ', and so may a web page in their browsers' : '';
  return [
    {
      code: 'admin-open',
      severity: 'warning',
      about: host,
      problem: `Everybody who reaches the admin server may read counts, schemas, alerts and the audit log${pages}`,
      evidence: `MILLRACE_HOST is ${host}, no token is set, MILLRACE_ALLOWED_HOSTS ${names.length === 0 ? 'is not set' : `is ${names.join(',')}`}`,
      cure: 'Set a token. Or bind the server to 127.0.0.1, or list its names in MILLRACE_ALLOWED_HOSTS to keep web pages out',
      command: 'export MILLRACE_READ_TOKEN=$(openssl rand -hex 32)',
    },
  ];
}
