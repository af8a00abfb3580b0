// Loads SQLite where it is used, never before: checking a proof must not need a compiled package.

import type Database from "better-sqlite3";
import { CairnError } from "../core/errors.ts";

export type SqliteDatabase = Database.Database;
export type SqliteStatement = Database.Statement<unknown[], unknown>;
export type SqliteConstructor = new (path: string, options?: Database.Options) => Database.Database;

/** The database class. Throws `missing_dependency` where the package, or its compiled part, is not there. */
export async function loadSqlite(): Promise<SqliteConstructor> {
  try {
    const { default: library } = await import("better-sqlite3");
    // The compiled part is loaded by the first database, so one is opened: a wrong Node version shows here.
    new library(":memory:").close();
    return library;
  } catch (cause) {
    const reason = cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : String(cause);
    throw new CairnError("missing_dependency", {
      detail: `a log's database needs better-sqlite3: run "npm install better-sqlite3" under Node 20 or 22 (${reason})`,
      cause,
    });
  }
}

/** True where there was no room. A write-ahead log's index is made to its size at once, hence the second name. */
export function isNoRoom(error: unknown): boolean {
  const code = sqliteCode(error);
  return code.startsWith("SQLITE_FULL") || code === "SQLITE_IOERR_SHMSIZE";
}

/** SQLite's name for an error (`SQLITE_BUSY`, `SQLITE_IOERR_FSYNC`), or "" for any other error. */
export function sqliteCode(error: unknown): string {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === "string" && code.startsWith("SQLITE_") ? code : "";
}
