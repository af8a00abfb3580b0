// What is written to the database, in SQL, over its only writing connection. A method that returns has committed and
// synced. One that throws `not_applied` changed nothing; after `unknown` nothing is written any more: the process stops
// and the next start reads what became of it.

import { bundleOffsets } from "../core/bundle.ts";
import { CairnError } from "../core/errors.ts";
import { HASH_BYTES } from "../core/hash.ts";
import { checkSynchronous, describeSqliteError } from "./sqlite-file.ts";
import { type SqliteDatabase, type SqliteStatement, sqliteCode } from "./sqlite-library.ts";
import { type RowSpan, safeInteger, SqliteQueries } from "./sqlite-queries.ts";
import {
  type Identity,
  PUBLISHED_NOTES_KEPT,
  type Row,
  type State,
  StateError,
  type StateSnapshot,
  type StoredNote,
  type TreeHead,
} from "./state.ts";

/**
 * Written since the last checkpoint until the next: a checkpoint of so much holds the following commit for a few
 * milliseconds, and a start has little to read.
 */
const CHECKPOINT_BYTES = 4 * 1024 * 1024;
/** What a commit writes besides its bytes: a page of the rows' tree, and one that keeps account of pages. */
const COMMIT_OVERHEAD_PAGES = 2;

export class SqliteStore {
  readonly queries: SqliteQueries;
  readonly #database: SqliteDatabase;
  readonly #path: string;
  readonly #pageBytes: number;
  readonly #begin: SqliteStatement;
  readonly #commit: SqliteStatement;
  readonly #checkpoint: SqliteStatement;
  readonly #insertIdentity: SqliteStatement;
  readonly #insertHeads: SqliteStatement;
  readonly #setPendingKeys: SqliteStatement;
  readonly #finishKeys: SqliteStatement;
  readonly #insertRow: SqliteStatement;
  readonly #rowLengths: SqliteStatement;
  readonly #deleteRowsFrom: SqliteStatement;
  readonly #deleteRowsUpTo: SqliteStatement;
  readonly #setIntegrated: SqliteStatement;
  readonly #setSigned: SqliteStatement;
  readonly #setPublished: SqliteStatement;
  readonly #setSynced: SqliteStatement;
  readonly #deleteNote: SqliteStatement;
  readonly #insertNote: SqliteStatement;
  readonly #pruneNotes: SqliteStatement;
  readonly #anchorNote: SqliteStatement;
  readonly #insertSetAside: SqliteStatement;
  readonly #deleteSetAside: SqliteStatement;
  readonly #setWitnessSize: SqliteStatement;
  /** Bytes written since the last checkpoint, nearly. */
  #unCheckpointed = 0;
  #synchronousChecked = false;
  /** Why nothing is written any more, or null. */
  #failure: StateError | null = null;

  /** `path` is for messages. */
  constructor(database: SqliteDatabase, path: string) {
    this.#database = database;
    this.#path = path;
    this.#pageBytes = database.pragma("page_size", { simple: true }) as number;
    this.queries = new SqliteQueries(database);
    this.#begin = database.prepare("BEGIN IMMEDIATE");
    this.#commit = database.prepare("COMMIT");
    this.#checkpoint = database.prepare("PRAGMA wal_checkpoint(PASSIVE)");
    this.#insertIdentity = database.prepare(
      "INSERT INTO identity (only, format, database_id, origin, keys, pending_keys) VALUES (1, ?, ?, ?, ?, ?)",
    );
    this.#insertHeads = database.prepare(
      "INSERT INTO heads (only, integrated_size, integrated_root, synced_size) VALUES (1, 0, ?, 0)",
    );
    this.#setPendingKeys = database.prepare("UPDATE identity SET pending_keys = ?");
    this.#finishKeys = database.prepare(
      "UPDATE identity SET keys = pending_keys, pending_keys = NULL WHERE pending_keys IS NOT NULL",
    );
    this.#insertRow = database.prepare(
      "INSERT INTO entry_rows (first, count, hashes, bytes) VALUES (?, ?, ?, ?)",
    );
    this.#rowLengths = database.prepare(
      "SELECT first, count, length(bytes) AS length FROM entry_rows WHERE first < ? ORDER BY first",
    );
    this.#deleteRowsFrom = database.prepare("DELETE FROM entry_rows WHERE first >= ?");
    this.#deleteRowsUpTo = database.prepare("DELETE FROM entry_rows WHERE first <= ?");
    this.#setIntegrated = database.prepare("UPDATE heads SET integrated_size = ?, integrated_root = ?");
    this.#setSigned = database.prepare("UPDATE heads SET signed_size = ?, signed_note = ?");
    this.#setPublished = database.prepare("UPDATE heads SET published_size = ?, published_note = ?");
    this.#setSynced = database.prepare("UPDATE heads SET synced_size = ?");
    this.#deleteNote = database
      .prepare("DELETE FROM published_notes WHERE size = ? RETURNING anchored")
      .pluck();
    this.#insertNote = database.prepare(
      "INSERT INTO published_notes (size, note, anchored) VALUES (?, ?, ?)",
    );
    this.#pruneNotes = database.prepare(
      `DELETE FROM published_notes WHERE anchored = 0 AND sequence <=
       (SELECT sequence FROM published_notes ORDER BY sequence DESC LIMIT 1 OFFSET ${PUBLISHED_NOTES_KEPT})`,
    );
    this.#anchorNote = database.prepare("UPDATE published_notes SET anchored = 1 WHERE size = ?");
    this.#insertSetAside = database.prepare(
      "INSERT INTO set_aside (first, count, bytes, reason) VALUES (?, ?, ?, ?)",
    );
    this.#setWitnessSize = database.prepare(
      "INSERT INTO witness_sizes (name, size) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET size = excluded.size",
    );
    this.#deleteSetAside = database.prepare("DELETE FROM set_aside WHERE id = ?");
  }

  create(identity: Identity, emptyRoot: Uint8Array): void {
    this.#write(0, () => {
      if (this.queries.identity() !== null) throw new CairnError("log_exists", { detail: this.#path });
      this.#insertIdentity.run(
        identity.format,
        identity.databaseId,
        identity.origin,
        JSON.stringify(identity.keys),
        identity.pendingKeys === null ? null : JSON.stringify(identity.pendingKeys),
      );
      this.#insertHeads.run(emptyRoot);
    });
  }

  setPendingKeys(keys: readonly string[] | null): void {
    this.#write(0, () => {
      const { changes } = this.#setPendingKeys.run(keys === null ? null : JSON.stringify(keys));
      if (changes !== 1) throw refused("the database has no identity yet");
    });
  }

  finishKeys(): void {
    this.#write(0, () => {
      if (this.#finishKeys.run().changes !== 1) throw refused("no change of keys is pending");
    });
  }

  commit(row: Row): void {
    checkRow(row);
    this.#write(row.hashes.length + row.bytes.length, () => {
      const next = this.queries.nextIndex();
      if (row.first !== next) throw refused(`the row begins at ${row.first}, the next index is ${next}`);
      this.#insertRow.run(row.first, row.count, row.hashes, row.bytes);
    });
  }

  recordIntegrated(head: TreeHead): void {
    safeInteger(head.size);
    this.#write(0, () => {
      const now = this.queries.snapshot();
      if (head.size < now.integrated.size || head.size > now.nextIndex) {
        throw refused(
          `integrated size ${head.size} is not between ${now.integrated.size} and the next index ${now.nextIndex}`,
        );
      }
      this.#setIntegrated.run(head.size, head.root);
    });
  }

  recordSigned(note: StoredNote): void {
    this.#write(note.note.length, () => {
      this.#refuseSmaller("signed", note.size, (now) => now.signed?.size);
      this.#setSigned.run(note.size, note.note);
    });
  }

  recordPublished(note: StoredNote): void {
    this.#write(2 * note.note.length, () => {
      this.#refuseSmaller("published", note.size, (now) => now.published?.size);
      this.#setPublished.run(note.size, note.note);
      this.#keepNote(note);
    });
  }

  markAnchored(size: number): boolean {
    return this.#write(0, () => this.#anchorNote.run(size).changes === 1);
  }

  rememberWitness(name: string, size: number): void {
    safeInteger(size);
    this.#write(0, () => {
      this.#setWitnessSize.run(name, size);
    });
  }

  recordSynced(size: number): void {
    this.#write(0, () => {
      this.#refuseSmaller("synced", size, (now) => now.syncedSize);
      this.#setSynced.run(size);
    });
  }

  dropRows(size: number, maxBytes: number): { firstRetained: number; more: boolean } {
    return this.#write(0, () => {
      const newest = this.queries.newest();
      let last: RowSpan | null = null;
      let more = false;
      let bytes = 0;
      for (const row of this.#rowLengths.iterate(size) as IterableIterator<RowSpan & { length: number }>) {
        if (row.first + row.count > size || row.first === newest?.first) break;
        more = last !== null && bytes + row.length > maxBytes;
        if (more) break;
        bytes += row.length;
        last = { first: row.first, count: row.count };
      }
      if (last !== null) this.#deleteRowsUpTo.run(last.first);
      return { firstRetained: this.queries.oldest()?.first ?? this.queries.nextIndex(), more };
    });
  }

  shrink(maxBytes: number): number {
    const pages = Math.floor(maxBytes / this.#pageBytes);
    // 0 would mean all of them.
    if (pages > 0)
      this.#write(pages * this.#pageBytes, () => this.#database.pragma(`incremental_vacuum(${pages})`));
    return this.queries.freeBytes();
  }

  resetHeads(heads: Parameters<State["resetHeads"]>[0]): void {
    for (const size of [heads.integrated.size, heads.signed?.size, heads.published?.size, heads.syncedSize]) {
      if (size !== undefined) safeInteger(size);
    }
    this.#write(0, () => {
      this.#setIntegrated.run(heads.integrated.size, heads.integrated.root);
      this.#setSigned.run(heads.signed?.size ?? null, heads.signed?.note ?? null);
      this.#setPublished.run(heads.published?.size ?? null, heads.published?.note ?? null);
      this.#setSynced.run(heads.syncedSize);
      if (heads.published !== null) this.#keepNote(heads.published);
      const newest = this.queries.newest();
      if (newest !== null && newest.first + newest.count < heads.integrated.size) {
        this.#deleteRowsUpTo.run(newest.first);
      }
    });
  }

  setAsideRows(from: number, reason: string): void {
    this.#write(0, () => {
      const start = this.queries.rowStart(from);
      let kept: Row | null = null;
      // One row at a time in memory: what is set aside can be as large as the backlog.
      for (let next = start; ; ) {
        const [row] = this.queries.readRows(next, 0);
        if (row === undefined) break;
        const keep = Math.max(0, from - row.first);
        const cut = bundleOffsets(row.bytes, row.count)[keep] as number;
        this.#insertSetAside.run(row.first + keep, row.count - keep, row.bytes.subarray(cut), reason);
        if (keep > 0) {
          const hashes = row.hashes.subarray(0, keep * HASH_BYTES);
          kept = { first: row.first, count: keep, hashes, bytes: row.bytes.subarray(0, cut) };
        }
        next = row.first + row.count;
      }
      this.#deleteRowsFrom.run(start);
      if (kept !== null) this.#insertRow.run(kept.first, kept.count, kept.hashes, kept.bytes);
    });
  }

  adoptRows(rows: readonly Row[]): void {
    for (const row of rows) checkRow(row);
    this.#write(0, () => {
      for (const row of rows) {
        const newest = this.queries.newest();
        const next = newest === null ? row.first : newest.first + newest.count;
        if (row.first !== next)
          throw refused(`the row begins at ${row.first}, the rows before it end at ${next}`);
        this.#insertRow.run(row.first, row.count, row.hashes, row.bytes);
      }
    });
  }

  removeSetAside(ids: readonly number[]): void {
    this.#write(0, () => {
      for (const id of ids) this.#deleteSetAside.run(id);
    });
  }

  /**
   * Brings what was written into the database file once enough has gathered, so that the write-ahead log stays small. To
   * be called after an answer was given: it takes some milliseconds. A failed sync here ends the writer like any other.
   */
  checkpointIfDue(): void {
    if (this.#failure !== null || this.#unCheckpointed < CHECKPOINT_BYTES) return;
    this.#unCheckpointed = 0;
    try {
      this.#checkpoint.get();
    } catch (error) {
      // Without room, or beside a reader's lock, everything stands in the write-ahead log as before: later, then.
      const code = sqliteCode(error);
      if (!code.startsWith("SQLITE_FULL") && !code.startsWith("SQLITE_BUSY")) this.#fail(error);
    }
  }

  close(): void {
    this.#database.close();
  }

  /** Runs `change` in a transaction of its own, durable when it returns. `bytes`: about what it writes. */
  #write<Result>(bytes: number, change: () => Result): Result {
    if (this.#failure !== null) throw this.#failure;
    let before: RowSpan | null = null;
    let result: Result;
    let begun = false;
    let committing = false;
    try {
      this.#begin.run();
      begun = true;
      before = this.queries.newest();
      result = change();
      committing = true;
      this.#commit.run();
    } catch (error) {
      // Nothing was begun, as beside somebody's long write: so nothing was applied either.
      if (!begun && !FATAL.test(sqliteCode(error))) throw this.#notApplied(error);
      throw this.#rollBack(error, before, committing);
    }
    this.#unCheckpointed += bytes + COMMIT_OVERHEAD_PAGES * this.#pageBytes;
    if (!this.#synchronousChecked) {
      this.#synchronousChecked = true;
      try {
        checkSynchronous(this.#database);
      } catch (error) {
        throw this.#fail(error);
      }
    }
    return result;
  }

  /**
   * What to say after a failed transaction. Only where the failure is of a kind that cannot have left a commit behind,
   * and the same connection still reads what stood there before, is it certain that nothing was applied.
   */
  #rollBack(error: unknown, before: RowSpan | null, committing: boolean): Error {
    try {
      if (this.#database.inTransaction) this.#database.exec("ROLLBACK");
      const after = this.queries.newest();
      if (after?.first !== before?.first || after?.count !== before?.count) return this.#fail(error);
    } catch {
      return this.#fail(error);
    }
    if (error instanceof StateError || error instanceof CairnError) return error;
    // A full disk stops the write before its last frame. Every other failure of the disk, and of a commit, may come after.
    const noSpace = sqliteCode(error).startsWith("SQLITE_FULL");
    if (!noSpace && (committing || FATAL.test(sqliteCode(error)))) return this.#fail(error);
    return this.#notApplied(error);
  }

  #notApplied(error: unknown): StateError {
    return new StateError(describeSqliteError(error, this.#path), {
      outcome: "not_applied",
      noSpace: sqliteCode(error).startsWith("SQLITE_FULL"),
      busy: sqliteCode(error).startsWith("SQLITE_BUSY"),
      cause: error,
    });
  }

  #fail(error: unknown): StateError {
    this.#failure ??=
      error instanceof StateError && error.outcome === "unknown"
        ? error
        : new StateError(describeSqliteError(error, this.#path), { outcome: "unknown", cause: error });
    return this.#failure;
  }

  #keepNote(note: StoredNote): void {
    const anchored = this.#deleteNote.get(note.size) ?? 0;
    this.#insertNote.run(note.size, note.note, anchored);
    this.#pruneNotes.run();
  }

  #refuseSmaller(what: string, size: number, recorded: (now: StateSnapshot) => number | undefined): void {
    const now = this.queries.snapshot();
    const least = recorded(now) ?? 0;
    if (safeInteger(size) >= least && size <= now.nextIndex) return;
    throw refused(`${what} size ${size} is not between ${least} and the next index ${now.nextIndex}`);
  }
}

/** Errors after which the file, or the disk under it, is not to be trusted. */
const FATAL = /^SQLITE_(IOERR|CORRUPT|NOTADB|CANTOPEN|PROTOCOL)/;

function refused(why: string): StateError {
  return new StateError(why, { outcome: "not_applied" });
}

/** A row that does not hold together must not become part of the sequence. */
function checkRow(row: Row): void {
  safeInteger(row.first);
  safeInteger(row.count);
  safeInteger(row.first + row.count);
  if (row.count === 0) throw refused("the row has no entries");
  if (row.hashes.length !== row.count * HASH_BYTES) {
    throw refused(`${row.hashes.length} bytes of hashes for ${row.count} entries`);
  }
  bundleOffsets(row.bytes, row.count);
}
