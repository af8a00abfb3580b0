// Opens the database file: for the one writer, with everything its durability rests on set and checked, or for reading
// beside it. Runs in the worker threads. Nothing is created here because something was not found.

import { readdirSync, readFileSync, statSync } from "node:fs";
import { CairnError } from "../core/errors.ts";
import { isNoRoom, type SqliteConstructor, type SqliteDatabase, sqliteCode } from "./sqlite-library.ts";
import { StateError } from "./state.ts";

/** Marks the file as Cairn's ("Carn"), so that another program's database is never migrated. */
const APPLICATION_ID = 0x4361726e;
/**
 * Measured (scripts/measure-state.ts): rows of 10,000 entries go in twice as fast as with pages of 4 KiB, and a row of one
 * entry as fast.
 */
const PAGE_BYTES = 16 * 1024;
/** The write-ahead log is cut back to this size once its content has reached the database file. */
const WAL_KEPT_BYTES = 16 * 1024 * 1024;
const WRITER_CACHE_KIB = 8 * 1024;
const READER_CACHE_KIB = 2 * 1024;
/**
 * How long a call waits for another process's lock. The log's own lock keeps every other writer out and readers block
 * nobody, so this is for an operator's sqlite3 shell; longer would hold acknowledgements without a word.
 */
const BUSY_TIMEOUT_MS = 2000;
const SYNCHRONOUS_FULL = 2;
const AUTO_VACUUM_INCREMENTAL = 2;
const MIGRATIONS = new URL("../../migrations/", import.meta.url);
const MIGRATION_NAME = /^(\d{4})_[a-z0-9_]+\.sql$/;

/**
 * Opens the only writing connection. The caller holds the log's lock. Whatever stands in the write-ahead log is brought
 * into the database file and synced before anything is written: after a failed sync a page can be readable and not
 * durable, and new rows must not stand on it. Throws `log_absent` where there is no database, unless `create`.
 */
export function openForWriting(
  library: SqliteConstructor,
  path: string,
  options: { create: boolean },
): SqliteDatabase {
  return explaining(path, () => {
    if (!options.create && !fileExists(path)) throw absent(path);
    const database = new library(path, { fileMustExist: !options.create, timeout: BUSY_TIMEOUT_MS });
    return closingOnError(database, () => {
      database.pragma("trusted_schema = OFF");
      const version = readVersion(database, path);
      if (version === 0) {
        if (!options.create) throw absent(path);
        database.pragma(`page_size = ${PAGE_BYTES}`);
        database.pragma("auto_vacuum = INCREMENTAL");
      }
      if (pragma(database, "journal_mode = WAL") !== "wal") {
        throw new CairnError("file_unreadable", {
          detail: `${path} cannot use write-ahead logging; its file system must support shared memory files`,
        });
      }
      // Set explicitly: in WAL mode the library's default is NORMAL, which does not survive power loss.
      database.pragma("synchronous = FULL");
      database.pragma(`cache_size = -${WRITER_CACHE_KIB}`);
      database.pragma(`journal_size_limit = ${WAL_KEPT_BYTES}`);
      // Checkpoints are made by the store: an automatic one swallows the error of a failed sync.
      database.pragma("wal_autocheckpoint = 0");
      const [result] = database.pragma("wal_checkpoint(TRUNCATE)") as [{ busy: number }];
      if (result.busy !== 0) {
        throw new CairnError("database_locked", {
          detail: `something is reading ${path}, a backup perhaps; start again when it has finished`,
        });
      }
      migrate(database, version);
      if (pragma(database, "auto_vacuum") !== AUTO_VACUUM_INCREMENTAL) {
        throw new CairnError("identity_mismatch", { detail: `${path} was not made by Cairn; move it away` });
      }
      return database;
    });
  });
}

/** Opens a connection that can only read. Throws `log_absent` where there is no database. */
export function openForReading(library: SqliteConstructor, path: string): SqliteDatabase {
  return explaining(path, () => {
    if (!fileExists(path)) throw absent(path);
    const database = new library(path, { readonly: true, fileMustExist: true, timeout: BUSY_TIMEOUT_MS });
    return closingOnError(database, () => {
      database.pragma("trusted_schema = OFF");
      database.pragma(`cache_size = -${READER_CACHE_KIB}`);
      const version = readVersion(database, path);
      if (version === 0) throw absent(path);
      if (version < migrations().length) {
        throw new CairnError("file_unreadable", {
          detail: `${path} was last used by an older version; start the log once with this one`,
        });
      }
      return database;
    });
  });
}

/** Throws where a commit would not be synced. To be called after a first write, which settles the mode for good. */
export function checkSynchronous(database: SqliteDatabase): void {
  const mode = pragma(database, "synchronous");
  if (mode === SYNCHRONOUS_FULL) return;
  throw new StateError(`commits are not synced (synchronous is ${String(mode)}, not FULL)`, {
    outcome: "unknown",
  });
}

/** What an error of SQLite's means for who reads it, in words. */
export function describeSqliteError(error: unknown, path: string): string {
  const code = sqliteCode(error);
  if (isNoRoom(error)) {
    return `no room is left for ${path}; make room on its disk`;
  }
  if (code.startsWith("SQLITE_CORRUPT") || code === "SQLITE_NOTADB") {
    return `${path} is damaged or not a database; move it away and run cairn recover`;
  }
  if (code.startsWith("SQLITE_IOERR")) return `the disk failed under ${path} (${code}); check its health`;
  if (code.startsWith("SQLITE_BUSY")) return `another process holds ${path}; end it and try again`;
  if (code.startsWith("SQLITE_READONLY")) return `${path} or its folder is read-only`;
  if (code.startsWith("SQLITE_CANTOPEN")) {
    return `${path} cannot be opened; check that it is a file and that this user may read and write it and its folder`;
  }
  if ((error as { code?: unknown } | null)?.code === "ENOTDIR") {
    return `a file stands where a folder should be, on the way to ${path}; move it away`;
  }
  const message = error instanceof Error ? error.message : String(error);
  return `${path}: ${message}${code === "" ? "" : ` (${code})`}`;
}

/** An error of SQLite's in a read, as who asked is to see it: nothing was applied, nothing is taken for absence. */
export function explainRead(error: unknown, path: string): unknown {
  if (sqliteCode(error) === "") return error;
  return new StateError(describeSqliteError(error, path), { outcome: "not_applied", cause: error });
}

/** 0 for a database with nothing in it. Throws for another program's, and `format_newer` for a newer version's. */
function readVersion(database: SqliteDatabase, path: string): number {
  const applicationId = pragma(database, "application_id");
  const tables = database.prepare("SELECT count(*) FROM sqlite_schema").pluck().get();
  if (applicationId === 0 && tables === 0) return 0;
  if (applicationId !== APPLICATION_ID) {
    throw new CairnError("identity_mismatch", { detail: `${path} is the database of another program` });
  }
  const version = pragma(database, "user_version") as number;
  const newest = migrations().length;
  if (version > newest) {
    throw new CairnError("format_newer", {
      detail: `${path} has schema ${version}, this version knows ${newest}`,
    });
  }
  return version;
}

function migrate(database: SqliteDatabase, version: number): void {
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
    checkSynchronous(database);
  }
}

/** The names of the migrations: numbered from 1 without a gap, so that their count is the newest version. */
function migrations(): string[] {
  const names = readdirSync(MIGRATIONS)
    .filter((name) => name.endsWith(".sql"))
    .sort();
  for (const [index, name] of names.entries()) {
    if (Number(MIGRATION_NAME.exec(name)?.[1]) !== index + 1)
      throw new Error(`migration out of order: ${name}`);
  }
  return names;
}

function pragma(database: SqliteDatabase, source: string): unknown {
  return database.pragma(source, { simple: true });
}

function fileExists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

function absent(path: string): CairnError {
  return new CairnError("log_absent", { detail: `no database at ${path}` });
}

function closingOnError(database: SqliteDatabase, use: () => SqliteDatabase): SqliteDatabase {
  try {
    return use();
  } catch (error) {
    database.close();
    throw error;
  }
}

function explaining<Result>(path: string, open: () => Result): Result {
  try {
    return open();
  } catch (error) {
    if (error instanceof CairnError || error instanceof StateError) throw error;
    const sentence = describeSqliteError(error, path);
    if (isNoRoom(error))
      throw new StateError(sentence, { outcome: "not_applied", noSpace: true, cause: error });
    const code = sqliteCode(error).startsWith("SQLITE_BUSY") ? "database_locked" : "file_unreadable";
    throw new CairnError(code, { detail: sentence, cause: error });
  }
}
