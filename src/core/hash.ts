// Tree hashing of RFC 6962, section 2.1, over a SHA-256 that is handed in: noble in a browser, node:crypto in the
// server. Leaves and nodes are hashed under different first bytes, so neither can be passed off as the other.

import { concatBytes } from "./bytes.ts";
import { CairnError } from "./errors.ts";

export const HASH_BYTES = 32;

const LEAF_PREFIX = 0x00;
const NODE_PREFIX = 0x01;

// Entries up to this length are hashed from one reused buffer. It is the longest that a bundle can hold, and a fresh
// array for each entry cost more than the copy.
const SCRATCH_ENTRY_BYTES = 65_535;

declare const hashBrand: unique symbol;

/** 32 bytes that are a SHA-256 hash. Made by a TreeHasher, or from foreign bytes by `asHash`. */
export type Hash = Uint8Array & { readonly [hashBrand]: true };

/** SHA-256 of `data`: a new array of 32 bytes. Must not keep `data`, whose buffer is used again. */
export type Sha256 = (data: Uint8Array) => Uint8Array;

/** The hashes of an RFC 6962 tree. Every answer is a new array; no argument is kept. */
export interface TreeHasher {
  readonly sha256: Sha256;
  /** The root of the tree without leaves: SHA-256 of nothing. */
  empty(): Hash;
  /** The leaf hash of `entry`: SHA-256(0x00 || entry). */
  leaf(entry: Uint8Array): Hash;
  /** The hash of the node over two 32-byte children: SHA-256(0x01 || left || right). */
  node(left: Uint8Array, right: Uint8Array): Hash;
}

/** `bytes` itself, as a hash. Throws `bad_hash` where it is not 32 bytes long. */
export function asHash(bytes: Uint8Array): Hash {
  if (bytes.length !== HASH_BYTES) throw new CairnError("bad_hash", { detail: `${bytes.length} bytes` });
  return bytes as Hash;
}

/** The tree hasher over `sha256`. */
export function treeHasher(sha256: Sha256): TreeHasher {
  const nodeScratch = new Uint8Array(1 + 2 * HASH_BYTES);
  nodeScratch[0] = NODE_PREFIX;
  const leafScratch = new Uint8Array(1 + SCRATCH_ENTRY_BYTES);
  leafScratch[0] = LEAF_PREFIX;

  return {
    sha256,
    empty() {
      return sha256(new Uint8Array(0)) as Hash;
    },
    leaf(entry) {
      if (entry.length > SCRATCH_ENTRY_BYTES) {
        return sha256(concatBytes(Uint8Array.of(LEAF_PREFIX), entry)) as Hash;
      }
      leafScratch.set(entry, 1);
      return sha256(leafScratch.subarray(0, 1 + entry.length)) as Hash;
    },
    node(left, right) {
      // A shorter child would leave bytes of an earlier call in the scratch, and so a wrong hash without an error.
      asHash(left);
      asHash(right);
      nodeScratch.set(left, 1);
      nodeScratch.set(right, 1 + HASH_BYTES);
      return sha256(nodeScratch) as Hash;
    },
  };
}
