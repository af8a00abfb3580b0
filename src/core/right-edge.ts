// The right edge of a growing tree: the right-most tile of every level, kept so that appending needs no reads and the
// root of the present size costs a few hundred hashes. It is the compact range of tlog-tiles: RFC 6962, section 2.1,
// cut at tile boundaries.

import type { BulkHasher } from "./bulk-hasher.ts";
import { CairnError } from "./errors.ts";
import { HASH_BYTES } from "./hash.ts";
import type { Hash } from "./hash.ts";
import { perfectRoot } from "./merkle.ts";
import { TILE_WIDTH } from "./tile.ts";

const TILE_BYTES = TILE_WIDTH * HASH_BYTES;

/** A tile as it becomes full, or a partial one: `bytes` is `width` hashes. */
export interface EdgeTile {
  readonly level: number;
  readonly index: number;
  readonly width: number;
  readonly bytes: Uint8Array;
}

interface EdgeLevel {
  /** Index of the tile that is being filled. */
  index: number;
  /** Hashes in it, 0..255. */
  width: number;
  /** Always 8,192 bytes; handed out when full, and then replaced. */
  bytes: Uint8Array;
}

/**
 * The right edge at a size. Grows by `append`, which names every tile that becomes full, in the order in which they may
 * be written (a tile before the one above it).
 */
export class RightEdge {
  readonly #hasher: BulkHasher;
  readonly #levels: EdgeLevel[] = [];
  #size = 0;

  constructor(hasher: BulkHasher) {
    this.#hasher = hasher;
  }

  /** Leaves so far. */
  get size(): number {
    return this.#size;
  }

  /**
   * The edge at `size`, from the first hashes of its right-most tiles: `tile(level, index, width)` answers at least
   * `width` hashes. Throws `bad_tile` where it answers fewer.
   */
  static async restore(
    hasher: BulkHasher,
    size: number,
    tile: (level: number, index: number, width: number) => Promise<Uint8Array>,
  ): Promise<RightEdge> {
    const edge = new RightEdge(hasher);
    edge.#size = size;
    for (let level = 0, nodes = size; nodes > 0; level++, nodes = Math.floor(nodes / TILE_WIDTH)) {
      const filling: EdgeLevel = {
        index: Math.floor(nodes / TILE_WIDTH),
        width: nodes % TILE_WIDTH,
        bytes: new Uint8Array(TILE_BYTES),
      };
      if (filling.width > 0) {
        const bytes = await tile(level, filling.index, filling.width);
        if (bytes.length < filling.width * HASH_BYTES) {
          throw new CairnError("bad_tile", {
            detail: `level ${level}, tile ${filling.index}: ${bytes.length} bytes`,
          });
        }
        filling.bytes.set(bytes.subarray(0, filling.width * HASH_BYTES));
      }
      edge.#levels.push(filling);
    }
    return edge;
  }

  /** Another edge at the same size, which grows on its own. */
  copy(): RightEdge {
    const edge = new RightEdge(this.#hasher);
    edge.#size = this.#size;
    for (const level of this.#levels) edge.#levels.push({ ...level, bytes: level.bytes.slice() });
    return edge;
  }

  /** Appends `count` leaf hashes that stand one after another in `hashes` from byte `offset`. */
  append(hashes: Uint8Array, offset: number, count: number, onFull: (tile: EdgeTile) => void): void {
    let done = 0;
    while (done < count) {
      const level = this.#level(0);
      const take = Math.min(TILE_WIDTH - level.width, count - done);
      const start = offset + done * HASH_BYTES;
      level.bytes.set(hashes.subarray(start, start + take * HASH_BYTES), level.width * HASH_BYTES);
      level.width += take;
      this.#size += take;
      done += take;
      this.#carry(onFull);
    }
  }

  /** The RFC 6962 root at the present size. */
  root(): Hash {
    let below: Hash | null = null;
    for (const level of this.#levels) {
      const width: number = level.width + (below === null ? 0 : 1);
      if (width === 0) continue;
      // The hashes of this tile are perfect subtrees, and what is below them is smaller, so it stands as one more,
      // incomplete node at their right: RFC 6962 splits at the same places.
      const nodes = new Uint8Array(width * HASH_BYTES);
      nodes.set(level.bytes.subarray(0, level.width * HASH_BYTES));
      if (below !== null) nodes.set(below, level.width * HASH_BYTES);
      below = perfectRoot(nodes, this.#hasher.tree);
    }
    return below ?? this.#hasher.tree.empty();
  }

  /** Copies of the partial tiles at the present size, lowest level first; levels without one are left out. */
  partials(): EdgeTile[] {
    return this.#levels.flatMap(({ index, width, bytes }, level) =>
      width === 0 ? [] : [{ level, index, width, bytes: bytes.slice(0, width * HASH_BYTES) }],
    );
  }

  /** The leaf hash at `index` where the level-0 tile that is being filled holds it, else null. */
  leafHash(index: number): Uint8Array | null {
    const level = this.#levels[0];
    if (level === undefined) return null;
    const position = index - level.index * TILE_WIDTH;
    if (position < 0 || position >= level.width) return null;
    return level.bytes.subarray(position * HASH_BYTES, (position + 1) * HASH_BYTES);
  }

  #level(level: number): EdgeLevel {
    const found = this.#levels[level];
    if (found !== undefined) return found;
    const made = { index: 0, width: 0, bytes: new Uint8Array(TILE_BYTES) };
    this.#levels.push(made);
    return made;
  }

  #carry(onFull: (tile: EdgeTile) => void): void {
    for (let level = 0; ; level++) {
      const full = this.#level(level);
      if (full.width < TILE_WIDTH) return;
      onFull({ level, index: full.index, width: TILE_WIDTH, bytes: full.bytes });
      const root = this.#hasher.fullTileRoot(full.bytes);
      const above = this.#level(level + 1);
      above.bytes.set(root, above.width * HASH_BYTES);
      above.width++;
      full.index++;
      full.width = 0;
      full.bytes = new Uint8Array(TILE_BYTES);
    }
  }
}
