// The server's bulk hasher on `crypto.hash`: no copy of an entry, no object a hash. A digest asked for as a Latin-1
// string and written into place costs a third of one asked for as a Buffer.

import { hash } from "node:crypto";
import type { BulkHasher } from "../core/bulk-hasher.ts";
import { HASH_BYTES, asHash } from "../core/hash.ts";
import { nodeHasher } from "./node-hasher.ts";

const TILE_BYTES = 8192;
const PAIRS = 128;

/** A BulkHasher with buffers of its own; one for each thread of work that may be interrupted half-way. */
export function createNodeBulkHasher(): BulkHasher {
  // One byte before the hashes, so that every pair can be hashed in place with the node prefix in the byte before it:
  // that byte belongs to a pair that has been hashed already.
  const work = Buffer.alloc(1 + TILE_BYTES);
  const pairs = Array.from({ length: PAIRS }, (_, i) => work.subarray(i * 64, i * 64 + 65));

  return {
    tree: nodeHasher,
    leafInto(source, start, end, target, offset) {
      const before = source[start - 1] as number;
      source[start - 1] = 0x00;
      const digest = hash("sha256", source.subarray(start - 1, end), "binary");
      source[start - 1] = before;
      // Buffer's own write where the target is one: a loop over 32 characters otherwise.
      if (target instanceof Buffer) target.write(digest, offset, HASH_BYTES, "latin1");
      else for (let i = 0; i < HASH_BYTES; i++) target[offset + i] = digest.charCodeAt(i);
    },
    fullTileRoot(tile) {
      if (tile.length !== TILE_BYTES)
        throw new RangeError(`a full tile is ${TILE_BYTES} bytes, not ${tile.length}`);
      work.set(tile, 1);
      for (let count = PAIRS; count >= 1; count >>= 1) {
        for (let i = 0; i < count; i++) {
          work[i * 64] = 0x01;
          work.write(hash("sha256", pairs[i] as Buffer, "binary"), 1 + i * HASH_BYTES, HASH_BYTES, "latin1");
        }
      }
      return asHash(new Uint8Array(work.subarray(1, 1 + HASH_BYTES)));
    },
  };
}
