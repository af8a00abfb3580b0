// Where a tree's objects come from, whatever holds them: HTTP, a folder. Reads a tile or bundle of a given width and falls
// back to the full one where the partial one is gone, as c2sp.org/tlog-tiles lets a log do. Nothing is verified here.

import { bundleOffsets, decodeBundle } from "../core/bundle.ts";
import { CairnError } from "../core/errors.ts";
import { HASH_BYTES, TILE_WIDTH } from "../core/tile.ts";
import { entriesPath, tilePath } from "../core/tile-path.ts";

export interface TileSource {
  /**
   * The object at a path of c2sp.org/tlog-tiles (`checkpoint`, `tile/…`, without a leading slash), or null where there is
   * none. Throws where that cannot be told.
   */
  get(path: string): Promise<Uint8Array | null>;
  /**
   * The widths of the partial tiles or bundles kept beside the full path `path`, in any order. Only for sources that can
   * list: without it, partial objects that no checkpoint asks for go unseen.
   */
  partialWidths?(path: string): Promise<readonly number[]>;
}

export interface ReadBundle {
  /** In bundle framing, exactly the entries asked for. */
  readonly bytes: Uint8Array;
  /** Views of `bytes`. */
  readonly entries: readonly Uint8Array[];
}

/** Exactly `width` hashes, or null where neither the partial nor the full tile is there. Throws `bad_tile`. */
export async function readTile(
  source: TileSource,
  level: number,
  index: number,
  width: number,
): Promise<Uint8Array | null> {
  const path = tilePath(level, index, width);
  const exact = await source.get(path);
  if (exact !== null) return checkedTile(exact, path, width);
  if (width === TILE_WIDTH) return null;
  const fullPath = tilePath(level, index);
  const full = await source.get(fullPath);
  return full === null ? null : checkedTile(full, fullPath, TILE_WIDTH).subarray(0, width * HASH_BYTES);
}

/** Exactly `width` entries, or null where neither the partial nor the full bundle is there. Throws `bad_bundle`. */
export async function readBundle(
  source: TileSource,
  index: number,
  width: number,
): Promise<ReadBundle | null> {
  const path = entriesPath(index, width);
  const exact = await source.get(path);
  if (exact !== null) return { bytes: exact, entries: decode(exact, path, width) };
  if (width === TILE_WIDTH) return null;
  const fullPath = entriesPath(index);
  const full = await source.get(fullPath);
  if (full === null) return null;
  const entries = decode(full, fullPath, TILE_WIDTH);
  const bytes = full.subarray(0, bundleOffsets(full, TILE_WIDTH)[width]);
  return { bytes, entries: entries.slice(0, width) };
}

function checkedTile(bytes: Uint8Array, path: string, width: number): Uint8Array {
  if (bytes.length !== width * HASH_BYTES) {
    throw new CairnError("bad_tile", { detail: `${path} has ${bytes.length} bytes` });
  }
  return bytes;
}

function decode(bytes: Uint8Array, path: string, count: number): Uint8Array[] {
  try {
    return decodeBundle(bytes, count);
  } catch (cause) {
    const detail = cause instanceof CairnError ? (cause.detail ?? cause.message) : String(cause);
    throw new CairnError("bad_bundle", { detail: `${path}: ${detail}`, cause });
  }
}
