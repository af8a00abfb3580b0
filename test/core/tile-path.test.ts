import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { entriesPath, parseTilePath, printTilePath, tilePath } from "../../src/core/tile-path.ts";
import type { TileCoordinate } from "../../src/core/tile-path.ts";
import { refusal } from "./refusal.ts";

const MAX = Number.MAX_SAFE_INTEGER;

const level = fc.integer({ min: 0, max: 63 });
const width = fc.oneof(fc.integer({ min: 1, max: 256 }), fc.constantFrom(1, 255, 256));
const index = fc.oneof(
  fc.integer({ min: 0, max: MAX }),
  fc.integer({ min: 0, max: 2_000_000 }),
  fc.constantFrom(0, 999, 1000, 999_999, 1_000_000, 1_000_001, MAX),
);
const coordinate: fc.Arbitrary<TileCoordinate> = fc.oneof(
  fc.record({ kind: fc.constant("tile" as const), level, index, width }),
  fc.record({ kind: fc.constant("entries" as const), index, width }),
);

describe("tile paths", () => {
  test.each<[string, TileCoordinate]>([
    ["tile/0/000", { kind: "tile", level: 0, index: 0, width: 256 }],
    ["tile/0/000.p/1", { kind: "tile", level: 0, index: 0, width: 1 }],
    ["tile/0/x001/x234/067", { kind: "tile", level: 0, index: 1_234_067, width: 256 }],
    ["tile/0/x001/x234/067.p/255", { kind: "tile", level: 0, index: 1_234_067, width: 255 }],
    ["tile/63/999", { kind: "tile", level: 63, index: 999, width: 256 }],
    ["tile/10/x001/000.p/10", { kind: "tile", level: 10, index: 1000, width: 10 }],
    ["tile/9/x999/999.p/100", { kind: "tile", level: 9, index: 999_999, width: 100 }],
    ["tile/1/x001/x000/000", { kind: "tile", level: 1, index: 1_000_000, width: 256 }],
    ["tile/0/x009/x007/x199/x254/x740/991", { kind: "tile", level: 0, index: MAX, width: 256 }],
    ["tile/entries/000", { kind: "entries", index: 0, width: 256 }],
    ["tile/entries/x001/x234/067.p/5", { kind: "entries", index: 1_234_067, width: 5 }],
    ["tile/entries/x009/x007/x199/x254/x740/991.p/255", { kind: "entries", index: MAX, width: 255 }],
  ])("%s is read and written", (path, coordinate) => {
    expect(parseTilePath(path)).toEqual(coordinate);
    expect(printTilePath(coordinate)).toBe(path);
    const { index, width } = coordinate;
    expect(
      coordinate.kind === "tile" ? tilePath(coordinate.level, index, width) : entriesPath(index, width),
    ).toBe(path);
  });

  test("a path without a width is a full tile's", () => {
    expect(tilePath(3, 67)).toBe("tile/3/067");
    expect(entriesPath(67)).toBe("tile/entries/067");
  });

  test("every coordinate comes back from its path: level 0 to 63, index 0 to 2^53 - 1, width 1 to 256", () => {
    fc.assert(
      fc.property(coordinate, (coordinate) => {
        expect(parseTilePath(printTilePath(coordinate))).toEqual(coordinate);
      }),
      { numRuns: 2000 },
    );
    for (let level = 0; level <= 63; level++) {
      for (const index of [0, 1_000_001, MAX]) {
        expect(parseTilePath(tilePath(level, index))).toEqual({ kind: "tile", level, index, width: 256 });
      }
    }
    for (let width = 1; width <= 255; width++) {
      expect(parseTilePath(entriesPath(7, width))).toEqual({ kind: "entries", index: 7, width });
    }
  });

  test.each([
    ["nothing", ""],
    ["no place", "tile"],
    ["no index", "tile/0"],
    ["an empty index", "tile/0/"],
    ["a leading slash", "/tile/0/000"],
    ["a trailing slash", "tile/0/000/"],
    ["a trailing slash after a width", "tile/0/000.p/1/"],
    ["an empty element before the level", "tile//0/000"],
    ["an empty element before the index", "tile/0//000"],
    ["an empty element in the index", "tile/0/x001//067"],
    ["an element more", "tile/0/000/000"],
    ["parent folders", "tile/0/../000"],
    ["parent folders at the end", "tile/0/000/.."],
    ["parent folders at the start", "../tile/0/000"],
    ["parent folders as an index", "tile/0/.."],
    ["a group of dots", "tile/0/x../067"],
    ["the folder itself", "tile/./0/000"],
    ["an encoded slash", "tile/0%2f000"],
    ["an encoded slash, uppercase", "tile/0%2F000"],
    ["an encoded slash in the index", "tile/0/x001%2f067"],
    ["an encoded dot", "tile/0/000%2ep/1"],
    ["an encoded digit", "tile/0/00%30"],
    ["a doubly encoded slash", "tile/0%252f000"],
    ["a backslash", "tile\\0\\000"],
    ["a NUL", "tile/0/000\0"],
    ["a newline at the end", "tile/0/000\n"],
    ["a newline at the start", "\ntile/0/000"],
    ["a line break between two paths", "tile/0/000\ntile/0/001"],
    ["a space at the end", "tile/0/000 "],
    ["a query", "tile/0/000?a"],
    ["a fragment", "tile/0/000#a"],
    ["a suffix", "tile/0/000.gz"],
    ["another place", "tile/data/000"],
    ["another place's beginning", "tile/entries0/000"],
    ["entries at a level", "tile/entries/0/000"],
    ["an uppercase place", "tile/ENTRIES/000"],
    ["an uppercase tile", "Tile/0/000"],
    ["level 64", "tile/64/000"],
    ["level 99", "tile/99/000"],
    ["level 100", "tile/100/000"],
    ["level 00", "tile/00/000"],
    ["level 01", "tile/01/000"],
    ["a negative level", "tile/-1/000"],
    ["a signed level", "tile/+1/000"],
    ["a level in hexadecimal", "tile/0x1/000"],
    ["a level with an exponent", "tile/1e1/000"],
    ["an empty level", "tile//000"],
    ["a level of other digits", "tile/\u0661/000"],
    ["a fullwidth level", "tile/\uff11/000"],
    ["an index without padding", "tile/0/1"],
    ["an index of two digits", "tile/0/67"],
    ["an index of four digits", "tile/0/1234"],
    ["an index of two digits in a group", "tile/0/x01/067"],
    ["an index of four digits in a group", "tile/0/x1234/067"],
    ["an x before the last element", "tile/0/x067"],
    ["an x before all elements", "tile/0/x001/x067"],
    ["no x before the first element", "tile/0/001/067"],
    ["no x before the middle element", "tile/0/x001/234/067"],
    ["an uppercase X", "tile/0/X001/067"],
    ["two x", "tile/0/xx01/067"],
    ["an x alone", "tile/0/x/067"],
    ["an x behind", "tile/0/001x/067"],
    ["a leading group of zeros", "tile/0/x000/067"],
    ["two leading groups of zeros", "tile/0/x000/x000/067"],
    ["a leading group of zeros before a full index", "tile/0/x000/x001/x234/067"],
    ["an index of other digits", "tile/0/\u0661\u0661\u0661"],
    ["a negative index", "tile/0/-01"],
    ["index 2^53", "tile/0/x009/x007/x199/x254/x740/992"],
    ["index 2^53 + 1", "tile/0/x009/x007/x199/x254/x740/993"],
    ["index 10^16", "tile/0/x010/x000/x000/x000/x000/000"],
    ["index 10^18 - 1", "tile/0/x999/x999/x999/x999/x999/999"],
    ["index 10^18", "tile/0/x001/x000/x000/x000/x000/x000/000"],
    ["an index of a thousand groups", `tile/0/${"x001/".repeat(1000)}001`],
    ["an index of a million groups", `tile/0/${"x001/".repeat(1_000_000)}001`],
    ["width 0", "tile/0/000.p/0"],
    ["width 00", "tile/0/000.p/00"],
    ["width 01", "tile/0/000.p/01"],
    ["width 010", "tile/0/000.p/010"],
    ["width 256", "tile/0/000.p/256"],
    ["width 999", "tile/0/000.p/999"],
    ["width 1000", "tile/0/000.p/1000"],
    ["a negative width", "tile/0/000.p/-1"],
    ["a signed width", "tile/0/000.p/+1"],
    ["a fraction of a width", "tile/0/000.p/1.5"],
    ["no width", "tile/0/000.p/"],
    ["no width and no slash", "tile/0/000.p"],
    ["an uppercase P", "tile/0/000.P/1"],
    ["two widths", "tile/0/000.p/1.p/1"],
    ["a width in an element of its own", "tile/0/000/.p/1"],
    ["a width in a group", "tile/0/x001.p/1/067"],
    ["entries of width 0", "tile/entries/000.p/0"],
    ["entries of width 256", "tile/entries/000.p/256"],
    ["entries of width 01", "tile/entries/000.p/01"],
    ["entries behind parent folders", "tile/entries/../0/000"],
    ["entries of index 2^53", "tile/entries/x009/x007/x199/x254/x740/992"],
  ])("refuses %s", (_, path) => {
    expect(() => parseTilePath(path)).toThrow(refusal("bad_path"));
  });

  test("printing a coordinate that has no path is refused", () => {
    for (const level of [-1, 64, 0.5, Number.NaN])
      expect(() => tilePath(level, 0)).toThrow(refusal("bad_path"));
    for (const index of [-1, 0.5, Number.NaN, 2 ** 53, Number.POSITIVE_INFINITY]) {
      expect(() => tilePath(0, index)).toThrow(refusal("bad_path"));
      expect(() => entriesPath(index)).toThrow(refusal("bad_path"));
    }
    for (const width of [-1, 0, 257, 0.5, Number.NaN]) {
      expect(() => tilePath(0, 0, width)).toThrow(refusal("bad_path"));
      expect(() => entriesPath(0, width)).toThrow(refusal("bad_path"));
    }
  });

  test("every text that parses is the one path of what it names, every other is bad_path", () => {
    const words = "tile entries / 0 00 1 63 64 x X 000 001 067 999 .p/ . .. %2f 255 256".split(" ");
    const pieces = fc.constantFrom(...words, "\n", " ", "\0");
    const assembled = fc.array(pieces, { maxLength: 14 }).map((parts) => parts.join(""));
    const damaged = fc
      .tuple(coordinate.map(printTilePath), fc.nat(60), fc.nat(2), fc.string({ maxLength: 2 }))
      .map(([path, at, cut, insert]) => path.slice(0, at) + insert + path.slice(at + cut));
    const seen = { parsed: 0, refused: 0 };
    fc.assert(
      fc.property(fc.oneof(assembled, damaged, fc.string()), (text) => {
        let coordinate: TileCoordinate;
        try {
          coordinate = parseTilePath(text);
        } catch (error) {
          expect(error).toEqual(refusal("bad_path"));
          seen.refused++;
          return;
        }
        expect(printTilePath(coordinate)).toBe(text);
        seen.parsed++;
      }),
      { numRuns: 5000 },
    );
    expect(seen.parsed).toBeGreaterThan(0);
    expect(seen.refused).toBeGreaterThan(0);
  });
});
