// RFC 6962, section 2.1, written down as it stands there: recursive, slow, on node:crypto, sharing no code with src/.
// What the tests compare the real arithmetic with.

import { createHash } from "node:crypto";

export function naiveSha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

export function naiveLeaf(entry: Uint8Array): Uint8Array {
  return naiveSha256(Uint8Array.of(0), entry);
}

export function naiveNode(left: Uint8Array, right: Uint8Array): Uint8Array {
  return naiveSha256(Uint8Array.of(1), left, right);
}

/** A tree over leaf hashes that stay as they are; hashes of ranges are kept once computed. */
export interface NaiveTree {
  /** MTH(D[start:end]). */
  root(start: number, end: number): Uint8Array;
  /** PATH(index, D[0:size]). */
  inclusion(index: number, size: number): Uint8Array[];
  /** PROOF(size1, D[0:size2]); none from size 0. */
  consistency(size1: number, size2: number): Uint8Array[];
  /** The bytes of a tile, from the formula of tlog-tiles. */
  tile(level: number, index: number, width: number): Uint8Array;
}

export function naiveTree(leafHashes: readonly Uint8Array[]): NaiveTree {
  const known = new Map<string, Uint8Array>();

  function root(start: number, end: number): Uint8Array {
    if (start < 0 || end > leafHashes.length || start > end)
      throw new RangeError(`no leaves ${start} to ${end}`);
    if (start === end) return naiveSha256();
    if (end - start === 1) return leafHashes[start] as Uint8Array;
    const key = `${start} ${end}`;
    let hash = known.get(key);
    if (hash === undefined) {
      const k = naiveSplit(end - start);
      hash = naiveNode(root(start, start + k), root(start + k, end));
      known.set(key, hash);
    }
    return hash;
  }

  function path(m: number, start: number, end: number): Uint8Array[] {
    if (end - start === 1) return [];
    const k = naiveSplit(end - start);
    return m < k
      ? [...path(m, start, start + k), root(start + k, end)]
      : [...path(m - k, start + k, end), root(start, start + k)];
  }

  function subproof(m: number, start: number, end: number, b: boolean): Uint8Array[] {
    if (m === end - start) return b ? [] : [root(start, end)];
    const k = naiveSplit(end - start);
    return m <= k
      ? [...subproof(m, start, start + k, b), root(start + k, end)]
      : [...subproof(m - k, start + k, end, false), root(start, start + k)];
  }

  return {
    root,
    inclusion: (index, size) => path(index, 0, size),
    consistency: (size1, size2) => (size1 === 0 ? [] : subproof(size1, 0, size2, true)),
    tile(level, index, width) {
      const bytes = new Uint8Array(width * 32);
      for (let i = 0; i < width; i++) {
        const place = index * 256 + i;
        bytes.set(root(place * 256 ** level, (place + 1) * 256 ** level), i * 32);
      }
      return bytes;
    },
  };
}

/** A tree of `size` different leaves, leaf i being the entry `String(i)`. */
export function naiveNumbers(size: number): { leafHashes: Uint8Array[]; tree: NaiveTree } {
  const text = new TextEncoder();
  const leafHashes = Array.from({ length: size }, (_, i) => naiveLeaf(text.encode(String(i))));
  return { leafHashes, tree: naiveTree(leafHashes) };
}

/**
 * The root that `proof` leads to from a leaf, following the definition of PATH, or null where the proof is longer or
 * shorter than that definition's. Any size: it needs no tree.
 */
export function naiveRootOfPath(
  leafHash: Uint8Array,
  index: bigint,
  size: bigint,
  proof: readonly Uint8Array[],
): Uint8Array | null {
  if (index < 0n || index >= size) return null;
  if (size === 1n) return proof.length === 0 ? leafHash : null;
  const last = proof.at(-1);
  if (last === undefined) return null;
  const k = naiveSplit(size);
  const inLeft = index < k;
  const inner = naiveRootOfPath(
    leafHash,
    inLeft ? index : index - k,
    inLeft ? k : size - k,
    proof.slice(0, -1),
  );
  if (inner === null) return null;
  return inLeft ? naiveNode(inner, last) : naiveNode(last, inner);
}

/**
 * The two roots that a consistency proof leads to, following the definition of SUBPROOF, or null where the proof has
 * another length. `root1` is what the definition leaves out where the old tree is a subtree of the new one.
 */
export function naiveRootsOfConsistency(
  size1: bigint,
  size2: bigint,
  root1: Uint8Array,
  proof: readonly Uint8Array[],
  b = true,
): { old: Uint8Array; new: Uint8Array } | null {
  if (size1 < 1n || size1 > size2) return null;
  const last = proof.at(-1);
  if (size1 === size2) {
    if (b) return proof.length === 0 ? { old: root1, new: root1 } : null;
    return last !== undefined && proof.length === 1 ? { old: last, new: last } : null;
  }
  if (last === undefined) return null;
  const k = naiveSplit(size2);
  const rest = proof.slice(0, -1);
  if (size1 <= k) {
    const inner = naiveRootsOfConsistency(size1, k, root1, rest, b);
    return inner && { old: inner.old, new: naiveNode(inner.new, last) };
  }
  const inner = naiveRootsOfConsistency(size1 - k, size2 - k, root1, rest, false);
  return inner && { old: naiveNode(last, inner.old), new: naiveNode(last, inner.new) };
}

/** How many hashes an inclusion proof has. */
export function naivePathLength(index: bigint, size: bigint): number {
  if (size === 1n) return 0;
  const k = naiveSplit(size);
  return 1 + (index < k ? naivePathLength(index, k) : naivePathLength(index - k, size - k));
}

/** How many hashes a consistency proof has, from sizes 1 up. */
export function naiveConsistencyLength(size1: bigint, size2: bigint, b = true): number {
  if (size1 === size2) return b ? 0 : 1;
  const k = naiveSplit(size2);
  return size1 <= k
    ? 1 + naiveConsistencyLength(size1, k, b)
    : 1 + naiveConsistencyLength(size1 - k, size2 - k, false);
}

/** "The largest power of two smaller than n". */
export function naiveSplit<N extends number | bigint>(n: N): N {
  if (typeof n === "bigint") {
    let k = 1n;
    while (k * 2n < n) k *= 2n;
    return k as N;
  }
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k as N;
}
