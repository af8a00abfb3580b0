// From configuration to what log/ is opened with: keys to signers, places to drivers. Only commands that own a log load it.

import type { Logger } from "pino";
import {
  cosignatureSigner,
  cosignatureVerifier,
  cosignatureVkey,
  noblePrimitives,
} from "../core/cosignature.ts";
import { noteSigner, noteVerifier, privateKeyVkey } from "../core/note-key.ts";
import type { ServerMetrics } from "../http/metrics.ts";
import { systemClock } from "../log/clock.ts";
import type { LogEvents, LogKeys, LogOptions, LogPlaces } from "../log/options.ts";
import { openSqliteState } from "../state/sqlite.ts";
import { freeBytes } from "../storage/durable.ts";
import { countedStore, type StorageReport } from "../storage/counted.ts";
import { openFsStore } from "../storage/fs.ts";
import { openS3Store } from "../storage/s3.ts";
import type { ServerConfig } from "./config.ts";
import { createNodeBulkHasher } from "./node-bulk-hasher.ts";
import { nodeEd25519 } from "./node-ed25519.ts";

/** Signers and verifiers of the configured keys, the Ed25519 key first. */
export function logKeys(config: Pick<ServerConfig, "origin" | "keys">): LogKeys {
  const primitives = { ...noblePrimitives, ed25519: nodeEd25519 };
  const plain = [config.keys.first, ...config.keys.additional];
  const { mldsa44 } = config.keys;
  const now = (): number => Math.floor(Date.now() / 1000);
  return {
    origin: config.origin,
    signers: [
      ...plain.map((key) => noteSigner(key, nodeEd25519)),
      ...(mldsa44 === null ? [] : [cosignatureSigner(mldsa44, primitives, now)]),
    ],
    verifiers: [
      ...plain.map((key) => noteVerifier(privateKeyVkey(key), nodeEd25519)),
      ...(mldsa44 === null ? [] : [cosignatureVerifier(cosignatureVkey(mldsa44), primitives)]),
    ],
  };
}

export function logPlaces(
  config: Pick<ServerConfig, "databasePath" | "storage">,
  report: StorageReport | null,
): LogPlaces {
  const { databasePath, storage } = config;
  return {
    databasePath,
    openState: ({ create }) => openSqliteState(databasePath, { mode: "write", create }),
    async openStore(mode) {
      const store =
        storage.backend === "fs"
          ? await openFsStore(storage.root, { mode })
          : await openS3Store(storage.bucket, { mode });
      return report === null ? store : countedStore(store, report);
    },
    // Other machines reach a bucket too, so no lock of this one guards it: `state/head` alone does.
    storeLockPath: storage.backend === "fs" ? `${storage.root}/state/lock` : null,
    freeBytes: async () => ({
      database: await freeBytes(databasePath),
      store: storage.backend === "fs" ? await freeBytes(storage.root) : null,
    }),
  };
}

/** What every command that owns a log hands to it. */
export function logOptions(
  config: ServerConfig,
  events: LogEvents,
  report: StorageReport | null = null,
): Omit<LogOptions, "refuseContent"> {
  return {
    keys: logKeys(config),
    places: logPlaces(config, report),
    limits: config.limits,
    witnesses:
      config.witnesses === null ? null : { ...config.witnesses, fetch: (url, init) => fetch(url, init) },
    hasher: createNodeBulkHasher(),
    clock: systemClock,
    events,
    create: config.create,
  };
}

/** Events that need somebody, and do not pass. */
const ALARMS: ReadonlySet<string> = new Set(["object_missing"]);

/** The log's events as lines of the process's log, and as metrics. */
export function loggedEvents(logger: Logger, metrics: ServerMetrics): LogEvents {
  return {
    trouble: (what, detail, error) => {
      const fields = { event: what, detail, ...(error instanceof Error ? { error: error.message } : {}) };
      if (ALARMS.has(what)) logger.error(fields, what);
      else logger.warn(fields, what);
    },
    note: (what, details) => logger.info({ event: what, ...details }, what),
    commit: (entries, duplicates, ms) => metrics.committed(entries, duplicates, ms),
    duplicate: () => metrics.duplicate(),
    round: (size, timings) => {
      metrics.round(timings);
      logger.info(
        {
          event: "published",
          size,
          integrate_ms: Math.round(timings.integrateMs),
          sign_ms: Math.round(timings.signMs),
          witness_ms: Math.round(timings.witnessMs),
          publish_ms: Math.round(timings.publishMs),
        },
        "published",
      );
    },
  };
}
