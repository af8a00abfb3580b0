// Logs over one bucket, in this process, through the real driver and real HTTP: several processes one after another or at
// once, each with its database. A ledger signs for all of them, and one oracle looks at the bucket when they are gone.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished } from "vitest";
import { createNodeBulkHasher } from "../../src/cli/node-bulk-hasher.ts";
import { nodeHasher } from "../../src/cli/node-hasher.ts";
import { readTrust } from "../../src/cli/trust.ts";
import { fsck } from "../../src/client/fsck.ts";
import { decodeBundle } from "../../src/core/bundle.ts";
import { type CairnError, isCairnError } from "../../src/core/errors.ts";
import { entriesPath } from "../../src/core/tile-path.ts";
import { TILE_WIDTH } from "../../src/core/tile.ts";
import type { Receipt } from "../../src/log/api.ts";
import { type Clock, systemClock } from "../../src/log/clock.ts";
import { parseHead } from "../../src/log/head.ts";
import { type OwnedLog, openLog } from "../../src/log/log.ts";
import type { LogKeys, LogLimits, LogOptions } from "../../src/log/options.ts";
import { type Recovered, recoverLog } from "../../src/log/recover.ts";
import { openS3Store, type S3Timing } from "../../src/storage/s3.ts";
import { S3Server, type S3ServerOptions } from "../doubles/s3-server.ts";
import { Ledger } from "../log/doubles/ledger.ts";
import { MemoryState } from "../log/doubles/memory-state.ts";
import { LIMITS as STEADY_LIMITS, objectsUnder } from "../log/doubles/world.ts";

const LIMITS: LogLimits = { ...STEADY_LIMITS, checkpointIntervalMs: 10 };
/** Soon enough that a store which never answers does not hold up a test. */
const TIMING: S3Timing = { answerTimeoutMs: 500, openPatienceMs: 1500, openPauseMs: 20 };
/** Nothing here takes as long, unless it hangs. */
const PATIENCE_MS = 25_000;
const POLL_MS = 2;

export interface StartOptions {
  readonly create?: boolean;
  readonly limits?: Partial<LogLimits>;
  /** Another machine's database; the bucket's own one where absent. */
  readonly database?: Database;
  readonly clock?: Clock;
  readonly timing?: S3Timing;
}

/** A database, and the folder of what lies beside it. */
export class Database {
  readonly path: string;
  state: MemoryState;

  constructor(state = new MemoryState()) {
    const folder = mkdtempSync(join(tmpdir(), "cairn-test-"));
    this.path = join(folder, "log.db");
    this.state = state;
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  }

  /** As a backup has it, or another machine. */
  copy(): Database {
    const copy = new Database(this.state.copy());
    writeFileSync(copy.path, "");
    return copy;
  }
}

export class Bucket {
  readonly server: S3Server;
  readonly database = new Database();
  readonly ledger = new Ledger();
  readonly keys: LogKeys;
  /** Every acknowledgement: entry to index. */
  readonly acknowledged = new Map<string, number>();
  readonly processes: BucketLog[] = [];

  private constructor(server: S3Server) {
    this.server = server;
    this.keys = this.ledger.keys();
  }

  static async make(options: S3ServerOptions = {}): Promise<Bucket> {
    const bucket = new Bucket(await S3Server.start(options));
    onTestFinished(async () => {
      for (const process of bucket.processes) await process.end();
      await bucket.server.stop();
    });
    return bucket;
  }

  async start(options: StartOptions = {}): Promise<BucketLog> {
    const process = new BucketLog(this, options);
    this.processes.push(process);
    await process.open();
    return process;
  }

  /** The code of the refusal to start. */
  async refusal(options: StartOptions = {}): Promise<string> {
    try {
      await this.start(options);
      return "started";
    } catch (error) {
      return isCairnError(error) ? error.code : String(error);
    }
  }

  /** Partial objects whose full one stands. */
  hasSuperseded(): boolean {
    const contents = this.server.contents();
    return [...contents.keys()].some(
      (key) => key.includes(".p/") && contents.has(key.slice(0, key.indexOf(".p/"))),
    );
  }

  recover(options: StartOptions & { readonly fromHead?: boolean } = {}): Promise<Recovered> {
    const { fromHead = false } = options;
    return recoverLog({ ...new BucketLog(this, options).options(), mirror: null, fromHead });
  }

  get published(): number {
    return sizeOf(this.server.contents().get("checkpoint"));
  }

  get signed(): number {
    const head = this.server.contents().get("state/head");
    return head === undefined ? -1 : sizeOf(Buffer.from(parseHead(head).note));
  }

  /** The published entries, in order, with their indices. */
  entries(): [string, number][] {
    const contents = this.server.contents();
    const size = this.published;
    const entries: [string, number][] = [];
    for (let index = 0; index * TILE_WIDTH < size; index++) {
      const bundle = contents.get(entriesPath(index, Math.min(TILE_WIDTH, size - index * TILE_WIDTH)));
      if (bundle === undefined) throw new Error(`there is no bundle ${index}`);
      for (const entry of decodeBundle(bundle)) entries.push([keyOf(entry), entries.length]);
    }
    return entries;
  }

  /**
   * Nothing forked, nothing immutable changed, everything under the checkpoint is there and right, every acknowledgement
   * stands at its index, and the bucket holds these keys and no others. `superseded`, `quarantined` and `probe`: such may be left.
   */
  async check(
    allowed: { superseded?: true; quarantined?: true; probe?: true; lost?: ReadonlySet<string> } = {},
  ): Promise<void> {
    expect(this.ledger.violations).toEqual([]);
    const contents = this.server.contents();
    // What was a leftover of nobody's head may have been replaced by its owner, and is kept aside.
    const aside = [...contents.keys()].filter((key) => key.startsWith("state/quarantine/"));
    const changed = this.server.violations.filter(
      (key) => !aside.some((each) => each.endsWith(`-${key.replaceAll("/", "_")}`)),
    );
    expect(changed).toEqual([]);
    const report = await fsck({
      source: {
        get: async (path) => contents.get(path) ?? null,
        partialWidths: async (path) =>
          [...contents.keys()]
            .filter((key) => key.startsWith(`${path}.p/`))
            .map((key) => Number(key.slice(path.length + 3))),
      },
      trust: await readTrust({
        keys: this.keys.signers.map(({ vkey }) => vkey),
        policy: undefined,
        keyOption: "vkey",
      }),
      hasher: nodeHasher,
    });
    expect(report).toMatchObject({ outcome: "clean", differences: [], failure: null });
    const size = report.size ?? -1;
    for (const signed of this.ledger.signed) expect(signed.size).toBeLessThanOrEqual(size);

    const found = new Map<string, number>();
    for (const [entry, index] of this.entries()) {
      expect(found.has(entry), "an entry stands twice").toBe(false);
      found.set(entry, index);
    }
    for (const [entry, index] of this.acknowledged) {
      if (allowed.lost?.has(entry) !== true) expect(found.get(entry), entry).toBe(index);
    }

    const needed = new Set(["checkpoint", "state/head", ...objectsUnder(size)]);
    for (const key of contents.keys()) {
      if (needed.has(key)) continue;
      if (key.startsWith("state/quarantine/") && allowed.quarantined === true) continue;
      if (key.startsWith("state/probe/") && allowed.probe === true) continue;
      const isPartial = key.startsWith("tile/") && key.includes(".p/");
      const isSuperseded = contents.has(key.slice(0, key.indexOf(".p/")));
      if (isPartial && (!isSuperseded || allowed.superseded === true)) continue;
      expect.fail(`${key} has no business here`);
    }
  }
}

export class BucketLog {
  readonly troubles: string[] = [];
  readonly rounds: number[] = [];
  failure: CairnError | null = null;
  readonly #bucket: Bucket;
  readonly #options: StartOptions;
  readonly #database: Database;
  #log: OwnedLog | null = null;
  #ended: Promise<void> | null = null;

  constructor(bucket: Bucket, options: StartOptions) {
    this.#bucket = bucket;
    this.#options = options;
    this.#database = options.database ?? bucket.database;
  }

  get log(): OwnedLog {
    if (this.#log === null) throw new Error("the log is not open");
    return this.#log;
  }

  options(): LogOptions {
    const { create = false, limits = {}, clock = systemClock, timing = TIMING } = this.#options;
    const database = this.#database;
    return {
      keys: this.#bucket.keys,
      places: {
        databasePath: database.path,
        openState: async () => {
          writeFileSync(database.path, "");
          // Opened again it holds what was committed, as a file does.
          database.state = database.state.copy();
          return database.state;
        },
        openStore: (mode) => openS3Store(this.#bucket.server.settings(), { mode, timing }),
        storeLockPath: null,
        freeBytes: async () => ({ database: 300 * 1024 * 1024, store: null }),
      },
      limits: { ...LIMITS, ...limits },
      witnesses: null,
      hasher: createNodeBulkHasher(),
      clock,
      events: {
        trouble: (what, detail) => this.troubles.push(`${what} ${detail}`),
        note: () => undefined,
        commit: () => undefined,
        duplicate: () => undefined,
        round: (size) => this.rounds.push(size),
      },
      create,
      refuseContent: () => null,
    };
  }

  async open(): Promise<void> {
    const log = await openLog(this.options());
    this.#log = log;
    void log.failed.then((error) => {
      this.failure = error;
    });
    await log.writable;
  }

  async addBatch(entries: readonly Uint8Array[]): Promise<(Receipt | CairnError)[]> {
    const outcomes = await this.log.addBatch(entries);
    for (const [i, outcome] of outcomes.entries()) {
      if (isCairnError(outcome)) continue;
      const key = keyOf(entries[i] as Uint8Array);
      const before = this.#bucket.acknowledged.get(key);
      if (before !== undefined && before !== outcome.index) throw new Error(`${key} moved`);
      this.#bucket.acknowledged.set(key, outcome.index);
    }
    return outcomes;
  }

  /** Everything committed is published and collected, superseded objects too unless these may stay; or the log has stopped. */
  async quiet(superseded = false): Promise<void> {
    await eventually("everything is published and collected", () => {
      if (this.failure !== null) return true;
      const size = this.log.published()?.size;
      const { syncedSize } = this.#database.state.look();
      return (
        size !== undefined &&
        size === this.log.status().nextIndex &&
        this.rounds.length > 0 &&
        syncedSize >= size - (size % TILE_WIDTH) &&
        (superseded || !this.#bucket.hasSuperseded())
      );
    });
  }

  async stopped(): Promise<string> {
    await eventually("the log stops", () => this.failure !== null);
    await this.end();
    return this.failure?.code ?? "";
  }

  /** Stops the log, in order or as it stands. */
  end(): Promise<void> {
    this.#ended ??= this.#log === null ? Promise.resolve() : this.#log.close();
    return this.#ended;
  }
}

export async function eventually(what: string, done: () => boolean): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!done()) {
    if (performance.now() > end) throw new Error(`not within ${PATIENCE_MS} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

export function keyOf(entry: Uint8Array): string {
  return Buffer.from(entry).toString("latin1");
}

function sizeOf(note: Uint8Array | undefined): number {
  return note === undefined ? -1 : Number(Buffer.from(note).toString("latin1").split("\n")[1]);
}
