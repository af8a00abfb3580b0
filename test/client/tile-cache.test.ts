import { expect, test } from "vitest";
import { nodeHasher } from "../../src/cli/node-hasher.ts";
import { createTileCache } from "../../src/client/tile-cache.ts";
import { perfectRoot } from "../../src/core/merkle.ts";

function tile(fill: number) {
  const hashes = new Uint8Array(8192).fill(fill);
  return { hashes, root: perfectRoot(hashes, nodeHasher) };
}

test("a tile is given out only for the root that it was kept with", () => {
  const cache = createTileCache();
  const one = tile(1);
  cache.set(0, 5, one.root, one.hashes);
  expect(cache.get(0, 5, one.root)).toEqual(one.hashes);
  expect(cache.get(0, 5, tile(2).root)).toBeNull();
  expect(cache.get(0, 6, one.root)).toBeNull();
  expect(cache.get(1, 5, one.root)).toBeNull();
});

test("the bytes held stay within the budget, and the least recently used tile goes first", () => {
  const cache = createTileCache(3 * 8192 + 100);
  const tiles = [0, 1, 2, 3].map(tile);
  const at = (i: number) => tiles[i] as ReturnType<typeof tile>;
  for (const i of [0, 1, 2]) cache.set(0, i, at(i).root, at(i).hashes);
  expect(cache.get(0, 0, at(0).root)).not.toBeNull();
  cache.set(0, 3, at(3).root, at(3).hashes);
  expect(cache.bytes).toBe(3 * 8192);
  expect([0, 1, 2, 3].map((i) => cache.get(0, i, at(i).root) !== null)).toEqual([true, false, true, true]);
});

test("setting a tile again does not count it twice", () => {
  const cache = createTileCache();
  for (const fill of [1, 2]) cache.set(0, 0, tile(fill).root, tile(fill).hashes);
  expect(cache.bytes).toBe(8192);
  expect(cache.get(0, 0, tile(2).root)).not.toBeNull();
});

test("a budget of 0 keeps nothing", () => {
  const cache = createTileCache(0);
  cache.set(0, 0, tile(1).root, tile(1).hashes);
  expect(cache.bytes).toBe(0);
});

test("what is kept does not hold on to a larger buffer, nor change with it", () => {
  const cache = createTileCache();
  const large = new Uint8Array(1_000_000);
  const view = large.subarray(0, 8192);
  const root = perfectRoot(view, nodeHasher);
  cache.set(0, 0, root, view);
  large.fill(9);
  const kept = cache.get(0, 0, root);
  expect(kept?.buffer.byteLength).toBe(8192);
  expect(kept?.[0]).toBe(0);
});
