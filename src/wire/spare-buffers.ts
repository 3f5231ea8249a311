/**
 * Buffers of batches that have been sent, to be used again: the garbage collector is late for
 * memory it does not see.
 */
const SPARE_BYTES = 8 * 1024 * 1024;

export class SpareBuffers {
  readonly #buffers: Buffer[] = [];
  /** Of all of them: at most SPARE_BYTES. */
  #bytes = 0;

  take(): Buffer | undefined {
    const buffer = this.#buffers.pop();
    if (buffer) this.#bytes -= buffer.length;
    return buffer;
  }

  /** Nobody else may use it any more. */
  keep(buffer: Buffer): void {
    if (this.#bytes + buffer.length > SPARE_BYTES) return;
    this.#bytes += buffer.length;
    this.#buffers.push(buffer);
  }
}
