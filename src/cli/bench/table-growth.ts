// How long the growing deduplication table holds the event loop: it is filled in a process of its own as the sequencer and
// the log do, group after group with other work let in between, saved beside itself whenever it has grown by a quarter.

import { randomBytes, randomFillSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { HASH_BYTES } from "../../core/hash.ts";
import { LeafTable, TABLE_KEY_BYTES } from "../../log/leaf-table.ts";
import { saveTable } from "../../log/leaf-table-file.ts";
import { answerCalls } from "./child.ts";

/** When a log saves its table: see log.ts. */
const SAVE_GROWTH = 0.25;
const SAVE_ENTRIES = 200_000;
const DATABASE_ID_BYTES = 16;
const WARM_UP_ENTRIES = 100_000;
const NANOSECONDS = 1e6;

export interface TableGrowth {
  /**
   * The longest time between two turns of the event loop, in milliseconds, and how many entries there were; without the
   * time in which the thread stood ready and other processes had the CPUs, where the kernel tells it.
   */
  readonly longestStallMs: number;
  readonly atEntries: number;
  /** The same with that time. */
  readonly longestWithWaitsMs: number;
  readonly bytesPerEntry: number;
  readonly saves: number;
}

export interface TableMethods {
  grow(options: { readonly folder: string; readonly entries: number; readonly group: number }): TableGrowth;
}

answerCalls<TableMethods>({
  async grow({ folder, entries, group }) {
    const table = new LeafTable(randomBytes(TABLE_KEY_BYTES));
    const databaseId = randomBytes(DATABASE_ID_BYTES).toString("hex");
    const fingerprint = { high: 0, low: 0 };
    const hashes = Buffer.alloc(group * HASH_BYTES);
    let saved = 0;
    let saves = 0;
    let saving: Promise<void> | null = null;
    let failure: Error | null = null;
    let longestStallMs = 0;
    let atEntries = 0;
    let longestWithWaitsMs = 0;

    warmUp();
    for (let first = 0; first < entries; first += group) {
      // New hashes are not the table's work, so they have a turn of their own.
      randomFillSync(hashes);
      await turn();
      const waitedBefore = waitedForCpu();
      const began = performance.now();
      const count = Math.min(group, entries - first);
      for (let i = 0; i < count; i++) {
        table.fingerprint(hashes, i * HASH_BYTES, fingerprint);
        table.insert(fingerprint, first + i);
      }
      const grown = first + count - saved;
      if (saving === null && grown >= SAVE_ENTRIES && grown >= saved * SAVE_GROWTH) {
        saved = first + count;
        saves++;
        saving = saveTable(join(folder, "table"), table, databaseId, saved)
          .catch((error: Error) => {
            failure = error;
          })
          .finally(() => {
            saving = null;
          });
      }
      // Up to the next turn: what the collector and the steps of a save take in between counts too.
      await turn();
      const took = performance.now() - began;
      const stall = Math.max(0, took - (waitedForCpu() - waitedBefore));
      longestWithWaitsMs = Math.max(longestWithWaitsMs, took);
      if (stall > longestStallMs) {
        longestStallMs = stall;
        atEntries = first + count;
      }
    }
    await saving;
    if (failure !== null) throw failure as Error;
    return { longestStallMs, atEntries, longestWithWaitsMs, bytesPerEntry: table.bytes / table.count, saves };
  },
});

/** Has the table's code compiled, as in a log that has run for a while, on a table that is thrown away. */
function warmUp(): void {
  const table = new LeafTable(randomBytes(TABLE_KEY_BYTES));
  const fingerprint = { high: 0, low: 0 };
  const hash = Buffer.alloc(HASH_BYTES);
  for (let index = 0; index < WARM_UP_ENTRIES; index++) {
    hash.writeUInt32BE(Math.imul(index, 0x9e3779b9) >>> 0);
    table.fingerprint(hash, 0, fingerprint);
    table.insert(fingerprint, index);
  }
}

/** Milliseconds for which this thread stood ready and had no CPU; 0 where the kernel does not tell. */
function waitedForCpu(): number {
  try {
    // Of the process's first thread, which this is: proc(5), schedstat.
    const [, waited] = readFileSync("/proc/self/schedstat", "latin1").split(" ");
    return Number(waited) / NANOSECONDS;
  } catch {
    return 0;
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
