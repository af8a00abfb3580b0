import { beforeAll, describe, expect, test } from "vitest";
import { nodeHasher } from "../../src/cli/node-hasher.ts";
import { createTileCache } from "../../src/client/tile-cache.ts";
import type { TileSource } from "../../src/client/tile-source.ts";
import { type VerifiedTree, verifiedTree } from "../../src/client/verified-tree.ts";
import type { Hash } from "../../src/core/hash.ts";
import { verifyConsistency, verifyInclusion } from "../../src/core/merkle.ts";
import { refusal } from "../core/refusal.ts";
import { buildLog, mapSource, textEntry } from "./build-log.ts";

interface Built {
  readonly objects: Map<string, Uint8Array>;
  readonly root: Hash;
  readonly size: number;
}

function built(size: number, entryAt = textEntry): Built {
  const objects = new Map<string, Uint8Array>();
  const root = buildLog(size, (path, bytes) => objects.set(path, bytes), entryAt);
  return { objects, root, size };
}

function treeOf(
  { objects, root, size }: Built,
  cache = createTileCache(),
  source?: TileSource,
): VerifiedTree {
  return verifiedTree({
    head: { size, root },
    source: source ?? mapSource(objects),
    cache,
    hasher: nodeHasher,
  });
}

/** Counts reads by path. */
function countingSource(objects: Map<string, Uint8Array>) {
  const reads = new Map<string, number>();
  const get = async (path: string) => {
    reads.set(path, (reads.get(path) ?? 0) + 1);
    return objects.get(path) ?? null;
  };
  return { get, reads };
}

const SIZES = [1, 255, 256, 257, 511, 512, 513, 700];

describe("a sound log", () => {
  test.each(SIZES)("every entry and every proof of size %d leads to the root", async (size) => {
    const log = built(size);
    const tree = treeOf(log);
    for (const index of new Set([0, 1, 254, 255, 256, 511, size - 2, size - 1])) {
      if (index < 0 || index >= size) continue;
      expect(await tree.entry(index)).toEqual(textEntry(index));
      const leafHash = await tree.leafHash(index);
      const proof = await tree.inclusionProof(index);
      expect(verifyInclusion({ leafHash, index, size, proof, root: log.root }, nodeHasher)).toBe(true);
    }
  });

  test("consistency proofs lead from every earlier root to this one", async () => {
    const log = built(700);
    const tree = treeOf(log);
    for (const size1 of [0, 1, 255, 256, 257, 512, 699, 700]) {
      const proof = await tree.consistencyProof(size1);
      const claim = { size1, root1: built(size1).root, size2: 700, root2: log.root, proof };
      expect(verifyConsistency(claim, nodeHasher)).toBe(true);
    }
  });

  test("a large tree is read across three levels", async () => {
    const log = built(65_537 + 300);
    const tree = treeOf(log);
    for (const index of [0, 65_535, 65_536, 65_836])
      expect(await tree.entry(index)).toEqual(textEntry(index));
    expect(await tree.tile(2, 0, 1)).toHaveLength(32);
  });

  test("a full tile is fetched once and then comes from the cache", async () => {
    const log = built(700);
    const source = countingSource(log.objects);
    const tree = treeOf(log, createTileCache(), source);
    await Promise.all([tree.leafHash(1), tree.leafHash(2), tree.inclusionProof(3)]);
    await tree.leafHash(4);
    expect(source.reads.get("tile/0/000")).toBe(1);
    expect(source.reads.get("tile/1/000.p/2")).toBe(1);
  });

  test("where a partial object is gone the full one stands in, cut to the tree's size", async () => {
    const small = built(300);
    const large = built(700);
    large.objects.set("checkpoint", small.objects.get("checkpoint") as Uint8Array);
    const tree = treeOf({ ...small, objects: large.objects });
    expect(large.objects.has("tile/0/001.p/44")).toBe(false);
    // The full level-1 tile is not there yet at 700; a log keeps the partial one of a published size until it is.
    large.objects.set("tile/1/000.p/1", small.objects.get("tile/1/000.p/1") as Uint8Array);
    expect(await tree.entry(299)).toEqual(textEntry(299));
    expect(await tree.bundle(1)).toHaveLength(44);
  });
});

describe("what lies beyond the tree", () => {
  let tree: VerifiedTree;
  beforeAll(() => {
    tree = treeOf(built(300));
  });

  test.each([
    ["an entry", () => tree.entry(300)],
    ["a leaf hash", () => tree.leafHash(300)],
    ["a proof", () => tree.inclusionProof(300)],
    ["a bundle", () => tree.bundle(2)],
    ["a tile", () => tree.tile(0, 2, 1)],
    ["a wider tile", () => tree.tile(0, 1, 45)],
    ["a level", () => tree.tile(2, 0, 1)],
  ])("%s is refused", async (_what, read) => {
    await expect(read()).rejects.toThrow(refusal("not_published"));
  });

  test("indices that are none are refused", async () => {
    for (const index of [-1, 0.5, Number.NaN, 2 ** 53]) {
      await expect(tree.entry(index)).rejects.toThrow(refusal("unsafe_integer"));
    }
  });
});

describe("a log that errs or lies", () => {
  const log = built(700);

  async function readEverything(objects: Map<string, Uint8Array>): Promise<void> {
    const tree = treeOf({ ...log, objects });
    for (let bundle = 0; bundle < 3; bundle++) await tree.bundle(bundle);
    await tree.inclusionProof(0);
  }

  const paths = [...log.objects.keys()].filter((path) => path !== "checkpoint");

  test.each(paths)("one flipped bit anywhere in %s is noticed", async (path) => {
    const bytes = log.objects.get(path) as Uint8Array;
    for (const at of [0, Math.floor(bytes.length / 2), bytes.length - 1]) {
      const damaged = bytes.slice();
      damaged[at] = (damaged[at] as number) ^ 1;
      await expect(readEverything(new Map(log.objects).set(path, damaged))).rejects.toThrow(
        expect.objectContaining({ code: expect.stringMatching(/^(wrong_tile|bad_bundle)$/) }),
      );
    }
  });

  test.each(paths)("%s missing is noticed", async (path) => {
    const objects = new Map(log.objects);
    objects.delete(path);
    await expect(readEverything(objects)).rejects.toThrow(refusal("wrong_tile"));
  });

  test.each(paths)("%s cut short is noticed", async (path) => {
    const bytes = log.objects.get(path) as Uint8Array;
    const objects = new Map(log.objects).set(path, bytes.subarray(0, bytes.length - 1));
    await expect(readEverything(objects)).rejects.toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^bad_(tile|bundle)$/) }),
    );
  });

  test("a full tile that does not add up to the hash above is noticed where only hashes are read", async () => {
    const damaged = (log.objects.get("tile/0/000") as Uint8Array).slice();
    damaged[8191] = (damaged[8191] as number) ^ 1;
    const tree = treeOf({ ...log, objects: new Map(log.objects).set("tile/0/000", damaged) });
    await expect(tree.leafHash(0)).rejects.toThrow(refusal("wrong_tile"));
    await expect(tree.inclusionProof(0)).rejects.toThrow(refusal("wrong_tile"));
    await expect(tree.consistencyProof(5)).rejects.toThrow(refusal("wrong_tile"));
  });

  test("a bundle and its tile that agree with each other, and not with the root, are noticed", async () => {
    const other = built(700, (i) => textEntry(i === 5 ? 9999 : i));
    const objects = new Map(log.objects);
    for (const path of ["tile/0/000", "tile/entries/000"]) {
      objects.set(path, other.objects.get(path) as Uint8Array);
    }
    await expect(treeOf({ ...log, objects }).entry(5)).rejects.toThrow(refusal("wrong_tile"));
  });

  test("a whole other log under the same root is noticed at the first read", async () => {
    const other = built(700, (i) => textEntry(i + 1));
    const tree = treeOf({ ...log, objects: other.objects });
    await expect(tree.entry(0)).rejects.toThrow(refusal("wrong_tile"));
  });

  test("tiles that one head vouched for are not given out under a forked one", async () => {
    const cache = createTileCache();
    await treeOf(log, cache).leafHash(0);
    const fork = built(700, (i) => textEntry(i === 0 ? 9999 : i));
    expect(await treeOf(fork, cache).leafHash(0)).toEqual(nodeHasher.leaf(textEntry(9999)));
    expect(await treeOf(log, cache).leafHash(0)).toEqual(nodeHasher.leaf(textEntry(0)));
  });

  test("after a failed read the next one asks again", async () => {
    const objects = new Map(log.objects);
    objects.delete("tile/0/002.p/188");
    const tree = treeOf({ ...log, objects });
    await expect(tree.entry(0)).rejects.toThrow(refusal("wrong_tile"));
    objects.set("tile/0/002.p/188", log.objects.get("tile/0/002.p/188") as Uint8Array);
    expect(await tree.entry(0)).toEqual(textEntry(0));
  });

  test("what a caller does to a tile stays with the caller", async () => {
    const tree = treeOf(log);
    for (const [level, index, width] of [
      [0, 0, 256],
      [0, 2, 188],
    ] as const) {
      (await tree.tile(level, index, width)).fill(0);
      expect((await tree.tile(level, index, width)).some((byte) => byte !== 0)).toBe(true);
    }
  });
});
