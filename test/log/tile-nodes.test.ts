import { randomBytes } from "node:crypto";
import { expect, it } from "vitest";
import { nobleHasher } from "../../src/core/noble-hasher.ts";
import { perfectRoot } from "../../src/core/merkle.ts";
import type { TreeHasher } from "../../src/core/hash.ts";
import { TileNodes } from "../../src/log/tile-nodes.ts";

const HASH = 32;

/** Counts what is hashed. */
function counting(): { hasher: TreeHasher; nodes: () => number } {
  let count = 0;
  const hasher: TreeHasher = {
    ...nobleHasher,
    node(left, right) {
      count++;
      return nobleHasher.node(left, right);
    },
  };
  return { hasher, nodes: () => count };
}

it("answers the root of every subtree of a tile as hashing it anew does, in any order", () => {
  for (const width of [256, 255, 130, 3, 1]) {
    const tile = new Uint8Array(randomBytes(width * HASH));
    const nodes = new TileNodes(nobleHasher);
    for (let span = 256; span >= 1; span /= 2) {
      for (let from = 0; from + span <= width; from += span) {
        const anew = perfectRoot(tile.subarray(from * HASH, (from + span) * HASH), nobleHasher);
        expect(nodes.root(tile, from, from + span)).toEqual(anew);
      }
    }
  }
});

it("hashes each node of a tile once, however often it is asked for", () => {
  const { hasher, nodes } = counting();
  const cache = new TileNodes(hasher);
  const tile = new Uint8Array(randomBytes(256 * HASH));
  for (let round = 0; round < 3; round++) {
    for (let span = 1; span <= 256; span *= 2) {
      for (let from = 0; from < 256; from += span) cache.root(tile, from, from + span);
    }
  }
  expect(nodes()).toBe(255);
});

it("knows a tile that is cut to another width, and keeps two in one buffer apart", () => {
  const { hasher, nodes } = counting();
  const cache = new TileNodes(hasher);
  const both = new Uint8Array(randomBytes(512 * HASH));
  cache.root(both.subarray(0, 256 * HASH), 0, 128);
  const before = nodes();
  const cut = both.subarray(0, 200 * HASH);
  expect(cache.root(cut, 64, 128)).toEqual(perfectRoot(cut.subarray(64 * HASH, 128 * HASH), nobleHasher));
  expect(nodes()).toBe(before);
  const second = both.subarray(256 * HASH);
  expect(cache.root(second, 0, 128)).toEqual(perfectRoot(second.subarray(0, 128 * HASH), nobleHasher));
});

it("gives up the nodes of tiles that were used least lately, so that they do not fill memory", () => {
  const { hasher, nodes } = counting();
  const cache = new TileNodes(hasher);
  const tiles = Array.from({ length: 4097 }, () => new Uint8Array(2 * HASH));
  for (const tile of tiles) cache.root(tile, 0, 2);
  expect(nodes()).toBe(4097);
  cache.root(tiles[4096] as Uint8Array, 0, 2);
  expect(nodes()).toBe(4097);
  cache.root(tiles[0] as Uint8Array, 0, 2);
  expect(nodes()).toBe(4098);
});

it("never answers one tile's nodes for another, nor lets who was answered change them", () => {
  const cache = new TileNodes(nobleHasher);
  const [a, b] = [new Uint8Array(randomBytes(256 * HASH)), new Uint8Array(randomBytes(256 * HASH))];
  const root = cache.root(a, 0, 128);
  expect(cache.root(b, 0, 128)).not.toEqual(root);
  const before = root.slice();
  root.fill(0);
  expect(cache.root(a, 0, 128)).toEqual(before);
});
