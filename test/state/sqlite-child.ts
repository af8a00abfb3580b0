// What sqlite.test.ts runs in processes of its own: committing until killed, and on a full disk.

import { rmSync, statfsSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { openSqliteState } from "../../src/state/sqlite.ts";
import { StateError } from "../../src/state/state.ts";
import { EMPTY_ROOT, framedRow, IDENTITY, makeRow } from "./conformance.ts";

const [what = "", path = ""] = process.argv.slice(2);
const ballast = join(dirname(path), "ballast");

if (what === "commit") await commitUntilKilled();
else process.stdout.write(JSON.stringify(what === "full" ? await whenFull() : await openWhenFull()));

/** Prints the next index after each acknowledged commit. */
async function commitUntilKilled(): Promise<void> {
  const state = await openSqliteState(path, { mode: "write" });
  let next = (await state.snapshot()).nextIndex;
  for (let i = 0; ; i++) {
    const count = [1, 7, 300][i % 3] as number;
    await state.commit(makeRow(next, count));
    next += count;
    process.stdout.write(`${next}\n`);
  }
}

async function whenFull(): Promise<unknown> {
  // Enough for the write-ahead log to reach the database file, as an open asks for: so is a log's own ballast.
  writeFileSync(ballast, Buffer.alloc(6 * 1024 * 1024));
  const state = await openSqliteState(path, { mode: "write", create: true });
  await state.create(IDENTITY, EMPTY_ROOT);
  let next = 0;
  const lengths = Array.from({ length: 100 }, () => 3000);
  const failure = await failureOf(async () => {
    for (; ; next += 100) await state.commit(framedRow(next, lengths));
  });
  const again = await failureOf(() => state.commit(framedRow(next, lengths)));
  const nextIndexIsWhatWasAcknowledged = (await state.snapshot()).nextIndex === next;
  rmSync(ballast);
  await state.commit(makeRow(next, 1));
  await state.close();
  const reopened = await openSqliteState(path, { mode: "write" });
  const allThere = (await reopened.snapshot()).nextIndex === next + 1;
  await reopened.close();
  return { failure, again, nextIndexIsWhatWasAcknowledged, allThere };
}

async function openWhenFull(): Promise<unknown> {
  fill();
  const creating = await failureOf(() => openSqliteState(path, { mode: "write", create: true }));
  rmSync(ballast);
  const state = await openSqliteState(path, { mode: "write", create: true });
  await state.create(IDENTITY, EMPTY_ROOT);
  await state.close();
  fill();
  const opening = await failureOf(() => openSqliteState(path, { mode: "write" }));
  rmSync(ballast);
  const opened = await openSqliteState(path, { mode: "write" });
  await opened.close();
  return { creating, opening, afterRoom: "opened" };
}

/** Leaves no room at all. */
function fill(): void {
  const { bfree, bsize } = statfsSync(dirname(path));
  writeFileSync(ballast, Buffer.alloc(bfree * bsize));
}

interface Failure {
  outcome: string;
  noSpace: boolean;
  words: boolean;
}

async function failureOf(call: () => Promise<unknown>): Promise<Failure> {
  try {
    await call();
  } catch (error) {
    if (!(error instanceof StateError)) throw error;
    const words = error.message.includes("make room") && !error.message.includes("\n");
    return { outcome: error.outcome, noSpace: error.noSpace, words };
  }
  throw new Error("it did not fail");
}
