// Proofs and roots from tiles: which tiles a proof needs, and the hashes that follow from them. The tiles are taken at
// their word; a proof made from wrong ones does not verify, which is why whoever receives a proof checks it.

import { CairnError } from "./errors.ts";
import { HASH_BYTES, asHash } from "./hash.ts";
import type { Hash, TreeHasher } from "./hash.ts";
import { consistencyRanges, emptyRoot, inclusionRanges, perfectRoot, requireTreeSize } from "./merkle.ts";
import type { LeafRange } from "./merkle.ts";
import { TILE_HEIGHT, TILE_WIDTH, tileWidthAt } from "./tile.ts";

/** Answers with the bytes of one hash tile: exactly `width` (1 to 256, 256 = full) times 32. */
export type TileReader = (level: number, index: number, width: number) => Promise<Uint8Array>;

/** The root over hashes `from` to `to` (exclusive) of a tile, a power of two of them. */
export type SubtreeRoot = (tile: Uint8Array, from: number, to: number) => Hash;

/** A run of hashes of one tile that together are a complete subtree. */
interface TileSlice {
  readonly level: number;
  readonly index: number;
  readonly from: number;
  readonly to: number;
}

/**
 * The inclusion proof of leaf `index` in the tree of `size` leaves, leaf to root. Reads the tiles of that tree, each once
 * and all in parallel. Throws `bad_parameter` where `index` is not below `size`, `unsafe_integer`, `bad_tile` where a
 * tile has another length than it was asked for, and whatever `read` throws. Whoever makes many proofs may pass a
 * `subtreeRoot` that remembers.
 */
export async function inclusionProof(
  index: number,
  size: number,
  read: TileReader,
  hasher: TreeHasher,
  subtreeRoot?: SubtreeRoot,
): Promise<Hash[]> {
  return await hashRanges(inclusionRanges(index, size), size, read, hasher, subtreeRoot);
}

/**
 * The consistency proof between the trees of `size1` and `size2` leaves, leaf to root, from the tiles of the larger one.
 * Empty where the sizes are equal or the first is 0. Reads and throws like `inclusionProof`.
 */
export async function consistencyProof(
  size1: number,
  size2: number,
  read: TileReader,
  hasher: TreeHasher,
): Promise<Hash[]> {
  return await hashRanges(consistencyRanges(size1, size2), size2, read, hasher);
}

/** The root of the tree of `size` leaves, from the right-most tile of each level. Reads and throws like `inclusionProof`. */
export async function rootFromTiles(size: number, read: TileReader, hasher: TreeHasher): Promise<Hash> {
  requireTreeSize(size);
  if (size === 0) return emptyRoot(hasher);
  const [root] = await hashRanges([{ start: 0, end: size }], size, read, hasher);
  return root as Hash;
}

async function hashRanges(
  ranges: readonly LeafRange[],
  size: number,
  read: TileReader,
  hasher: TreeHasher,
  subtreeRoot: SubtreeRoot = (tile, from, to) =>
    perfectRoot(tile.subarray(from * HASH_BYTES, to * HASH_BYTES), hasher),
): Promise<Hash[]> {
  const slicesOfRanges = ranges.map(tileSlices);
  const tiles = await readTiles(slicesOfRanges.flat(), size, read);
  return slicesOfRanges.map((slices) => {
    // The complete subtrees of a range grow smaller to the right, and RFC 6962 joins them from there.
    let hash: Hash | undefined;
    for (const slice of slices.toReversed()) {
      const tile = tiles.get(tileKey(slice)) as Uint8Array;
      const subtree = subtreeRoot(tile, slice.from, slice.to);
      hash = hash === undefined ? subtree : hasher.node(subtree, hash);
    }
    return asHash(hash as Hash);
  });
}

/**
 * The complete subtrees that make up `range`, left to right, each as a run of hashes in the highest tile that holds it.
 * `range.start` is a multiple of the largest power of two in its length, as it is for every subtree of RFC 6962.
 */
function tileSlices(range: LeafRange): TileSlice[] {
  const slices: TileSlice[] = [];
  let start = range.start;
  let span = 1;
  let height = 0;
  while (span * 2 <= range.end - range.start) {
    span *= 2;
    height++;
  }
  for (; start < range.end; span /= 2, height--) {
    if (span > range.end - start) continue;
    const level = Math.floor(height / TILE_HEIGHT);
    const first = start / TILE_WIDTH ** level;
    const from = first % TILE_WIDTH;
    slices.push({
      level,
      index: Math.floor(first / TILE_WIDTH),
      from,
      to: from + 2 ** (height % TILE_HEIGHT),
    });
    start += span;
  }
  return slices;
}

async function readTiles(
  slices: readonly TileSlice[],
  size: number,
  read: TileReader,
): Promise<Map<string, Uint8Array>> {
  const wanted = new Map<string, TileSlice>();
  for (const slice of slices) wanted.set(tileKey(slice), slice);
  const tiles = await Promise.all(
    Array.from(wanted, async ([key, { level, index }]): Promise<[string, Uint8Array]> => {
      const width = tileWidthAt(level, index, size);
      const tile = await read(level, index, width);
      if (tile.length !== width * HASH_BYTES) {
        throw new CairnError("bad_tile", {
          detail: `level ${level}, index ${index}: ${tile.length} bytes for a width of ${width}`,
        });
      }
      return [key, tile];
    }),
  );
  return new Map(tiles);
}

function tileKey(slice: TileSlice): string {
  return `${slice.level}/${slice.index}`;
}
