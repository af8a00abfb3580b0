// What a witness remembers: for each origin the newest checkpoint that it cosigned, and which logs it was told about. An
// answer to a log rests on this, so what `advance` reports as done is durable before it returns.

import type { Hash } from "../core/hash.ts";

export interface CosignedCheckpoint {
  /** 0 to 2^63 - 1. */
  readonly size: bigint;
  readonly root: Hash;
}

export interface WitnessedLog {
  readonly origin: string;
  /** The vkeys that are trusted for the origin, in the order in which they were added. */
  readonly keys: readonly string[];
  readonly paused: boolean;
  /** Requests a day that the log announced, or null. */
  readonly qpd: number | null;
  /** How its operator is reached, or null. */
  readonly contact: string | null;
}

export interface WitnessState {
  /** For messages, such as `sqlite:/var/lib/cairn/witness.db`. */
  readonly location: string;

  /** The newest checkpoint cosigned for an origin, or null where none ever was. */
  cosigned(origin: string): CosignedCheckpoint | null;
  /**
   * Replaces `from` (null: none) by `to`, atomically and durably; false, and nothing is changed, where the newest is not
   * `from`. `originHash` is the SHA-256 of the origin. Throws StateError: after `not_applied` the state is as it was, after
   * `unknown` nothing that is read can be relied on and the process has to stop.
   */
  advance(
    origin: string,
    originHash: Uint8Array,
    from: CosignedCheckpoint | null,
    to: CosignedCheckpoint & { readonly note: Uint8Array },
  ): boolean;
  /** The note of the newest cosigned checkpoint by the SHA-256 of its origin, or null. */
  note(originHash: Uint8Array): Uint8Array | null;

  /** Every log that was added, by origin, ascending. */
  logs(): WitnessedLog[];
  /** True where another process has written since the last call; the first call answers true. */
  changed(): boolean;
  /**
   * Adds each log whose origin is not known, with all of its keys, in one transaction; what is known stays as it is.
   * Answers the origins that were added.
   */
  discover(logs: readonly WitnessedLog[]): string[];
  /** Writes one log, in place of what stood there under its origin. */
  putLog(log: WitnessedLog): void;

  /** How many origins have a cosigned checkpoint. */
  cosignedCount(): number;
  close(): void;
}
