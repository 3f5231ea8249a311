/** The name of a process in leases: unlike all others, and readable for people. */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';

/** Returns host, pid, and a random part. Each call gives another name. */
export function processName(): string {
  const host = hostname().replaceAll(':', '_').slice(0, 60);
  return `${host}-${process.pid}-${randomBytes(4).toString('hex')}`;
}
