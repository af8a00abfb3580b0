// What a log offers to the rooms above it (http/, vindex/, import/): submit, read, and say how it stands.

import type { CairnError } from "../core/errors.ts";
import type { Hash } from "../core/hash.ts";

/** What an acknowledgement says. It is durable in the database when it is given (see the promise in docs/operator.md). */
export interface Receipt {
  readonly index: number;
  readonly leafHash: Hash;
  /** True where these bytes were already in the log, or on their way into it. */
  readonly duplicate: boolean;
}

export type AddCallback = (error: CairnError | null, receipt: Receipt | null) => void;

/** The newest published checkpoint. */
export interface PublishedCheckpoint {
  readonly size: number;
  readonly root: Hash;
  /** The signed note, bytes as served. */
  readonly note: Uint8Array;
  /** A strong entity tag, quotes included. */
  readonly etag: string;
  /** Milliseconds since the epoch. */
  readonly publishedAt: number;
}

/** An immutable object as served: the whole tile, or the first part of it that was asked for. */
export interface ReadObject {
  readonly bytes: Uint8Array;
  /** A strong entity tag, quotes included. */
  readonly etag: string;
  /** The same bytes compressed with gzip, made once and cached; bundles only. */
  gzip?(): Promise<Uint8Array>;
}

export interface WitnessStatus {
  readonly name: string;
  readonly state: "ok" | "failing" | "claims_larger" | "ignored";
  readonly size: number | null;
  /** ISO 8601, or null. */
  readonly lastSuccess: string | null;
  readonly lastError: string | null;
}

export interface LogStatus {
  readonly ready: boolean;
  readonly integratedSize: number;
  readonly nextIndex: number;
  readonly publishedSize: number | null;
  readonly checkpointAgeSeconds: number | null;
  /** Entries that wait for a commit. */
  readonly queuedEntries: number;
  /** Bytes of acknowledged entries that wait for publication. */
  readonly backlogBytes: number;
  readonly reasons: readonly { readonly code: string; readonly detail: string }[];
  readonly witnesses: readonly WitnessStatus[];
}

export interface LogRead {
  /** Null before the first publication. */
  published(): PublishedCheckpoint | null;
  /** A kept published checkpoint of exactly that size (the note's bytes), or null. */
  checkpointAt(size: number): Promise<Uint8Array | null>;
  /**
   * A tile or bundle of any width whose end is at or below the published size, else `not_published`. Answers at once
   * (no promise) where the bytes are cached, since this is the hottest read.
   */
  read(
    kind: "tile" | "entries",
    level: number,
    index: number,
    width: number,
  ): ReadObject | Promise<ReadObject>;
  /** tlog-proof text for an index in the newest published checkpoint, or in a kept one of size `size`. Coded errors. */
  proof(index: number, size?: number): Promise<Uint8Array>;
}

export interface LogAppend {
  /**
   * Throws (synchronously) what would refuse a write now: `starting`, `draining`, `frozen`, `queue_full`, `backlog_full`,
   * `storage_low`. Called before a body is read; `add` checks again.
   */
  checkAdmission(): void;
  /**
   * Copies the bytes before it returns. `done` is called once: after the commit is durable, or with a coded error; before
   * this returns where the entry is refused at once or already stands.
   */
  add(entry: Uint8Array, done: AddCallback): void;
  /** Each entry's own outcome in order; rejects where the whole batch is refused before any commit (queue_full, ...). */
  addBatch(entries: readonly Uint8Array[]): Promise<(Receipt | CairnError)[]>;
  /**
   * Reserves a place among the waiters for a proof (`queue_full` where 10,000 wait already), so that the refusal comes
   * before sequencing. Release it, or pass it to `awaitProof`, which releases it.
   */
  reserveProof(): ProofTicket;
  /**
   * The tlog-proof text for a sequenced entry once a published checkpoint covers it, verified before it is given.
   * Rejects with `proof_timeout` (members index, retry "safe") after PROOF_TIMEOUT.
   */
  awaitProof(ticket: ProofTicket, receipt: Receipt): Promise<Uint8Array>;
}

export interface ProofTicket {
  release(): void;
}

export interface Log extends LogRead, LogAppend {
  readonly origin: string;
  readonly vkeys: readonly string[];
  /** The tlog-policy text that publication follows, or null where there are no witnesses. */
  readonly policyText: string | null;
  /** Resolves once this process is able to take writes (deduplication table complete). */
  readonly writable: Promise<void>;
  status(): LogStatus;
  /** Resolves with the reason when the log stopped by itself (fenced, failed sync, unknown commit); never rejects. */
  readonly failed: Promise<CairnError>;
  /** Stops admission at once: writes are refused with `draining`. */
  drain(): void;
  /** Settles every queued request, tries one last round, leaves everything resumable. Idempotent. */
  close(): Promise<void>;
}
