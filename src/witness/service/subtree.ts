// Subtrees of a Merkle tree, draft-ietf-plants-merkle-tree-certs-03, section 4: which ranges are subtrees, and checking that
// one is part of a tree. Sizes up to 2^63 - 1. Checking never throws: what is malformed is not proven.

import { equalBytes } from "../../core/bytes.ts";
import { HASH_BYTES, type TreeHasher } from "../../core/hash.ts";

export interface SubtreeClaim {
  readonly start: bigint;
  /** Exclusive. */
  readonly end: bigint;
  /** The hash over the leaves from start to end as a tree of their own, 32 bytes. */
  readonly hash: Uint8Array;
  /** Of the whole tree. */
  readonly size: bigint;
  readonly root: Uint8Array;
  readonly proof: readonly Uint8Array[];
}

/** Section 4.1: 0 <= start < end, and start is a multiple of end - start rounded up to a power of two. */
export function isValidSubtree(start: bigint, end: bigint): boolean {
  if (start < 0n || start >= end) return false;
  let width = 1n;
  while (width < end - start) width *= 2n;
  return start % width === 0n;
}

/**
 * True where `proof` is the subtree consistency proof of section 4.4 from the subtree to the tree. It has to have exactly
 * the length that its definition gives.
 */
export function verifySubtreeConsistency(claim: SubtreeClaim, hasher: TreeHasher): boolean {
  const { start, end, size, hash, root, proof } = claim;
  if (!isValidSubtree(start, end) || end > size) return false;
  if (![hash, root, ...proof].every(({ length }) => length === HASH_BYTES)) return false;
  const roots = fold(start, end, size, true, proof.length);
  return roots !== null && equalBytes(roots.subtree, hash) && equalBytes(roots.tree, root);

  // SUBTREE_SUBPROOF(start, end, D[size], known) read backwards: the hashes of subtree and tree that it leads to, from its
  // first `length` hashes, or null where the definition has another number of them. Each call takes one hash off the end.
  function fold(
    from: bigint,
    to: bigint,
    n: bigint,
    known: boolean,
    length: number,
  ): { subtree: Uint8Array; tree: Uint8Array } | null {
    if (from === 0n && to === n) {
      if (length !== (known ? 0 : 1)) return null;
      const both = known ? hash : (proof[0] as Uint8Array);
      return { subtree: both, tree: both };
    }
    const last = proof[length - 1];
    if (last === undefined) return null;
    const k = largestPowerOfTwoBelow(n);
    if (to <= k) {
      const inner = fold(from, to, k, known, length - 1);
      return inner && { subtree: inner.subtree, tree: hasher.node(inner.tree, last) };
    }
    if (k <= from) {
      const inner = fold(from - k, to - k, n - k, known, length - 1);
      return inner && { subtree: inner.subtree, tree: hasher.node(last, inner.tree) };
    }
    // The subtree spans k, so it begins at 0 and has the whole left child; its root is no node of the tree.
    const inner = fold(0n, to - k, n - k, false, length - 1);
    return inner && { subtree: hasher.node(last, inner.subtree), tree: hasher.node(last, inner.tree) };
  }
}

function largestPowerOfTwoBelow(n: bigint): bigint {
  let k = 1n;
  while (k * 2n < n) k *= 2n;
  return k;
}
