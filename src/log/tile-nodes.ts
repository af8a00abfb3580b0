// The inner nodes of tiles that proofs were made from, so that the next proof from one of them hashes little: 255 nodes
// stand under the root of a full tile, and a proof needs the eight beside one path. Only ever filled from the tiles' bytes.

import { LRUCache } from "lru-cache";
import { HASH_BYTES, asHash } from "../core/hash.ts";
import type { Hash, TreeHasher } from "../core/hash.ts";
import { TILE_WIDTH } from "../core/tile.ts";

/** Tiles whose nodes are kept, those used last: 33 MiB of nodes, beside the tiles themselves. */
const TILES_MAX = 4096;

/** The nodes of one tile as a heap: the root is 1, the children of `n` are `2n` and `2n + 1`, the leaves begin at 256. */
interface Nodes {
  readonly hashes: Uint8Array;
  /** 1 where the node is known. */
  readonly known: Uint8Array;
}

export class TileNodes {
  readonly #hasher: TreeHasher;
  /**
   * By the memory that holds the tile, and where in it: so a tile that is cut to a smaller width, whose complete subtrees
   * are the same, finds what is known of the wider one. Each tile of the log has memory of its own.
   */
  readonly #tiles = new LRUCache<ArrayBufferLike, Map<number, Nodes>>({ max: TILES_MAX });

  constructor(hasher: TreeHasher) {
    this.#hasher = hasher;
  }

  /**
   * The root over hashes `from` to `to` (exclusive) of `tile`, a subtree of a power of two of hashes, all of which the
   * tile has. The tile's bytes, and the rest of the memory that they lie in, never change.
   */
  root(tile: Uint8Array, from: number, to: number): Hash {
    if (to - from === 1) return asHash(tile.slice(from * HASH_BYTES, to * HASH_BYTES));
    const nodes = this.#nodesOf(tile);
    return asHash(this.#node(tile, nodes, (TILE_WIDTH + from) / (to - from)).slice());
  }

  #nodesOf(tile: Uint8Array): Nodes {
    let inBuffer = this.#tiles.get(tile.buffer);
    if (inBuffer === undefined) {
      inBuffer = new Map();
      this.#tiles.set(tile.buffer, inBuffer);
    }
    let nodes = inBuffer.get(tile.byteOffset);
    if (nodes === undefined) {
      nodes = { hashes: new Uint8Array(TILE_WIDTH * HASH_BYTES), known: new Uint8Array(TILE_WIDTH) };
      inBuffer.set(tile.byteOffset, nodes);
    }
    return nodes;
  }

  #node(tile: Uint8Array, nodes: Nodes, place: number): Uint8Array {
    if (place >= TILE_WIDTH) {
      const at = (place - TILE_WIDTH) * HASH_BYTES;
      return tile.subarray(at, at + HASH_BYTES);
    }
    const at = place * HASH_BYTES;
    if (nodes.known[place] === 0) {
      const left = this.#node(tile, nodes, place * 2);
      const right = this.#node(tile, nodes, place * 2 + 1);
      nodes.hashes.set(this.#hasher.node(left, right), at);
      nodes.known[place] = 1;
    }
    return nodes.hashes.subarray(at, at + HASH_BYTES);
  }
}
