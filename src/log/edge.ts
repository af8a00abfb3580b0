// The right edge at the first retained row, made from full tiles only: those are synced before any row is dropped, while
// a partial one may have been lost with the power. A full tile that is missing is made from the level below, or from its
// bundle; whether that was right shows when the roots are compared with the signed head.

import type { BulkHasher } from "../core/bulk-hasher.ts";
import { bundleOffsets } from "../core/bundle.ts";
import { equalBytes } from "../core/bytes.ts";
import { CairnError } from "../core/errors.ts";
import { HASH_BYTES } from "../core/hash.ts";
import { RightEdge } from "../core/right-edge.ts";
import { entriesPath, tilePath } from "../core/tile-path.ts";
import { TILE_WIDTH } from "../core/tile.ts";
import type { State } from "../state/state.ts";
import type { ObjectStore } from "../storage/store.ts";

const TILE_BYTES = TILE_WIDTH * HASH_BYTES;
const READS_AT_ONCE = 16;
const HASH_ROWS_AT_ONCE = 256;
const LENGTH_BYTES = 2;

/** A full tile that was missing and could be made again. */
export interface Repair {
  readonly key: string;
  readonly bytes: Uint8Array;
}

export interface RestoredEdge {
  readonly edge: RightEdge;
  /** The framed entries of the bundle that the edge is in, up to the edge. */
  readonly openBundle: Uint8Array;
  readonly repairs: readonly Repair[];
}

/**
 * The edge at `size`. Throws `tile_missing` where a bundle below it, or what a tile could be made from, is not there or
 * damaged. Whether the edge is right shows in its root; the open bundle is compared with it here, since it will be
 * written again with what follows.
 */
export async function restoreEdge(
  store: ObjectStore,
  hasher: BulkHasher,
  size: number,
): Promise<RestoredEdge> {
  const repairs: Repair[] = [];
  const partial = size % TILE_WIDTH;
  const edge = await RightEdge.restore(hasher, size, (level, index, width) =>
    level === 0
      ? fullTile(store, hasher, 0, index, repairs)
      : nodesFromBelow(store, hasher, level, index, width, repairs),
  );
  let openBundle: Uint8Array = new Uint8Array(0);
  if (partial > 0) {
    const key = entriesPath(Math.floor(size / TILE_WIDTH));
    const bundle = (await store.get(key))?.bytes;
    if (bundle === undefined) throw new CairnError("tile_missing", { detail: key });
    const hashes = leavesOrMissing(key, bundle, hasher);
    for (let i = 0; i < partial; i++) {
      const leaf = edge.leafHash(size - partial + i);
      if (leaf !== null && equalBytes(leaf, hashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES))) continue;
      throw new CairnError("tile_missing", { detail: `${key} and its tile differ` });
    }
    openBundle = bundle.slice(0, bundleOffsets(bundle, TILE_WIDTH)[partial]);
  }
  return { edge, openBundle, repairs };
}

/** Appends all rows to `edge`, hashes only; `at` is called at each of `sizes`, ascending, none below the edge. */
export async function foldRows(
  state: Pick<State, "readHashes">,
  edge: RightEdge,
  end: number,
  sizes: readonly number[],
  at: (size: number) => void,
): Promise<void> {
  const wanted = [...new Set(sizes)].sort((a, b) => a - b);
  const visit = (): void => {
    while (wanted[0] !== undefined && wanted[0] <= edge.size) {
      const size = wanted.shift() as number;
      if (size === edge.size) at(size);
    }
  };
  visit();
  while (edge.size < end) {
    const rows = await state.readHashes(edge.size, HASH_ROWS_AT_ONCE);
    if (rows.length === 0) throw new CairnError("internal", { detail: `no row holds index ${edge.size}` });
    for (const row of rows) {
      let position = edge.size - row.first;
      if (position < 0)
        throw new CairnError("internal", { detail: `rows end at ${edge.size}, go on at ${row.first}` });
      while (position < row.count) {
        const next = Math.min(row.count - position, (wanted[0] ?? Number.POSITIVE_INFINITY) - edge.size);
        edge.append(row.hashes, position * HASH_BYTES, next, () => undefined);
        position += next;
        visit();
      }
    }
  }
}

/** The first `width` hashes of a tile above level 0: the roots of full tiles below it. */
async function nodesFromBelow(
  store: ObjectStore,
  hasher: BulkHasher,
  level: number,
  index: number,
  width: number,
  repairs: Repair[],
): Promise<Uint8Array> {
  const nodes = new Uint8Array(width * HASH_BYTES);
  for (let from = 0; from < width; from += READS_AT_ONCE) {
    const some = Array.from({ length: Math.min(READS_AT_ONCE, width - from) }, (_, i) => from + i);
    await Promise.all(
      some.map(async (position) => {
        const below = await fullTile(store, hasher, level - 1, index * TILE_WIDTH + position, repairs);
        nodes.set(hasher.fullTileRoot(below), position * HASH_BYTES);
      }),
    );
  }
  return nodes;
}

/** A full tile from the store, or made again from what is below it. */
export async function fullTile(
  store: ObjectStore,
  hasher: BulkHasher,
  level: number,
  index: number,
  repairs: Repair[],
): Promise<Uint8Array> {
  const key = tilePath(level, index);
  const there = await store.get(key);
  if (there !== null && there.bytes.length === TILE_BYTES) return there.bytes;
  let bytes: Uint8Array;
  if (level > 0) {
    bytes = await nodesFromBelow(store, hasher, level, index, TILE_WIDTH, repairs);
  } else {
    const bundle = await store.get(entriesPath(index));
    if (bundle === null) throw new CairnError("tile_missing", { detail: `${key} and its bundle` });
    bytes = leavesOrMissing(entriesPath(index), bundle.bytes, hasher);
  }
  repairs.push({ key, bytes });
  return bytes;
}

/** The leaf hashes of a full bundle; a damaged one is as good as none. */
function leavesOrMissing(key: string, bundle: Uint8Array, hasher: BulkHasher): Uint8Array {
  try {
    return leafHashesOf(bundle, TILE_WIDTH, hasher);
  } catch (cause) {
    throw new CairnError("tile_missing", { detail: `${key} is damaged`, cause });
  }
}

/** The leaf hashes of the `count` entries of a bundle, one after another. Throws `bad_bundle`. */
export function leafHashesOf(bundle: Uint8Array, count: number, hasher: BulkHasher): Uint8Array {
  const offsets = bundleOffsets(bundle, count);
  const hashes = new Uint8Array(count * HASH_BYTES);
  for (let i = 0; i < count; i++) {
    hasher.leafInto(
      bundle,
      (offsets[i] as number) + LENGTH_BYTES,
      offsets[i + 1] as number,
      hashes,
      i * HASH_BYTES,
    );
  }
  return hashes;
}
