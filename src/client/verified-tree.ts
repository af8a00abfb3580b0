// One tree of a log, read from a source that is not trusted: every hash and every entry given out leads to the root that
// the caller trusts. The right edge is checked against that root, each full tile against its hash in the tile above, each
// entry against its leaf hash.

import { equalBytes } from "../core/bytes.ts";
import { CairnError } from "../core/errors.ts";
import type { Hash, TreeHasher } from "../core/hash.ts";
import { perfectRoot, requireTreeSize } from "../core/merkle.ts";
import { HASH_BYTES, TILE_WIDTH, tileWidthAt } from "../core/tile.ts";
import { entriesPath, tilePath } from "../core/tile-path.ts";
import { consistencyProof, inclusionProof, rootFromTiles } from "../core/tile-proof.ts";
import type { TileCache } from "./tile-cache.ts";
import { readBundle, readTile, type TileSource } from "./tile-source.ts";

/** A tree's size and root: of a verified checkpoint, or otherwise trusted by whoever passes it. */
export interface TreeHead {
  readonly size: number;
  readonly root: Hash;
}

/**
 * Besides the errors named, every method throws `wrong_tile` for what is missing or does not lead to the root,
 * `bad_tile` and `bad_bundle` for what is malformed, `not_published` for what lies beyond the tree's size, and whatever
 * the source throws.
 */
export interface VerifiedTree {
  readonly size: number;
  readonly root: Hash;
  /** The first `width` hashes of a tile, at most as many as this tree has there. */
  tile(level: number, index: number, width: number): Promise<Uint8Array>;
  /** The entries of a bundle, all that this tree has there: 256, or fewer in the last. */
  bundle(index: number): Promise<readonly Uint8Array[]>;
  entry(index: number): Promise<Uint8Array>;
  leafHash(index: number): Promise<Hash>;
  /** The inclusion proof of an entry in this tree, leaf to root. */
  inclusionProof(index: number): Promise<Hash[]>;
  /** The consistency proof from an earlier size to this tree. Throws `bad_parameter` where `size` is larger. */
  consistencyProof(size: number): Promise<Hash[]>;
}

export interface VerifiedTreeOptions {
  readonly head: TreeHead;
  readonly source: TileSource;
  readonly cache: TileCache;
  readonly hasher: TreeHasher;
}

export function verifiedTree(options: VerifiedTreeOptions): VerifiedTree {
  const { head, source, cache, hasher } = options;
  const { size, root } = head;
  let edge: Promise<ReadonlyMap<number, Uint8Array>> | null = null;
  const underway = new Map<string, Promise<Uint8Array>>();

  async function fetchTile(level: number, index: number, width: number): Promise<Uint8Array> {
    const hashes = await readTile(source, level, index, width);
    if (hashes === null) throw wrongTile(tilePath(level, index, width), "it is missing");
    return hashes;
  }

  /** The partial tiles of this tree by level: together, exactly what its root is made of. */
  async function readEdge(): Promise<ReadonlyMap<number, Uint8Array>> {
    const tiles = new Map<number, Uint8Array>();
    const found = await rootFromTiles(
      size,
      async (level, index, width) => {
        const hashes = await fetchTile(level, index, width);
        tiles.set(level, hashes);
        return hashes;
      },
      hasher,
    );
    if (!equalBytes(found, root)) {
      throw new CairnError("wrong_tile", { detail: `the right edge at size ${size}` });
    }
    return tiles;
  }

  async function edgeTile(level: number): Promise<Uint8Array> {
    edge ??= readEdge();
    try {
      return (await edge).get(level) as Uint8Array;
    } catch (error) {
      // The next read asks again: what was wrong or out of reach once may have been mended.
      edge = null;
      throw error;
    }
  }

  async function fullTile(level: number, index: number): Promise<Uint8Array> {
    const expected = await hashAt(level + 1, index);
    const cached = cache.get(level, index, expected);
    if (cached !== null) return cached;
    const key = `${level}/${index}`;
    let reading = underway.get(key);
    if (reading === undefined) {
      reading = readFullTile(level, index, expected).finally(() => underway.delete(key));
      underway.set(key, reading);
    }
    return await reading;
  }

  async function readFullTile(level: number, index: number, expected: Hash): Promise<Uint8Array> {
    const hashes = await fetchTile(level, index, TILE_WIDTH);
    if (!equalBytes(perfectRoot(hashes, hasher), expected)) {
      throw wrongTile(tilePath(level, index), "its hashes do not add up to the hash above");
    }
    cache.set(level, index, expected, hashes);
    return hashes;
  }

  async function wholeTile(level: number, index: number): Promise<Uint8Array> {
    const width = tileWidthAt(level, index, size);
    if (width === 0) throw beyond(tilePath(level, index), size);
    return width === TILE_WIDTH ? await fullTile(level, index) : await edgeTile(level);
  }

  async function hashAt(level: number, index: number): Promise<Hash> {
    const tile = await wholeTile(level, Math.floor(index / TILE_WIDTH));
    const from = (index % TILE_WIDTH) * HASH_BYTES;
    return tile.slice(from, from + HASH_BYTES) as Hash;
  }

  async function tile(level: number, index: number, width: number): Promise<Uint8Array> {
    if (width > tileWidthAt(level, index, size)) throw beyond(tilePath(level, index, width), size);
    // A copy: the tile itself may lie in the cache, where nobody may write.
    return (await wholeTile(level, index)).slice(0, width * HASH_BYTES);
  }

  async function bundle(index: number): Promise<readonly Uint8Array[]> {
    const width = tileWidthAt(0, index, size);
    const path = entriesPath(index, width === 0 ? TILE_WIDTH : width);
    if (width === 0) throw beyond(path, size);
    const [hashes, read] = await Promise.all([wholeTile(0, index), readBundle(source, index, width)]);
    if (read === null) throw wrongTile(path, "it is missing");
    read.entries.forEach((entry, i) => {
      if (!equalBytes(hasher.leaf(entry), hashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES))) {
        throw wrongTile(path, `entry ${index * TILE_WIDTH + i} has another leaf hash`);
      }
    });
    return read.entries;
  }

  function requireIndex(index: number): void {
    requireTreeSize(index);
    if (index >= size) throw beyond(`entry ${index}`, size);
  }

  return {
    size,
    root,
    tile,
    bundle,
    async entry(index) {
      requireIndex(index);
      return (await bundle(Math.floor(index / TILE_WIDTH)))[index % TILE_WIDTH] as Uint8Array;
    },
    async leafHash(index) {
      requireIndex(index);
      return await hashAt(0, index);
    },
    async inclusionProof(index) {
      requireIndex(index);
      return await inclusionProof(index, size, tile, hasher);
    },
    async consistencyProof(earlier) {
      return await consistencyProof(earlier, size, tile, hasher);
    },
  };
}

function wrongTile(path: string, why: string): CairnError {
  return new CairnError("wrong_tile", { detail: `${path}: ${why}` });
}

function beyond(what: string, size: number): CairnError {
  return new CairnError("not_published", { detail: `${what} at size ${size}` });
}
