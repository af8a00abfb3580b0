// Merkle arithmetic of RFC 6962, section 2.1: roots, which subtrees a proof consists of, and checking proofs by the
// algorithms of RFC 9162, sections 2.1.3.2 and 2.1.4.2. Verifying never throws: what is malformed is not proven.

import { CairnError } from "./errors.ts";
import { HASH_BYTES, asHash } from "./hash.ts";
import type { Hash, TreeHasher } from "./hash.ts";
import { equalBytes } from "./bytes.ts";

/** The largest size that tlog-checkpoint's implementations agree on: 2^63 - 1. */
export const MAX_TREE_SIZE = (1n << 63n) - 1n;

/** The leaves `start` (inclusive) to `end` (exclusive) of a tree: the span of one hash. */
export interface LeafRange {
  readonly start: number;
  readonly end: number;
}

export interface InclusionClaim {
  readonly leafHash: Uint8Array;
  readonly index: number | bigint;
  readonly size: number | bigint;
  /** The siblings, leaf to root. */
  readonly proof: readonly Uint8Array[];
  readonly root: Uint8Array;
}

export interface ConsistencyClaim {
  readonly size1: number | bigint;
  readonly root1: Uint8Array;
  readonly size2: number | bigint;
  readonly root2: Uint8Array;
  /** The subtree hashes, leaf to root. */
  readonly proof: readonly Uint8Array[];
}

/** The root of the tree without leaves. */
export function emptyRoot(hasher: TreeHasher): Hash {
  return hasher.empty();
}

/**
 * The Merkle Tree Hash over `hashes`, n times 32 bytes, n at least 1: of n leaf hashes, or of n nodes that stand side by
 * side at one height, of which only the last may span an incomplete subtree. Throws `bad_tile` on any other length.
 */
export function perfectRoot(hashes: Uint8Array, hasher: TreeHasher): Hash {
  const count = hashes.length / HASH_BYTES;
  if (count < 1 || !Number.isInteger(count)) {
    throw new CairnError("bad_tile", { detail: `${hashes.length} bytes` });
  }
  let row: Hash[] = [];
  for (let i = 0; i < count; i++) row.push(hashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES) as Hash);
  // Pairing row by row, an odd last node going up as it is, splits where RFC 6962 does: at the largest power of two.
  while (row.length > 1) {
    const above: Hash[] = [];
    for (let i = 0; i + 1 < row.length; i += 2) above.push(hasher.node(row[i] as Hash, row[i + 1] as Hash));
    if (row.length % 2 === 1) above.push(row[row.length - 1] as Hash);
    row = above;
  }
  const root = row[0] as Hash;
  return count === 1 ? asHash(root.slice()) : root;
}

/**
 * True where `proof` shows that `leafHash` is the leaf at `index` of the tree of `size` leaves with `root`. The proof has
 * to have exactly the length that index and size ask for. Sizes up to 2^63 - 1.
 */
export function verifyInclusion(claim: InclusionClaim, hasher: TreeHasher): boolean {
  const index = treeInteger(claim.index);
  const size = treeInteger(claim.size);
  if (index === null || size === null || index >= size) return false;
  if (!areHashes([claim.leafHash, claim.root]) || !areHashes(claim.proof)) return false;

  let fn = index;
  let sn = size - 1n;
  let hash = claim.leafHash;
  for (const sibling of claim.proof) {
    if (sn === 0n) return false;
    if ((fn & 1n) === 1n || fn === sn) {
      hash = hasher.node(sibling, hash);
      // A last node without a sibling goes up unhashed until it is a right child.
      while ((fn & 1n) === 0n && fn !== 0n) {
        fn >>= 1n;
        sn >>= 1n;
      }
    } else {
      hash = hasher.node(hash, sibling);
    }
    fn >>= 1n;
    sn >>= 1n;
  }
  return sn === 0n && equalBytes(hash, claim.root);
}

/**
 * True where `proof` shows that the tree of `size2` leaves with `root2` extends the tree of `size1` leaves with `root1`.
 * Between equal sizes, and from size 0, the proof is empty: equal sizes need equal roots, and a root of size 0 has to
 * be the empty tree's. Sizes up to 2^63 - 1.
 */
export function verifyConsistency(claim: ConsistencyClaim, hasher: TreeHasher): boolean {
  const { root1, root2, proof } = claim;
  const size1 = treeInteger(claim.size1);
  const size2 = treeInteger(claim.size2);
  if (size1 === null || size2 === null || size1 > size2) return false;
  if (!areHashes([root1, root2]) || !areHashes(proof)) return false;

  if (size1 === 0n && !equalBytes(root1, hasher.empty())) return false;
  if (size1 === size2) return proof.length === 0 && equalBytes(root1, root2);
  if (size1 === 0n) return proof.length === 0;

  let fn = size1 - 1n;
  let sn = size2 - 1n;
  while ((fn & 1n) === 1n) {
    fn >>= 1n;
    sn >>= 1n;
  }
  // fn is 0 here where size1 is a power of two: then the old tree is one subtree of the new one, and its root, which the
  // verifier has, is left out of the proof.
  const path = fn === 0n ? [root1, ...proof] : proof;
  const first = path[0];
  if (first === undefined) return false;
  let hash1 = first;
  let hash2 = first;
  for (let i = 1; i < path.length; i++) {
    const sibling = path[i] as Uint8Array;
    if (sn === 0n) return false;
    if ((fn & 1n) === 1n || fn === sn) {
      hash1 = hasher.node(sibling, hash1);
      hash2 = hasher.node(sibling, hash2);
      while ((fn & 1n) === 0n && fn !== 0n) {
        fn >>= 1n;
        sn >>= 1n;
      }
    } else {
      hash2 = hasher.node(hash2, sibling);
    }
    fn >>= 1n;
    sn >>= 1n;
  }
  return sn === 0n && equalBytes(hash1, root1) && equalBytes(hash2, root2);
}

/**
 * The subtrees whose hashes are the inclusion proof of leaf `index` in a tree of `size` leaves, leaf to root (RFC 6962,
 * section 2.1.1). Throws `unsafe_integer`, or `bad_parameter` where `index` is not below `size`.
 */
export function inclusionRanges(index: number, size: number): LeafRange[] {
  requireTreeSize(index);
  requireTreeSize(size);
  if (index >= size)
    throw new CairnError("bad_parameter", { detail: `index ${index} is not in a tree of ${size}` });
  const ranges: LeafRange[] = [];
  let start = 0;
  let end = size;
  let split = powerOfTwoFrom(size);
  while (end - start > 1) {
    while (split >= end - start) split /= 2;
    const middle = start + split;
    if (index < middle) {
      ranges.push({ start: middle, end });
      end = middle;
    } else {
      ranges.push({ start, end: middle });
      start = middle;
    }
  }
  return ranges.reverse();
}

/**
 * The subtrees whose hashes are the consistency proof between the trees of `size1` and `size2` leaves, leaf to root (RFC
 * 6962, section 2.1.2); none where the sizes are equal or the first is 0. Throws `unsafe_integer`, or `bad_parameter`
 * where `size1` is above `size2`.
 */
export function consistencyRanges(size1: number, size2: number): LeafRange[] {
  requireTreeSize(size1);
  requireTreeSize(size2);
  if (size1 > size2)
    throw new CairnError("bad_parameter", { detail: `size ${size1} is above size ${size2}` });
  if (size1 === 0) return [];
  const ranges: LeafRange[] = [];
  let start = 0;
  let end = size2;
  let split = powerOfTwoFrom(size2);
  while (end !== size1) {
    while (split >= end - start) split /= 2;
    const middle = start + split;
    if (size1 <= middle) {
      ranges.push({ start: middle, end });
      end = middle;
    } else {
      ranges.push({ start, end: middle });
      start = middle;
    }
  }
  // What is left is the old tree's last subtree. Where it is the whole old tree the verifier has its root already.
  if (start !== 0) ranges.push({ start, end });
  return ranges.reverse();
}

/** Throws `unsafe_integer` unless `value` is an integer from 0 to 2^53 - 1. */
export function requireTreeSize(value: number): void {
  if (!Number.isSafeInteger(value) || value < 0)
    throw new CairnError("unsafe_integer", { detail: String(value) });
}

/** `value` as a bigint, or null where it can be neither a size nor an index. */
function treeInteger(value: number | bigint): bigint | null {
  if (typeof value === "number") return Number.isSafeInteger(value) && value >= 0 ? BigInt(value) : null;
  return value >= 0n && value <= MAX_TREE_SIZE ? value : null;
}

function areHashes(values: readonly Uint8Array[]): boolean {
  return values.every((value) => value.length === HASH_BYTES);
}

/** The smallest power of two that is at least `value`; exact for every safe integer, which logarithms are not. */
function powerOfTwoFrom(value: number): number {
  let power = 1;
  while (power < value) power *= 2;
  return power;
}
