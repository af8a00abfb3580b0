import { describe, expect, test } from "vitest";
import { fromHex } from "../../../src/core/bytes.ts";
import { verifyConsistency, verifyInclusion } from "../../../src/core/merkle.ts";
import { nobleHasher } from "../../../src/core/noble-hasher.ts";
import { isValidSubtree, verifySubtreeConsistency } from "../../../src/witness/service/subtree.ts";
import { ChainTree } from "../conformance/chain-tree.ts";
import { filler } from "../conformance/test-log.ts";

const tree = new ChainTree("subtrees");

function verify(start: bigint | number, end: bigint | number, size: bigint | number, changed = {}): boolean {
  const claim = {
    start: BigInt(start),
    end: BigInt(end),
    size: BigInt(size),
    hash: tree.hash(start, end),
    root: tree.root(size),
    proof: tree.subtreeProof(start, end, size),
    ...changed,
  };
  return verifySubtreeConsistency(claim, nobleHasher);
}

/** Section 4.1 as it is written, for small numbers. */
function valid(start: number, end: number): boolean {
  if (!(0 <= start && start < end)) return false;
  let bitCeil = 1;
  while (bitCeil < end - start) bitCeil *= 2;
  return start % bitCeil === 0;
}

describe("which ranges are subtrees", () => {
  test("every range up to 70 as the definition has it", () => {
    for (let start = -1; start <= 70; start++) {
      for (let end = -1; end <= 70; end++) {
        expect(isValidSubtree(BigInt(start), BigInt(end)), `${start} to ${end}`).toBe(valid(start, end));
      }
    }
  });

  test("ranges whose rounded width is beyond 2^63", () => {
    expect(isValidSubtree(0n, 2n ** 63n - 1n)).toBe(true);
    expect(isValidSubtree(0n, 2n ** 62n + 1n)).toBe(true);
    expect(isValidSubtree(2n ** 62n, 2n ** 63n - 1n)).toBe(true);
    expect(isValidSubtree(1n, 2n ** 63n - 1n)).toBe(false);
  });
});

describe("subtree consistency proofs", () => {
  test("every subtree of every tree up to 40 leaves is proven by the proof of the definition", () => {
    for (let size = 1; size <= 40; size++) {
      for (let end = 1; end <= size; end++) {
        for (let start = 0; start < end; start++) {
          if (valid(start, end)) expect(verify(start, end, size), `${start} to ${end} of ${size}`).toBe(true);
        }
      }
    }
  });

  test("no proof of another range, another size or another length is taken", () => {
    for (let size = 2; size <= 14; size++) {
      for (let end = 1; end <= size; end++) {
        for (let start = 0; start < end; start++) {
          if (!valid(start, end)) continue;
          const right = tree.subtreeProof(start, end, size);
          const wrong = [
            right.slice(1),
            right.slice(0, -1),
            [...right, filler(32)],
            [filler(32), ...right],
            right.toReversed(),
            ...right.map((_, at) => right.toSpliced(at, 1, filler(32))),
          ];
          for (const proof of wrong) {
            if (proof.length === right.length && proof.every((hash, i) => hash === right[i])) continue;
            expect(verify(start, end, size, { proof }), `${start} to ${end} of ${size}`).toBe(false);
          }
          expect(verify(start, end, size, { hash: filler(32) })).toBe(false);
          expect(verify(start, end, size, { root: filler(32) })).toBe(false);
        }
      }
    }
  });

  test("from 0 it is a consistency proof, of one leaf an inclusion proof", () => {
    for (let size = 1; size <= 33; size++) {
      for (let end = 1; end <= size; end++) {
        const proof = tree.subtreeProof(0, end, size);
        const consistency = { size1: end, root1: tree.root(end), size2: size, root2: tree.root(size), proof };
        expect(verifyConsistency(consistency, nobleHasher)).toBe(verify(0, end, size));
        const index = end - 1;
        const inclusion = {
          leafHash: tree.hash(index, end),
          index,
          size,
          proof: tree.subtreeProof(index, end, size),
          root: tree.root(size),
        };
        expect(verifyInclusion(inclusion, nobleHasher)).toBe(verify(index, end, size));
      }
    }
  });

  test("trees of up to 2^63 - 1 leaves", () => {
    const size = 2n ** 63n - 1n;
    for (const [start, end] of [
      [0n, size],
      [0n, 1n],
      [0n, 2n ** 62n],
      [2n ** 62n, size],
      [2n ** 62n, 2n ** 62n + 12_345n],
      [size - 1n, size],
      [2n ** 40n, 2n ** 41n],
      [2n ** 40n, 2n ** 40n + 3n],
    ] as const) {
      expect(verify(start, end, size), `${start} to ${end}`).toBe(true);
      expect(verify(start, end, size, { hash: tree.fork(end - 1n).hash(start, end) })).toBe(false);
    }
  });

  test("a range that is no subtree, or ends beyond the tree, is never proven", () => {
    expect(verify(7, 9, 14, { proof: [] })).toBe(false);
    expect(verify(8, 13, 14, { size: 12n })).toBe(false);
    expect(verify(8, 9, 9, { end: 8n })).toBe(false);
  });

  test("hashes of another length are never taken", () => {
    const right = tree.subtreeProof(8, 13, 14);
    expect(verify(8, 13, 14, { hash: filler(31) })).toBe(false);
    expect(verify(8, 13, 14, { root: filler(33) })).toBe(false);
    expect(verify(8, 13, 14, { proof: right.toSpliced(1, 1, filler(31)) })).toBe(false);
  });
});

test("the tree that these tests and the conformance suite compare with is RFC 6962's", () => {
  // The hash over nothing, and a tree whose root was computed by hand from its three leaves.
  expect(tree.root(0)).toEqual(fromHex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
  const [a, b, c] = [0, 1, 2].map((i) => tree.hash(i, i + 1)) as [Uint8Array, Uint8Array, Uint8Array];
  expect(tree.root(3)).toEqual(Uint8Array.from(nobleHasher.node(nobleHasher.node(a, b), c)));
});
