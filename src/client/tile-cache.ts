// Full hash tiles that were verified once, within a budget of bytes; the least recently used go first. A tile is kept with
// the root of its hashes, and given out only for a tree that has that very root at its place, so that what one checkpoint
// vouched for is never served under another that says otherwise.

import { equalBytes } from "../core/bytes.ts";
import type { Hash } from "../core/hash.ts";

export const DEFAULT_CACHE_BYTES = 16 * 1024 * 1024;

export interface TileCache {
  /** The hashes of the full tile whose root is `root`, or null. */
  get(level: number, index: number, root: Hash): Uint8Array | null;
  /** Keeps a copy. `root` must be the root of `hashes`. */
  set(level: number, index: number, root: Hash, hashes: Uint8Array): void;
  /** Bytes of the tiles held. */
  readonly bytes: number;
}

interface CachedTile {
  readonly root: Hash;
  readonly hashes: Uint8Array;
}

/** A cache of at most `maxBytes` of tiles; 0 keeps none. */
export function createTileCache(maxBytes: number = DEFAULT_CACHE_BYTES): TileCache {
  // A Map iterates in the order of insertion, so putting a tile in again makes it the newest.
  const tiles = new Map<string, CachedTile>();
  let bytes = 0;

  function remove(key: string): void {
    const tile = tiles.get(key);
    if (tile === undefined) return;
    tiles.delete(key);
    bytes -= tile.hashes.length;
  }

  return {
    get(level, index, root) {
      const key = `${level}/${index}`;
      const tile = tiles.get(key);
      if (tile === undefined || !equalBytes(tile.root, root)) return null;
      tiles.delete(key);
      tiles.set(key, tile);
      return tile.hashes;
    },
    set(level, index, root, hashes) {
      if (hashes.length > maxBytes) return;
      const key = `${level}/${index}`;
      remove(key);
      // A copy, because the bytes may be a view of a larger buffer that would live as long as the tile.
      tiles.set(key, { root, hashes: hashes.slice() });
      bytes += hashes.length;
      for (const oldest of tiles.keys()) {
        if (bytes <= maxBytes) break;
        remove(oldest);
      }
    },
    get bytes() {
      return bytes;
    },
  };
}
