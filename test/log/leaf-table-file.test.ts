// The saved table is a shortcut that may be lost; what matters is that a damaged or foreign one is never used.

import { readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { loadTable, saveTable, tablePath } from "../../src/log/leaf-table-file.ts";
import { LeafTable, TABLE_KEY_BYTES } from "../../src/log/leaf-table.ts";
import { spreadHash as hashOf } from "./doubles/spread-hash.ts";

const KEY = new Uint8Array(TABLE_KEY_BYTES).map((_, i) => (i * 37 + 11) & 0xff);
const DATABASE = "0123456789abcdef0123456789abcdef";
const HEADER_BYTES = 88;

let folder: string;
let path: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "cairn-test-"));
  path = tablePath(join(folder, "log.db"));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

function insert(table: LeafTable, index: number): void {
  const fingerprint = { high: 0, low: 0 };
  table.fingerprint(hashOf(index), 0, fingerprint);
  table.insert(fingerprint, index);
}

function holds(table: LeafTable, index: number): boolean {
  const fingerprint = { high: 0, low: 0 };
  table.fingerprint(hashOf(index), 0, fingerprint);
  for (let skip = 0; ; skip++) {
    const found = table.find(fingerprint, skip);
    if (found === index) return true;
    if (found < 0) return false;
  }
}

function tableOf(count: number): LeafTable {
  const table = new LeafTable(KEY);
  for (let i = 0; i < count; i++) insert(table, i);
  return table;
}

describe("the saved table", () => {
  it("lies beside the database under a name that begins with its name", () => {
    expect(tablePath("/data/log.db")).toBe("/data/log.db.dedup");
  });

  it.each([0, 1, 5000, 30_000])("comes back as it was with %i entries", async (count) => {
    await saveTable(path, tableOf(count), DATABASE, count);
    const loaded = await loadTable(path, DATABASE, count);
    expect(loaded?.covered).toBe(count);
    const table = loaded?.table as LeafTable;
    expect(table.count).toBe(count);
    for (let i = 0; i < count; i++) if (!holds(table, i)) expect.fail(`entry ${i} is missing`);
    expect(holds(table, count)).toBe(false);
    // And it goes on growing.
    for (let i = count; i < count + 3000; i++) insert(table, i);
    expect(holds(table, count + 2999)).toBe(true);
    expect(holds(table, 0)).toBe(true);
  });

  it("is not used where there is none, for another database, or where it knows more than the database", async () => {
    expect(await loadTable(path, DATABASE, 100)).toBeNull();
    await saveTable(path, tableOf(100), DATABASE, 100);
    expect(await loadTable(path, "f".repeat(32), 100)).toBeNull();
    expect(await loadTable(path, DATABASE, 99)).toBeNull();
    expect(await loadTable(path, DATABASE, 100)).not.toBeNull();
    expect(await loadTable(folder, DATABASE, 100)).toBeNull();
  });

  it("is not used when any byte of its header, or of a segment's, was changed", async () => {
    await saveTable(path, tableOf(50), DATABASE, 50);
    const good = readFileSync(path);
    const segmentHeaderEnd = HEADER_BYTES + 24;
    for (let at = 0; at < segmentHeaderEnd; at++) {
      for (const bit of [0x01, 0x80]) {
        const bad = Buffer.from(good);
        bad[at] = (bad[at] as number) ^ bit;
        writeFileSync(path, bad);
        if ((await loadTable(path, DATABASE, 1000)) !== null) expect.fail(`byte ${at} was changed unnoticed`);
      }
    }
  });

  it("is not used when any byte of its slots was changed", async () => {
    await saveTable(path, tableOf(700), DATABASE, 700);
    const good = readFileSync(path);
    for (let at = HEADER_BYTES; at < good.length; at += 61) {
      const bad = Buffer.from(good);
      bad[at] = (bad[at] as number) ^ 0x10;
      writeFileSync(path, bad);
      if ((await loadTable(path, DATABASE, 1000)) !== null) expect.fail(`byte ${at} was changed unnoticed`);
    }
  });

  it("is not used when it was cut or goes on after its end", async () => {
    await saveTable(path, tableOf(9000), DATABASE, 9000);
    const good = readFileSync(path);
    const cuts = [
      0,
      1,
      8,
      24,
      HEADER_BYTES - 1,
      HEADER_BYTES,
      HEADER_BYTES + 1,
      HEADER_BYTES + 24,
      good.length - 1,
    ];
    for (let at = 1000; at < good.length; at += 9973) cuts.push(at);
    for (const end of cuts) {
      writeFileSync(path, good.subarray(0, end));
      if ((await loadTable(path, DATABASE, 9000)) !== null) expect.fail(`cut at ${end} unnoticed`);
    }
    for (const more of [1, 24, 100]) {
      writeFileSync(path, Buffer.concat([good, Buffer.alloc(more)]));
      expect(await loadTable(path, DATABASE, 9000)).toBeNull();
    }
  });

  it("lacks a whole segment at the end only to be refused", async () => {
    await saveTable(path, tableOf(20_000), DATABASE, 20_000);
    const good = readFileSync(path);
    // Walk to the last segment's header, so that the cut falls between two segments.
    let last = HEADER_BYTES;
    for (let at = HEADER_BYTES; at < good.length; ) {
      last = at;
      at += 24 + good.readUInt32BE(at + 8) * 14;
    }
    expect(last).toBeGreaterThan(HEADER_BYTES);
    writeFileSync(path, good.subarray(0, last));
    expect(await loadTable(path, DATABASE, 20_000)).toBeNull();
  });

  it("holds every covered entry although more came and segments split while it was saved", async () => {
    const covered = 40_000;
    const table = tableOf(covered);
    const saving = saveTable(path, table, DATABASE, covered);
    let isSaved = false;
    void saving.then(() => {
      isSaved = true;
    });
    let next = covered;
    while (!isSaved && next < covered + 200_000) {
      for (const end = next + 1500; next < end; next++) insert(table, next);
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    await saving;
    expect(next).toBeGreaterThan(covered + 5000);
    const loaded = await loadTable(path, DATABASE, next);
    expect(loaded?.covered).toBe(covered);
    for (let i = 0; i < covered; i++) {
      if (!holds(loaded?.table as LeafTable, i)) expect.fail(`entry ${i} is missing`);
    }
  });
});
