import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  bundleOffsets,
  decodeBundle,
  encodeBundle,
  ENTRY_FRAME_BYTES,
  ENTRY_MAX_BYTES,
} from "../../src/core/bundle.ts";
import { refusal } from "./refusal.ts";

const entries = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 20 });
const text = (value: string) => new TextEncoder().encode(value);

describe("entry bundles", () => {
  test("are two-byte big-endian lengths, each followed by its entry", () => {
    const bundle = encodeBundle([text("one"), new Uint8Array(0), new Uint8Array(258).fill(9)]);
    expect(bundle.subarray(0, 9)).toEqual(Uint8Array.of(0, 3, 0x6f, 0x6e, 0x65, 0, 0, 1, 2));
    expect(bundle.length).toBe(2 + 3 + 2 + 2 + 258);
    expect(encodeBundle([])).toEqual(new Uint8Array(0));
    expect(ENTRY_FRAME_BYTES).toBe(2);
  });

  test("every list of entries comes back, empty entries included", () => {
    fc.assert(
      fc.property(entries, (entries) => {
        const bundle = encodeBundle(entries);
        expect(decodeBundle(bundle)).toEqual(entries);
        expect(decodeBundle(bundle, entries.length)).toEqual(entries);
      }),
    );
  });

  test("the longest entry fits, one byte more does not", () => {
    const longest = new Uint8Array(ENTRY_MAX_BYTES).fill(0xff);
    expect(Buffer.compare(decodeBundle(encodeBundle([longest, longest]), 2)[1]!, longest)).toBe(0);
    expect(() => encodeBundle([text("a"), new Uint8Array(ENTRY_MAX_BYTES + 1)])).toThrow(
      refusal("entry_too_large"),
    );
  });

  test("decoded entries are views, so that a bundle is not copied", () => {
    const bundle = encodeBundle([text("one"), text("two")]);
    for (const entry of decodeBundle(bundle)) expect(entry.buffer).toBe(bundle.buffer);
  });

  test("a bundle that is itself a view decodes at its own offset", () => {
    const bundle = encodeBundle([text("one"), text("two")]);
    const around = new Uint8Array(bundle.length + 7).fill(0xee);
    around.set(bundle, 5);
    expect(decodeBundle(around.subarray(5, 5 + bundle.length), 2)).toEqual([text("one"), text("two")]);
  });

  test("torn at every byte: what ends between entries has fewer of them, all else is refused", () => {
    const list = [text("one"), new Uint8Array(0), new Uint8Array(300).fill(1), text("x")];
    const bundle = encodeBundle(list);
    const borders = new Map([
      [0, 0],
      [5, 1],
      [7, 2],
      [309, 3],
      [312, 4],
    ]);
    expect(bundle.length).toBe(312);
    for (let length = 0; length <= bundle.length; length++) {
      const torn = bundle.subarray(0, length);
      const whole = borders.get(length);
      if (whole === undefined) {
        expect(() => decodeBundle(torn)).toThrow(refusal("bad_bundle"));
        expect(() => bundleOffsets(torn)).toThrow(refusal("bad_bundle"));
      } else {
        expect(decodeBundle(torn)).toEqual(list.slice(0, whole));
      }
      if (length < bundle.length)
        expect(() => decodeBundle(torn, list.length)).toThrow(refusal("bad_bundle"));
    }
  });

  test("another number of entries than expected is refused, fewer and more", () => {
    const bundle = encodeBundle([text("one"), text("two"), text("three")]);
    for (const expected of [0, 1, 2, 4, 256]) {
      expect(() => decodeBundle(bundle, expected)).toThrow(refusal("bad_bundle"));
      expect(() => bundleOffsets(bundle, expected)).toThrow(refusal("bad_bundle"));
    }
    expect(() => decodeBundle(new Uint8Array(0), 1)).toThrow(refusal("bad_bundle"));
    expect(decodeBundle(new Uint8Array(0), 0)).toEqual([]);
  });

  test("a bundle of a million empty entries is given up at the first one too many", () => {
    // Behind the 257th there is a torn entry: reaching it would be told as torn.
    const bundle = new Uint8Array(2_000_001);
    expect(() => decodeBundle(bundle, 256)).toThrow("more than 256 entries");
  });

  test("offsets cut a bundle after any number of entries", () => {
    fc.assert(
      fc.property(entries, (entries) => {
        const bundle = encodeBundle(entries);
        const offsets = bundleOffsets(bundle, entries.length);
        expect(offsets.length).toBe(entries.length + 1);
        expect(offsets.at(-1)).toBe(bundle.length);
        for (let width = 0; width <= entries.length; width++) {
          expect(bundle.subarray(0, offsets[width])).toEqual(encodeBundle(entries.slice(0, width)));
        }
      }),
    );
  });

  test("all bytes either decode to the entries that encode to them or are bad_bundle", () => {
    const smallLengths = fc
      .array(fc.oneof(fc.constantFrom(0, 1, 2, 3), fc.integer({ min: 0, max: 255 })), { maxLength: 60 })
      .map((bytes) => Uint8Array.from(bytes));
    const seen = { decoded: 0, refused: 0 };
    fc.assert(
      fc.property(fc.oneof(smallLengths, fc.uint8Array({ maxLength: 200 })), (bytes) => {
        let entries: Uint8Array[];
        try {
          entries = decodeBundle(bytes);
        } catch (error) {
          expect(error).toEqual(refusal("bad_bundle"));
          seen.refused++;
          return;
        }
        expect(encodeBundle(entries)).toEqual(bytes);
        seen.decoded++;
      }),
      { numRuns: 2000 },
    );
    expect(seen.decoded).toBeGreaterThan(0);
    expect(seen.refused).toBeGreaterThan(0);
  });
});
