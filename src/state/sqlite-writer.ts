// The thread with the only writing connection: a disk that stalls it stalls neither reads nor the main thread.

import { parentPort } from "node:worker_threads";
import { explainRead, openForWriting } from "./sqlite-file.ts";
import { loadSqlite } from "./sqlite-library.ts";
import { SqliteStore } from "./sqlite-store.ts";
import { serveCalls, type ThreadService } from "./sqlite-thread.ts";
import type { Row, State } from "./state.ts";

/** The methods that this thread answers. */
export type WriterMethods = Omit<
  State,
  "location" | "readRows" | "readHashes" | "publishedNote" | "freeBytes" | "close"
>;

export interface WriterData {
  readonly path: string;
  readonly create: boolean;
}

if (parentPort === null) throw new Error("to be started as a worker thread");
serveCalls<WriterData, WriterMethods>(parentPort, async ({ path, create }) => {
  const database = openForWriting(await loadSqlite(), path, { create });
  return writerService(new SqliteStore(database, path), path);
});

function writerService(store: SqliteStore, path: string): ThreadService<WriterMethods> {
  return {
    handlers: {
      identity: () => store.queries.identity(),
      snapshot: () => store.queries.snapshot(),
      listSetAside: () => store.queries.listSetAside(),
      create: (identity, emptyRoot) => store.create(identity, emptyRoot),
      setPendingKeys: (keys) => store.setPendingKeys(keys),
      finishKeys: () => store.finishKeys(),
      commit: (row) => {
        store.commit(row);
        return row;
      },
      recordIntegrated: (head) => store.recordIntegrated(head),
      recordSigned: (note) => store.recordSigned(note),
      recordPublished: (note) => store.recordPublished(note),
      markAnchored: (size) => store.markAnchored(size),
      bytesFrom: (from) => store.queries.bytesFrom(from),
      witnessSizes: () => store.queries.witnessSizes(),
      rememberWitness: (name, size) => store.rememberWitness(name, size),
      recordSynced: (size) => store.recordSynced(size),
      dropRows: (size, maxBytes) => store.dropRows(size, maxBytes),
      shrink: (maxBytes) => store.shrink(maxBytes),
      resetHeads: (heads) => store.resetHeads(heads),
      setAsideRows: (from, reason) => store.setAsideRows(from, reason),
      adoptRows: (rows) => store.adoptRows(rows),
      removeSetAside: (ids) => store.removeSetAside(ids),
    },
    buffersOf(method, value) {
      if (method !== "commit") return [];
      const row = value as Row;
      return [row.hashes.buffer, row.bytes.buffer];
    },
    // The store explains what happens to a write.
    explain: (error) => explainRead(error, path),
    afterAnswer: () => store.checkpointIfDue(),
    close: () => store.close(),
  };
}
