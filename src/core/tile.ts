// Which tiles a tree of a given size consists of, after tlog-tiles: 256 hashes a tile, each hash of level L being the
// root of a full tile of level L-1. Pure arithmetic; sizes are safe integers.

import { CairnError } from "./errors.ts";
import { requireTreeSize } from "./merkle.ts";

export { HASH_BYTES } from "./hash.ts";

/** Hashes in a full tile, and entries in a full bundle. */
export const TILE_WIDTH = 256;

/** Tree levels that one tile spans: its 256 hashes meet 8 levels up. */
export const TILE_HEIGHT = 8;

/** The highest level that a tile path can name. */
export const MAX_TILE_LEVEL = 63;

/** A tile of `width` hashes, or at level 0 the bundle of as many entries. */
export interface TileSpan {
  readonly level: number;
  readonly index: number;
  readonly width: number;
}

/**
 * How many hashes the tile holds in a tree of `size` leaves: 256 where it is full, 0 where that tree has no such tile.
 * Level 0 answers for bundles too. Throws `unsafe_integer` on a size or index beyond 2^53 - 1.
 */
export function tileWidthAt(level: number, index: number, size: number): number {
  requireLevel(level);
  requireTreeSize(index);
  requireTreeSize(size);
  return Math.min(TILE_WIDTH, Math.max(0, hashesAtLevel(level, size) - index * TILE_WIDTH));
}

/** The partial tiles of a tree of `size` leaves, at most one a level, lowest level first; none of width 0. */
export function partialTiles(size: number): TileSpan[] {
  requireTreeSize(size);
  const tiles: TileSpan[] = [];
  for (let level = 0, hashes = size; hashes > 0; level++, hashes = Math.floor(hashes / TILE_WIDTH)) {
    const width = hashes % TILE_WIDTH;
    if (width > 0) tiles.push({ level, index: Math.floor(hashes / TILE_WIDTH), width });
  }
  return tiles;
}

/**
 * The size of the smallest tree that has this tile with `width` hashes. It is exact up to 2^53; a larger end, which no
 * log reaches, may be rounded and still compares as larger than every safe integer.
 */
export function tileEnd(level: number, index: number, width: number): number {
  requireLevel(level);
  requireTreeSize(index);
  return (index * TILE_WIDTH + width) * TILE_WIDTH ** level;
}

/** Complete subtrees of 256^level leaves. Dividing by a power of two is exact, so no level rounds up. */
function hashesAtLevel(level: number, size: number): number {
  return Math.floor(size / TILE_WIDTH ** level);
}

function requireLevel(level: number): void {
  if (!Number.isInteger(level) || level < 0 || level > MAX_TILE_LEVEL) {
    throw new CairnError("bad_parameter", { detail: `tile level ${level}` });
  }
}
