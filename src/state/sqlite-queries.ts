// What is read from the database, in SQL. Used by the writing connection and by the one that only reads; statements are
// prepared once. Numbers that leave here are safe integers: SQLite's reach to 2^63 and would be rounded on the way.

import { CairnError } from "../core/errors.ts";
import type { SqliteDatabase, SqliteStatement } from "./sqlite-library.ts";
import {
  type Identity,
  type Row,
  type SetAsideRow,
  StateError,
  type StateSnapshot,
  type StoredNote,
} from "./state.ts";

const NO_BYTES = new Uint8Array(0);

/** Where a row lies in the tree. */
export interface RowSpan {
  readonly first: number;
  readonly count: number;
}

interface RowRecord {
  readonly first: number;
  readonly count: number;
  readonly hashes: Uint8Array<ArrayBuffer>;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

interface HeadsRecord {
  readonly integrated_size: number;
  readonly integrated_root: Uint8Array;
  readonly signed_size: number | null;
  readonly signed_note: Uint8Array | null;
  readonly published_size: number | null;
  readonly published_note: Uint8Array | null;
  readonly synced_size: number;
}

export class SqliteQueries {
  readonly #database: SqliteDatabase;
  readonly #begin: SqliteStatement;
  readonly #end: SqliteStatement;
  readonly #identity: SqliteStatement;
  readonly #heads: SqliteStatement;
  readonly #newest: SqliteStatement;
  readonly #oldest: SqliteStatement;
  readonly #lastUpTo: SqliteStatement;
  readonly #rowsFrom: SqliteStatement;
  readonly #hashesFrom: SqliteStatement;
  readonly #publishedNote: SqliteStatement;
  readonly #setAside: SqliteStatement;
  readonly #witnessSizes: SqliteStatement;
  readonly #bytesFrom: SqliteStatement;

  constructor(database: SqliteDatabase) {
    this.#database = database;
    this.#begin = database.prepare("BEGIN");
    // The length of a blob stands in its row's header: nothing of it is read.
    this.#bytesFrom = database.prepare(
      "SELECT coalesce(sum(length(bytes)), 0) AS bytes FROM entry_rows WHERE first + count > ?",
    );
    this.#witnessSizes = database.prepare("SELECT name, size FROM witness_sizes");
    this.#end = database.prepare("COMMIT");
    this.#identity = database.prepare(
      "SELECT format, database_id, origin, keys, pending_keys FROM identity WHERE only = 1",
    );
    this.#heads = database.prepare(
      `SELECT integrated_size, integrated_root, signed_size, signed_note, published_size, published_note, synced_size
       FROM heads WHERE only = 1`,
    );
    this.#newest = database.prepare("SELECT first, count FROM entry_rows ORDER BY first DESC LIMIT 1");
    this.#oldest = database.prepare("SELECT first, count FROM entry_rows ORDER BY first LIMIT 1");
    this.#lastUpTo = database.prepare(
      "SELECT first, count FROM entry_rows WHERE first <= ? ORDER BY first DESC LIMIT 1",
    );
    this.#rowsFrom = database.prepare(
      "SELECT first, count, hashes, bytes FROM entry_rows WHERE first >= ? ORDER BY first",
    );
    this.#hashesFrom = database.prepare(
      "SELECT first, count, hashes FROM entry_rows WHERE first >= ? ORDER BY first LIMIT ?",
    );
    this.#publishedNote = database.prepare("SELECT note FROM published_notes WHERE size = ?").pluck();
    this.#setAside = database.prepare("SELECT id, first, count, bytes, reason FROM set_aside ORDER BY id");
  }

  identity(): Identity | null {
    const record = this.#identity.get() as
      | { format: number; database_id: string; origin: string; keys: string; pending_keys: string | null }
      | undefined;
    if (record === undefined) return null;
    return {
      format: record.format,
      databaseId: record.database_id,
      origin: record.origin,
      keys: JSON.parse(record.keys) as string[],
      pendingKeys: record.pending_keys === null ? null : (JSON.parse(record.pending_keys) as string[]),
    };
  }

  snapshot(): StateSnapshot {
    return this.#reading(() => {
      const heads = this.#heads.get() as HeadsRecord | undefined;
      if (heads === undefined) {
        throw new StateError("the database has no identity yet", { outcome: "not_applied" });
      }
      const integratedSize = safeInteger(heads.integrated_size);
      const nextIndex = this.nextIndex();
      const oldest = this.oldest();
      return {
        nextIndex,
        firstRetained: oldest?.first ?? nextIndex,
        integrated: { size: integratedSize, root: heads.integrated_root },
        signed: storedNote(heads.signed_size, heads.signed_note),
        published: storedNote(heads.published_size, heads.published_note),
        syncedSize: safeInteger(heads.synced_size),
      };
    });
  }

  /** One past the newest entry: the end of the newest row, or without rows (after `recover`) the integrated size. */
  nextIndex(): number {
    const newest = this.newest();
    if (newest !== null) return newest.first + newest.count;
    const heads = this.#heads.get() as HeadsRecord | undefined;
    return heads === undefined ? 0 : safeInteger(heads.integrated_size);
  }

  newest(): RowSpan | null {
    return span(this.#newest.get());
  }

  oldest(): RowSpan | null {
    return span(this.#oldest.get());
  }

  /** `first` of the row that holds `index`, or of the first row after it; `index` itself where there is neither. */
  rowStart(index: number): number {
    const before = span(this.#lastUpTo.get(index));
    return before !== null && before.first + before.count > index ? before.first : index;
  }

  readRows(from: number, maxBytes: number): Row[] {
    return this.#reading(() => {
      const rows: Row[] = [];
      let bytes = 0;
      for (const record of this.#rowsFrom.iterate(this.rowStart(from)) as IterableIterator<RowRecord>) {
        rows.push({
          ...checkedSpan(record),
          hashes: plainBytes(record.hashes),
          bytes: plainBytes(record.bytes),
        });
        bytes += record.bytes.length;
        if (bytes >= maxBytes) break;
      }
      return rows;
    });
  }

  readHashes(from: number, maxRows: number): Row[] {
    return this.#reading(() => {
      const records = this.#hashesFrom.all(this.rowStart(from), Math.max(1, maxRows)) as RowRecord[];
      return records.map((record) => ({
        ...checkedSpan(record),
        hashes: plainBytes(record.hashes),
        bytes: NO_BYTES,
      }));
    });
  }

  publishedNote(size: number): Uint8Array | null {
    return (this.#publishedNote.get(size) as Uint8Array | undefined) ?? null;
  }

  bytesFrom(from: number): number {
    return (this.#bytesFrom.get(from) as { readonly bytes: number }).bytes;
  }

  witnessSizes(): ReadonlyMap<string, number> {
    const rows = this.#witnessSizes.all() as { readonly name: string; readonly size: number }[];
    return new Map(rows.map(({ name, size }) => [name, safeInteger(size)]));
  }

  listSetAside(): SetAsideRow[] {
    return (this.#setAside.all() as SetAsideRow[]).map((record) => ({ ...record, ...checkedSpan(record) }));
  }

  freeBytes(): number {
    const pages = this.#database.pragma("freelist_count", { simple: true }) as number;
    return pages * (this.#database.pragma("page_size", { simple: true }) as number);
  }

  /** Several statements over one state of the database. Inside a transaction they have that already. */
  #reading<Result>(read: () => Result): Result {
    if (this.#database.inTransaction) return read();
    this.#begin.run();
    try {
      return read();
    } finally {
      this.#end.run();
    }
  }
}

/** Throws `unsafe_integer` for anything but an integer from 0 to 2^53 - 1. */
export function safeInteger(value: number): number {
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new CairnError("unsafe_integer", { detail: String(value) });
}

function span(record: unknown): RowSpan | null {
  return record === undefined ? null : checkedSpan(record as RowSpan);
}

function checkedSpan({ first, count }: RowSpan): RowSpan {
  safeInteger(first + safeInteger(count));
  return { first: safeInteger(first), count };
}

function storedNote(size: number | null, note: Uint8Array | null): StoredNote | null {
  return size === null || note === null ? null : { size: safeInteger(size), note };
}

/** The library's Buffer as the bytes it holds. Each owns its memory, so it can be moved to another thread. */
function plainBytes(buffer: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}
