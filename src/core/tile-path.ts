// Paths of tiles and entry bundles, after tlog-tiles: `tile/<L>/<N>[.p/<W>]` and `tile/entries/<N>[.p/<W>]`.
// Every tile has exactly one path; parsing refuses every other spelling, so a path is also a safe storage key.

import { CairnError } from "./errors.ts";
import { MAX_TILE_LEVEL, TILE_WIDTH } from "./tile.ts";

/** `width` is 1 to 256; 256 is a full tile, whose path has no `.p` part. */
export type TileCoordinate =
  | { readonly kind: "tile"; readonly level: number; readonly index: number; readonly width: number }
  | { readonly kind: "entries"; readonly index: number; readonly width: number };

// Six elements of three digits hold every safe integer, so a longer path needs no reading.
const TILE_PATH =
  /^tile\/(entries|0|[1-9][0-9]?)\/((?:x[0-9]{3}\/){0,5}[0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/;

/** The path of a hash tile, without a leading slash. Throws `bad_path` on a coordinate that has none. */
export function tilePath(level: number, index: number, width: number = TILE_WIDTH): string {
  if (!Number.isInteger(level) || level < 0 || level > MAX_TILE_LEVEL) throw badPath(`level ${level}`);
  return `tile/${level}/${indexAndWidth(index, width)}`;
}

/** The path of an entry bundle, without a leading slash. Throws `bad_path` on a coordinate that has none. */
export function entriesPath(index: number, width: number = TILE_WIDTH): string {
  return `tile/entries/${indexAndWidth(index, width)}`;
}

/** The one path of a tile or bundle, without a leading slash. */
export function printTilePath(coordinate: TileCoordinate): string {
  return coordinate.kind === "entries"
    ? entriesPath(coordinate.index, coordinate.width)
    : tilePath(coordinate.level, coordinate.index, coordinate.width);
}

/**
 * What `path` (without a leading slash, nothing decoded) names. Throws `bad_path` on any spelling but the canonical one:
 * leading zeros and `x000` groups, level 64, width 0 or 256, an index of 2^53 or more.
 */
export function parseTilePath(path: string): TileCoordinate {
  const match = TILE_PATH.exec(path);
  if (match === null) throw badPath();
  const [, place, groups, suffix] = match;

  const width = suffix === undefined ? TILE_WIDTH : Number(suffix);
  if (suffix !== undefined && width >= TILE_WIDTH) throw badPath("a partial tile has 1 to 255 hashes");

  // "Zero-padded 3-digit path elements": the padding fills one element and never adds another.
  if (groups === undefined || groups.startsWith("x000/"))
    throw badPath("the index has a leading zero element");
  const index = Number(groups.replace(/[x/]/g, ""));
  if (!Number.isSafeInteger(index)) throw badPath("the index is 2^53 or more");

  if (place === "entries") return { kind: "entries", index, width };
  const level = Number(place);
  if (level > MAX_TILE_LEVEL) throw badPath("levels end at 63");
  return { kind: "tile", level, index, width };
}

function indexAndWidth(index: number, width: number): string {
  if (!Number.isSafeInteger(index) || index < 0) throw badPath(`index ${index}`);
  if (!Number.isInteger(width) || width < 1 || width > TILE_WIDTH) throw badPath(`width ${width}`);
  let path = threeDigits(index % 1000);
  // The elements in front of the last begin with an x, so that no file has the name of a folder.
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    path = `x${threeDigits(rest % 1000)}/${path}`;
  }
  return width === TILE_WIDTH ? path : `${path}.p/${width}`;
}

function threeDigits(value: number): string {
  return String(value).padStart(3, "0");
}

function badPath(detail?: string): CairnError {
  return new CairnError("bad_path", detail === undefined ? {} : { detail });
}
