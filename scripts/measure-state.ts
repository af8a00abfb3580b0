// Measures the database's write path for each page size: rows of 1 to 10,000 entries of 300 bytes, dropped behind as the
// collector does. Prints medians over rounds that take turns, since absolute times wander. For the constants of
// src/state/sqlite-file.ts and sqlite-store.ts: npx tsx scripts/measure-state.ts [seconds a turn] [rounds]

import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openForWriting } from "../src/state/sqlite-file.ts";
import { loadSqlite } from "../src/state/sqlite-library.ts";
import { SqliteStore } from "../src/state/sqlite-store.ts";
import type { Row } from "../src/state/state.ts";

const PAGE_SIZES = [4096, 8192, 16_384, 32_768];
const ROW_ENTRIES = [1, 16, 64, 256, 10_000];
const ENTRY_BYTES = 300;
const RETAINED_BYTES = 48e6;
const DROP_BYTES = 1e6;

const seconds = Number(process.argv[2] ?? 1);
const rounds = Number(process.argv[3] ?? 5);

interface Turn {
  readonly rowsPerSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly checkpoint: number;
  readonly cpuMicros: number;
  readonly walBytes: number;
}

const library = await loadSqlite();
const turns = new Map<string, Turn[]>();
for (let round = 0; round < rounds; round++) {
  for (const entries of ROW_ENTRIES) {
    for (const pageBytes of PAGE_SIZES) {
      const name = `${String(entries).padStart(6)} entries, ${String(pageBytes).padStart(5)} bytes a page`;
      turns.set(name, [...(turns.get(name) ?? []), measure(entries, pageBytes)]);
    }
  }
}
for (const [name, measured] of turns) {
  const of = (field: keyof Turn, digits: number): string =>
    percentile(
      measured.map((turn) => turn[field]),
      0.5,
    ).toFixed(digits);
  console.log(
    `${name}: ${of("rowsPerSecond", 0)} rows/s, commit p50 ${of("p50", 2)} ms p99 ${of("p99", 2)} ms, ` +
      `checkpoint p50 ${of("checkpoint", 2)} ms, cpu ${of("cpuMicros", 0)} us/row, wal ${of("walBytes", 0)} bytes`,
  );
}

function measure(entries: number, pageBytes: number): Turn {
  const folder = mkdtempSync(join(tmpdir(), "cairn-measure-"));
  try {
    const path = join(folder, "log.db");
    // A database that has its page size already keeps it.
    const empty = new library(path);
    for (const pragma of [`page_size = ${pageBytes}`, "auto_vacuum = INCREMENTAL", "journal_mode = WAL"]) {
      empty.pragma(pragma);
    }
    empty.close();
    const store = new SqliteStore(openForWriting(library, path, { create: true }), path);
    const row = makeRow(entries);
    const commits: number[] = [];
    const checkpoints: number[] = [];
    let next = 0;
    let retained = 0;
    const begun = performance.now();
    const cpu = process.cpuUsage();
    while (performance.now() - begun < seconds * 1000) {
      const before = performance.now();
      store.commit({ ...row, first: next });
      commits.push(performance.now() - before);
      next += entries;
      retained += row.bytes.length;
      while (retained > RETAINED_BYTES) {
        const { firstRetained } = store.dropRows(next, DROP_BYTES);
        retained = ((next - firstRetained) / entries) * row.bytes.length;
      }
      const due = performance.now();
      store.checkpointIfDue();
      const took = performance.now() - due;
      if (took > 0.1) checkpoints.push(took);
    }
    const { user, system } = process.cpuUsage(cpu);
    const turn = {
      rowsPerSecond: (commits.length * 1000) / (performance.now() - begun),
      p50: percentile(commits, 0.5),
      p99: percentile(commits, 0.99),
      checkpoint: percentile(checkpoints, 0.5),
      cpuMicros: (user + system) / commits.length,
      walBytes: statSync(`${path}-wal`).size,
    };
    store.close();
    return turn;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function makeRow(entries: number): Row {
  const bytes = Buffer.alloc(entries * (2 + ENTRY_BYTES), 7);
  for (let i = 0; i < entries; i++) bytes.writeUInt16BE(ENTRY_BYTES, i * (2 + ENTRY_BYTES));
  return { first: 0, count: entries, hashes: new Uint8Array(32 * entries), bytes: new Uint8Array(bytes) };
}

function percentile(values: readonly number[], at: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * at))] ?? 0;
}
