// Runs one case of the fault matrix: a log at a position meets a fault, what it did is observed, something follows, and
// in the end everything that must hold is checked.

import { type CairnError, isCairnError } from "../../../src/core/errors.ts";
import type { FaultForm } from "../../doubles/faults.ts";
import { turns, until } from "../doubles/fake-clock.ts";
import { entriesOf } from "../doubles/entries.ts";
import type { MemoryState } from "../doubles/memory-state.ts";
import type { Mirror } from "../../../src/log/recover.ts";
import { type OracleOptions, checkOracle } from "../doubles/oracle.ts";
import { LogProcess, World, keyOf } from "../doubles/world.ts";
import { OPERATIONS, type Operation, type OperationName } from "./operations.ts";
import type { Outcome } from "./outcomes.ts";

export interface Position {
  readonly name: string;
  /** The log's size when the fault's batch comes, and after it. */
  readonly from: number;
  readonly to: number;
}

export const POSITIONS = [
  { name: "the empty tree", from: 0, to: 0 },
  { name: "the first entry", from: 0, to: 1 },
  { name: "an empty round", from: 255, to: 255 },
  { name: "254", from: 200, to: 254 },
  { name: "255", from: 200, to: 255 },
  { name: "256", from: 255, to: 256 },
  { name: "257", from: 255, to: 257 },
  { name: "258", from: 200, to: 258 },
  { name: "65,535", from: 65_534, to: 65_535 },
  { name: "65,536", from: 65_535, to: 65_536 },
  { name: "65,537", from: 65_535, to: 65_537 },
] as const satisfies readonly Position[];

export type PositionName = (typeof POSITIONS)[number]["name"];

export const AFTERMATHS = [
  "repair, then the same batch",
  "repair, then another batch",
  "repair, then an empty round",
  "a second fault during recovery",
  "a second writer",
  "restart with an older database",
  "restart with an older store",
] as const;

export type Aftermath = (typeof AFTERMATHS)[number];

export interface Case {
  readonly operation: OperationName;
  readonly form: FaultForm;
  readonly position: PositionName;
  readonly aftermath: Aftermath;
}

/** The fake time after which a log that has not gone on is taken to wait. */
const WAITS_MS = 60_000;
const REPUBLISH_MS = 5000;
/** Entries that a batch adds to reach its position, apart from those of the fixture. */
const BATCH_FROM = 1_000_000;
const OTHER_BATCH_FROM = 2_000_000;

/** A log that was run to each size where a case begins, and stopped; made once. */
export class Fixtures {
  readonly #worlds = new Map<number, World>();

  async at(size: number): Promise<World> {
    let world = this.#worlds.get(size);
    if (world === undefined) {
      world = new World({}, () => undefined);
      const log = await world.start({ create: true });
      await log.quiet();
      // Commits of several sizes, the last ones small, so that rows begin inside bundles and near the end.
      for (let next = 0; next < size; ) {
        const count = Math.min(size - next, next < size - 300 ? 7000 : 70);
        await log.addBatch(entriesOf(next, count));
        next += count;
      }
      await log.quiet();
      await log.close();
      this.#worlds.set(size, world);
    }
    return world.copy();
  }

  async remove(): Promise<void> {
    for (const world of this.#worlds.values()) await world.remove();
  }
}

/** What was seen of an outcome; whether the store lied is for the table to say. */
export type Observed = Omit<Outcome, "lied">;

/** Runs a case up to its aftermath and answers what was observed; then lets it follow and checks everything. */
export async function runCase(each: Case, lied: boolean, fixtures: Fixtures): Promise<Observed> {
  const operation: Operation = OPERATIONS[each.operation];
  const position = POSITIONS.find(({ name }) => name === each.position) as Position;
  const world = operation.phase === "creation" ? new World() : await fixtures.at(position.from);
  const backup = { database: world.database.state?.copy() ?? null, store: world.memory.copy() };
  const batch = entriesOf(BATCH_FROM, position.to - position.from);

  const met = await meetFault(world, operation, each.form, position, batch);
  const observed: Outcome = {
    progress:
      (world.database.state?.look().nextIndex ?? 0) >= position.to && position.to > position.from
        ? "committed"
        : "none",
    process: met.stopped || met.process.isKilled ? "stop" : "continue",
    receipts: batch.some((entry) => world.acknowledged.has(keyOf(entry))) ? "given" : "none",
  };
  const aftermath = await follow(world, each, met.process, backup, batch, lied);
  return aftermath.next === undefined ? observed : { ...observed, next: aftermath.next };
}

interface Met {
  readonly process: LogProcess;
  readonly stopped: boolean;
}

async function meetFault(
  world: World,
  operation: Operation,
  form: FaultForm,
  position: Position,
  batch: readonly Uint8Array[],
): Promise<Met> {
  const inject = (process: LogProcess): void => {
    if (operation.on === "state") process.stateFaults.inject({ form, operation: operation.method });
    else process.store.faults.inject({ form, operation: operation.method, key: operation.key });
  };
  const limits = { republishIntervalMs: REPUBLISH_MS };
  if (operation.phase === "run") {
    const process = await world.start({ limits });
    await process.quiet();
    inject(process);
    if (batch.length > 0) process.add(...batch);
    await settle(process, position.to, batch.length === 0);
    expectFired(process, operation);
    return { process, stopped: process.failure !== null };
  }
  if (operation.phase === "start") {
    // The process before died in the midst of its work, so that the start has something to mend.
    const before = await world.start();
    await before.quiet();
    if (batch.length > 0) await before.addBatch(batch);
    await before.quiet();
    await before.kill();
  }
  const process = new LogProcess(world, { limits, create: operation.phase === "creation" });
  world.processes.push(process);
  inject(process);
  let refusal: unknown;
  let isOpen = false;
  void process.open().then(
    () => {
      isOpen = true;
    },
    (error: unknown) => {
      refusal = error;
    },
  );
  await until(
    "the start ends or waits",
    [process.clock],
    () => isOpen || refusal !== undefined || process.failure !== null,
    WAITS_MS,
  ).catch(() => undefined);
  if (isOpen) await settle(process, position.to, false);
  expectFired(process, operation);
  return { process, stopped: refusal !== undefined || process.failure !== null };
}

/** Until everything is published and collected, the process has stopped, or it has waited for long. */
async function settle(process: LogProcess, size: number, isRound: boolean): Promise<void> {
  const rounds = process.rounds.length;
  await process
    .until(
      "it is published",
      () =>
        process.failure !== null ||
        (process.running().published()?.size === size &&
          process.isCollected(size) &&
          (!isRound || process.rounds.length > rounds)),
      WAITS_MS,
    )
    .catch(() => undefined);
  await turns(30);
}

function expectFired(process: LogProcess, operation: Operation): void {
  const { fired } = operation.on === "state" ? process.stateFaults : process.store.faults;
  if (fired.length !== 1) throw new Error(`the fault was met ${fired.length} times`);
}

function isAlive(process: LogProcess): boolean {
  return process.log !== null && process.failure === null && !process.isKilled;
}

/** The fault is over; a process that waits for it goes on, and one that hangs is ended. */
async function repair(world: World, process: LogProcess): Promise<LogProcess> {
  const hangs = process.store.faults.hanging + process.stateFaults.hanging > 0;
  process.store.faults.clear();
  process.stateFaults.clear();
  if (isAlive(process) && !hangs) {
    await process.applyLate();
    return process;
  }
  await process.end();
  await process.applyLate();
  return startAgain(world, process);
}

/** The next start; of a log whose creation did not come to its end, the same command again. */
function startAgain(world: World, process: LogProcess): Promise<LogProcess> {
  return world.start({
    limits: { republishIntervalMs: REPUBLISH_MS },
    create: process.log === null && process.creates,
  });
}

async function follow(
  world: World,
  each: Case,
  process: LogProcess,
  backup: { readonly database: MemoryState | null; readonly store: World["memory"] },
  batch: readonly Uint8Array[],
  lied: boolean,
): Promise<Pick<Outcome, "next">> {
  const oracle: { -readonly [Name in keyof OracleOptions]: OracleOptions[Name] } = {
    // A process that dies in the midst of collection leaves partial objects for gc, and one that is mended a copy of
    // what was damaged; both are looked at where they are promised not to be.
    superseded: true,
    quarantine: true,
    lied,
  };
  let next: Outcome["next"];
  const goOn = async (): Promise<LogProcess> => {
    try {
      return await repair(world, process);
    } catch (error) {
      if (!isCairnError(error)) throw error;
      if (!isAwaited(error.code)) throw error;
      next = error.code;
      await world.recover();
      return world.start({ limits: { republishIntervalMs: REPUBLISH_MS } });
    }
  };
  const publishes = async (log: LogProcess): Promise<void> => {
    await log.quiet();
    if (log.failure !== null) throw new Error("it stopped again", { cause: log.failure });
  };

  switch (each.aftermath) {
    case "repair, then the same batch": {
      const log = await goOn();
      if (batch.length > 0) await added(log, batch);
      await publishes(log);
      await log.close();
      break;
    }
    case "repair, then another batch": {
      const log = await goOn();
      await added(log, entriesOf(OTHER_BATCH_FROM, 3));
      await publishes(log);
      await log.close();
      break;
    }
    case "repair, then an empty round": {
      const log = await goOn();
      await publishes(log);
      const rounds = log.rounds.length;
      await log.pass(REPUBLISH_MS * 2);
      if (log.rounds.length === rounds) throw new Error("nothing was published again");
      await log.close();
      break;
    }
    case "a second fault during recovery": {
      await process.end();
      await process.applyLate();
      // Another start meets a fault of its own, and the one after it is to go on.
      for (const inject of SECOND_FAULTS) {
        const second = new LogProcess(world, { create: process.log === null && process.creates });
        world.processes.push(second);
        inject(second);
        await second.open().catch(() => undefined);
        await second.pass(3000);
        await second.end();
      }
      const log = await goOn();
      await publishes(log);
      await log.close();
      break;
    }
    case "a second writer": {
      if (isAlive(process)) {
        const refusal = await world.refusal();
        if (refusal !== "locked") throw new Error(`the second writer was answered with ${refusal}`);
      }
      const log = await goOn();
      const refusal = await world.refusal();
      if (refusal !== "locked") throw new Error(`the second writer was answered with ${refusal}`);
      await added(log, entriesOf(OTHER_BATCH_FROM, 3));
      await publishes(log);
      await log.close();
      break;
    }
    case "restart with an older database": {
      await process.end();
      await process.applyLate();
      if (backup.database === null) world.loseDatabase();
      else world.restoreDatabase(backup.database);
      // What was acknowledged and is nowhere but in the lost database may be lost; what is in storage may not.
      const stored = new Set(storedEntries(world));
      oracle.lost = new Set([...world.acknowledged.keys()].filter((key) => !stored.has(key)));
      for (const key of oracle.lost) world.acknowledged.delete(key);
      const log = await startOrRecover(world, [
        "database_older",
        "database_lost",
        "log_absent",
        "creation_unfinished",
      ]);
      await publishes(log);
      await log.close();
      break;
    }
    case "restart with an older store": {
      await process.end();
      await process.applyLate();
      const newer = world.memory.contents();
      world.memory = backup.store;
      world.rewound();
      // What the database no longer has, since it was safe in storage, is gone with that: only a mirror has it still.
      const mirror = {
        get: async (path: string) => (path.startsWith("state/") ? null : (newer.get(path) ?? null)),
      };
      const log = await startOrRecover(
        world,
        ["head_damaged", "log_absent", "database_lost", "creation_unfinished", "tile_missing"],
        mirror,
      );
      await publishes(log);
      await log.close();
      break;
    }
  }
  if (lied) {
    // A start writes anew what the store said it had.
    const log = await world.start();
    await publishes(log);
    await log.close();
  }
  checkOracle(world, oracle);
  return next === undefined ? {} : { next };
}

/** Faults that a start after a fault meets, one after another: an error and a death, in what it reads and in what it writes. */
const SECOND_FAULTS: readonly ((process: LogProcess) => void)[] = [
  (process) => process.store.faults.inject({ form: "F5", operation: "get", nth: 3 }),
  (process) => process.store.faults.inject({ form: "F2", operation: "replace" }),
  (process) => process.stateFaults.inject({ form: "F5", operation: "recordPublished" }),
  (process) => process.store.faults.inject({ form: "F6", operation: "overwrite" }),
];

async function added(log: LogProcess, entries: readonly Uint8Array[]): Promise<void> {
  const outcomes = await log.addBatch(entries);
  const errors = Array.isArray(outcomes) ? outcomes.filter((outcome) => isCairnError(outcome)) : [outcomes];
  if (errors.length > 0) throw new Error("entries were refused", { cause: errors[0] });
}

function isAwaited(code: CairnError["code"]): code is NonNullable<Outcome["next"]> {
  return code === "head_damaged";
}

/** A start, or where it refuses in one of these words, what they say to do. */
async function startOrRecover(
  world: World,
  codes: readonly CairnError["code"][],
  mirror: Mirror | null = null,
): Promise<LogProcess> {
  try {
    return await world.start();
  } catch (error) {
    if (!isCairnError(error) || !codes.includes(error.code)) throw error;
    if (error.code === "log_absent" || error.code === "creation_unfinished")
      return world.start({ create: true });
  }
  try {
    await world.recover();
  } catch (error) {
    if (!isCairnError(error, "log_ended") || mirror === null) throw error;
    await world.recover({ mirror });
  }
  return world.start();
}

/** Every entry that some bundle in the store holds. */
function storedEntries(world: World): string[] {
  const entries: string[] = [];
  for (const [key, bytes] of world.memory.contents()) {
    if (!key.startsWith("tile/entries/")) continue;
    for (let at = 0; at + 2 <= bytes.length; ) {
      const length = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
      entries.push(keyOf(bytes.subarray(at + 2, at + 2 + length)));
      at += 2 + length;
    }
  }
  return entries;
}
