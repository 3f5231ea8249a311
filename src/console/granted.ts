/** Whether the client of a page may change something, and the reason where it may not. */
import { ROLES, type AccessRole } from '../admin/access.ts';
import type { PageContext } from './page.tsx';

type Rights = Pick<PageContext, 'role' | 'readOnly'>;

export function mayChange({ role, readOnly }: Rights, needed: AccessRole): boolean {
  return !readOnly && ROLES.indexOf(role) >= ROLES.indexOf(needed);
}

export function refusalFor({ readOnly }: Rights, needed: AccessRole): string {
  return readOnly
    ? 'This console is read-only: start it with --allow-changes.'
    : `This needs a token of the role ${needed}.`;
}
