// How a server ends: the class of each fatal error of the catalogue, and the exit code of each class, by which a supervisor
// decides whether to start it again. 0, 1 and 2 mean what they mean for every command; the others are those of sysexits.h.
// docs/errors.md is generated from these tables.

import type { ErrorCode } from "../core/errors.ts";
import { fatalError } from "../log/fatal.ts";

export interface ExitClass {
  readonly exit: number;
  /** Whether starting again can help without anybody having looked. */
  readonly restart: boolean;
  /** What is the case. */
  readonly means: string;
  /** What to do. */
  readonly advice: string;
}

export const EXIT_CLASSES = {
  stopped: {
    exit: 0,
    restart: false,
    means: "Stopped by a signal; every acknowledged entry is safe.",
    advice: "Nothing is to be done.",
  },
  fault: {
    exit: 1,
    restart: true,
    means: "A fault of the program itself, or one that it has no name for.",
    advice: "Start it again; if that goes on, report it with what it wrote.",
  },
  refused: {
    exit: 2,
    restart: false,
    means:
      "It did not start, or cannot go on, on what it was given: configuration, keys, a log that is absent, held by another process, or restored from a copy. A refused start wrote nothing.",
    advice: "Somebody has to act, as its words say; starting again does no harm and changes nothing.",
  },
  violated: {
    exit: 65,
    restart: false,
    means:
      "Two histories or two owners, or data that contradicts itself: another process took the log over, a witness holds a head that this log does not know, or stored bytes are not those that were signed.",
    advice:
      "Find out which before it runs again: started blindly, two copies take the log from each other for ever.",
  },
  unavailable: {
    exit: 69,
    restart: true,
    means: "Storage or database were out of reach, or held by a reader. Nothing is wrong with the log.",
    advice: "Start it again after a pause.",
  },
  unsettled: {
    exit: 75,
    restart: true,
    means: "The outcome of a commit or of a sync is unknown, or a stop took too long.",
    advice:
      "Start it again: the start finds out what is on the disk. A disk that fails syncs needs replacing.",
  },
} as const satisfies Record<string, ExitClass>;

export type ExitClassName = keyof typeof EXIT_CLASSES;

/** The codes of the classes beyond 0, 1 and 2. */
export type ServerExit = (typeof EXIT_CLASSES)[ExitClassName]["exit"];

/** Each code that can end a server. Any other is a `fault`. */
export const FATAL_CODES: { readonly [code in ErrorCode]?: ExitClassName } = {
  internal: "fault",
  usage: "refused",
  bad_config: "refused",
  bad_private_key: "refused",
  missing_dependency: "refused",
  file_exists: "refused",
  file_unreadable: "refused",
  file_unwritable: "refused",
  log_absent: "refused",
  log_exists: "refused",
  key_without_log: "refused",
  creation_unfinished: "refused",
  locked: "refused",
  identity_mismatch: "refused",
  format_newer: "refused",
  database_lost: "refused",
  database_older: "refused",
  root_mismatch: "refused",
  head_damaged: "refused",
  checkpoint_damaged: "refused",
  tile_missing: "refused",
  store_unsafe: "refused",
  store_refused: "refused",
  bucket_absent: "refused",
  fenced: "violated",
  overtaken: "violated",
  inconsistent: "violated",
  state_wrong: "violated",
  row_damaged: "violated",
  log_ended: "violated",
  store_unreachable: "unavailable",
  store_unavailable: "unavailable",
  storage_low: "unavailable",
  database_locked: "unavailable",
  sync_failed: "unsettled",
  commit_unknown: "unsettled",
};

/** The exit code of a server that `error` ended, at its start or later. */
export function serverExit(error: unknown): ServerExit {
  return EXIT_CLASSES[FATAL_CODES[fatalError(error).code] ?? "fault"].exit;
}
