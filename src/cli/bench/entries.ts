// The entries that a benchmark logs: 300 bytes of noise with a number in them, so that each is unique, costs its sender
// next to nothing, and can be told again from its bytes alone.

/** As in the targets: the size of a small package record. */
export const ENTRY_BYTES = 300;
const NUMBER_AT = 16;
const NUMBER_END = NUMBER_AT + 8;
const FRAME_BYTES = 2;

/** Writes entry `number` of a run at `offset`; `noise` is the run's own 300 random bytes. */
export function writeEntry(noise: Uint8Array, number: number, target: Uint8Array, offset: number): void {
  target.set(noise, offset);
  renumber(number, target, offset);
}

/** Makes the entry at `offset` entry `number` of the same run. */
export function renumber(number: number, target: Uint8Array, offset: number): void {
  let rest = number;
  for (let at = NUMBER_END - 1; at >= NUMBER_AT; at--) {
    target[offset + at] = rest & 0xff;
    rest = Math.floor(rest / 256);
  }
}

/** The number of an entry of this run, or null where the bytes are no such entry. */
export function entryNumber(noise: Uint8Array, entry: Uint8Array): number | null {
  if (entry.length !== ENTRY_BYTES) return null;
  for (let at = 0; at < ENTRY_BYTES; at++) {
    if ((at < NUMBER_AT || at >= NUMBER_END) && entry[at] !== noise[at]) return null;
  }
  let number = 0;
  for (let at = NUMBER_AT; at < NUMBER_END; at++) number = number * 256 + (entry[at] as number);
  return number;
}

/** The length of a batch's body. */
export function batchBytes(count: number): number {
  return count * (FRAME_BYTES + ENTRY_BYTES);
}

/** A framed batch body for `count` entries, whose numbers `renumberBatch` sets. */
export function batchBody(noise: Uint8Array, count: number): Buffer {
  const body = Buffer.alloc(batchBytes(count));
  for (let i = 0; i < count; i++) {
    const offset = i * (FRAME_BYTES + ENTRY_BYTES);
    body.writeUInt16BE(ENTRY_BYTES, offset);
    body.set(noise, offset + FRAME_BYTES);
  }
  return body;
}

/** Gives the entries of the batch that starts at `offset` the numbers from `first` on. */
export function renumberBatch(first: number, count: number, target: Uint8Array, offset: number): void {
  for (let i = 0; i < count; i++) {
    renumber(first + i, target, offset + i * (FRAME_BYTES + ENTRY_BYTES) + FRAME_BYTES);
  }
}
