// A list of numbers that grows without an object for each of them, for a million latencies or indices.

const FIRST_CAPACITY = 65_536;

export class Growing {
  #values = new Float64Array(FIRST_CAPACITY);
  #length = 0;
  readonly #filler: number;

  /** Places that were skipped hold `filler`. */
  constructor(filler = 0) {
    this.#filler = filler;
    this.#values.fill(filler);
  }

  push(value: number): void {
    this.set(this.#length, value);
  }

  set(at: number, value: number): void {
    if (at >= this.#values.length) this.#grow(at + 1);
    this.#values[at] = value;
    if (at >= this.#length) this.#length = at + 1;
  }

  /** The value at a place, or the filler. */
  get(at: number): number {
    return at < this.#length ? (this.#values[at] as number) : this.#filler;
  }

  get length(): number {
    return this.#length;
  }

  toArray(): Float64Array {
    return this.#values.slice(0, this.#length);
  }

  #grow(atLeast: number): void {
    const larger = new Float64Array(Math.max(atLeast, this.#values.length * 2)).fill(this.#filler);
    larger.set(this.#values.subarray(0, this.#length));
    this.#values = larger;
  }
}
