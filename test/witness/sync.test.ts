// No cosignature leaves before the disk has the checkpoint: the system calls of a whole witness are recorded, and whenever it
// sends an answer, nothing that it wrote to its write-ahead log waits for a sync.

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { generatePrivateKey, printPrivateKey } from "../../src/core/note-key.ts";
import { skipUnless } from "../require.ts";
import { CAIRN } from "./cairn-command.ts";
import { send } from "./conformance/case.ts";
import { PLAIN, sha256, TestLog } from "./conformance/test-log.ts";

const TRACE_MS = 120_000;
const CHECKPOINTS = 40;
const strace = spawnSync("strace", ["-e", "trace=none", "true"]);
const skip = skipUnless(strace.status === 0, "syncs are counted in a trace of strace, which is missing");

test.skipIf(skip)(
  "every cosignature is sent after the sync of what it was recorded with",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "cairn-witness-sync-"));
    const log = new TestLog("log.example/sync", PLAIN, "sync");
    const key = join(folder, "witness.key");
    const trace = join(folder, "trace");
    writeFileSync(key, `${printPrivateKey(generatePrivateKey("w.example", sha256("w")))}\n`);
    const calls = "trace=pwrite64,fsync,fdatasync,write,writev";
    const witness = [...CAIRN, "witness", "--listen=127.0.0.1:0", `--private-key-file=${key}`];
    const options = [`--log=${log.origin}=${log.vkeys[0]}`, `--database-url=sqlite:${join(folder, "w.db")}`];
    // A group of its own: a signal has to reach the witness under strace.
    const child = spawn(
      "strace",
      ["-f", "-y", "-s", "16", "-e", calls, "-o", trace, ...witness, ...options],
      {
        detached: true,
        stdio: ["ignore", "pipe", "ignore"],
      },
    );
    const ended = once(child, "exit");
    try {
      const [line] = (await once(child.stdout, "data")) as [Buffer];
      const url = /http:\S+/.exec(line.toString())?.[0] ?? "";
      for (let size = 0; size < CHECKPOINTS; size++) {
        const body = log.request(size, size + 1);
        expect((await send(`${url}/add-checkpoint`, { method: "POST", body })).status).toBe(200);
      }
      process.kill(-(child.pid as number), "SIGTERM");
      await ended;
      expect(answersIn(readFileSync(trace, "utf8"))).toEqual({ synced: CHECKPOINTS, unsynced: 0 });
    } finally {
      if (child.exitCode === null && child.signalCode === null)
        process.kill(-(child.pid as number), "SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    }
  },
  TRACE_MS,
);

/** How many answers were sent while everything written to the write-ahead log was synced, and how many while not. */
function answersIn(trace: string): { synced: number; unsynced: number } {
  const counts = { synced: 0, unsynced: 0 };
  /** The threads whose sync of the write-ahead log is under way. */
  const syncing = new Set<string>();
  let dirty = false;
  for (const line of trace.split("\n")) {
    const [thread = ""] = line.split(" ");
    if (/pwrite64\(\d+<[^>]*w\.db-wal>/.test(line)) dirty = true;
    else if (/f(data)?sync\(\d+<[^>]*w\.db-wal>/.test(line)) {
      if (/\) += 0$/.test(line)) dirty = false;
      else syncing.add(thread);
    } else if (/<\.\.\. f(data)?sync resumed>\) += 0$/.test(line) && syncing.delete(thread)) dirty = false;
    else if (/writev?\(.*"HTTP\/1\.1 200/.test(line)) counts[dirty ? "unsynced" : "synced"]++;
  }
  return counts;
}
