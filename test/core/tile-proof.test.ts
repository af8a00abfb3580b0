import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nodeHasher } from "../../src/cli/node-hasher.ts";
import type { Hash } from "../../src/core/hash.ts";
import { verifyConsistency, verifyInclusion } from "../../src/core/merkle.ts";
import { nobleHasher } from "../../src/core/noble-hasher.ts";
import { consistencyProof, inclusionProof, rootFromTiles } from "../../src/core/tile-proof.ts";
import type { TileReader } from "../../src/core/tile-proof.ts";
import { naiveLeaf, naiveNode, naiveNumbers, naiveSplit } from "./naive.ts";
import { refusal } from "./refusal.ts";

// The last one reaches into a second tile of level 1 and has a tile at level 2, as in the example of tlog-tiles.
const SIZES = [
  ...Array.from({ length: 20 }, (_, i) => i + 1),
  ...around(256),
  ...around(512),
  ...around(65_536),
  70_000,
];
const { leafHashes, tree } = naiveNumbers(70_000);

const MAX = Number.MAX_SAFE_INTEGER;

interface Read {
  readonly level: number;
  readonly index: number;
  readonly width: number;
}

/** Tiles of the tree of `size` leaves, refusing any that tree does not have at exactly that width. */
function recordingReader(size: number): { read: TileReader; reads: Read[] } {
  const reads: Read[] = [];
  return {
    reads,
    read: async (level, index, width) => {
      reads.push({ level, index, width });
      const hashes = Math.floor(size / 256 ** level) - index * 256;
      if (width !== Math.min(256, hashes)) throw new Error(`tile ${level}/${index} is not ${width} wide`);
      return tree.tile(level, index, width);
    },
  };
}

function expectEachOnce(reads: readonly Read[]): void {
  const names = reads.map(({ level, index }) => `${level}/${index}`);
  expect(new Set(names).size).toBe(names.length);
}

function someIndices(size: number): number[] {
  if (size <= 20) return Array.from({ length: size }, (_, i) => i);
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
    65_279,
    65_280,
    65_535,
    65_536,
    size - 2,
    size - 1,
  ];
  return [...new Set(borders)].filter((index) => index < size);
}

describe("from tiles", () => {
  test.each(SIZES)("the root of %i leaves is the recursive definition's", async (size) => {
    const { read, reads } = recordingReader(size);
    expect(await rootFromTiles(size, read, nodeHasher)).toEqual(tree.root(0, size));
    expectEachOnce(reads);
  });

  test.each(SIZES)("inclusion proofs in %i leaves are the definition's, and verify", async (size) => {
    const root = tree.root(0, size);
    for (const index of someIndices(size)) {
      const { read, reads } = recordingReader(size);
      const proof = await inclusionProof(index, size, read, nodeHasher);
      expect(proof).toEqual(tree.inclusion(index, size));
      expectEachOnce(reads);
      const leafHash = leafHashes[index] as Uint8Array;
      expect(verifyInclusion({ leafHash, index, size, proof, root }, nodeHasher)).toBe(true);
    }
  });

  test.each(SIZES)("consistency proofs to %i leaves are the definition's, and verify", async (size2) => {
    const root2 = tree.root(0, size2);
    for (const size1 of [...someIndices(size2), size2]) {
      const { read, reads } = recordingReader(size2);
      const proof = await consistencyProof(size1, size2, read, nodeHasher);
      expect(proof).toEqual(tree.consistency(size1, size2));
      expectEachOnce(reads);
      const root1 = tree.root(0, size1);
      expect(verifyConsistency({ size1, root1, size2, root2, proof }, nodeHasher)).toBe(true);
    }
  });

  test("random sizes: roots, inclusion and consistency are the definition's", async () => {
    const anySize = fc.oneof(fc.integer({ min: 1, max: 1100 }), fc.integer({ min: 1, max: 70_000 }));
    await fc.assert(
      fc.asyncProperty(anySize, fc.nat(), fc.nat(), async (size, a, b) => {
        const { read } = recordingReader(size);
        const index = a % size;
        const size1 = b % (size + 1);
        expect(await rootFromTiles(size, read, nodeHasher)).toEqual(tree.root(0, size));
        expect(await inclusionProof(index, size, read, nodeHasher)).toEqual(tree.inclusion(index, size));
        expect(await consistencyProof(size1, size, read, nodeHasher)).toEqual(tree.consistency(size1, size));
      }),
      { numRuns: 200 },
    );
  });

  test("both hashers make the same proofs", async () => {
    const { read } = recordingReader(513);
    const withNode = await consistencyProof(300, 513, read, nodeHasher);
    expect(await consistencyProof(300, 513, read, nobleHasher)).toEqual(withNode);
  });
});

describe("trees too large to build", () => {
  // All leaves are equal here, so that a subtree's hash follows from its size alone.
  const perfect = [naiveLeaf(Uint8Array.of(1))];
  for (let height = 1; height <= 53; height++)
    perfect.push(naiveNode(perfect[height - 1]!, perfect[height - 1]!));

  function uniformRoot(size: number): Uint8Array {
    const height = Math.round(Math.log2(size));
    if (2 ** height === size) return perfect[height] as Uint8Array;
    const k = naiveSplit(size);
    return naiveNode(uniformRoot(k), uniformRoot(size - k));
  }

  function uniformReader(size: number): TileReader {
    return async (level, index, width) => {
      const hashes = BigInt(size) / 256n ** BigInt(level) - BigInt(index) * 256n;
      if (BigInt(width) !== (hashes < 256n ? hashes : 256n))
        throw new Error(`${level}/${index} is not ${width} wide`);
      const bytes = new Uint8Array(width * 32);
      for (let i = 0; i < width; i++) bytes.set(perfect[8 * level] as Uint8Array, i * 32);
      return bytes;
    };
  }

  const sizes = [2 ** 24 - 1, 2 ** 24, 2 ** 24 + 1, 2 ** 40 + 12_345, 2 ** 52, 2 ** 52 + 1, MAX - 1, MAX];

  test.each(sizes)("size %i: root and proofs verify", async (size) => {
    const read = uniformReader(size);
    const root = await rootFromTiles(size, read, nodeHasher);
    expect(root).toEqual(uniformRoot(size));
    const leafHash = perfect[0] as Uint8Array;
    for (const index of [0, 255, 256, 2 ** 23, Math.floor(size / 3), size - 1]) {
      const proof = await inclusionProof(index, size, read, nodeHasher);
      expect(verifyInclusion({ leafHash, index, size, proof, root }, nodeHasher)).toBe(true);
    }
    for (const size1 of [1, 255, 256, 2 ** 23, Math.floor(size / 3), size - 1]) {
      const proof = await consistencyProof(size1, size, read, nodeHasher);
      const claim = { size1, root1: uniformRoot(size1), size2: size, root2: root, proof };
      expect(verifyConsistency(claim, nodeHasher)).toBe(true);
    }
  });
});

describe("reading", () => {
  const unread: TileReader = () => {
    throw new Error("no tile is needed");
  };

  test("all tiles of a proof are asked for before the first has answered", async () => {
    for (const make of [
      (read: TileReader) => inclusionProof(300, 70_000, read, nodeHasher),
      (read: TileReader) => consistencyProof(300, 70_000, read, nodeHasher),
      (read: TileReader) => rootFromTiles(70_000, read, nodeHasher),
    ]) {
      const { read, reads } = recordingReader(70_000);
      const answer = make(read);
      const asked = reads.length;
      expect(asked).toBeGreaterThan(2);
      await answer;
      expect(reads.length).toBe(asked);
    }
  });

  test("a proof of a leaf needs one tile of its path a level and the right edge, no more", async () => {
    const { read, reads } = recordingReader(70_000);
    await inclusionProof(1000, 70_000, read, nodeHasher);
    const names = reads.map(({ level, index, width }) => `${level}/${index}:${width}`).sort();
    expect(names).toEqual(["0/273:112", "0/3:256", "1/0:256", "1/1:17"]);
  });

  test("what needs no tiles reads none", async () => {
    expect(await inclusionProof(0, 1, unread, nodeHasher)).toEqual([]);
    expect(await consistencyProof(0, 70_000, unread, nodeHasher)).toEqual([]);
    expect(await consistencyProof(70_000, 70_000, unread, nodeHasher)).toEqual([]);
    expect(await rootFromTiles(0, unread, nodeHasher)).toEqual(nodeHasher.empty());
  });

  test("a proof keeps no tile alive and does not change with one", async () => {
    const tiles: Uint8Array[] = [];
    const { read } = recordingReader(257);
    const proof = await inclusionProof(
      256,
      257,
      async (level, index, width) => {
        const tile = await read(level, index, width);
        tiles.push(tile);
        return tile;
      },
      nodeHasher,
    );
    for (const tile of tiles) tile.fill(0);
    expect(proof).toEqual(tree.inclusion(256, 257));
    for (const hash of proof) expect(hash.buffer.byteLength).toBe(32);
  });

  test.each([-32, -1, 1, 32])("a tile %i bytes off is refused", async (difference) => {
    const { read } = recordingReader(300);
    const off: TileReader = async (level, index, width) => {
      const tile = await read(level, index, width);
      const other = new Uint8Array(tile.length + difference);
      other.set(tile.subarray(0, other.length));
      return other;
    };
    await expect(inclusionProof(299, 300, off, nodeHasher)).rejects.toThrow(refusal("bad_tile"));
    await expect(consistencyProof(100, 300, off, nodeHasher)).rejects.toThrow(refusal("bad_tile"));
    await expect(rootFromTiles(300, off, nodeHasher)).rejects.toThrow(refusal("bad_tile"));
  });

  test("the full tile in place of the partial one is refused too: widths are the reader's to cut", async () => {
    const full: TileReader = async (level, index) => tree.tile(level, index, 256);
    await expect(rootFromTiles(100, full, nodeHasher)).rejects.toThrow(refusal("bad_tile"));
  });

  test("a reader's failure is the caller's", async () => {
    const failing: TileReader = async () => {
      throw new Error("out of reach");
    };
    await expect(inclusionProof(5, 300, failing, nodeHasher)).rejects.toThrow("out of reach");
  });

  test("a damaged tile makes a proof that does not verify", async () => {
    const size = 300;
    const root = tree.root(0, size);
    for (const damagedLevel of [0, 1]) {
      const damaged: TileReader = async (level, index, width) => {
        const tile = tree.tile(level, index, width);
        if (level === damagedLevel) tile[0] = (tile[0] as number) ^ 1;
        return tile;
      };
      const proof = await inclusionProof(299, size, damaged, nodeHasher);
      const claim = { leafHash: leafHashes[299] as Uint8Array, index: 299, size, proof, root };
      expect(verifyInclusion(claim, nodeHasher)).toBe(false);
      expect(await rootFromTiles(size, damaged, nodeHasher)).not.toEqual(root as Hash);
    }
  });

  test("indices and sizes that have no proof are refused before any read", async () => {
    await expect(inclusionProof(5, 5, unread, nodeHasher)).rejects.toThrow(refusal("bad_parameter"));
    await expect(inclusionProof(0, 0, unread, nodeHasher)).rejects.toThrow(refusal("bad_parameter"));
    await expect(consistencyProof(6, 5, unread, nodeHasher)).rejects.toThrow(refusal("bad_parameter"));
    for (const odd of [-1, 0.5, Number.NaN, 2 ** 53]) {
      await expect(inclusionProof(0, odd, unread, nodeHasher)).rejects.toThrow(refusal("unsafe_integer"));
      await expect(consistencyProof(1, odd, unread, nodeHasher)).rejects.toThrow(refusal("unsafe_integer"));
      await expect(rootFromTiles(odd, unread, nodeHasher)).rejects.toThrow(refusal("unsafe_integer"));
    }
  });
});

function around(size: number): number[] {
  return [size - 1, size, size + 1];
}
