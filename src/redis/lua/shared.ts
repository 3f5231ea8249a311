/** For `with` of defineScript: reading counters, and adding to them. */
export const COUNTS = new URL('./counts.lua', import.meta.url);
/** For `with` of defineScript: what scripts need to know about stream entries. */
export const ENTRIES: readonly URL[] = [COUNTS, new URL('./entries.lua', import.meta.url)];
/** For `with` of defineScript: a producer's sequences, and the appending of entries. */
export const APPEND_ENTRIES: readonly URL[] = [
  COUNTS,
  new URL('./append-entries.lua', import.meta.url),
];
/** For `with` of defineScript: the putting away of an event until it is due. */
export const SCHEDULE_EVENT: readonly URL[] = [
  COUNTS,
  new URL('./schedule-event.lua', import.meta.url),
];
/** For `with` of defineScript: whether a lane is still its owner's. */
export const HOLDS_LEASE = new URL('./holds-lease.lua', import.meta.url);
/** For `with` of defineScript: the counts of dead letters by fingerprint. */
export const LETTER_GROUPS = new URL('./letter-groups.lua', import.meta.url);
/** For `with` of defineScript: the origin of a parked record. */
export const PARKED_RECORD = new URL('./parked-record.lua', import.meta.url);
/** For `with` of defineScript: the arrival of the oldest event of each parked list. */
export const ARRIVALS: readonly URL[] = [PARKED_RECORD, new URL('./arrivals.lua', import.meta.url)];
