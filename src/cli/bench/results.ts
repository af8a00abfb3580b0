// What a run finds out, as `cairn bench --json` prints it. Names end in their unit; a figure that could not be measured on
// this machine is null.

import type { AcknowledgedCheck } from "./acknowledged.ts";
import type { Latencies } from "./statistics.ts";

export interface LatenciesMs {
  readonly count: number;
  readonly p50_ms: number;
  readonly p95_ms: number;
  readonly p99_ms: number;
  readonly max_ms: number;
}

/** A rate and the turns that it is the median of. */
export interface Rate {
  readonly per_second: number;
  readonly turns: readonly number[];
}

/** A figure of the log divided by its ceiling: the median over turns, each with the ceilings just before and after it. */
export interface Ratio {
  readonly ratio: number;
  readonly turns: readonly number[];
}

export interface SingleAdds {
  readonly append_fdatasync: LatenciesMs;
  readonly lone: LatenciesMs;
  readonly held_ceiling: Rate;
  readonly adds: Rate;
  readonly latency: LatenciesMs;
  readonly to_ceiling: Ratio;
  readonly integration_lag: LatenciesMs;
  readonly publication_lag: LatenciesMs;
  readonly cpu: {
    /** CPU time of the server's process, all threads, for each of `window` adds, from a settled log to a settled log. */
    readonly window: number;
    readonly small_at_entries: number;
    readonly small_us_per_entry: number | null;
    readonly large_at_entries: number;
    readonly large_us_per_entry: number | null;
  };
  readonly resident: {
    readonly after_entries: number;
    readonly seconds_after: number;
    readonly bytes: number | null;
  };
}

export interface Batches {
  readonly hashed_ceiling: Rate;
  readonly entries_per_turn: number;
  readonly acknowledged: Rate;
  /** From the first POST to the checkpoint that covers the last entry. */
  readonly published: Rate;
  readonly latency: LatenciesMs;
  readonly acknowledged_to_ceiling: Ratio;
  readonly published_to_ceiling: Ratio;
  readonly publication_lag: LatenciesMs;
  /** The highest of the turns, each in a process of its own. */
  readonly peak_resident_bytes: number | null;
  readonly fsck: Rate;
  /** Turns in which `cairn fsck` found a difference. */
  readonly fsck_differs: number;
}

export interface Reads {
  readonly tile_ceiling: Rate;
  readonly tiles: Rate;
  readonly tile_set: number;
  readonly tile_latency: LatenciesMs;
  readonly tiles_to_ceiling: Ratio;
  readonly checkpoint: Rate;
  readonly checkpoint_latency: LatenciesMs;
  readonly proofs: Rate;
  readonly proof_latency: LatenciesMs;
}

export interface Table {
  readonly entries: number;
  /** Entries in a commit, after each of which other work is let in. */
  readonly group: number;
  /** Without the time in which other processes had the CPUs; with it. */
  readonly longest_stall_ms: number;
  readonly longest_with_waits_ms: number;
  readonly at_entries: number;
  readonly bytes_per_entry: number;
  readonly saves: number;
}

export interface BenchResults {
  readonly singles: SingleAdds;
  readonly reads: Reads;
  readonly batches: Batches;
  readonly table: Table;
  /** Over all logs of the run. */
  readonly check: AcknowledgedCheck;
  readonly requestErrors: number;
  readonly errorSamples: readonly string[];
}

export function milliseconds({ count, p50, p95, p99, max }: Latencies): LatenciesMs {
  return { count, p50_ms: p50, p95_ms: p95, p99_ms: p99, max_ms: max };
}
