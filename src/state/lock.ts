// A lock that one process holds for life and the kernel releases when it dies: a small SQLite file in which the holder
// keeps a write transaction open, after writing its name there for whoever is refused. In WAL mode that name can be read
// while the lock is held. The file must be opened nowhere else in the process: POSIX locks fall with any close of it.

import { randomBytes } from "node:crypto";
import { statSync } from "node:fs";
import { hostname } from "node:os";
import { dirname, resolve } from "node:path";
import { CairnError } from "../core/errors.ts";
import {
  isNoRoom,
  loadSqlite,
  type SqliteConstructor,
  type SqliteDatabase,
  sqliteCode,
} from "./sqlite-library.ts";

export interface Lock {
  readonly path: string;
  /** Gives the lock up. Idempotent. */
  release(): void;
}

interface Holder {
  readonly token: string;
  readonly host: string;
  readonly pid: number;
  readonly started: string;
}

const TOKEN_BYTES = 16;
/**
 * How often the whole is tried again where another process was in the midst of the same steps, and the pause between:
 * setting up a new file takes milliseconds. A lock that is held is refused at once.
 */
const ATTEMPTS = 40;
const PAUSE_MS = 25;

/**
 * Takes the lock at `path`, a file made where there is none, in a folder that exists (else `log_absent`, or
 * `file_unreadable` where a file stands in its place). `now` gives the start time to be shown, in milliseconds since the
 * epoch. Refused at once, with `locked` and the holder's host, pid and start time, while another process, or this one, holds
 * it. Works on local file systems, not on NFS.
 */
export async function takeLock(path: string, options: { now?: () => number } = {}): Promise<Lock> {
  const library = await loadSqlite();
  const absolute = resolve(path);
  const folder = statSync(dirname(absolute), { throwIfNoEntry: false });
  if (folder === undefined) {
    throw new CairnError("log_absent", { detail: `the folder ${dirname(absolute)} does not exist` });
  }
  if (!folder.isDirectory()) {
    const detail = `a file stands where the folder ${dirname(absolute)} should be; move it away`;
    throw new CairnError("file_unreadable", { detail });
  }
  const self: Holder = {
    token: randomBytes(TOKEN_BYTES).toString("hex"),
    host: hostname(),
    pid: process.pid,
    started: new Date((options.now ?? Date.now)()).toISOString(),
  };
  for (let attempt = 1; ; attempt++) {
    const outcome = tryLock(library, absolute, self);
    if ("database" in outcome) {
      const { database } = outcome;
      return { path: absolute, release: () => database.close() };
    }
    const { holder } = outcome;
    if (attempt === ATTEMPTS || (holder !== null && mayHold(holder, self))) throw locked(absolute, holder);
    await new Promise((done) => setTimeout(done, PAUSE_MS));
  }
}

/** The lock, or who holds it: null where another process is taking it just now. */
function tryLock(
  library: SqliteConstructor,
  path: string,
  self: Holder,
): { database: SqliteDatabase } | { holder: Holder | null } {
  let database: SqliteDatabase | null = null;
  let setUp = false;
  try {
    database = new library(path, { timeout: 0 });
    database.pragma("trusted_schema = OFF");
    database.pragma("journal_mode = WAL");
    database.pragma("synchronous = FULL");
    database.exec(
      `CREATE TABLE IF NOT EXISTS holder (
         only INTEGER PRIMARY KEY CHECK (only = 1),
         token TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL, started TEXT NOT NULL
       ) STRICT`,
    );
    setUp = true;
    database.exec("BEGIN EXCLUSIVE");
    database
      .prepare("INSERT OR REPLACE INTO holder (only, token, host, pid, started) VALUES (1, ?, ?, ?, ?)")
      .run(self.token, self.host, self.pid, self.started);
    database.exec("COMMIT");
    // Between the two another process may have come, written its own name and gone: then its name stands there.
    database.exec("BEGIN EXCLUSIVE");
    if (readHolder(database)?.token !== self.token) {
      database.close();
      return { holder: null };
    }
    return { database };
  } catch (error) {
    const busy = sqliteCode(error).startsWith("SQLITE_BUSY");
    const holder = busy && setUp && database !== null ? readHolder(database) : null;
    database?.close();
    if (busy) return { holder };
    throw unusable(path, error);
  }
}

function readHolder(database: SqliteDatabase): Holder | null {
  try {
    const holder = database.prepare("SELECT token, host, pid, started FROM holder").get();
    return (holder as Holder | undefined) ?? null;
  } catch (error) {
    if (sqliteCode(error).startsWith("SQLITE_BUSY")) return null;
    throw error;
  }
}

/** False where the name cannot be the holder's: it is ours, or an earlier holder's that died, not yet written over. */
function mayHold(holder: Holder, self: Holder): boolean {
  if (holder.token === self.token) return false;
  if (holder.host !== self.host) return true;
  try {
    process.kill(holder.pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: unknown }).code !== "ESRCH";
  }
}

function locked(path: string, holder: Holder | null): CairnError {
  const who =
    holder === null
      ? "a process that has not written its name yet"
      : `process ${holder.pid} on ${holder.host}, started ${holder.started}`;
  return new CairnError("locked", {
    detail: `${path} is held by ${who}`,
    ...(holder === null ? {} : { members: { host: holder.host, pid: holder.pid, started: holder.started } }),
  });
}

function unusable(path: string, error: unknown): CairnError {
  if (isNoRoom(error))
    return new CairnError("storage_low", { detail: `no room for the lock file ${path}`, cause: error });
  const code = sqliteCode(error);
  const message = error instanceof Error ? error.message : String(error);
  const damaged = code.startsWith("SQLITE_CORRUPT") || code === "SQLITE_NOTADB";
  const detail = damaged
    ? `the lock file ${path} is damaged: make sure that no process uses this log, remove it and start again`
    : `the lock file ${path} cannot be used: ${message}${code === "" ? "" : ` (${code})`}`;
  return new CairnError("file_unreadable", { detail, cause: error });
}
