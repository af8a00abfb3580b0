// Writes to a database as a log does, and says after each call that was answered what is durable now: a line of JSON in
// a file `said` beside it, written before the next call. To be run under strace: node --import tsx sqlite-writer.ts FILE

import { openSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { openSqliteState } from "../../src/state/sqlite.ts";
import { EMPTY_ROOT, IDENTITY, head, note, rowOf } from "./sqlite-rows.ts";

/** Commits in one run: with rows of up to 90 KB enough for two checkpoints of the write-ahead log, of 4 MiB each. */
const COMMITS = 170;

const [path] = process.argv.slice(2);
if (path === undefined) throw new Error("FILE");

const said = openSync(join(dirname(path), "said"), "a");
/** The least that the next start must find. */
const durable = { next: 0, signed: -1, published: -1, synced: 0, firstRetained: 0 };
const say = (change: Partial<typeof durable>): void => {
  Object.assign(durable, change);
  writeSync(said, `${JSON.stringify(durable)}\n`);
};

const state = await openSqliteState(path, { mode: "write", create: true });
await state.create(IDENTITY, EMPTY_ROOT);
say({});
for (let i = 0; i < COMMITS; i++) {
  const row = rowOf(durable.next, i);
  const { count } = row;
  await state.commit(row);
  say({ next: durable.next + count });
  if (i % 5 === 4) {
    await state.recordIntegrated(head(durable.next));
    await state.recordSigned(note(durable.next));
    say({ signed: durable.next });
    await state.recordPublished(note(durable.next));
    say({ published: durable.next });
  }
  if (i % 20 === 19) {
    const synced = durable.next - (durable.next % 256);
    await state.recordSynced(synced);
    say({ synced });
    const { firstRetained } = await state.dropRows(synced, 1024 * 1024);
    say({ firstRetained });
    await state.shrink(256 * 1024);
  }
}
await state.close();
