// The thread with the second connection, which can only read: long reads beside a running sequencer hold no commit.

import { parentPort } from "node:worker_threads";
import { explainRead, openForReading } from "./sqlite-file.ts";
import { loadSqlite } from "./sqlite-library.ts";
import { SqliteQueries } from "./sqlite-queries.ts";
import { serveCalls } from "./sqlite-thread.ts";
import type { ReadableState, Row } from "./state.ts";

/** The methods that this thread answers. */
export type ReaderMethods = Omit<ReadableState, "location" | "close">;

export interface ReaderData {
  readonly path: string;
}

if (parentPort === null) throw new Error("to be started as a worker thread");
serveCalls<ReaderData, ReaderMethods>(parentPort, async ({ path }) => {
  const database = openForReading(await loadSqlite(), path);
  const queries = new SqliteQueries(database);
  return {
    handlers: {
      identity: () => queries.identity(),
      snapshot: () => queries.snapshot(),
      readRows: (from, maxBytes) => queries.readRows(from, maxBytes),
      readHashes: (from, maxRows) => queries.readHashes(from, maxRows),
      publishedNote: (size) => queries.publishedNote(size),
      freeBytes: () => queries.freeBytes(),
      listSetAside: () => queries.listSetAside(),
    },
    buffersOf(method, value) {
      if (method === "readRows")
        return (value as Row[]).flatMap((row) => [row.hashes.buffer, row.bytes.buffer]);
      // The empty `bytes` of these rows is one array for all.
      if (method === "readHashes") return (value as Row[]).map((row) => row.hashes.buffer);
      return [];
    },
    explain: (error) => explainRead(error, path),
    afterAnswer: () => {},
    close: () => database.close(),
  };
});
