/** The value of a lane's lease: `<dispatcher>:<epoch>`. It fences every write of its holder. */

/** Returns the fencing epoch, as text. */
export function epochOf(leaseValue: string): string {
  return leaseValue.slice(leaseValue.lastIndexOf(':') + 1);
}

/** Returns the id of the dispatcher that holds the lease. */
export function dispatcherOf(leaseValue: string): string {
  return leaseValue.slice(0, leaseValue.lastIndexOf(':'));
}
