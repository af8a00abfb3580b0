// Many real processes at once on one data folder, or on one bucket where vitest.s3.config.ts runs this: a log, two publishers,
// a second `serve`, and a reader that verifies; one of them is killed at a random moment. Afterwards database and tiles hold
// each other's entries exactly, nothing acknowledged is lost, every second writer was refused in words, and nobody passed
// contention off as benign.

import { join } from "node:path";
import { decodeBundle } from "../../src/core/bundle.ts";
import { openSqliteState } from "../../src/state/sqlite.ts";
import { expect, inject, it } from "vitest";
import { storeEnv } from "../e2e/store.ts";
import { History, publishedHead, readEntries, signedHead, strays } from "./folder.ts";
import { within } from "../waiting.ts";
import { type Child, PATIENCE_MS, Place, eventually } from "./place.ts";
import { Acknowledgements } from "./publishers.ts";
import { Random } from "./random.ts";

/**
 * Fifty, since what goes wrong between processes goes wrong rarely: a race with a window of a fiftieth of an iteration is
 * then met with a chance of two thirds in a run, and on the second day of CI.
 */
const ITERATIONS = Number(process.env.CRASH_ITERATIONS ?? 50);
/** Two publishers make batches meet; one more would only share their processor. */
const PUBLISHERS = 2;
/** Enough that a publisher is still at it when the moment of the kill comes, few enough that an iteration stays short. */
const ENTRIES_A_PUBLISHER = 4000;
/** From the moment the children are started: all of them have begun by then, and none has long ended. */
const LATEST_KILL_MS = 900;
/** One in so many iterations kills the log itself instead of a child; the next one then starts it again. */
const LOG_DIES_IN = 5;

/** What no process may say: another's lock, met and given up on, or passed off as nothing. */
const CONTENTION = /database is locked|SQLITE_BUSY|database_locked/;

it(`holds with ${PUBLISHERS} publishers, a second serve and a reader at once, one killed, ${ITERATIONS} times`, async () => {
  const random = Random.fromEnvironment();
  const place = await Place.make(join(inject("cairnPackage"), "dist/cli/main.js"), undefined, storeEnv);
  try {
    const acknowledgements = new Acknowledgements();
    const history = new History(place);
    let log = await place.serve({ LOG_CREATE: "true" });
    let refusals = 0;
    for (let iteration = 0; iteration < ITERATIONS; iteration++) {
      if (!log.child.isRunning) log = await place.serve();
      const children = startChildren(place, log.url, iteration, acknowledgements);
      const victim = random.next() < 1 / LOG_DIES_IN ? log.child : random.pick(children.all);
      const kill = new Promise<void>((done) => setTimeout(done, random.between(0, LATEST_KILL_MS)));
      await kill;
      if (victim.isRunning) await victim.kill("SIGKILL");
      const { second } = children;
      for (const child of children.all) {
        if (child !== second) await within(PATIENCE_MS, () => "the end of every child", child.exited);
      }
      // Where the log died, the second writer may have taken its place, rightly: it is asked to stop.
      await eventually(
        "the second writer listens or has ended",
        () => !second.isRunning || second.stdout.includes('"url"'),
      );
      const tookOver = second.isRunning;
      if (tookOver && victim !== log.child) throw new Error("two logs run on one folder");
      if (tookOver) await second.kill("SIGTERM");

      // What a publisher printed is acknowledged, whatever became of it or of the log.
      for (const publisher of children.publishers) publisher.acknowledged();
      if (!tookOver) refusals += judgeSecondServe(second, victim);
      judgeReader(children.reader, victim, log.child);
      for (const child of [...children.all, log.child]) {
        if (CONTENTION.test(child.output())) throw new Error(`contention:\n${child.output()}`);
      }

      if (!log.child.isRunning) log = await place.serve();
      await published(log.url);
      history.saw(await signedHead(place));
      await history.check(acknowledgements);
      await bijection(place);
    }
    // One quiet reconcile, then everything strict.
    await log.child.kill("SIGTERM");
    const gc = await place.run(["gc"]);
    expect(gc.code, gc.output).toBe(0);
    expect(await strays(place)).toEqual([]);
    await place.fsck();
    expect(acknowledgements.indices.size).toBeGreaterThan(ITERATIONS * 100);
    expect(history.entries.length).toBeGreaterThanOrEqual(acknowledgements.indices.size);
    // About two of three are: the others were killed themselves, or took the place of a log that was.
    expect(refusals).toBeGreaterThan(ITERATIONS / 10);
    process.stdout.write(
      `many processes: ${acknowledgements.indices.size} acknowledged, ${refusals} second writers refused, CRASH_SEED=${random.seed}\n`,
    );
  } catch (error) {
    throw new Error(`replay with CRASH_SEED=${random.seed}`, { cause: error });
  } finally {
    await place.remove();
  }
});

interface Publisher {
  readonly child: Child;
  acknowledged(): void;
}

function startChildren(place: Place, url: string, iteration: number, acknowledgements: Acknowledgements) {
  const publishers = Array.from({ length: PUBLISHERS }, (_, publisher): Publisher => {
    // Half of what they send is the same, so that they meet.
    const entries = Array.from({ length: ENTRIES_A_PUBLISHER }, (_, i) =>
      i % 2 === 0 ? `shared ${iteration} ${i}` : `publisher ${publisher} ${iteration} ${i}`,
    );
    for (const entry of entries) acknowledgements.submitted.add(entry);
    const child = place.start(["add", "--log", url, "--ndjson", "--json"], {}, `${entries.join("\n")}\n`);
    return {
      child,
      acknowledged() {
        // The last line of a killed process may be cut.
        for (const line of child.stdout.split("\n").slice(0, -1)) {
          const { index, source } = JSON.parse(line) as { index?: number; source?: string };
          const number = /^line ([0-9]+)$/.exec(source ?? "")?.[1];
          if (index === undefined || number === undefined) continue;
          acknowledgements.add(entries[Number(number) - 1] as string, index);
        }
      },
    };
  });
  const second = place.start(["serve", "--json"]);
  const reader = place.start(["fsck", url, "--vkey", place.vkey]);
  return { publishers, second, reader, all: [...publishers.map(({ child }) => child), second, reader] };
}

/** A second writer ends within seconds, with the reason and who holds the log. Answers how many were refused: 0 or 1. */
function judgeSecondServe(second: Child, victim: Child): number {
  if (second === victim && second.process.signalCode === "SIGKILL") return 0;
  if (second.process.exitCode === 0 || second.process.exitCode === null) {
    throw new Error(`the second writer ended with ${second.process.exitCode}:\n${second.output()}`);
  }
  if (!/is held by process [0-9]+ on .+, started /.test(second.output())) {
    throw new Error(`the second writer was not refused in words:\n${second.output()}`);
  }
  return 1;
}

/** A reader finds a clean log, unless it or the log was killed under its hands. */
function judgeReader(reader: Child, victim: Child, log: Child): void {
  if (reader === victim || log === victim) return;
  if (reader.process.exitCode !== 0)
    throw new Error(`the reader ended with ${reader.process.exitCode}:\n${reader.output()}`);
}

async function published(url: string): Promise<void> {
  await eventually("all is published", async () => {
    const ready = (await (await fetch(`${url}/ready`)).json()) as {
      pending_count: number;
      next_index: number;
      published_size: number;
    };
    return ready.pending_count === 0 && ready.published_size === ready.next_index;
  });
}

/** The rows that the database still holds are the entries of the same indices in the tiles, and it ends where they do. */
async function bijection(place: Place): Promise<void> {
  const state = await openSqliteState(place.database, { mode: "read" });
  try {
    const { nextIndex, firstRetained } = await state.snapshot();
    const head = await publishedHead(place);
    if (head?.size !== nextIndex)
      throw new Error(`the database ends at ${nextIndex}, the tiles at ${head?.size}`);
    const inTiles = await readEntries(place, firstRetained, nextIndex);
    const inRows: string[] = [];
    for (let next = firstRetained; next < nextIndex; ) {
      const rows = await state.readRows(next, 1024 * 1024);
      if (rows[0]?.first !== next) {
        // Collected meanwhile: what is left is compared.
        const skip = (rows[0]?.first ?? nextIndex) - next;
        inTiles.splice(0, skip + inRows.length);
        inRows.length = 0;
        next += skip;
        if (rows.length === 0) break;
      }
      for (const row of rows) {
        for (const entry of decodeBundle(row.bytes, row.count)) inRows.push(Buffer.from(entry).toString());
        next = row.first + row.count;
      }
    }
    if (inRows.length !== inTiles.length)
      throw new Error(`${inRows.length} entries in rows, ${inTiles.length} in tiles`);
    for (const [i, entry] of inRows.entries()) {
      if (entry !== inTiles[i]) throw new Error(`"${entry}" in the database is "${inTiles[i]}" in the tiles`);
    }
  } finally {
    await state.close();
  }
}
