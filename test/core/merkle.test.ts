import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nodeHasher } from "../../src/cli/node-hasher.ts";
import { concatBytes, fromHex, toHex } from "../../src/core/bytes.ts";
import {
  consistencyRanges,
  emptyRoot,
  inclusionRanges,
  MAX_TREE_SIZE,
  perfectRoot,
  verifyConsistency,
  verifyInclusion,
} from "../../src/core/merkle.ts";
import type { ConsistencyClaim, InclusionClaim } from "../../src/core/merkle.ts";
import {
  naiveConsistencyLength,
  naiveLeaf,
  naiveNumbers,
  naivePathLength,
  naiveRootOfPath,
  naiveRootsOfConsistency,
  naiveSha256,
  naiveTree,
} from "./naive.ts";
import { refusal } from "./refusal.ts";

// The test tree of Certificate Transparency's reference implementation.
const CT_LEAVES = [
  "",
  "00",
  "10",
  "2021",
  "3031",
  "40414243",
  "5051525354555657",
  "606162636465666768696a6b6c6d6e6f",
];
const CT_ROOTS = [
  "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
  "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
  "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
  "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
  "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
  "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
  "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
  "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

// Around the widths of tiles at level 0 and 1.
const SIZES = [
  ...Array.from({ length: 20 }, (_, i) => i + 1),
  ...around(256),
  ...around(512),
  ...around(65_536),
];
const { leafHashes, tree } = naiveNumbers(65_537);

const HUGE_SIZES = [
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 53n + 1n,
  2n ** 62n,
  2n ** 62n + 1n,
  2n ** 63n - 2n,
  MAX_TREE_SIZE,
];
const hugeSize = fc.oneof(fc.bigInt(1n, MAX_TREE_SIZE), fc.constantFrom(...HUGE_SIZES));

function changed(hash: Uint8Array, bit = 0): Uint8Array {
  const copy = hash.slice();
  copy[bit >> 3] = (copy[bit >> 3] as number) ^ (1 << (bit & 7));
  return copy;
}

/** Every list that differs from `proof` by one changed, dropped, repeated or added hash, or by two swapped neighbours. */
function* mutations(proof: readonly Uint8Array[]): Generator<Uint8Array[]> {
  const extra = naiveSha256(Uint8Array.of(0xee));
  for (let i = 0; i <= proof.length; i++) {
    yield proof.toSpliced(i, 0, extra);
    const here = proof[i];
    if (here === undefined) continue;
    yield proof.with(i, changed(here, 0));
    yield proof.with(i, changed(here, 255));
    yield proof.with(i, here.subarray(0, 31));
    yield proof.with(i, concatBytes(here, Uint8Array.of(0)));
    yield proof.toSpliced(i, 1);
    yield proof.toSpliced(i, 0, here);
    const next = proof[i + 1];
    if (next !== undefined) yield proof.with(i, next).with(i + 1, here);
  }
}

function inclusionClaim(index: number, size: number): InclusionClaim {
  return {
    leafHash: leafHashes[index] as Uint8Array,
    index,
    size,
    proof: tree.inclusion(index, size),
    root: tree.root(0, size),
  };
}

function consistencyClaim(size1: number, size2: number): ConsistencyClaim {
  return {
    size1,
    root1: tree.root(0, size1),
    size2,
    root2: tree.root(0, size2),
    proof: tree.consistency(size1, size2),
  };
}

/** Indices worth a proof in a tree of that size: all of a small one, the corners and borders of a large one. */
function someIndices(size: number): number[] {
  if (size <= 64) return Array.from({ length: size }, (_, i) => i);
  const borders = [
    0,
    1,
    127,
    128,
    255,
    256,
    257,
    511,
    512,
    32_767,
    32_768,
    65_280,
    65_535,
    65_536,
    size - 2,
    size - 1,
  ];
  return [...new Set(borders)].filter((index) => index < size);
}

describe("roots", () => {
  test("the empty tree's is SHA-256 of nothing", () => {
    expect(toHex(emptyRoot(nodeHasher))).toBe(
      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    );
  });

  test("of Certificate Transparency's test tree at all eight sizes", () => {
    const hashes = CT_LEAVES.map((leaf) => nodeHasher.leaf(fromHex(leaf)));
    const roots = hashes.map((_, i) =>
      toHex(perfectRoot(concatBytes(...hashes.slice(0, i + 1)), nodeHasher)),
    );
    expect(roots).toEqual(CT_ROOTS);
    expect(hashes.map((_, i) => toHex(naiveTree(hashes).root(0, i + 1)))).toEqual(CT_ROOTS);
  });

  test.each(SIZES)("of %i leaves equals the recursive definition", (size) => {
    const hashes = concatBytes(...leafHashes.slice(0, size));
    const before = hashes.slice();
    expect(perfectRoot(hashes, nodeHasher)).toEqual(tree.root(0, size));
    expect(Buffer.compare(hashes, before)).toBe(0);
  });

  test("of any number of leaves equals the recursive definition", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3000 }), (size) => {
        expect(perfectRoot(concatBytes(...leafHashes.slice(0, size)), nodeHasher)).toEqual(
          tree.root(0, size),
        );
      }),
      { numRuns: 50 },
    );
  });

  test("of a single hash is a copy, not a view of the argument", () => {
    const hash = naiveLeaf(Uint8Array.of(1));
    const root = perfectRoot(hash, nodeHasher);
    expect(root).toEqual(hash);
    hash.fill(0);
    expect(root).toEqual(naiveLeaf(Uint8Array.of(1)));
  });

  test.each([0, 1, 31, 33, 65])("%i bytes are no row of hashes", (length) => {
    expect(() => perfectRoot(new Uint8Array(length), nodeHasher)).toThrow(refusal("bad_tile"));
  });
});

describe("which subtrees a proof consists of", () => {
  test.each(SIZES)("inclusion in %i leaves: those of the recursive definition, leaf to root", (size) => {
    for (const index of someIndices(size)) {
      const ranges = inclusionRanges(index, size);
      expect(ranges.map(({ start, end }) => tree.root(start, end))).toEqual(tree.inclusion(index, size));
    }
  });

  test.each(SIZES)("consistency with %i leaves: those of the recursive definition, leaf to root", (size2) => {
    for (const size1 of [...someIndices(size2), size2]) {
      const ranges = consistencyRanges(size1, size2);
      expect(ranges.map(({ start, end }) => tree.root(start, end))).toEqual(tree.consistency(size1, size2));
    }
  });

  test("inclusion ranges and the leaf cover every tree up to 2^53 - 1 once, in the length of the definition", () => {
    const safe = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
    const pair = safe.chain((size) => fc.tuple(fc.integer({ min: 0, max: size - 1 }), fc.constant(size)));
    const corner: [number, number] = [Number.MAX_SAFE_INTEGER - 1, Number.MAX_SAFE_INTEGER];
    fc.assert(
      fc.property(pair, ([index, size]) => {
        const ranges = inclusionRanges(index, size);
        expect(ranges.length).toBe(naivePathLength(BigInt(index), BigInt(size)));
        const sorted = [...ranges, { start: index, end: index + 1 }].sort((a, b) => a.start - b.start);
        expect(sorted[0]?.start).toBe(0);
        expect(sorted.at(-1)?.end).toBe(size);
        for (let i = 1; i < sorted.length; i++) expect(sorted[i]?.start).toBe(sorted[i - 1]?.end);
      }),
      { examples: [[corner], [[0, Number.MAX_SAFE_INTEGER]], [[2 ** 52, 2 ** 52 + 1]]] },
    );
  });

  test("consistency proofs have the definition's length up to 2^53 - 1", () => {
    const safe = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
    fc.assert(
      fc.property(safe, safe, (a, b) => {
        const [size1, size2] = a < b ? [a, b] : [b, a];
        expect(consistencyRanges(size1, size2).length).toBe(
          naiveConsistencyLength(BigInt(size1), BigInt(size2)),
        );
      }),
    );
  });

  test("an index or size that has no proof is refused", () => {
    expect(() => inclusionRanges(0, 0)).toThrow(refusal("bad_parameter"));
    expect(() => inclusionRanges(5, 5)).toThrow(refusal("bad_parameter"));
    expect(() => consistencyRanges(6, 5)).toThrow(refusal("bad_parameter"));
    for (const odd of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
      expect(() => inclusionRanges(odd, 5)).toThrow(refusal("unsafe_integer"));
      expect(() => inclusionRanges(0, odd)).toThrow(refusal("unsafe_integer"));
      expect(() => consistencyRanges(odd, 5)).toThrow(refusal("unsafe_integer"));
      expect(() => consistencyRanges(1, odd)).toThrow(refusal("unsafe_integer"));
    }
    expect(consistencyRanges(0, 5)).toEqual([]);
    expect(consistencyRanges(0, 0)).toEqual([]);
    expect(consistencyRanges(5, 5)).toEqual([]);
  });
});

describe("verifying inclusion", () => {
  test("accepts the proof that Certificate Transparency gives for leaf 1 of 8", () => {
    const claim = {
      leafHash: nodeHasher.leaf(fromHex("00")),
      index: 1,
      size: 8,
      proof: [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
      ].map(fromHex),
      root: fromHex(CT_ROOTS[7] as string),
    };
    expect(verifyInclusion(claim, nodeHasher)).toBe(true);
    expect(verifyInclusion({ ...claim, index: 0 }, nodeHasher)).toBe(false);
  });

  test.each(SIZES)("accepts every proof in %i leaves and refuses every mutation of it", (size) => {
    for (const index of someIndices(size)) {
      const claim = inclusionClaim(index, size);
      expect(verifyInclusion(claim, nodeHasher)).toBe(true);
      expect(verifyInclusion({ ...claim, index: BigInt(index), size: BigInt(size) }, nodeHasher)).toBe(true);
      for (const proof of mutations(claim.proof))
        expect(verifyInclusion({ ...claim, proof }, nodeHasher)).toBe(false);
      expect(verifyInclusion({ ...claim, leafHash: changed(claim.leafHash) }, nodeHasher)).toBe(false);
      expect(verifyInclusion({ ...claim, root: changed(claim.root, 100) }, nodeHasher)).toBe(false);
      for (const other of someIndices(size)) {
        if (other !== index) expect(verifyInclusion({ ...claim, index: other }, nodeHasher)).toBe(false);
      }
    }
  });

  test("at another size it accepts exactly what the definition of a path leads to", () => {
    // Leaf 0 has the same path in trees of 3 and of 4: which of them it was is what the signed checkpoint says.
    let accepted = 0;
    for (let size = 1; size <= 17; size++) {
      for (let index = 0; index < size; index++) {
        const claim = inclusionClaim(index, size);
        for (let other = 0; other <= 20; other++) {
          const root = naiveRootOfPath(claim.leafHash, BigInt(index), BigInt(other), claim.proof);
          const expected = root !== null && toHex(root) === toHex(claim.root);
          expect(verifyInclusion({ ...claim, size: other }, nodeHasher)).toBe(expected);
          if (expected && other !== size) accepted++;
        }
      }
    }
    expect(accepted).toBeGreaterThan(0);
    expect(verifyInclusion({ ...inclusionClaim(2, 3), size: 4 }, nodeHasher)).toBe(false);
  });

  test("sizes up to 2^63 - 1: agrees with the definition on random hashes, and refuses mutations", () => {
    const anyPath = hugeSize.chain((size) =>
      fc.tuple(
        fc.oneof(fc.bigInt(0n, size - 1n), fc.constantFrom(0n, size - 1n)),
        fc.constant(size),
        fc.nat(62),
      ),
    );
    fc.assert(
      fc.property(anyPath, ([index, size, salt]) => {
        const proof = randomHashes(naivePathLength(index, size), salt);
        const leafHash = naiveLeaf(Uint8Array.of(salt));
        const root = naiveRootOfPath(leafHash, index, size, proof) as Uint8Array;
        const claim = { leafHash, index, size, proof, root };
        expect(verifyInclusion(claim, nodeHasher)).toBe(true);
        expect(verifyInclusion({ ...claim, root: changed(root) }, nodeHasher)).toBe(false);
        expect(verifyInclusion({ ...claim, index: index ^ 1n }, nodeHasher)).toBe(false);
        expect(verifyInclusion({ ...claim, proof: proof.slice(1) }, nodeHasher)).toBe(proof.length === 0);
        expect(verifyInclusion({ ...claim, proof: [...proof, leafHash] }, nodeHasher)).toBe(false);
        if (proof.length > 0) {
          const at = salt % proof.length;
          const mutated = proof.with(at, changed(proof[at] as Uint8Array));
          expect(verifyInclusion({ ...claim, proof: mutated }, nodeHasher)).toBe(false);
        }
      }),
      {
        numRuns: 300,
        examples: HUGE_SIZES.map((size): [[bigint, bigint, number]] => [[size - 1n, size, 1]]),
      },
    );
  });

  test.each([
    ["an index at the size", { index: 5 }],
    ["an index beyond the size", { index: 6 }],
    ["a negative index", { index: -1 }],
    ["a negative bigint index", { index: -1n }],
    ["a fraction", { index: 0.5 }],
    ["NaN", { index: Number.NaN }],
    ["an endless size", { size: Number.POSITIVE_INFINITY }],
    ["a number that is not exact", { size: 2 ** 53 }],
    ["size 0", { size: 0 }],
    ["a negative size", { size: -5n }],
    ["a size of 2^63", { size: 2n ** 63n }],
    ["a size of 2^64 + 5", { size: 2n ** 64n + 5n }],
    ["a short leaf hash", { leafHash: new Uint8Array(31) }],
    ["a long root", { root: new Uint8Array(33) }],
    ["10,000 hashes", { proof: Array.from({ length: 10_000 }, () => new Uint8Array(32)) }],
  ])("refuses %s without throwing", (_, difference: Partial<InclusionClaim>) => {
    expect(verifyInclusion({ ...inclusionClaim(4, 5), ...difference }, nodeHasher)).toBe(false);
  });
});

describe("sizes that are none", () => {
  // Each of these would verify if only the hashes were looked at.
  test("a faultless inclusion proof in 2^63 leaves is refused, in 2^63 - 1 accepted", () => {
    for (const size of [MAX_TREE_SIZE, MAX_TREE_SIZE + 1n, 2n ** 64n, 2n ** 64n + 5n]) {
      const leafHash = naiveLeaf(Uint8Array.of(1));
      const proof = randomHashes(naivePathLength(5n, size), 1);
      const root = naiveRootOfPath(leafHash, 5n, size, proof) as Uint8Array;
      const accepted = verifyInclusion({ leafHash, index: 5n, size, proof, root }, nodeHasher);
      expect(accepted).toBe(size === MAX_TREE_SIZE);
    }
  });

  test("a faultless consistency proof to 2^63 leaves is refused, to 2^63 - 1 accepted", () => {
    for (const size2 of [MAX_TREE_SIZE, MAX_TREE_SIZE + 1n, 2n ** 64n]) {
      const proof = randomHashes(naiveConsistencyLength(5n, size2), 1);
      const roots = naiveRootsOfConsistency(5n, size2, new Uint8Array(32), proof);
      if (roots === null) throw new Error("the naive length is wrong");
      const claim = { size1: 5n, size2, root1: roots.old, root2: roots.new, proof };
      expect(verifyConsistency(claim, nodeHasher)).toBe(size2 === MAX_TREE_SIZE);
    }
  });

  test("a number of 2^53 is refused, since it may stand for 2^53 + 1; as a bigint it is accepted", () => {
    const leafHash = naiveLeaf(Uint8Array.of(1));
    const proof = randomHashes(53, 1);
    const root = naiveRootOfPath(leafHash, 5n, 2n ** 53n, proof) as Uint8Array;
    const claim = { leafHash, index: 5, size: 2n ** 53n, proof, root };
    expect(verifyInclusion(claim, nodeHasher)).toBe(true);
    expect(verifyInclusion({ ...claim, size: 2 ** 53 }, nodeHasher)).toBe(false);
  });

  test("no leaf stands before the first", () => {
    const claim = inclusionClaim(0, 1);
    expect(verifyInclusion(claim, nodeHasher)).toBe(true);
    expect(verifyInclusion({ ...claim, index: -1 }, nodeHasher)).toBe(false);
    expect(verifyInclusion({ ...claim, index: -1n }, nodeHasher)).toBe(false);
    const equal = { root1: claim.root, root2: claim.root, proof: [] };
    expect(verifyConsistency({ ...equal, size1: -1n, size2: -1n }, nodeHasher)).toBe(false);
    expect(verifyConsistency({ ...equal, size1: -1, size2: -1 }, nodeHasher)).toBe(false);
  });
});

describe("verifying consistency", () => {
  test.each(SIZES)("accepts every proof to %i leaves and refuses every mutation of it", (size2) => {
    for (const size1 of [...someIndices(size2), size2]) {
      const claim = consistencyClaim(size1, size2);
      expect(verifyConsistency(claim, nodeHasher)).toBe(true);
      expect(verifyConsistency({ ...claim, size1: BigInt(size1), size2: BigInt(size2) }, nodeHasher)).toBe(
        true,
      );
      for (const proof of mutations(claim.proof)) {
        expect(verifyConsistency({ ...claim, proof }, nodeHasher)).toBe(false);
      }
      expect(verifyConsistency({ ...claim, root1: changed(claim.root1) }, nodeHasher)).toBe(false);
      // Every tree extends the empty one, whatever its root is.
      expect(verifyConsistency({ ...claim, root2: changed(claim.root2, 255) }, nodeHasher)).toBe(size1 === 0);
    }
  });

  test("at other sizes it accepts exactly what the definition of a subproof leads to", () => {
    for (let size2 = 2; size2 <= 12; size2++) {
      for (let size1 = 1; size1 < size2; size1++) {
        const claim = consistencyClaim(size1, size2);
        for (let other1 = 1; other1 <= 14; other1++) {
          for (let other2 = 1; other2 <= 14; other2++) {
            const [a, b] = [BigInt(other1), BigInt(other2)];
            const roots = naiveRootsOfConsistency(a, b, claim.root1, claim.proof);
            const expected =
              roots !== null &&
              toHex(roots.old) === toHex(claim.root1) &&
              toHex(roots.new) === toHex(claim.root2);
            expect(verifyConsistency({ ...claim, size1: other1, size2: other2 }, nodeHasher)).toBe(expected);
          }
        }
      }
    }
  });

  test("two histories of one size are never consistent", () => {
    const forked = naiveTree(leafHashes.slice(0, 20).with(3, naiveLeaf(Uint8Array.of(0xff))));
    for (let size1 = 4; size1 <= 20; size1++) {
      for (let size2 = size1; size2 <= 20; size2++) {
        const claim = consistencyClaim(size1, size2);
        const proof = forked.consistency(size1, size2);
        const root2 = forked.root(0, size2);
        expect(verifyConsistency({ ...claim, root2 }, nodeHasher)).toBe(false);
        expect(verifyConsistency({ ...claim, root2, proof }, nodeHasher)).toBe(false);
      }
    }
  });

  test("sizes up to 2^63 - 1: agrees with the definition on random hashes, and refuses mutations", () => {
    const pair = fc.tuple(hugeSize, hugeSize, fc.nat(62));
    const corners = HUGE_SIZES.flatMap((a) => HUGE_SIZES.map((b): [[bigint, bigint, number]] => [[a, b, 1]]));
    fc.assert(
      fc.property(pair, ([a, b, salt]) => {
        const [size1, size2] = a < b ? [a, b] : [b, a];
        const proof = randomHashes(naiveConsistencyLength(size1, size2), salt);
        const given = naiveLeaf(Uint8Array.of(salt));
        const roots = naiveRootsOfConsistency(size1, size2, given, proof);
        if (roots === null) throw new Error("the naive length is wrong");
        const claim = { size1, size2, root1: roots.old, root2: roots.new, proof };
        expect(verifyConsistency(claim, nodeHasher)).toBe(true);
        expect(verifyConsistency({ ...claim, root1: changed(roots.old) }, nodeHasher)).toBe(false);
        expect(verifyConsistency({ ...claim, root2: changed(roots.new) }, nodeHasher)).toBe(false);
        expect(verifyConsistency({ ...claim, size1: size2 + 1n }, nodeHasher)).toBe(false);
        expect(verifyConsistency({ ...claim, proof: [...proof, given] }, nodeHasher)).toBe(false);
        if (proof.length > 0) {
          expect(verifyConsistency({ ...claim, proof: proof.slice(0, -1) }, nodeHasher)).toBe(false);
          const at = salt % proof.length;
          const mutated = proof.with(at, changed(proof[at] as Uint8Array));
          expect(verifyConsistency({ ...claim, proof: mutated }, nodeHasher)).toBe(false);
        }
      }),
      { numRuns: 300, examples: corners },
    );
  });

  test("from size 0: only the empty root, only an empty proof, any later root", () => {
    const claim = consistencyClaim(0, 7);
    expect(verifyConsistency(claim, nodeHasher)).toBe(true);
    expect(verifyConsistency({ ...claim, size2: MAX_TREE_SIZE }, nodeHasher)).toBe(true);
    expect(verifyConsistency({ ...claim, root1: claim.root2 }, nodeHasher)).toBe(false);
    expect(verifyConsistency({ ...claim, proof: [claim.root2] }, nodeHasher)).toBe(false);
    expect(verifyConsistency(consistencyClaim(0, 0), nodeHasher)).toBe(true);
    expect(verifyConsistency({ ...consistencyClaim(0, 0), root2: claim.root2 }, nodeHasher)).toBe(false);
    const made = { ...consistencyClaim(0, 0), root1: claim.root2, root2: claim.root2 };
    expect(verifyConsistency(made, nodeHasher)).toBe(false);
  });

  test("equal sizes: equal roots and an empty proof, nothing else", () => {
    const claim = consistencyClaim(7, 7);
    expect(verifyConsistency(claim, nodeHasher)).toBe(true);
    expect(verifyConsistency({ ...claim, proof: [claim.root1] }, nodeHasher)).toBe(false);
    expect(verifyConsistency({ ...claim, root2: changed(claim.root2) }, nodeHasher)).toBe(false);
  });

  test.each([
    ["a shrinking tree", { size1: 8 }],
    ["a negative size", { size1: -1 }],
    ["a negative bigint", { size1: -1n }],
    ["a fraction", { size1: 2.5 }],
    ["NaN", { size2: Number.NaN }],
    ["a number that is not exact", { size2: 2 ** 53 }],
    ["a size of 2^63", { size2: 2n ** 63n }],
    ["a short root", { root1: new Uint8Array(31) }],
    ["no bytes as a root", { root2: new Uint8Array(0) }],
    ["an empty proof", { proof: [] }],
    ["10,000 hashes", { proof: Array.from({ length: 10_000 }, () => new Uint8Array(32)) }],
  ])("refuses %s without throwing", (_, difference: Partial<ConsistencyClaim>) => {
    expect(verifyConsistency({ ...consistencyClaim(3, 7), ...difference }, nodeHasher)).toBe(false);
  });

  test("an empty proof from a power of two proves no growth", () => {
    for (const size1 of [1, 2, 4, 8]) {
      for (let size2 = size1 + 1; size2 <= 17; size2++) {
        const root = tree.root(0, size1);
        const claim = { size1, size2, root1: root, root2: root, proof: [] };
        expect(verifyConsistency(claim, nodeHasher)).toBe(false);
      }
    }
  });
});

function randomHashes(count: number, salt: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => naiveSha256(Uint8Array.of(0xaa, salt, i)));
}

function around(size: number): number[] {
  return [size - 1, size, size + 1];
}
