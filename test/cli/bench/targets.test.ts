import { expect, test } from "vitest";
import { verdict } from "../../../src/cli/bench.ts";
import type { BenchResults } from "../../../src/cli/bench/results.ts";
import { targets } from "../../../src/cli/bench/targets.ts";

/** Results whose every figure stands exactly at its target. */
function atTheLimit(): BenchResults {
  const rate = { per_second: 1, turns: [1] };
  const latency = { count: 1, p50_ms: 1, p95_ms: 1, p99_ms: 1, max_ms: 1 };
  const ratio = (value: number) => ({ ratio: value, turns: [value] });
  return {
    singles: {
      append_fdatasync: { ...latency, p50_ms: 0.5 },
      lone: { ...latency, p50_ms: 2.5 },
      held_ceiling: rate,
      adds: rate,
      latency,
      to_ceiling: ratio(0.7),
      integration_lag: latency,
      publication_lag: latency,
      cpu: {
        window: 1,
        small_at_entries: 10_000,
        small_us_per_entry: 10,
        large_at_entries: 1_000_000,
        large_us_per_entry: 12,
      },
      resident: { after_entries: 1_000_000, seconds_after: 10, bytes: 300e6 },
    },
    batches: {
      hashed_ceiling: rate,
      entries_per_turn: 1_000_000,
      acknowledged: rate,
      published: rate,
      latency,
      acknowledged_to_ceiling: ratio(0.15),
      published_to_ceiling: ratio(0.1),
      publication_lag: latency,
      peak_resident_bytes: 450e6,
      fsck: { per_second: 150_000, turns: [150_000] },
      fsck_differs: 0,
    },
    reads: {
      tile_ceiling: rate,
      tiles: rate,
      tile_set: 1,
      tile_latency: latency,
      tiles_to_ceiling: ratio(0.6),
      checkpoint: rate,
      checkpoint_latency: latency,
      proofs: rate,
      proof_latency: latency,
    },
    table: {
      entries: 10_000_000,
      group: 10_000,
      longest_stall_ms: 20,
      longest_with_waits_ms: 25,
      at_entries: 1,
      bytes_per_entry: 20,
      saves: 1,
    },
    check: { entries: 1, errors: 0, examples: [] },
    requestErrors: 0,
    errorSamples: [],
  };
}

test("every target of the table is judged, and met at its limit", () => {
  const judged = targets(atTheLimit());
  expect(judged.map(({ at_least, at_most }) => at_least ?? at_most)).toEqual([
    0.7, 2.5, 0.15, 0.1, 0.6, 150_000, 1.2, 300, 450, 20,
  ]);
  expect(judged.map(({ met }) => met)).toEqual(judged.map(() => true));
});

test("a figure beyond its limit misses it", () => {
  const { singles, batches, reads, table, ...rest } = atTheLimit();
  const judged = targets({
    ...rest,
    singles: {
      ...singles,
      to_ceiling: { ratio: 0.69, turns: [] },
      lone: { ...singles.lone, p50_ms: 2.51 },
      cpu: { ...singles.cpu, large_us_per_entry: 12.1 },
      resident: { ...singles.resident, bytes: 301e6 },
    },
    batches: {
      ...batches,
      acknowledged_to_ceiling: { ratio: 0.149, turns: [] },
      published_to_ceiling: { ratio: 0.099, turns: [] },
      fsck: { per_second: 149_999, turns: [] },
      peak_resident_bytes: 451e6,
    },
    reads: { ...reads, tiles_to_ceiling: { ratio: 0.59, turns: [] } },
    table: { ...table, longest_stall_ms: 20.1 },
  });
  expect(judged.map(({ met }) => met)).toEqual(judged.map(() => false));
});

test("what the kernel does not tell is neither met nor missed", () => {
  const { singles, ...rest } = atTheLimit();
  const cpu = { ...singles.cpu, small_us_per_entry: null };
  const judged = targets({ ...rest, singles: { ...singles, cpu } });
  expect(judged.filter(({ met }) => met === null).map(({ name }) => name)).toEqual([
    "CPU an entry, large log ÷ small",
  ]);
});

test("the exit code is 1 for anything wrong, and for a missed target only where that is asked for", () => {
  const fine = atTheLimit();
  const missed = [{ met: true }, { met: false }];
  expect(verdict(fine, [{ met: true }, { met: null }], true)).toBe(0);
  expect(verdict(fine, missed, false)).toBe(0);
  expect(verdict(fine, missed, true)).toBe(1);
  expect(verdict({ ...fine, check: { entries: 1, errors: 1, examples: [] } }, [], false)).toBe(1);
  expect(verdict({ ...fine, requestErrors: 1 }, [], false)).toBe(1);
  expect(verdict({ ...fine, batches: { ...fine.batches, fsck_differs: 1 } }, [], false)).toBe(1);
});
