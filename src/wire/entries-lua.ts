/** For `with` of defineScript: what scripts need to know about stream entries. */
export const ENTRIES = new URL('./entries.lua', import.meta.url);
