// Power loss under the database: a recorded trace of its system calls, cut after any of them, with what was not synced
// dropped whole or in part. Whatever is left opens, holds everything that was acknowledged, and takes the next commit.

import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it, onTestFinished } from "vitest";
import { openForWriting } from "../../src/state/sqlite-file.ts";
import { loadSqlite } from "../../src/state/sqlite-library.ts";
import { SqliteStore } from "../../src/state/sqlite-store.ts";
import { skipUnless } from "../require.ts";
import { within } from "../waiting.ts";
import { Child } from "./place.ts";
import { Random } from "./random.ts";
import { IDENTITY, rowOf } from "./sqlite-rows.ts";
import { Disk, type Loss, type TraceEvent, readTrace } from "./trace.ts";

const WRITER = fileURLToPath(new URL("sqlite-writer.ts", import.meta.url));
const LOSSES: readonly Loss[] = ["all is lost", "nothing is lost", "some is lost", "some sectors are lost"];
/** Each opens four databases of some megabytes. More than half come right before or after a sync, where most can go wrong. */
const CUTS = 300;
const AT_SYNCS = 0.6;
/** Longer than the longest write of the trace: strace cuts strings otherwise. */
const STRING_BYTES = 256 * 1024;
const WRITER_MS = 240_000;

const tried = spawnSync("strace", ["-f", "-o", "/dev/null", "true"], { encoding: "utf8" });
const skip = skipUnless(
  tried.status === 0,
  `a trace of system calls needs strace (package strace): ${tried.error?.message ?? tried.stderr.trim()}`,
);

it.skipIf(skip)("loses nothing that was acknowledged, wherever the power goes", async () => {
  const random = Random.fromEnvironment();
  const folder = await mkdtemp(join(tmpdir(), "cairn-power-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const events = await record(folder);
  const syncs = events.filter(({ kind }) => kind === "sync").length;
  expect(syncs).toBeGreaterThan(200);
  // Both files are synced: the write-ahead log at every commit, the database when a checkpoint has reached it.
  for (const [path, least] of [
    ["log.db-wal", 200],
    ["log.db", 2],
  ] as const) {
    const times = events.filter((event) => event.kind === "sync" && event.path === path).length;
    expect(times, path).toBeGreaterThanOrEqual(least);
  }

  const atSyncs = events.flatMap(({ kind }, i) => (kind === "sync" || kind === "truncate" ? [i, i + 1] : []));
  const cuts = new Set<number>();
  while (cuts.size < CUTS) {
    cuts.add(random.next() < AT_SYNCS ? random.pick(atSyncs) : random.between(0, events.length));
  }
  const library = await loadSqlite();
  const disk = new Disk();
  let durable: Durable | null = null;
  let starts = 0;
  for (let at = 0; at <= events.length; at++) {
    for (const loss of cuts.has(at) ? LOSSES : []) {
      const left = disk.afterPowerLoss(loss, random);
      try {
        await judge(library, join(folder, `${at}`), left, durable);
      } catch (error) {
        const where = `cut after ${at} of ${events.length} calls, ${loss}; CRASH_SEED=${random.seed}`;
        throw new Error(where, { cause: error });
      }
      starts++;
    }
    const event = events[at];
    if (event === undefined) break;
    disk.apply(event);
    if (event.kind === "said") durable = JSON.parse(event.text) as Durable;
  }
  process.stdout.write(
    `power loss under the database: ${events.length} calls, ${syncs} syncs, ${starts} starts, CRASH_SEED=${random.seed}\n`,
  );
});

interface Durable {
  readonly next: number;
  readonly signed: number;
  readonly published: number;
  readonly synced: number;
  readonly firstRetained: number;
}

async function record(folder: string): Promise<TraceEvent[]> {
  const data = join(folder, "data");
  await mkdir(data);
  const trace = join(folder, "trace");
  const calls = "trace=pwrite64,write,fsync,fdatasync,ftruncate,unlink,unlinkat";
  const traced = [process.execPath, "--import", "tsx", WRITER, join(data, "log.db")];
  const argv = ["-f", "-y", "-xx", "-s", String(STRING_BYTES), "-e", calls, "-o", trace, ...traced];
  const child = new Child(argv, {}, undefined, "strace");
  const { code } = await within(WRITER_MS, () => "the writer's end", child.exited);
  if (code !== 0) throw new Error(`the writer ended with ${code}:\n${child.output()}`);
  return readTrace(trace, data);
}

/** Opens what is left as a start does, and compares. */
async function judge(
  library: Awaited<ReturnType<typeof loadSqlite>>,
  folder: string,
  files: ReadonlyMap<string, Buffer>,
  durable: Durable | null,
): Promise<void> {
  await mkdir(folder);
  const path = join(folder, "log.db");
  for (const [name, bytes] of files) {
    // The index of the write-ahead log lies in shared memory, and is made anew.
    if (!name.endsWith("-shm")) await writeFile(join(folder, name), bytes);
  }
  const database = openForWriting(library, path, { create: true });
  try {
    const store = new SqliteStore(database, path);
    if (durable === null) return;
    expect(database.pragma("integrity_check", { simple: true })).toBe("ok");
    expect(store.queries.identity()).toEqual(IDENTITY);
    const found = store.queries.snapshot();
    if (found.nextIndex < durable.next) {
      throw new Error(`it ends at ${found.nextIndex}, ${durable.next} were acknowledged`);
    }
    expect(found.signed?.size ?? -1).toBeGreaterThanOrEqual(durable.signed);
    expect(found.published?.size ?? -1).toBeGreaterThanOrEqual(durable.published);
    expect(found.syncedSize).toBeGreaterThanOrEqual(durable.synced);
    expect(found.firstRetained).toBeGreaterThanOrEqual(durable.firstRetained);
    // Nothing was dropped that was not recorded as synced before.
    expect(found.firstRetained).toBeLessThanOrEqual(found.syncedSize);
    compareRows(store, found.firstRetained, found.nextIndex);
    // And it goes on.
    const next = found.nextIndex;
    store.commit({ first: next, count: 1, hashes: new Uint8Array(32), bytes: new Uint8Array([0, 1, 65]) });
    expect(store.queries.snapshot().nextIndex).toBe(next + 1);
  } finally {
    database.close();
    await rm(folder, { recursive: true, force: true });
  }
}

function compareRows(store: SqliteStore, from: number, end: number): void {
  let next = 0;
  for (let number = 0; next < end; number++) {
    const expected = rowOf(next, number);
    if (next >= from) {
      const [row] = store.queries.readRows(next, 0);
      if (row?.first !== next || row.count !== expected.count) throw new Error(`row ${next} is not there`);
      if (Buffer.compare(row.bytes, expected.bytes) !== 0) throw new Error(`row ${next} has other bytes`);
      if (Buffer.compare(row.hashes, expected.hashes) !== 0) throw new Error(`row ${next} has other hashes`);
    }
    next += expected.count;
  }
  if (next !== end) throw new Error(`it ends at ${end}, inside a row`);
}
