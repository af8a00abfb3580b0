// A Merkle tree of any size up to 2^63 - 1 for test logs, by the definitions of RFC 6962, section 2.1, and
// draft-ietf-plants-merkle-tree-certs-03, section 4.4, as they stand there; shares no code with src/. Its first leaves are all
// different, the others all alike, so that a huge tree costs a few thousand hashes.

import { createHash } from "node:crypto";

/** So many leaves differ from each other; from there on a range's hash depends on its width alone. */
const DISTINCT_LEAVES = 512n;

export class ChainTree {
  readonly #salt: string;
  readonly #forkAt: bigint | null;
  readonly #known = new Map<string, Uint8Array>();

  /** Trees of one salt are one history; with `forkAt`, the leaf at that index is another one. */
  constructor(salt: string, forkAt: bigint | null = null) {
    this.#salt = salt;
    this.#forkAt = forkAt;
  }

  /** The same history but for one leaf. */
  fork(at: bigint | number): ChainTree {
    return new ChainTree(this.#salt, BigInt(at));
  }

  /** MTH(D[0:size]). */
  root(size: bigint | number): Uint8Array {
    return this.hash(0n, BigInt(size));
  }

  /** MTH(D[start:end]). */
  hash(start: bigint | number, end: bigint | number): Uint8Array {
    return this.#hash(BigInt(start), BigInt(end));
  }

  /** PROOF(m, D[0:n]); none from size 0. */
  consistency(m: bigint | number, n: bigint | number): Uint8Array[] {
    return BigInt(m) === 0n ? [] : this.subtreeProof(0n, m, n);
  }

  /** SUBTREE_PROOF(start, end, D[0:n]), which is PROOF(end, D[0:n]) where start is 0. */
  subtreeProof(start: bigint | number, end: bigint | number, n: bigint | number): Uint8Array[] {
    return this.#subproof(BigInt(start), BigInt(end), 0n, BigInt(n), true);
  }

  #subproof(start: bigint, end: bigint, from: bigint, to: bigint, known: boolean): Uint8Array[] {
    if (start === from && end === to) return known ? [] : [this.#hash(from, to)];
    const middle = from + split(to - from);
    if (end <= middle) return [...this.#subproof(start, end, from, middle, known), this.#hash(middle, to)];
    if (start >= middle) return [...this.#subproof(start, end, middle, to, known), this.#hash(from, middle)];
    return [...this.#subproof(middle, end, middle, to, false), this.#hash(from, middle)];
  }

  #hash(start: bigint, end: bigint): Uint8Array {
    if (start === end) return sha256();
    const plain = start >= DISTINCT_LEAVES && !this.#forks(start, end);
    const key = plain ? String(end - start) : `${start} ${end}`;
    let hash = this.#known.get(key);
    if (hash === undefined) {
      if (end - start === 1n) {
        hash = this.#leaf(start);
      } else {
        const middle = start + split(end - start);
        hash = sha256(Uint8Array.of(1), this.#hash(start, middle), this.#hash(middle, end));
      }
      this.#known.set(key, hash);
    }
    return hash;
  }

  #forks(start: bigint, end: bigint): boolean {
    return this.#forkAt !== null && this.#forkAt >= start && this.#forkAt < end;
  }

  #leaf(index: bigint): Uint8Array {
    const name = index < DISTINCT_LEAVES ? `leaf ${index}` : "a further leaf";
    const entry = `${this.#salt}: ${this.#forks(index, index + 1n) ? "another " : ""}${name}`;
    return sha256(Uint8Array.of(0), new TextEncoder().encode(entry));
  }
}

/** "The largest power of two smaller than n". */
function split(n: bigint): bigint {
  let k = 1n;
  while (k * 2n < n) k *= 2n;
  return k;
}

function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}
