// What a log is opened with: values only, chosen by the command that opens it.

import type { BulkHasher } from "../core/bulk-hasher.ts";
import type { CairnError } from "../core/errors.ts";
import type { NoteSigner, NoteVerifier } from "../core/note.ts";
import type { Policy } from "../core/policy.ts";
import type { State } from "../state/state.ts";
import type { ObjectStore } from "../storage/store.ts";
import type { Fetch } from "../witness/client/exchange.ts";
import type { WitnessPeer } from "../witness/client/quorum.ts";
import type { Clock } from "./clock.ts";
import type { RoundTimings } from "./publisher.ts";

/** The log's name and keys. */
export interface LogKeys {
  readonly origin: string;
  /** The first one is the Ed25519 key. All under the origin's name. */
  readonly signers: readonly NoteSigner[];
  /** Of the same keys. */
  readonly verifiers: readonly NoteVerifier[];
}

/** The witnesses that cosign this log's checkpoints. */
export interface LogWitnesses {
  readonly policy: Policy;
  readonly peers: readonly WitnessPeer[];
  readonly ignored: ReadonlySet<string>;
  readonly surplusWaitMs: number;
  readonly fetch: Fetch;
}

/** Where the log lives, and how its places are opened. */
export interface LogPlaces {
  /** The database's file: its lock, the deduplication table and the like lie beside it under names that begin with it. */
  readonly databasePath: string;
  /** Opens the database for writing; with `create` an absent one is made. */
  openState(options: { readonly create: boolean }): Promise<State>;
  /** `read` before the locks are taken, `write` after. */
  openStore(mode: "read" | "write"): Promise<ObjectStore>;
  /** The store's own lock file, on a filesystem; null for a store that other machines reach too. */
  readonly storeLockPath: string | null;
  /** Bytes free where the database lies, and where the store does (null: not known, as in a bucket). */
  freeBytes(): Promise<{ readonly database: number; readonly store: number | null }>;
}

export interface LogLimits {
  readonly checkpointIntervalMs: number;
  readonly republishIntervalMs: number;
  readonly proofTimeoutMs: number;
  readonly readyMaxLagMs: number;
  readonly backlogMaxBytes: number;
  readonly batchMaxEntries: number;
  readonly batchMaxAgeMs: number;
}

/** What the log tells its operator. Each is one line of the process's log, or a metric. */
export interface LogEvents {
  /** Worth a look: something is tried again, was quarantined, or is about to be. */
  trouble(what: string, detail: string, error?: unknown): void;
  /** A step of a start that may take long, or a rare good thing. */
  note(what: string, details: Readonly<Record<string, string | number>>): void;
  /** A group commit: entries that became rows, further waiters for the same bytes, and its milliseconds. */
  commit(entries: number, duplicates: number, ms: number): void;
  /** A submitted entry stood in the log already. */
  duplicate(): void;
  /** A publication. */
  round(size: number, timings: RoundTimings): void;
}

export interface LogOptions {
  readonly keys: LogKeys;
  readonly places: LogPlaces;
  readonly limits: LogLimits;
  /** Null: nothing is cosigned, and what is signed is published. */
  readonly witnesses: LogWitnesses | null;
  readonly hasher: BulkHasher;
  readonly clock: Clock;
  readonly events: LogEvents;
  /** LOG_CREATE: make the log where there is none. */
  readonly create: boolean;
  /** The profile's refusal of an entry's content, or null. Not asked for the log's own entries. */
  readonly refuseContent: (entry: Uint8Array) => CairnError | null;
}
