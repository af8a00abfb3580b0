// Rows that wait for integration: in order, each once, from memory or read back, and memory is bounded.

import { describe, expect, it } from "vitest";
import { createNodeBulkHasher } from "../../src/cli/node-bulk-hasher.ts";
import { BACKLOG_MEMORY_BYTES, Backlog, sameLeaf } from "../../src/log/backlog.ts";
import type { Row } from "../../src/state/state.ts";
import { naiveLeaf } from "../core/naive.ts";

const MEBIBYTE = 1024 * 1024;

function rowOf(first: number, entries: readonly Uint8Array[]): Row {
  const bytes = new Uint8Array(entries.reduce((sum, entry) => sum + 2 + entry.length, 0));
  const hashes = new Uint8Array(entries.length * 32);
  let at = 0;
  for (const [i, entry] of entries.entries()) {
    new DataView(bytes.buffer).setUint16(at, entry.length);
    bytes.set(entry, at + 2);
    hashes.set(naiveLeaf(entry), i * 32);
    at += 2 + entry.length;
  }
  return { first, count: entries.length, hashes, bytes };
}

/** A row of about `bytes` bytes, 16 entries. */
function largeRow(first: number, bytes: number): Row {
  return rowOf(
    first,
    Array.from({ length: 16 }, (_, i) => {
      const entry = new Uint8Array(Math.floor(bytes / 16) - 2);
      new DataView(entry.buffer).setUint32(0, first + i);
      return entry;
    }),
  );
}

/** A database's rows, and how often they were read. */
function database(rows: Row[]) {
  const reads: number[] = [];
  return {
    rows,
    reads,
    async readRows(from: number, maxBytes: number): Promise<Row[]> {
      reads.push(from);
      const found: Row[] = [];
      let bytes = 0;
      for (const row of rows) {
        if (row.first + row.count <= from) continue;
        found.push({ ...row, bytes: row.bytes.slice(), hashes: row.hashes.slice() });
        bytes += row.bytes.length;
        if (bytes >= maxBytes) break;
      }
      return found;
    },
  };
}

const entry = (index: number): Uint8Array => new TextEncoder().encode(`entry ${index}`);

describe("the backlog", () => {
  it("gives rows back from memory, in order, without a read", async () => {
    const state = database([]);
    const backlog = new Backlog(state, 10, createNodeBulkHasher());
    backlog.push(rowOf(10, [entry(10), entry(11)]));
    backlog.push(rowOf(12, [entry(12)]));
    expect(backlog.end).toBe(13);
    expect((await backlog.rowAt(10)).first).toBe(10);
    expect((await backlog.rowAt(11)).first).toBe(10);
    expect((await backlog.rowAt(12)).first).toBe(12);
    expect(state.reads).toEqual([]);
    await expect(backlog.rowAt(11)).rejects.toMatchObject({ code: "internal" });
  });

  it("refuses a row that does not follow the last", () => {
    const backlog = new Backlog(database([]), 0, createNodeBulkHasher());
    backlog.push(rowOf(0, [entry(0)]));
    for (const first of [0, 2]) {
      expect(() => backlog.push(rowOf(first, [entry(first)]))).toThrow(
        expect.objectContaining({ code: "internal" }),
      );
    }
    expect(backlog.end).toBe(1);
  });

  it("holds 32 MiB in memory and reads the rest back, row by row, each once", async () => {
    const rows: Row[] = [];
    const state = database(rows);
    const backlog = new Backlog(state, 0, createNodeBulkHasher());
    let next = 0;
    const push = (): void => {
      const row = largeRow(next, MEBIBYTE);
      rows.push(row);
      backlog.push(row);
      next += 16;
    };
    for (let i = 0; i < 70; i++) push();
    let held = 0;
    for (let index = 0; index < next; index += 16) if (backlog.leafHash(index) !== null) held++;
    expect(held * MEBIBYTE).toBeLessThanOrEqual(BACKLOG_MEMORY_BYTES + 2 * MEBIBYTE);
    expect(held * MEBIBYTE).toBeGreaterThan(BACKLOG_MEMORY_BYTES - 2 * MEBIBYTE);

    for (let index = 0; index < next; index += 16) {
      const row = await backlog.rowAt(index);
      expect([row.first, Buffer.compare(row.bytes, (rows[index / 16] as Row).bytes)]).toEqual([index, 0]);
      // More comes while the log catches up, and is neither lost nor given twice.
      if (index % 160 === 0 && rows.length < 80) push();
    }
    expect(state.reads.length).toBeGreaterThan(3);
    expect(state.reads.length).toBeLessThan(12);
    expect(state.reads).toEqual([...new Set(state.reads)]);
    // Caught up: the next row is held again.
    push();
    expect(backlog.leafHash(next - 1)).not.toBeNull();
  });

  it("does not lose a row that was committed while others were read back", async () => {
    const rows = [rowOf(0, [entry(0)]), rowOf(1, [entry(1)])];
    const state = database(rows);
    const backlog = new Backlog(state, 2, createNodeBulkHasher());
    backlog.resumeAt(0);
    const reading = backlog.rowAt(0);
    const row = rowOf(2, [entry(2)]);
    backlog.push(row);
    rows.push(row);
    expect((await reading).first).toBe(0);
    for (const index of [1, 2]) expect((await backlog.rowAt(index)).first).toBe(index);
    const next = rowOf(3, [entry(3)]);
    rows.push(next);
    backlog.push(next);
    expect((await backlog.rowAt(3)).first).toBe(3);
  });

  it("reads rows of an earlier process back, from the one that holds the index", async () => {
    const rows = [rowOf(0, [entry(0), entry(1), entry(2)]), rowOf(3, [entry(3)])];
    const backlog = new Backlog(database(rows), 4, createNodeBulkHasher());
    backlog.resumeAt(1);
    expect((await backlog.rowAt(1)).first).toBe(0);
    expect((await backlog.rowAt(3)).first).toBe(3);
  });

  it("knows the leaf hash of every entry that it holds, and of no other", () => {
    const backlog = new Backlog(database([]), 5, createNodeBulkHasher());
    backlog.push(rowOf(5, [entry(5), entry(6)]));
    backlog.push(rowOf(7, [entry(7)]));
    backlog.push(rowOf(8, [entry(8), entry(9), entry(10)]));
    for (let index = 5; index < 11; index++) expect(backlog.leafHash(index)).toEqual(naiveLeaf(entry(index)));
    for (const index of [0, 4, 11, 1000]) expect(backlog.leafHash(index)).toBeNull();
  });

  it("refuses rows that the disk damaged, instead of publishing other bytes than were acknowledged", async () => {
    for (const damage of ["bytes", "hashes"] as const) {
      const rows = [rowOf(0, [entry(0), entry(1), entry(2)])];
      const row = rows[0] as Row;
      row[damage][row[damage].length - 2] = 0xff;
      const backlog = new Backlog(database(rows), 3, createNodeBulkHasher());
      backlog.resumeAt(0);
      await expect(backlog.rowAt(0)).rejects.toMatchObject({ code: "row_damaged" });
    }
  });

  it("stops where the database lacks a row that it must have", async () => {
    const backlog = new Backlog(database([]), 3, createNodeBulkHasher());
    backlog.resumeAt(0);
    await expect(backlog.rowAt(0)).rejects.toMatchObject({ code: "internal" });
  });
});

it("compares a leaf hash at an offset", () => {
  const hashes = new Uint8Array(96).map((_, i) => i);
  expect(sameLeaf(hashes, 32, hashes.slice(32, 64))).toBe(true);
  expect(sameLeaf(hashes, 32, hashes.slice(33, 65))).toBe(false);
});
