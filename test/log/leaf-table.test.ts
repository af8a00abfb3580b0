// The deduplication table only suggests, but it must suggest every index that was put in, whatever its growth did.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Fingerprint, LeafTable, TABLE_KEY_BYTES, newSegment } from "../../src/log/leaf-table.ts";
import { spreadHash as hashOf } from "./doubles/spread-hash.ts";

const KEY = new Uint8Array(TABLE_KEY_BYTES).map((_, i) => (i * 37 + 11) & 0xff);
/** What the table may cost (architecture, section 2, step 2). */
const BYTES_AN_ENTRY = 30;
/** Below this a few whole segments outweigh the entries, and nobody minds. */
const SMALL = 10_000;
/** A step touches one segment, so none is larger than this many slots. */
const LARGEST_SEGMENT = 8192;

function fingerprintOf(table: LeafTable, hash: Uint8Array): Fingerprint {
  const fingerprint = { high: 0, low: 0 };
  table.fingerprint(hash, 0, fingerprint);
  return fingerprint;
}

/** Every index under a fingerprint. */
function findAll(table: LeafTable, fingerprint: Fingerprint): number[] {
  const found: number[] = [];
  for (let skip = 0; ; skip++) {
    const index = table.find(fingerprint, skip);
    if (index < 0) return found.sort((a, b) => a - b);
    found.push(index);
  }
}

describe("the deduplication table", () => {
  it("answers as a map from fingerprint to indices would", () => {
    // Few high words, so that segments split where they are crowded; few low ones, so that fingerprints meet.
    const pair = fc.record({
      high: fc.integer({ min: 0, max: 40 }).map((n) => (n * 0x0654_3211) >>> 0),
      low: fc.integer({ min: 1, max: 60 }),
      index: fc.oneof(
        fc.nat(5000),
        fc.integer({ min: 2 ** 32 - 3, max: 2 ** 32 + 3 }),
        fc.constant(2 ** 48 - 1),
      ),
    });
    fc.assert(
      fc.property(fc.array(pair, { maxLength: 400 }), (pairs) => {
        const table = new LeafTable(KEY);
        const model = new Map<string, Set<number>>();
        for (const { high, low, index } of pairs) {
          table.insert({ high, low }, index);
          const key = `${high} ${low}`;
          model.set(key, (model.get(key) ?? new Set()).add(index));
        }
        let count = 0;
        for (const [key, indices] of model) {
          const [high, low] = key.split(" ").map(Number) as [number, number];
          expect(findAll(table, { high, low })).toEqual([...indices].sort((a, b) => a - b));
          count += indices.size;
        }
        expect(table.count).toBe(count);
        expect(table.find({ high: 77, low: 77 }, 0)).toBe(-1);
      }),
      { numRuns: 200 },
    );
  });

  it("finds everything at every size through many splits, and costs 30 bytes an entry at most", () => {
    const table = new LeafTable(KEY);
    const entries = 250_000;
    let worst = 0;
    let before = 0;
    for (let i = 0; i < entries; i++) {
      table.insert(fingerprintOf(table, hashOf(i)), i);
      const { bytes } = i % 16 === 0 ? table : { bytes: before };
      if (bytes === before || i < SMALL) continue;
      before = bytes;
      worst = Math.max(worst, bytes / (i + 1));
    }
    expect(table.count).toBe(entries);
    for (let i = 0; i < entries; i++) {
      if (table.find(fingerprintOf(table, hashOf(i)), 0) !== i)
        expect(findAll(table, fingerprintOf(table, hashOf(i)))).toContain(i);
    }
    expect(worst).toBeGreaterThan(0);
    expect(worst).toBeLessThanOrEqual(BYTES_AN_ENTRY);
    const segments = [...table.segments()];
    expect(Math.max(...segments.map((segment) => segment.capacity))).toBeLessThanOrEqual(LARGEST_SEGMENT);
    // While one segment is split it stands beside its two halves: that moment counts too.
    const step = Math.max(...segments.map((segment) => segment.buffer.byteLength)) * 2.3;
    expect((table.bytes + step) / entries).toBeLessThanOrEqual(BYTES_AN_ENTRY);
  });

  it("spreads its growth: no 10,000 entries have more than 130,000 others moved", () => {
    const table = new LeafTable(KEY);
    const moved: number[] = [];
    let known = new Set<ArrayBuffer>();
    for (let i = 0; i < 400_000; i++) {
      table.insert(fingerprintOf(table, hashOf(i)), i);
      if (i % 10_000 !== 0) continue;
      const now = [...table.segments()];
      moved.push(now.reduce((sum, { buffer, count }) => sum + (known.has(buffer) ? 0 : count), 0));
      known = new Set(now.map(({ buffer }) => buffer));
    }
    // Many grow, and seldom all of them at once.
    expect(Math.max(...moved.slice(10))).toBeGreaterThan(10_000);
    expect(Math.max(...moved.slice(10))).toBeLessThanOrEqual(130_000);
  });

  it("takes the same pair again without growing", () => {
    const table = new LeafTable(KEY);
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 3000; i++) table.insert(fingerprintOf(table, hashOf(i)), i);
    }
    expect(table.count).toBe(3000);
    expect(findAll(table, fingerprintOf(table, hashOf(17)))).toEqual([17]);
  });

  it("keeps indices up to 2^48 - 1 and refuses what is none", () => {
    const table = new LeafTable(KEY);
    const fingerprint = fingerprintOf(table, hashOf(1));
    table.insert(fingerprint, 2 ** 48 - 1);
    expect(findAll(table, fingerprint)).toEqual([2 ** 48 - 1]);
    for (const index of [2 ** 48, -1, Number.NaN]) {
      expect(() => table.insert(fingerprint, index)).toThrow(
        expect.objectContaining({ code: "unsafe_integer" }),
      );
    }
  });

  it("splits a segment in which all fingerprints lie on one side, down to few bits", () => {
    const table = new LeafTable(KEY);
    for (let i = 0; i < 12_000; i++) table.insert({ high: (0xabc0_0000 | i) >>> 0, low: i + 1 }, i);
    for (let i = 0; i < 12_000; i += 7) {
      expect(findAll(table, { high: (0xabc0_0000 | i) >>> 0, low: i + 1 })).toEqual([i]);
    }
    expect(table.count).toBe(12_000);
  });

  it("gives two tables with different keys different fingerprints, and never the mark of an empty slot", () => {
    const other = new LeafTable(KEY.map((byte) => byte ^ 0xff));
    const table = new LeafTable(KEY);
    expect(fingerprintOf(table, hashOf(5))).not.toEqual(fingerprintOf(other, hashOf(5)));
    expect(fingerprintOf(table, new Uint8Array(32))).toEqual({ high: 0, low: 1 });
  });

  it("refuses segments that do not cover the table once each, and keys of another length", () => {
    expect(() => new LeafTable(KEY, [newSegment(1, 0, 16)])).toThrow(RangeError);
    expect(() => new LeafTable(KEY, [newSegment(1, 0, 16), newSegment(1, 0, 16)])).toThrow(RangeError);
    expect(() => new LeafTable(KEY.subarray(1))).toThrow(RangeError);
    expect(() => newSegment(0, 0, 16, new ArrayBuffer(15))).toThrow(RangeError);
    const halves = [newSegment(1, 0, 16), newSegment(1, 2 ** 31, 16)];
    expect(new LeafTable(KEY, halves).count).toBe(0);
  });

  it("names every segment once while they split under the one who asks", () => {
    const table = new LeafTable(KEY);
    let i = 0;
    const grow = (count: number): void => {
      for (const end = i + count; i < end; i++) table.insert(fingerprintOf(table, hashOf(i)), i);
    };
    grow(60_000);
    let covered = 0;
    let position = 0;
    for (const segment of table.segments()) {
      expect(segment.prefix).toBe(position);
      position += 2 ** (32 - segment.depth);
      covered++;
      grow(4000);
    }
    expect(position).toBe(2 ** 32);
    expect(covered).toBeGreaterThan(4);
  });
});
