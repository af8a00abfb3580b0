import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  HASH_BYTES,
  partialTiles,
  TILE_HEIGHT,
  TILE_WIDTH,
  tileEnd,
  tileWidthAt,
} from "../../src/core/tile.ts";
import { refusal } from "./refusal.ts";

const safe = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const size = fc.oneof(
  safe,
  fc.integer({ min: 0, max: 200_000 }),
  fc.constantFrom(0, 1, 255, 256, 257, 65_535, 65_536),
);
const level = fc.oneof(fc.integer({ min: 0, max: 63 }), fc.integer({ min: 0, max: 7 }));

/** "The partial tile at level l for a tree of size s has floor(s / 256**l) mod 256 entries", in exact integers. */
function exactHashes(level: number, size: number): bigint {
  return BigInt(size) / 256n ** BigInt(level);
}

describe("tileWidthAt", () => {
  test("a tile has 256 hashes of 32 bytes over 8 tree levels", () => {
    expect([TILE_WIDTH, HASH_BYTES, 2 ** TILE_HEIGHT]).toEqual([256, 32, TILE_WIDTH]);
  });

  test("the example of tlog-tiles: a tree of size 70,000", () => {
    for (let index = 0; index < 273; index++) expect(tileWidthAt(0, index, 70_000)).toBe(256);
    expect(tileWidthAt(0, 273, 70_000)).toBe(112);
    expect(tileWidthAt(0, 274, 70_000)).toBe(0);
    expect(tileWidthAt(1, 0, 70_000)).toBe(256);
    expect(tileWidthAt(1, 1, 70_000)).toBe(17);
    expect(tileWidthAt(1, 2, 70_000)).toBe(0);
    expect(tileWidthAt(2, 0, 70_000)).toBe(1);
    expect(tileWidthAt(3, 0, 70_000)).toBe(0);
  });

  test("the example of tlog-tiles: a tree of size 256", () => {
    expect([tileWidthAt(0, 0, 256), tileWidthAt(0, 1, 256), tileWidthAt(1, 0, 256)]).toEqual([256, 0, 1]);
  });

  test("agrees with exact integers at every level, index and size up to 2^53 - 1", () => {
    fc.assert(
      fc.property(level, size, safe, fc.boolean(), (level, size, anyIndex, nearEdge) => {
        const hashes = exactHashes(level, size);
        const edge = Number(hashes / 256n);
        const index = nearEdge ? Math.max(0, edge - (anyIndex % 2)) : anyIndex;
        const left = hashes - BigInt(index) * 256n;
        const expected = left < 0n ? 0 : left > 256n ? 256 : Number(left);
        expect(tileWidthAt(level, index, size)).toBe(expected);
      }),
      {
        numRuns: 2000,
        examples: [
          [0, Number.MAX_SAFE_INTEGER, 0, true],
          [6, Number.MAX_SAFE_INTEGER, 0, true],
          [63, Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, false],
        ],
      },
    );
  });

  test("refuses what is no level, index or size", () => {
    for (const level of [-1, 64, 0.5, Number.NaN])
      expect(() => tileWidthAt(level, 0, 1)).toThrow(refusal("bad_parameter"));
    for (const odd of [-1, 0.5, Number.NaN, 2 ** 53, Number.POSITIVE_INFINITY]) {
      expect(() => tileWidthAt(0, odd, 1)).toThrow(refusal("unsafe_integer"));
      expect(() => tileWidthAt(0, 0, odd)).toThrow(refusal("unsafe_integer"));
    }
  });
});

describe("partialTiles", () => {
  test("at the sizes where tiles fill", () => {
    expect(partialTiles(0)).toEqual([]);
    expect(partialTiles(1)).toEqual([{ level: 0, index: 0, width: 1 }]);
    expect(partialTiles(255)).toEqual([{ level: 0, index: 0, width: 255 }]);
    expect(partialTiles(256)).toEqual([{ level: 1, index: 0, width: 1 }]);
    expect(partialTiles(257)).toEqual([
      { level: 0, index: 1, width: 1 },
      { level: 1, index: 0, width: 1 },
    ]);
    expect(partialTiles(65_536)).toEqual([{ level: 2, index: 0, width: 1 }]);
    expect(partialTiles(70_000)).toEqual([
      { level: 0, index: 273, width: 112 },
      { level: 1, index: 1, width: 17 },
      { level: 2, index: 0, width: 1 },
    ]);
  });

  test("are exactly the tiles of width 1 to 255 at the right edge of every level", () => {
    fc.assert(
      fc.property(size, (size) => {
        const expected = [];
        for (let level = 0; level <= 63; level++) {
          const hashes = exactHashes(level, size);
          if (hashes % 256n > 0n)
            expected.push({ level, index: Number(hashes / 256n), width: Number(hashes % 256n) });
        }
        expect(partialTiles(size)).toEqual(expected);
      }),
    );
  });

  test("refuses what is no size", () => {
    for (const odd of [-1, 0.5, Number.NaN, 2 ** 53])
      expect(() => partialTiles(odd)).toThrow(refusal("unsafe_integer"));
  });
});

describe("tileEnd", () => {
  test("is the smallest size at which the tile has that width", () => {
    fc.assert(
      fc.property(level, safe, fc.integer({ min: 1, max: 256 }), (level, index, width) => {
        const exact = (BigInt(index) * 256n + BigInt(width)) * 256n ** BigInt(level);
        const end = tileEnd(level, index, width);
        if (exact > BigInt(Number.MAX_SAFE_INTEGER)) {
          expect(end).toBeGreaterThan(Number.MAX_SAFE_INTEGER);
        } else {
          expect(end).toBe(Number(exact));
          expect(tileWidthAt(level, index, end)).toBe(width);
          expect(tileWidthAt(level, index, end - 1)).toBe(width - 1);
        }
      }),
      {
        numRuns: 1000,
        examples: [
          [0, 2 ** 45 - 1, 255],
          [0, 2 ** 45 - 1, 256],
          [63, Number.MAX_SAFE_INTEGER, 256],
          [6, 31, 1],
        ],
      },
    );
  });

  test("refuses what is no level or index", () => {
    expect(() => tileEnd(64, 0, 1)).toThrow(refusal("bad_parameter"));
    expect(() => tileEnd(0, -1, 1)).toThrow(refusal("unsafe_integer"));
  });
});
