/** Returns the text without its last full stop: a sentence that holds a text ends once. */
export function withoutStop(text: string): string {
  return text.replace(/[.\s]+$/, '');
}
