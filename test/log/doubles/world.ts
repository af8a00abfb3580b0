// A world for logs under test: one store, one database, a folder for locks, and processes one after another or side by
// side, each with faults and a clock of its own. What must hold on the way is checked on the way: no signature for a
// second root, no immutable object changed, no checkpoint exposed before everything under it can be read, and none that
// is smaller than the one before.

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { createNodeBulkHasher } from "../../../src/cli/node-bulk-hasher.ts";
import { toHex } from "../../../src/core/bytes.ts";
import { CairnError, type ErrorCode, isCairnError } from "../../../src/core/errors.ts";
import { entriesPath, tilePath } from "../../../src/core/tile-path.ts";
import { TILE_WIDTH, partialTiles } from "../../../src/core/tile.ts";
import type { Receipt } from "../../../src/log/api.ts";
import { CHECKPOINT_KEY, HEAD_KEY, parseHead } from "../../../src/log/head.ts";
import { tablePath } from "../../../src/log/leaf-table-file.ts";
import { type OwnedLog, openLog } from "../../../src/log/log.ts";
import type {
  LogEvents,
  LogKeys,
  LogLimits,
  LogOptions,
  LogPlaces,
  LogWitnesses,
} from "../../../src/log/options.ts";
import { readOwnCheckpoint } from "../../../src/log/publisher.ts";
import { type Mirror, type Recovered, recoverLog } from "../../../src/log/recover.ts";
import { LOG_RESERVE } from "../../../src/log/space.ts";
import { loadSqlite } from "../../../src/state/sqlite-library.ts";
import type { Row, State } from "../../../src/state/state.ts";
import {
  type ObjectStore,
  type ObjectVersion,
  StoreError,
  type StoredObject,
  type WriteResult,
} from "../../../src/storage/store.ts";
import { FaultyState } from "../../doubles/faulty-state.ts";
import { FaultyStore } from "../../doubles/faulty-store.ts";
import { MemoryStore } from "../../doubles/memory-store.ts";
import { FakeClock, settled, turns, until } from "./fake-clock.ts";
import { Ledger, type SignedHead } from "./ledger.ts";
import { MemoryState } from "./memory-state.ts";

export const LIMITS: LogLimits = {
  checkpointIntervalMs: 1000,
  republishIntervalMs: 600_000,
  proofTimeoutMs: 30_000,
  readyMaxLagMs: 31_000,
  backlogMaxBytes: 1024 * 1024 * 1024,
  batchMaxEntries: 10_000,
  batchMaxAgeMs: 0,
};

/** Enough to take entries, too little for the file that is given up in need: nobody's test writes 16 MiB. */
const FREE_BYTES = LOG_RESERVE + 1024 * 1024;

// The locks are real. Their library takes real time to load, in which none of a test's passes.
await loadSqlite();

/** A folder in memory, where the system has one: locks and tables are real files, and hundreds of worlds sync them. */
const IN_MEMORY = "/dev/shm";

export interface WorldOptions {
  /** As a bucket instead of a filesystem. */
  readonly durableOnWrite?: boolean;
}

export interface StartOptions {
  readonly create?: boolean;
  readonly limits?: Partial<LogLimits>;
  /** Called with the process before it opens its log: the place for faults at a start. */
  readonly before?: (process: LogProcess) => void;
  /** Another database or store than the world's, for a second copy of a log. */
  readonly database?: Slot;
  readonly memory?: MemoryStore;
  readonly keys?: LogKeys;
  readonly databasePath?: string;
  readonly places?: Partial<LogPlaces>;
  readonly witnesses?: LogWitnesses;
}

/** Where a database is, or is not. */
export interface Slot {
  state: MemoryState | null;
}

export class World {
  readonly folder: string;
  readonly databasePath: string;
  memory: MemoryStore;
  readonly database: Slot = { state: null };
  readonly ledger = new Ledger();
  readonly keys: LogKeys;
  /** What was acknowledged, by any process: entry to index. */
  readonly acknowledged = new Map<string, number>();
  readonly submitted = new Set<string>();
  /** Heads that left a process, since they were handed to the store. */
  readonly left: SignedHead[] = [];
  /** Broken promises, as they were seen. */
  readonly problems: string[] = [];
  readonly processes: LogProcess[] = [];
  #largestSeen = -1;

  constructor(options: WorldOptions = {}, onFinished: (end: () => Promise<void>) => void = onTestFinished) {
    this.memory = new MemoryStore({ durableOnWrite: options.durableOnWrite ?? false });
    this.keys = this.ledger.keys();
    this.folder = mkdtempSync(join(existsSync(IN_MEMORY) ? IN_MEMORY : tmpdir(), "cairn-test-"));
    this.databasePath = join(this.folder, "log.db");
    onFinished(() => this.remove());
  }

  /** Another world that begins where this one ended: its processes have stopped. */
  copy(): World {
    const copy = new World();
    copy.memory = this.memory.copy();
    if (this.database.state !== null) copy.restoreDatabase(this.database.state);
    const table = tablePath(this.databasePath);
    if (existsSync(table)) writeFileSync(tablePath(copy.databasePath), readFileSync(table));
    for (const [key, index] of this.acknowledged) copy.acknowledged.set(key, index);
    for (const key of this.submitted) copy.submitted.add(key);
    copy.left.push(...this.left);
    copy.ledger.remember(this.ledger);
    copy.#largestSeen = this.#largestSeen;
    return copy;
  }

  /** Starts a log on this world; rejects with the refusal. */
  async start(options: StartOptions = {}): Promise<LogProcess> {
    const process = new LogProcess(this, options);
    this.processes.push(process);
    options.before?.(process);
    await process.open();
    return process;
  }

  /** A start that is refused; answers with its code. */
  async refusal(options: StartOptions = {}): Promise<ErrorCode | "started" | "other"> {
    try {
      const process = await this.start(options);
      await process.end();
      return "started";
    } catch (error) {
      return isCairnError(error) ? error.code : "other";
    }
  }

  /** `cairn recover`. */
  async recover(
    options: { fromHead?: boolean; mirror?: Mirror | null } & StartOptions = {},
  ): Promise<Recovered> {
    const process = new LogProcess(this, options);
    this.processes.push(process);
    options.before?.(process);
    const recovering = recoverLog({
      ...process.options(),
      mirror: options.mirror ?? null,
      fromHead: options.fromHead ?? false,
    });
    return settled("recovery", [process.clock], recovering);
  }

  async remove(): Promise<void> {
    for (const process of this.processes) await process.end();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** What lies beside the database is there exactly where a database is: the file is looked for, its content is not. */
  loseDatabase(): void {
    this.database.state = null;
    rmSync(this.databasePath, { force: true });
  }

  /** An older copy of the database, put back. */
  restoreDatabase(copy: MemoryState): void {
    this.database.state = copy.copy();
    writeFileSync(this.databasePath, "");
  }

  /** Takes the power away from the store; the database has synced every commit. */
  get published(): number {
    return this.#sizeOf(this.memory.contents().get(CHECKPOINT_KEY));
  }

  get signed(): number {
    const head = this.memory.contents().get(HEAD_KEY);
    return head === undefined ? -1 : this.#sizeOf(new TextEncoder().encode(parseHead(head).note));
  }

  /** Called for each object that reached a store, before anybody else can read it. */
  observe(store: MemoryStore, key: string, bytes: Uint8Array): void {
    if (key === HEAD_KEY) {
      try {
        const { size, root } = this.#open(new TextEncoder().encode(parseHead(bytes).note));
        this.left.push({ size, root: toHex(root) });
      } catch {
        // A head that was damaged is taken over as it is, before it is mended.
      }
    }
    if (key !== CHECKPOINT_KEY || store !== this.memory) return;
    const { size } = this.#open(bytes);
    if (size < this.#largestSeen)
      this.problems.push(`O5: the checkpoint went from ${this.#largestSeen} to ${size}`);
    this.#largestSeen = Math.max(this.#largestSeen, size);
    for (const path of objectsUnder(size)) {
      if (!store.contents().has(path)) this.problems.push(`O3: checkpoint ${size} without ${path}`);
    }
  }

  /** The test rewinds the store itself, so a smaller checkpoint is no surprise. */
  rewound(): void {
    this.#largestSeen = -1;
  }

  #open(note: Uint8Array): ReturnType<typeof readOwnCheckpoint> {
    return readOwnCheckpoint(note, this.keys.origin, this.keys.verifiers);
  }

  #sizeOf(note: Uint8Array | undefined): number {
    return note === undefined ? -1 : this.#open(note).size;
  }
}

/** Paths of every object that a reader of a checkpoint of that size asks for. */
export function objectsUnder(size: number): string[] {
  const paths: string[] = [];
  for (let index = 0; index < Math.floor(size / TILE_WIDTH); index++) paths.push(entriesPath(index));
  for (let level = 0, nodes = Math.floor(size / TILE_WIDTH); nodes > 0; level++) {
    for (let index = 0; index < nodes; index++) paths.push(tilePath(level, index));
    nodes = Math.floor(nodes / TILE_WIDTH);
  }
  for (const { level, index, width } of partialTiles(size)) {
    paths.push(tilePath(level, index, width));
    if (level === 0) paths.push(entriesPath(index, width));
  }
  return paths;
}

/** What became of one entry. */
export interface Answer {
  error: CairnError | null;
  receipt: Receipt | null;
  times: number;
}

/** One process that runs, or tries to run, a log. */
export class LogProcess {
  readonly clock = new FakeClock();
  readonly store: FaultyStore;
  /** Faults of the database; its state is there once the log has opened it. */
  readonly stateFaults: FaultyState["faults"];
  readonly troubles: string[] = [];
  readonly notes: string[] = [];
  readonly rounds: number[] = [];
  readonly roundTimes: number[] = [];
  /** What was asked of the database and the store, in order; reads of rows and free space are left out. */
  readonly effects: string[] = [];
  readonly answers: Answer[] = [];
  failure: CairnError | null = null;
  log: OwnedLog | null = null;
  readonly #world: World;
  readonly #options: StartOptions;
  readonly #slot: Slot;
  readonly #memory: MemoryStore;
  readonly #handle: Handle;
  readonly #state: FaultyState;
  #inner: State | null = null;
  #ended = false;

  constructor(world: World, options: StartOptions) {
    this.#world = world;
    this.#options = options;
    this.#slot = options.database ?? world.database;
    this.#memory = options.memory ?? world.memory;
    this.#handle = new Handle(this.#memory, (key, bytes) => world.observe(this.#memory, key, bytes));
    this.store = new FaultyStore(this.#handle);
    this.#watch(this.store);
    // The database is opened later than its faults are planned.
    this.#state = new FaultyState(
      new Proxy({} as State, {
        get: (_, name: keyof State) => {
          const member: unknown = (this.#inner ?? UNOPENED)[name];
          if (typeof member !== "function") return member;
          return (...args: unknown[]) => {
            const effect = EFFECTS[name]?.(args);
            if (effect !== undefined) this.effects.push(`${name} ${effect}`);
            return (member as (...args: unknown[]) => unknown).apply(this.#inner, args);
          };
        },
      }),
    );
    this.stateFaults = this.#state.faults;
    this.#dieTogether();
  }

  get clocks(): readonly FakeClock[] {
    return [this.clock];
  }

  options(): LogOptions {
    const { create = false, limits = {}, places = {}, keys = this.#world.keys } = this.#options;
    const events: LogEvents = {
      trouble: (what, detail) => this.troubles.push(`${what} ${detail}`),
      note: (what) => this.notes.push(what),
      commit: () => undefined,
      duplicate: () => undefined,
      round: (size) => {
        this.rounds.push(size);
        this.roundTimes.push(this.clock.monotonic());
      },
    };
    const databasePath = this.#options.databasePath ?? this.#world.databasePath;
    return {
      keys,
      places: {
        databasePath,
        openState: async (options) => this.#openState(databasePath, options.create),
        openStore: async () => {
          this.#handle.reopen();
          return this.store;
        },
        storeLockPath: null,
        freeBytes: async () => ({ database: FREE_BYTES, store: null }),
        ...places,
      },
      limits: { ...LIMITS, ...limits },
      witnesses: this.#options.witnesses ?? null,
      hasher: createNodeBulkHasher(),
      clock: this.clock,
      events,
      create,
      refuseContent: () => null,
    };
  }

  async open(): Promise<void> {
    this.log = await settled("the start", [this.clock], openLog(this.options()));
    void this.log.failed.then((error) => {
      this.failure = error;
    });
    await this.until("the log is writable", () => this.failure !== null || this.notes.includes("writable"));
  }

  /** The process is killed when it is about to make its n-th call that has an effect, from 0. */
  killAt(call: number): void {
    let seen = 0;
    const push = this.effects.push.bind(this.effects);
    this.effects.push = (...effects: string[]) => {
      if (seen++ === call) this.store.faults.kill();
      return push(...effects);
    };
  }

  /** Time passes until `done`. */
  until(what: string, done: () => boolean, patienceMs?: number): Promise<void> {
    return until(what, [this.clock], done, patienceMs);
  }

  running(): OwnedLog {
    if (this.log === null) throw new Error("the log is not open");
    return this.log;
  }

  /** Submits entries, each for itself. */
  add(...entries: readonly Uint8Array[]): Answer[] {
    return entries.map((entry) => {
      const key = keyOf(entry);
      this.#world.submitted.add(key);
      const answer: Answer = { error: null, receipt: null, times: 0 };
      this.answers.push(answer);
      this.running().add(entry, (error, receipt) => {
        answer.times++;
        answer.error = error;
        answer.receipt = receipt;
        if (receipt !== null) this.#acknowledged(key, receipt);
      });
      return answer;
    });
  }

  /** Submits a batch; its outcomes, or what refused it as a whole. */
  async addBatch(entries: readonly Uint8Array[]): Promise<(Receipt | CairnError)[] | CairnError> {
    for (const entry of entries) this.#world.submitted.add(keyOf(entry));
    try {
      const outcomes = await settled("the batch", [this.clock], this.running().addBatch(entries));
      for (const [i, outcome] of outcomes.entries()) {
        if (!isCairnError(outcome)) this.#acknowledged(keyOf(entries[i] as Uint8Array), outcome);
      }
      return outcomes;
    } catch (error) {
      if (isCairnError(error)) return error;
      throw error;
    }
  }

  /** Everything committed is published and collected; or the log has stopped. */
  async quiet(patienceMs?: number): Promise<void> {
    await this.until(
      "everything is published and collected",
      () => {
        if (this.failure !== null) return true;
        const size = this.running().published()?.size;
        return (
          size === this.running().status().nextIndex &&
          this.rounds.length > 0 &&
          this.isCollected(size) &&
          this.answers.every(({ times }) => times > 0)
        );
      },
      patienceMs,
    );
    // The collector's last step follows what it records.
    await turns(20);
  }

  /** Whether every bundle that is full at that size is collected. */
  isCollected(size: number): boolean {
    return (this.#slot.state?.look().syncedSize ?? 0) >= size - (size % TILE_WIDTH);
  }

  /** What the network or the database's thread still held of this process's calls. */
  async applyLate(): Promise<void> {
    await this.#state.applyLate();
    // Its own connection to the store is closed; what is under way is not.
    this.#handle.reopen();
    await this.store.applyLate();
  }

  /** Time passes, a second of it unless said otherwise. */
  async pass(ms = 1000): Promise<void> {
    for (let left = ms; left > 0; left -= 50) {
      this.clock.advance(Math.min(50, left));
      await turns(3);
    }
  }

  /** The power goes, or somebody sends SIGKILL. */
  async kill(): Promise<void> {
    this.store.faults.kill();
    this.stateFaults.kill();
    await this.end();
  }

  /** Whether it was started with LOG_CREATE. */
  get creates(): boolean {
    return this.#options.create === true;
  }

  get isKilled(): boolean {
    return this.store.faults.killed;
  }

  /** SIGTERM: everything is settled and the places are given back. */
  async close(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    if (this.log !== null) await settled("the log is closed", [this.clock], this.log.close());
  }

  /** Ends what is left of the process, whatever state it is in, so that the next one can take its places. */
  async end(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.store.faults.kill();
    this.stateFaults.kill();
    this.store.faults.releaseHung();
    this.stateFaults.releaseHung();
    if (this.log === null) return;
    // A process that was killed saves no table; this one only has to let its locks go.
    const path = tablePath(this.#options.databasePath ?? this.#world.databasePath);
    const saved = existsSync(path) ? readFileSync(path) : null;
    await settled("the process ends", [this.clock], this.log.close());
    if (saved === null) rmSync(path, { force: true });
    else writeFileSync(path, saved);
  }

  #acknowledged(key: string, receipt: Receipt): void {
    const known = this.#world.acknowledged.get(key);
    if (known !== undefined && known !== receipt.index) {
      this.#world.problems.push(`O4: ${key} was acknowledged at ${known} and at ${receipt.index}`);
    }
    this.#world.acknowledged.set(key, receipt.index);
  }

  #openState(path: string, create: boolean): State {
    if (this.#slot.state === null) {
      if (!create) throw new CairnError("log_absent", { detail: path });
      this.#slot.state = new MemoryState();
      writeFileSync(path, "");
    }
    this.#inner = this.#slot.state.reopen();
    this.#slot.state = this.#inner as MemoryState;
    return this.#state.state;
  }

  #watch(store: FaultyStore): void {
    const watch = <Args extends unknown[], Result>(name: string, call: (...args: Args) => Result) => {
      return (...args: Args): Result => {
        const [of] = args;
        this.effects.push(`${name} ${Array.isArray(of) ? `${of.length} keys` : String(of)}`);
        return call(...args);
      };
    };
    store.get = watch("get", store.get.bind(store));
    store.create = watch("create", store.create.bind(store));
    store.createDurable = watch("createDurable", store.createDurable.bind(store));
    store.replace = watch("replace", store.replace.bind(store));
    store.overwrite = watch("overwrite", store.overwrite.bind(store));
    store.sync = watch("sync", store.sync.bind(store));
    store.remove = watch("remove", store.remove.bind(store));
    store.list = watch("list", store.list.bind(store));
  }

  /** A process dies as a whole, whichever of its calls it dies in. */
  #dieTogether(): void {
    const plans = [this.store.faults, this.stateFaults];
    const kills = plans.map((plan) => plan.kill.bind(plan));
    for (const plan of plans) {
      plan.kill = () => kills.map((kill) => kill())[0] as ReturnType<typeof plan.kill>;
    }
  }
}

/** The calls to the database that count as effects, and what is said of each. */
const EFFECTS: Partial<Record<keyof State, (args: unknown[]) => string>> = {
  commit: ([row]) => `${(row as Row).first}+${(row as Row).count}`,
  recordIntegrated: ([head]) => String((head as { size: number }).size),
  recordSigned: ([head]) => String((head as { size: number }).size),
  recordPublished: ([head]) => String((head as { size: number }).size),
  recordSynced: ([size]) => String(size),
  dropRows: ([size]) => String(size),
  create: () => "identity",
  resetHeads: ([heads]) => String((heads as { integrated: { size: number } }).integrated.size),
  setAsideRows: ([from]) => String(from),
  adoptRows: ([rows]) => (rows as Row[]).map(({ first, count }) => `${first}+${count}`).join(" "),
};

/** What a database is before it is opened; nothing is asked of it. */
const UNOPENED = new MemoryState();

export function keyOf(entry: Uint8Array): string {
  return Buffer.from(entry).toString("latin1");
}

/** A process's own way to the store: closing it closes nobody else's, and what it writes is seen. */
class Handle implements ObjectStore {
  readonly #inner: MemoryStore;
  readonly #observe: (key: string, bytes: Uint8Array) => void;
  #closed = false;

  constructor(inner: MemoryStore, observe: (key: string, bytes: Uint8Array) => void) {
    this.#inner = inner;
    this.#observe = observe;
  }

  reopen(): void {
    this.#closed = false;
  }

  get location(): string {
    return this.#inner.location;
  }

  get durableOnWrite(): boolean {
    return this.#inner.durableOnWrite;
  }

  async get(key: string): Promise<StoredObject | null> {
    return this.#open().get(key);
  }

  async create(key: string, bytes: Uint8Array): Promise<WriteResult> {
    return this.#seen(key, bytes, await this.#open().create(key, bytes));
  }

  async createDurable(key: string, bytes: Uint8Array): Promise<WriteResult> {
    return this.#seen(key, bytes, await this.#open().createDurable(key, bytes));
  }

  async replace(key: string, bytes: Uint8Array, version: ObjectVersion): Promise<WriteResult> {
    return this.#seen(key, bytes, await this.#open().replace(key, bytes, version));
  }

  async overwrite(key: string, bytes: Uint8Array): Promise<void> {
    await this.#open().overwrite(key, bytes);
  }

  async sync(keys: readonly string[]): Promise<void> {
    await this.#open().sync(keys);
  }

  async remove(key: string): Promise<void> {
    await this.#open().remove(key);
  }

  async *list(prefix: string): AsyncIterable<string> {
    yield* this.#open().list(prefix);
  }

  async probe(): Promise<void> {
    await this.#open().probe();
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #open(): MemoryStore {
    if (this.#closed)
      throw new StoreError("the store is closed", { outcome: "not_applied", retryable: false });
    return this.#inner;
  }

  #seen(key: string, bytes: Uint8Array, result: WriteResult): WriteResult {
    if (result.outcome === "written") this.#observe(key, bytes);
    return result;
  }
}
