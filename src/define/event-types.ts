/**
 * Event types of a project, by name. Empty here. `millrace proto` generates a file that adds the
 * project's own types: `declare module 'millrace/define' { interface EventTypes { 'order.created':
 * OrderCreated } }`. From then on `event.data` is typed.
 */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- filled by declaration merging
export interface EventTypes {}
