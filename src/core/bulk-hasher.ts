// Hashing for the two places that do it by the million: leaf hashes of framed entries and roots of full tiles. Same
// results as TreeHasher (RFC 6962, section 2.1); the difference is where the bytes go. A server hands in one built on
// `node:crypto` (cli/node-bulk-hasher.ts); this generic one serves every other place and is what tests compare with.

import { HASH_BYTES } from "./hash.ts";
import type { Hash, TreeHasher } from "./hash.ts";
import { perfectRoot } from "./merkle.ts";

export interface BulkHasher {
  readonly tree: TreeHasher;
  /**
   * Writes the leaf hash of `source[start, end)` to `target` at `offset`. `start` is at least 1: the byte before the
   * entry may be changed during the call and is restored before it returns (in a framed entry that is a length byte,
   * so the prefix 0x00 needs no copy).
   */
  leafInto(source: Uint8Array, start: number, end: number, target: Uint8Array, offset: number): void;
  /** The root over a full tile: exactly 256 hashes, 8,192 bytes. */
  fullTileRoot(tile: Uint8Array): Hash;
}

/** A BulkHasher over any TreeHasher. */
export function bulkHasher(tree: TreeHasher): BulkHasher {
  return {
    tree,
    leafInto(source, start, end, target, offset) {
      target.set(tree.leaf(source.subarray(start, end)).subarray(0, HASH_BYTES), offset);
    },
    fullTileRoot(tile) {
      return perfectRoot(tile, tree);
    },
  };
}
