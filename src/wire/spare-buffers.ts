/**
 * Buffers of sent batches, kept for reuse. The garbage collector sees only the small objects of
 * buffers, and so frees their memory late.
 */
const SPARE_BYTES = 8 * 1024 * 1024;

export class SpareBuffers {
  readonly #buffers: Buffer[] = [];
  /** Bytes of all spare buffers, at most SPARE_BYTES. */
  #bytes = 0;

  take(): Buffer | undefined {
    const buffer = this.#buffers.pop();
    if (buffer) this.#bytes -= buffer.length;
    return buffer;
  }

  /**
   * Takes a buffer from its last user. The client must be done with the buffer too. After a sending
   * without an answer, ioredis may write the bytes once more, on a late MOVED of a Cluster.
   */
  keep(buffer: Buffer): void {
    if (this.#bytes + buffer.length > SPARE_BYTES) return;
    this.#bytes += buffer.length;
    this.#buffers.push(buffer);
  }
}
