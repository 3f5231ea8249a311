/** Where messages go. `fields` name what a message is about: the function, the partition, `err`. */
export type Log = (
  level: 'debug' | 'info' | 'warn' | 'error',
  message: string,
  fields?: Record<string, unknown>,
) => void;
