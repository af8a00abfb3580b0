// What power-loss.test.ts runs under strace: commits of many sizes, recorded heads, drops, checkpoints, all from the main
// thread. Each line on standard output was true before it was written.

import { writeSync } from "node:fs";
import { openForWriting } from "../../src/state/sqlite-file.ts";
import { loadSqlite } from "../../src/state/sqlite-library.ts";
import { SqliteStore } from "../../src/state/sqlite-store.ts";
import { EMPTY_ROOT, framedRow, IDENTITY } from "./conformance.ts";

const [path = "", how = ""] = process.argv.slice(2);

let next = 0;
let integrated = 0;
const database = openForWriting(await loadSqlite(), path, { create: true });
const store = new SqliteStore(database, path);
store.create(IDENTITY, EMPTY_ROOT);
if (how === "unsynced") {
  // What the library would do by itself: the test has to see that this loses rows.
  database.pragma("synchronous = NORMAL");
}
say({ next, integrated });

for (let i = 0; i < 60; i++) {
  const count = [1, 40, 400, 3][i % 4] as number;
  store.commit(
    framedRow(
      next,
      Array.from({ length: count }, () => 250),
    ),
  );
  next += count;
  say({ next, integrated });
  if (i % 7 === 6) {
    store.recordIntegrated({ size: next, root: EMPTY_ROOT });
    integrated = next;
    say({ next, integrated });
  }
  if (i % 10 === 9) {
    store.dropRows(next - 500, 1e9);
    store.shrink(1e6);
  }
  store.checkpointIfDue();
}

function say(promise: { next: number; integrated: number }): void {
  writeSync(1, `${JSON.stringify(promise)}\n`);
}
