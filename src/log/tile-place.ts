// Which tile or bundle an object of a store is. People lay files beside them, which are nobody's.

import { isCairnError } from "../core/errors.ts";
import { parseTilePath } from "../core/tile-path.ts";
import type { TileCoordinate } from "../core/tile-path.ts";
import { tileEnd } from "../core/tile.ts";

/** The tile or bundle at a key, or null for what is none. */
export function tilePlace(key: string): TileCoordinate | null {
  try {
    return parseTilePath(key);
  } catch (error) {
    if (!isCairnError(error, "bad_path")) throw error;
    return null;
  }
}

/** Leaves that a tile or bundle needs, at its own width or another. */
export function placeEnd(place: TileCoordinate, width = place.width): number {
  return tileEnd(place.kind === "tile" ? place.level : 0, place.index, width);
}
