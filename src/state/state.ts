// The small mutable truth of a log: which entries were acknowledged, how far they are integrated, signed and published.
// The embedded driver is SQLite in a worker thread (sqlite.ts); test/state/conformance.ts is what a driver promises.
//
// Durability contract: when a method that writes resolves, what it wrote survives process death and power loss.

/** Who this database belongs to. `databaseId` is 32 lowercase hex digits, drawn at creation. */
export interface Identity {
  readonly format: number;
  readonly databaseId: string;
  readonly origin: string;
  /** `name+id` of each of the log's signing keys, ascending. */
  readonly keys: readonly string[];
  /** A change of keys that was begun and not finished: recorded here, then in `state/head`, then final. */
  readonly pendingKeys: readonly string[] | null;
}

/**
 * One group commit: `count` consecutive entries from index `first`. `hashes` holds their 32-byte leaf hashes one after
 * another, `bytes` the entries in bundle framing (big-endian uint16 length, then the bytes; c2sp.org/tlog-tiles).
 */
export interface Row {
  readonly first: number;
  readonly count: number;
  readonly hashes: Uint8Array<ArrayBuffer>;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** A tree size with its RFC 6962 root. */
export interface TreeHead {
  readonly size: number;
  readonly root: Uint8Array;
}

/** A signed note of a given size, as bytes. */
export interface StoredNote {
  readonly size: number;
  readonly note: Uint8Array;
}

/** Everything a start needs to know, read in one transaction. */
export interface StateSnapshot {
  /** One past the newest acknowledged entry: the end of the newest row, or without any (after `recover`) the head's size. */
  readonly nextIndex: number;
  /** `first` of the oldest retained row; equals `nextIndex` where there is none. */
  readonly firstRetained: number;
  readonly integrated: TreeHead;
  /** The newest head that this database knows to be signed; null before the first. */
  readonly signed: StoredNote | null;
  readonly published: StoredNote | null;
  /** Every full tile and bundle that ends at or below this size is recorded as synced in storage. */
  readonly syncedSize: number;
}

/** An entry run that `recover` could not place: kept until it is added anew. */
export interface SetAsideRow {
  readonly id: number;
  readonly first: number;
  readonly count: number;
  readonly bytes: Uint8Array;
  readonly reason: string;
}

/** `not_applied`: rolled back for certain. `unknown`: the process must stop, and the next start decides. */
export class StateError extends Error {
  readonly outcome: "not_applied" | "unknown";
  /** True where the disk or the database had no room left. */
  readonly noSpace: boolean;
  /** True where another process held the database: it passes. */
  readonly busy: boolean;

  constructor(
    message: string,
    options: { outcome: "not_applied" | "unknown"; noSpace?: boolean; busy?: boolean; cause?: unknown },
  ) {
    super(message, { cause: options.cause });
    this.name = "StateError";
    this.outcome = options.outcome;
    this.noSpace = options.noSpace ?? false;
    this.busy = options.busy ?? false;
  }
}

export interface State {
  /** For messages, such as `sqlite:/var/lib/cairn/log.db`. */
  readonly location: string;

  /** The identity row, or null in a database that has none (it then counts as absent). */
  identity(): Promise<Identity | null>;
  /** Writes the identity and the empty tree. Throws `log_exists` where an identity stands already. */
  create(identity: Identity, emptyRoot: Uint8Array): Promise<void>;
  /** Records a pending key set (null: none); `finishKeys` makes the pending set the set. */
  setPendingKeys(keys: readonly string[] | null): Promise<void>;
  finishKeys(): Promise<void>;

  snapshot(): Promise<StateSnapshot>;

  /**
   * The group commit. `row.first` must be the next index, else `StateError` `not_applied`. Takes the row's buffers and
   * gives them back with the result, so that nothing is copied on the way to the database's thread.
   */
  commit(row: Row): Promise<Row>;

  /**
   * Rows in order from the one that holds index `from` (or the first after it), until about `maxBytes` of entry bytes,
   * at least one where there is any. Read over a connection of its own, so that it never holds a commit.
   */
  readRows(from: number, maxBytes: number): Promise<Row[]>;
  /** As `readRows`, hashes only (`bytes` empty). */
  readHashes(from: number, maxRows: number): Promise<Row[]>;

  /** Records the head that is about to be signed. */
  recordIntegrated(head: TreeHead): Promise<void>;
  /** Records a note whose signature is in `state/head`. */
  recordSigned(note: StoredNote): Promise<void>;
  /**
   * Records a note that satisfies the policy, before `checkpoint` is replaced. Keeps the newest `PUBLISHED_NOTES_KEPT`
   * and those of sizes marked as anchored.
   */
  recordPublished(note: StoredNote): Promise<void>;
  /** A kept published note of exactly that size (the newest of that size), or null. */
  publishedNote(size: number): Promise<Uint8Array | null>;
  /** Keeps the published note of that size for ever; false where none of that size is kept. */
  markAnchored(size: number): Promise<boolean>;

  recordSynced(size: number): Promise<void>;
  /**
   * Drops rows that end at or below `size`, oldest first, at most `maxBytes` of entry bytes in this call, never the
   * newest row. Answers the new `firstRetained` and whether more such rows remain.
   */
  dropRows(size: number, maxBytes: number): Promise<{ firstRetained: number; more: boolean }>;
  /** Gives up to `maxBytes` of free pages back to the file system; answers the bytes still free inside the file. */
  shrink(maxBytes: number): Promise<number>;
  /** Bytes of the rows that end above index `from`: whole rows, in bundle framing. */
  bytesFrom(from: number): Promise<number>;
  /** Bytes of pages that are free inside the database. */
  freeBytes(): Promise<number>;

  /** The sizes that witnesses are known to have cosigned last, by name. */
  witnessSizes(): Promise<ReadonlyMap<string, number>>;
  rememberWitness(name: string, size: number): Promise<void>;

  // For `recover` only.
  /**
   * Replaces integrated, signed and published, and the synced size, in one transaction. Retained rows that end below the
   * new integrated size are dropped, since they would leave a gap behind them: the caller has found every entry below
   * the head in storage.
   */
  resetHeads(heads: {
    integrated: TreeHead;
    signed: StoredNote | null;
    published: StoredNote | null;
    syncedSize: number;
  }): Promise<void>;
  /**
   * Moves all rows with an index at or above `from` to the set-aside table (a straddling row is split), in one
   * transaction. `resetHeads` belongs to it wherever the integrated size lies above `from`.
   */
  setAsideRows(from: number, reason: string): Promise<void>;
  /**
   * Inserts rows at the end, found in storage, in one transaction; each must continue the last. Where no row is retained
   * the first may begin anywhere.
   */
  adoptRows(rows: readonly Row[]): Promise<void>;
  listSetAside(): Promise<SetAsideRow[]>;
  removeSetAside(ids: readonly number[]): Promise<void>;

  close(): Promise<void>;
}

/** What can be read beside a running log, from another process. */
export type ReadableState = Pick<
  State,
  | "location"
  | "identity"
  | "snapshot"
  | "readRows"
  | "readHashes"
  | "publishedNote"
  | "freeBytes"
  | "listSetAside"
  | "close"
>;

/** Published notes kept besides those of anchored sizes. */
export const PUBLISHED_NOTES_KEPT = 1000;
