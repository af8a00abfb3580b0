// The embedded driver of the log's state: SQLite in worker threads. One thread writes; a second, with a connection of
// its own, reads rows, so that a long read holds no commit. A commit's buffers are moved to the thread and back.

import { resolve } from "node:path";
import { CairnError } from "../core/errors.ts";
import type { ReaderData, ReaderMethods } from "./sqlite-reader.ts";
import { DatabaseThread } from "./sqlite-thread.ts";
import type { WriterData, WriterMethods } from "./sqlite-writer.ts";
import { type ReadableState, type Row, type State, StateError } from "./state.ts";

/**
 * Opens the database at `path`, to write or to read beside its writer. The writer holds the log's lock (lock.ts), and
 * with `create` a database is made where none is, in a folder that exists; no identity is written. Throws `log_absent`
 * where there is none, `format_newer`, `identity_mismatch` for another program's file, `database_locked` where a reader
 * elsewhere keeps the write-ahead log from being emptied, `file_unreadable` with the reason, `missing_dependency`; and
 * StateError `noSpace` where the disk has no room at all.
 */
export async function openSqliteState(
  path: string,
  options: { mode: "write"; create?: boolean },
): Promise<State>;
export async function openSqliteState(path: string, options: { mode: "read" }): Promise<ReadableState>;
export async function openSqliteState(
  path: string,
  options: { mode: "write"; create?: boolean } | { mode: "read" },
): Promise<ReadableState> {
  const absolute = resolve(path);
  // The library trims names, so it would open another file than the one that was asked for.
  if (absolute !== absolute.trim()) {
    throw new CairnError("bad_config", { detail: `the database's name must not end in a space: "${path}"` });
  }
  const location = `sqlite:${absolute}`;
  const reader = new DatabaseThread("sqlite-reader");
  const writer = options.mode === "write" ? new DatabaseThread("sqlite-writer") : null;
  if (writer !== null && options.mode === "write") {
    try {
      await writer.open({ path: absolute, create: options.create === true } satisfies WriterData);
    } catch (error) {
      await reader.terminate();
      throw error;
    }
  }
  try {
    await reader.open({ path: absolute } satisfies ReaderData);
  } catch (error) {
    await writer?.close();
    throw error;
  }
  return writer === null ? readable(location, reader) : writable(location, writer, reader);
}

function readable(location: string, reader: DatabaseThread): ReadableState {
  const read = caller<ReaderMethods>(reader);
  return {
    location,
    identity: () => read("identity"),
    snapshot: () => read("snapshot"),
    readRows: (from, maxBytes) => read("readRows", from, maxBytes),
    readHashes: (from, maxRows) => read("readHashes", from, maxRows),
    publishedNote: (size) => read("publishedNote", size),
    freeBytes: () => read("freeBytes"),
    listSetAside: () => read("listSetAside"),
    close: () => reader.close(),
  };
}

function writable(location: string, writer: DatabaseThread, reader: DatabaseThread): State {
  const write = caller<WriterMethods>(writer);
  const { readRows, readHashes, publishedNote, freeBytes } = readable(location, reader);
  return {
    location,
    readRows,
    readHashes,
    publishedNote,
    freeBytes,
    identity: () => write("identity"),
    snapshot: () => write("snapshot"),
    listSetAside: () => write("listSetAside"),
    bytesFrom: (from) => write("bytesFrom", from),
    witnessSizes: () => write("witnessSizes"),
    rememberWitness: (name, size) => write("rememberWitness", name, size),
    create: (identity, emptyRoot) => write("create", identity, emptyRoot),
    setPendingKeys: (keys) => write("setPendingKeys", keys),
    finishKeys: () => write("finishKeys"),
    commit: (row) => commit(writer, row),
    recordIntegrated: (head) => write("recordIntegrated", head),
    recordSigned: (note) => write("recordSigned", note),
    recordPublished: (note) => write("recordPublished", note),
    markAnchored: (size) => write("markAnchored", size),
    recordSynced: (size) => write("recordSynced", size),
    dropRows: (size, maxBytes) => write("dropRows", size, maxBytes),
    shrink: (maxBytes) => write("shrink", maxBytes),
    resetHeads: (heads) => write("resetHeads", heads),
    setAsideRows: (from, reason) => write("setAsideRows", from, reason),
    adoptRows: (rows) => write("adoptRows", rows),
    removeSetAside: (ids) => write("removeSetAside", ids),
    async close() {
      // The reader first: the last connection to go empties the write-ahead log, and only the writer can.
      await reader.close();
      await writer.close();
    },
  };
}

function commit(writer: DatabaseThread, row: Row): Promise<Row> {
  // Buffers that were moved away before would be lost on the way, and the call with them.
  if (row.hashes.length === 0 || row.bytes.length === 0) {
    return Promise.reject(new StateError("the row has no bytes, or no longer", { outcome: "not_applied" }));
  }
  return writer.call("commit", [row], [row.hashes.buffer, row.bytes.buffer]) as Promise<Row>;
}

type Method = (...args: never[]) => Promise<unknown>;

/** Typed calls by the name of the method. */
function caller<Methods>(thread: DatabaseThread) {
  return <Name extends keyof Methods & string>(
    name: Name,
    ...args: Methods[Name] extends Method ? Parameters<Methods[Name]> : never
  ) => thread.call(name, args) as Methods[Name] extends Method ? ReturnType<Methods[Name]> : never;
}
