// Memory for bodies that are still being received: a bound over all and one for each client, so that slow senders
// cannot take all of it, whatever lengths they announce. Only bytes that are really held count.

export class ReceiveBudget {
  readonly #max: number;
  readonly #maxPerClient: number;
  readonly #held = new Map<string, number>();
  #total = 0;

  constructor(max: number, maxPerClient: number) {
    this.#max = max;
    this.#maxPerClient = maxPerClient;
  }

  /** Bytes held now. */
  get total(): number {
    return this.#total;
  }

  /** Takes `bytes` for `client`; false, and nothing taken, where that would pass a bound. */
  take(client: string, bytes: number): boolean {
    const held = (this.#held.get(client) ?? 0) + bytes;
    if (held > this.#maxPerClient || this.#total + bytes > this.#max) return false;
    this.#held.set(client, held);
    this.#total += bytes;
    return true;
  }

  /** Gives back what was taken. */
  give(client: string, bytes: number): void {
    const held = (this.#held.get(client) ?? 0) - bytes;
    if (held > 0) this.#held.set(client, held);
    else this.#held.delete(client);
    this.#total -= bytes;
  }
}
