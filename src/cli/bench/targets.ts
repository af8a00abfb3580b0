// What a log must reach on any machine, as ratios to what that machine can do, and the few figures that are absolute.
// Stated for 300-byte entries, deduplication on, every commit synced.

import type { BenchResults } from "./results.ts";
import { FULL_ENTRIES, FULL_TABLE } from "./settings.ts";

const MEGABYTE = 1e6;
const GROUP_MS = 1;
const APPENDS = 3;

export interface Target {
  readonly name: string;
  /** Null where it could not be measured on this machine. */
  readonly value: number | null;
  readonly unit: "ratio" | "ms" | "entries/s" | "MB";
  readonly at_least?: number;
  readonly at_most?: number;
  /** Null where nothing was measured. */
  readonly met: boolean | null;
  /** The entries that it was measured with, and those that the target is stated for. */
  readonly entries?: number;
  readonly stated_for?: number;
}

export function targets({ singles, batches, reads, table }: BenchResults): readonly Target[] {
  const { cpu, resident } = singles;
  const { small_us_per_entry: small, large_us_per_entry: large } = cpu;
  return [
    atLeast("single adds ÷ held ceiling", "ratio", singles.to_ceiling.ratio, 0.7),
    atMost(
      "p50 of a lone add: 3 × the fdatasync + 1 ms",
      "ms",
      singles.lone.p50_ms,
      APPENDS * singles.append_fdatasync.p50_ms + GROUP_MS,
    ),
    atLeast("batches ÷ hashed ceiling, acknowledged", "ratio", batches.acknowledged_to_ceiling.ratio, 0.15, {
      entries: batches.entries_per_turn,
      stated_for: FULL_ENTRIES,
    }),
    atLeast("batches ÷ hashed ceiling, published", "ratio", batches.published_to_ceiling.ratio, 0.1, {
      entries: batches.entries_per_turn,
      stated_for: FULL_ENTRIES,
    }),
    atLeast("tiles ÷ in-memory ceiling", "ratio", reads.tiles_to_ceiling.ratio, 0.6),
    atLeast("fsck of a folder", "entries/s", batches.fsck.per_second, 150_000, {
      entries: batches.entries_per_turn,
      stated_for: FULL_ENTRIES,
    }),
    atMost(
      "CPU an entry, large log ÷ small",
      "ratio",
      small === null || large === null ? null : large / small,
      1.2,
      {
        entries: cpu.large_at_entries,
        stated_for: FULL_ENTRIES,
      },
    ),
    atMost("resident memory after single adds", "MB", inMegabytes(resident.bytes), 300, {
      entries: resident.after_entries,
      stated_for: FULL_ENTRIES,
    }),
    atMost("peak memory under batches", "MB", inMegabytes(batches.peak_resident_bytes), 450, {
      entries: batches.entries_per_turn,
      stated_for: FULL_ENTRIES,
    }),
    atMost("longest stall while the table grows", "ms", table.longest_stall_ms, 20, {
      entries: table.entries,
      stated_for: FULL_TABLE,
    }),
  ];
}

type Extent = Pick<Target, "entries" | "stated_for">;

function atLeast(
  name: string,
  unit: Target["unit"],
  value: number | null,
  limit: number,
  extent: Extent = {},
): Target {
  return { name, value, unit, at_least: limit, met: verdict(value, (known) => known >= limit), ...extent };
}

function atMost(
  name: string,
  unit: Target["unit"],
  value: number | null,
  limit: number,
  extent: Extent = {},
): Target {
  return { name, value, unit, at_most: limit, met: verdict(value, (known) => known <= limit), ...extent };
}

function verdict(value: number | null, meets: (value: number) => boolean): boolean | null {
  return value === null || !Number.isFinite(value) ? null : meets(value);
}

function inMegabytes(bytes: number | null): number | null {
  return bytes === null ? null : bytes / MEGABYTE;
}
