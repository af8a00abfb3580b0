// The witness's memory in SQLite: one connection, in the process's own thread, since a request must be checked, recorded and
// answered in one go. A commit is one row, synced (`synchronous=FULL`). Another process may add logs beside it.

import { readdirSync, readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { CairnError } from "../core/errors.ts";
import { asHash } from "../core/hash.ts";
import {
  isNoRoom,
  loadSqlite,
  type SqliteDatabase,
  type SqliteStatement,
  sqliteCode,
} from "./sqlite-library.ts";
import { StateError } from "./state.ts";
import type { CosignedCheckpoint, WitnessedLog, WitnessState } from "./witness-state.ts";

/** Marks the file as a Cairn witness's ("CarW"), so that a log's database is never taken for it. */
const APPLICATION_ID = 0x43617257;
/** How long a call waits for the other process, which only ever adds a log. */
const BUSY_TIMEOUT_MS = 2000;
const SYNCHRONOUS_FULL = 2;
/**
 * The length that the write-ahead log is given at the start. A commit that overwrites a part of it changes nothing of the
 * file but its bytes; one that makes it longer waits for the file system's own journal too, which on ext4 takes two to five
 * times as long.
 */
const WAL_ROOM_BYTES = 4 * 1024 * 1024;
/** Written since the last checkpoint until the next, so that the log begins anew before its length is used up. */
const CHECKPOINT_BYTES = 3 * 1024 * 1024;
/** What a commit writes besides its note: a page of the table, and one more where the note begins a page. */
const COMMIT_OVERHEAD_BYTES = 2 * 4096;
/** The write-ahead log is cut back to this size once its content has reached the database file. */
const WAL_KEPT_BYTES = 16 * 1024 * 1024;
const CACHE_KIB = 16 * 1024;
const MIGRATIONS = new URL("../../migrations/witness/", import.meta.url);
const MIGRATION_NAME = /^(\d{4})_[a-z0-9_]+\.sql$/;

/**
 * Opens the database at `path`. `witness` is for the witness itself, which holds the lock beside it and has the database made
 * where there is none, in a folder that exists; `beside` is for commands that read and add logs while it runs. Throws
 * `witness_absent` where there is none, unless `witness`; `identity_mismatch` for another program's file, `format_newer`,
 * `database_locked`, `file_unreadable` with the reason, `missing_dependency`.
 */
export async function openWitnessState(
  path: string,
  mode: "witness" | "beside",
): Promise<{ state: WitnessState; created: boolean }> {
  const library = await loadSqlite();
  const absolute = resolve(path);
  // The library trims names, so it would open another file than the one that was asked for.
  if (absolute !== absolute.trim()) {
    throw new CairnError("bad_config", { detail: `the database's name must not end in a space: "${path}"` });
  }
  const exists = statSync(absolute, { throwIfNoEntry: false }) !== undefined;
  if (!exists && mode === "beside") throw new CairnError("witness_absent", { detail: absolute });
  let database: SqliteDatabase | null = null;
  try {
    database = new library(absolute, { timeout: BUSY_TIMEOUT_MS });
    const created = prepare(database, absolute, mode);
    return { state: new SqliteWitnessState(database, absolute), created };
  } catch (error) {
    database?.close();
    throw error instanceof CairnError || error instanceof StateError ? error : unusable(absolute, error);
  }
}

/** Sets the connection up and brings the schema up to date; true where the database had none. */
function prepare(database: SqliteDatabase, path: string, mode: "witness" | "beside"): boolean {
  database.pragma("trusted_schema = OFF");
  const version = readVersion(database, path);
  if (version === 0 && mode === "beside") throw new CairnError("witness_absent", { detail: path });
  if (database.pragma("journal_mode = WAL", { simple: true }) !== "wal") {
    throw new CairnError("file_unreadable", {
      detail: `${path} cannot use write-ahead logging; its file system must support shared memory files`,
    });
  }
  // Set explicitly: in WAL mode the library's default is NORMAL, which does not survive power loss.
  database.pragma("synchronous = FULL");
  database.pragma(`cache_size = -${CACHE_KIB}`);
  database.pragma(`journal_size_limit = ${WAL_KEPT_BYTES}`);
  // Checkpoints are made below: an automatic one swallows the error of a failed sync.
  database.pragma("wal_autocheckpoint = 0");
  if (mode === "beside") return false;
  // After a failed sync a page can be readable and not durable, and no new row must stand on it.
  const [result] = database.pragma("wal_checkpoint(TRUNCATE)") as [{ busy: number }];
  if (result.busy !== 0) {
    throw new CairnError("database_locked", {
      detail: `something is reading ${path}, a backup perhaps; start again when it has finished`,
    });
  }
  for (const [index, name] of migrations().entries()) {
    if (index < version) continue;
    const sql = readFileSync(new URL(name, MIGRATIONS), "utf8");
    database.exec("BEGIN IMMEDIATE");
    try {
      database.exec(sql);
      database.pragma(`application_id = ${APPLICATION_ID}`);
      database.pragma(`user_version = ${index + 1}`);
      database.exec("COMMIT");
    } catch (error) {
      if (database.inTransaction) database.exec("ROLLBACK");
      throw error;
    }
  }
  makeRoom(database);
  return version === 0;
}

function makeRoom(database: SqliteDatabase): void {
  try {
    database.exec(`INSERT INTO room (bytes) VALUES (zeroblob(${WAL_ROOM_BYTES})); DELETE FROM room;`);
    database.pragma("wal_checkpoint(RESTART)");
  } catch (error) {
    // On a disk that is nearly full the log has to grow as it goes, while it can.
    if (!isRolledBack(error)) throw error;
  }
}

class SqliteWitnessState implements WitnessState {
  readonly location: string;
  readonly #database: SqliteDatabase;
  readonly #path: string;
  readonly #cosigned: SqliteStatement;
  readonly #insert: SqliteStatement;
  readonly #update: SqliteStatement;
  readonly #note: SqliteStatement;
  readonly #count: SqliteStatement;
  readonly #logs: SqliteStatement;
  readonly #addLog: SqliteStatement;
  readonly #putLog: SqliteStatement;
  readonly #dataVersion: SqliteStatement;
  readonly #checkpoint: SqliteStatement;
  #seenDataVersion: unknown = null;
  /** Bytes written since the last checkpoint, nearly. */
  #unCheckpointed = 0;
  #synchronousChecked = false;
  /** Why nothing is written any more, or null. */
  #failure: StateError | null = null;

  constructor(database: SqliteDatabase, path: string) {
    this.#database = database;
    this.#path = path;
    this.location = `sqlite:${path}`;
    this.#cosigned = database.prepare("SELECT size, root FROM cosigned WHERE origin = ?").safeIntegers(true);
    this.#insert = database.prepare(
      "INSERT INTO cosigned (origin, origin_hash, size, root, note) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    );
    this.#update = database.prepare(
      "UPDATE cosigned SET size = ?, root = ?, note = ? WHERE origin = ? AND size = ? AND root = ?",
    );
    this.#note = database.prepare("SELECT note FROM cosigned WHERE origin_hash = ?").pluck();
    this.#count = database.prepare("SELECT count(*) FROM cosigned").pluck();
    this.#logs = database.prepare("SELECT origin, keys, paused, qpd, contact FROM logs ORDER BY origin");
    this.#addLog = database.prepare(
      "INSERT INTO logs (origin, keys, paused, qpd, contact) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    );
    this.#putLog = database.prepare(
      "INSERT OR REPLACE INTO logs (origin, keys, paused, qpd, contact) VALUES (?, ?, ?, ?, ?)",
    );
    this.#dataVersion = database.prepare("PRAGMA data_version").pluck();
    this.#checkpoint = database.prepare("PRAGMA wal_checkpoint(PASSIVE)");
  }

  cosigned(origin: string): CosignedCheckpoint | null {
    const row = this.#cosigned.get(origin) as { size: bigint; root: Uint8Array } | undefined;
    return row === undefined ? null : { size: row.size, root: asHash(row.root) };
  }

  advance(
    origin: string,
    originHash: Uint8Array,
    from: CosignedCheckpoint | null,
    to: CosignedCheckpoint & { readonly note: Uint8Array },
  ): boolean {
    const { size, root, note } = to;
    return this.#write(note.length, () => {
      const { changes } =
        from === null
          ? this.#insert.run(origin, originHash, size, root, note)
          : this.#update.run(size, root, note, origin, from.size, from.root);
      return changes === 1;
    });
  }

  note(originHash: Uint8Array): Uint8Array | null {
    return (this.#note.get(originHash) as Uint8Array | undefined) ?? null;
  }

  logs(): WitnessedLog[] {
    const rows = this.#logs.all() as (Omit<WitnessedLog, "keys" | "paused"> & {
      keys: string;
      paused: number;
    })[];
    return rows.map((row) => ({ ...row, keys: JSON.parse(row.keys) as string[], paused: row.paused === 1 }));
  }

  changed(): boolean {
    const version = this.#dataVersion.get();
    if (version === this.#seenDataVersion) return false;
    this.#seenDataVersion = version;
    return true;
  }

  discover(logs: readonly WitnessedLog[]): string[] {
    const bytes = logs.reduce((sum, log) => sum + log.keys.length * COMMIT_OVERHEAD_BYTES, 0);
    return this.#write(bytes, () => {
      const added: string[] = [];
      this.#database.exec("BEGIN IMMEDIATE");
      for (const log of logs) {
        if (this.#addLog.run(...logValues(log)).changes === 1) added.push(log.origin);
      }
      this.#database.exec("COMMIT");
      return added;
    });
  }

  putLog(log: WitnessedLog): void {
    this.#write(0, () => this.#putLog.run(...logValues(log)));
  }

  cosignedCount(): number {
    return this.#count.get() as number;
  }

  close(): void {
    this.#database.close();
  }

  /** Runs `write`, which commits; durable when it returns. `bytes`: about what it writes. */
  #write<Result>(bytes: number, write: () => Result): Result {
    if (this.#failure !== null) throw this.#failure;
    try {
      const result = write();
      this.#checkSynchronous();
      this.#checkpointIfDue(bytes);
      return result;
    } catch (error) {
      throw this.#failed(error);
    }
  }

  #checkpointIfDue(bytes: number): void {
    this.#unCheckpointed += bytes + COMMIT_OVERHEAD_BYTES;
    if (this.#unCheckpointed < CHECKPOINT_BYTES) return;
    this.#unCheckpointed = 0;
    try {
      this.#checkpoint.get();
    } catch (error) {
      // The commit before it is durable in any case. Without room, or beside a reader's lock, everything stays in the
      // write-ahead log until the next time; after anything else nothing more is written.
      if (!isRolledBack(error)) this.#failed(error);
    }
  }

  /** After a first write, which settles the mode for good. */
  #checkSynchronous(): void {
    if (this.#synchronousChecked) return;
    const mode = this.#database.pragma("synchronous", { simple: true });
    if (mode !== SYNCHRONOUS_FULL) throw new Error(`commits are not synced (synchronous is ${String(mode)})`);
    this.#synchronousChecked = true;
  }

  #failed(error: unknown): StateError {
    const unknown = !isRolledBack(error);
    if (this.#database.inTransaction) {
      try {
        this.#database.exec("ROLLBACK");
      } catch {
        // The first error says more.
      }
    }
    const failure = new StateError(`${this.#path}: ${messageOf(error)}`, {
      outcome: unknown ? "unknown" : "not_applied",
      noSpace: sqliteCode(error).startsWith("SQLITE_FULL"),
      cause: error,
    });
    if (unknown) this.#failure = failure;
    return failure;
  }
}

/** SQLite rolls back whole what failed like this: nothing of it stands in the write-ahead log as committed. */
function isRolledBack(error: unknown): boolean {
  const code = sqliteCode(error);
  return code.startsWith("SQLITE_FULL") || code.startsWith("SQLITE_BUSY");
}

function logValues({ origin, keys, paused, qpd, contact }: WitnessedLog): unknown[] {
  return [origin, JSON.stringify(keys), paused ? 1 : 0, qpd, contact];
}

/** 0 for a database with nothing in it. Throws for another program's, and `format_newer` for a newer version's. */
function readVersion(database: SqliteDatabase, path: string): number {
  const applicationId = database.pragma("application_id", { simple: true });
  const tables = database.prepare("SELECT count(*) FROM sqlite_schema").pluck().get();
  if (applicationId === 0 && tables === 0) return 0;
  if (applicationId !== APPLICATION_ID) {
    throw new CairnError("identity_mismatch", { detail: `${path} is no witness's database` });
  }
  const version = database.pragma("user_version", { simple: true }) as number;
  const newest = migrations().length;
  if (version > newest) {
    throw new CairnError("format_newer", {
      detail: `${path} has schema ${version}, this version knows ${newest}`,
    });
  }
  return version;
}

/** The names of the migrations: numbered from 1 without a gap, so that their count is the newest version. */
function migrations(): string[] {
  const names = readdirSync(MIGRATIONS)
    .filter((name) => name.endsWith(".sql"))
    .sort();
  for (const [index, name] of names.entries()) {
    if (Number(MIGRATION_NAME.exec(name)?.[1]) !== index + 1) {
      throw new Error(`migration out of order: ${name}`);
    }
  }
  return names;
}

function unusable(path: string, error: unknown): CairnError {
  const code = sqliteCode(error);
  const detail = code.startsWith("SQLITE_CANTOPEN")
    ? `${path} cannot be opened; check that it is a file and that this user may read and write it and its folder`
    : isNoRoom(error)
      ? `no room is left for ${path}; make room on its disk`
      : `${path}: ${messageOf(error)}`;
  return new CairnError(code.startsWith("SQLITE_BUSY") ? "database_locked" : "file_unreadable", {
    detail,
    cause: error,
  });
}

function messageOf(error: unknown): string {
  const code = sqliteCode(error);
  const message = error instanceof Error ? error.message : String(error);
  return code === "" ? message : `${message} (${code})`;
}
