// The rows and heads that sqlite-writer.ts writes, which its test knows too.

import type { Identity, Row, StoredNote, TreeHead } from "../../src/state/state.ts";

export const IDENTITY: Identity = {
  format: 1,
  databaseId: "0123456789abcdef0123456789abcdef",
  origin: "example.com/power",
  keys: ["example.com/power+00000001"],
  pendingKeys: null,
};

export const EMPTY_ROOT = new Uint8Array(32).fill(0xe3);

/** The `number`-th row: 1 to 300 entries of 10 to 300 bytes, each beginning with its index. */
export function rowOf(first: number, number: number): Row {
  const count = 1 + ((number * 37) % 300);
  const length = 10 + ((number * 71) % 290);
  const hashes = new Uint8Array(count * 32);
  const bytes = new Uint8Array(count * (length + 2));
  for (let i = 0; i < count; i++) {
    hashes.fill((first + i) % 251, i * 32, (i + 1) * 32);
    const at = i * (length + 2);
    bytes[at] = length >> 8;
    bytes[at + 1] = length & 0xff;
    bytes.fill(number & 0xff, at + 2, at + 2 + length);
    bytes.set(Buffer.from(String(first + i)), at + 2);
  }
  return { first, count, hashes, bytes };
}

export function head(size: number): TreeHead {
  return { size, root: new Uint8Array(32).fill(size % 251) };
}

export function note(size: number): StoredNote {
  return { size, note: Buffer.from(`a note of size ${size}`) };
}
