/** The payloads that clients of the admin server may see. */
import type { Environment } from '../config.ts';
import type { PayloadAccess } from '../payload/shown-payload.ts';
import type { AccessRole } from './access.ts';

/**
 * Returns the access of a client. Without tokens, everybody who reaches the server beyond loopback
 * has the role read, web pages included: such clients see no payloads.
 */
export function payloadAccess(
  { role, byToken }: { readonly role: AccessRole; readonly byToken: boolean },
  environment: Pick<Environment, 'MILLRACE_PAYLOADS_READ' | 'MILLRACE_PAYLOADS_OPERATE'>,
): PayloadAccess {
  if (role !== 'read') return environment.MILLRACE_PAYLOADS_OPERATE;
  return byToken ? environment.MILLRACE_PAYLOADS_READ : 'none';
}
