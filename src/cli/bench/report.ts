// A run as text.

import { count } from "../output.ts";
import type { Machine } from "./machine.ts";
import type { BenchResults, LatenciesMs, Rate, Ratio } from "./results.ts";
import type { BenchSettings } from "./settings.ts";
import type { Target } from "./targets.ts";

const NAME_COLUMN = 48;
const MEGABYTE = 1e6;

export const GENERATOR =
  "cairn's own: keep-alive HTTP/1.1 on raw sockets in a process of its own, one request in flight a connection";

export function* reportLines(
  machine: Machine,
  settings: BenchSettings,
  results: BenchResults,
  targets: readonly Target[],
): Generator<string> {
  const { singles, batches, reads, table, check } = results;
  yield `machine    ${machine.cpus} × ${machine.cpu}, ${machine.platform}, Node ${machine.node}`;
  yield `generator  ${GENERATOR}`;
  yield `settings   300-byte entries, ${settings.connections} connections, ${settings.turns} turns of ${settings.seconds} s; the log with its defaults`;
  if (machine.data_in_memory)
    yield "           the data folder is in memory: figures with a sync in them mean nothing";
  yield "";
  yield "ceilings of this machine, in this run";
  yield row("append of 4 KiB with fdatasync", latencyText(singles.append_fdatasync));
  yield row("POST held 5 ms", rateText(singles.held_ceiling, "/s"));
  yield row(
    `POST of ${count(settings.batch)} entries, hashed`,
    rateText(batches.hashed_ceiling, " entries/s"),
  );
  yield row("8 KiB tile from memory", rateText(reads.tile_ceiling, "/s"));
  yield "";
  yield "the log";
  yield row("lone adds", latencyText(singles.lone));
  yield row(`single adds, ${settings.connections} connections`, rateText(singles.adds, "/s"));
  yield row("", latencyText(singles.latency));
  yield row("  integration lag", latencyText(singles.integration_lag));
  yield row("  publication lag", latencyText(singles.publication_lag));
  yield row(
    `batches of ${count(settings.batch)}, acknowledged`,
    rateText(batches.acknowledged, " entries/s"),
  );
  yield row("", latencyText(batches.latency));
  yield row("  from first POST to checkpoint", rateText(batches.published, " entries/s"));
  yield row("  publication lag", latencyText(batches.publication_lag));
  yield row(`level-0 tiles, ${count(reads.tile_set)} at random`, rateText(reads.tiles, "/s"));
  yield row("", latencyText(reads.tile_latency));
  yield row("checkpoint", rateText(reads.checkpoint, "/s"));
  yield row("proofs", rateText(reads.proofs, "/s"));
  yield row("", latencyText(reads.proof_latency));
  yield row(`fsck of ${count(batches.entries_per_turn)} entries`, rateText(batches.fsck, " entries/s"));
  const { cpu, resident } = singles;
  yield row(`CPU an entry at ${count(cpu.small_at_entries)}`, unit(cpu.small_us_per_entry, "µs"));
  yield row(`CPU an entry at ${count(cpu.large_at_entries)}`, unit(cpu.large_us_per_entry, "µs"));
  yield row(
    `memory ${resident.seconds_after} s after ${count(resident.after_entries)} single adds`,
    unit(resident.bytes === null ? null : resident.bytes / MEGABYTE, "MB"),
  );
  const peak = batches.peak_resident_bytes;
  yield row("peak of memory under batches", unit(peak === null ? null : peak / MEGABYTE, "MB"));
  yield row(
    `table to ${count(table.entries)} entries, ${count(table.group)} a commit`,
    `longest stall ${unit(table.longest_stall_ms, "ms")} at ${count(table.at_entries)} (${unit(table.longest_with_waits_ms, "ms")} with waits for a CPU), ${figure(table.bytes_per_entry)} B an entry, saved ${table.saves} times`,
  );
  yield "";
  yield "ratios, medians over turns";
  yield row("single adds ÷ held ceiling", ratioText(singles.to_ceiling));
  yield row("batches ÷ hashed ceiling, acknowledged", ratioText(batches.acknowledged_to_ceiling));
  yield row("batches ÷ hashed ceiling, published", ratioText(batches.published_to_ceiling));
  yield row("tiles ÷ in-memory ceiling", ratioText(reads.tiles_to_ceiling));
  yield "";
  yield "targets";
  for (const target of targets) yield row(target.name, targetText(target));
  yield "";
  const errors = check.errors + results.requestErrors + batches.fsck_differs;
  yield `check      ${count(check.entries)} acknowledged entries read back from the published bundles: ${count(check.errors)} errors`;
  if (errors > 0) {
    yield `           ${count(results.requestErrors)} requests failed, fsck found differences in ${batches.fsck_differs} of ${settings.turns} logs`;
    for (const example of [...check.examples, ...results.errorSamples]) yield `           ${example}`;
  }
}

function row(name: string, text: string): string {
  return `  ${name.padEnd(NAME_COLUMN)}${text}`;
}

function rateText({ per_second, turns }: Rate, of: string): string {
  return `${count(Math.round(per_second))}${of}  (${turns.map((turn) => count(Math.round(turn))).join(", ")})`;
}

function ratioText({ ratio, turns }: Ratio): string {
  return `${figure(ratio)}  (${turns.map(figure).join(", ")})`;
}

function latencyText({ p50_ms, p95_ms, p99_ms, max_ms }: LatenciesMs): string {
  return `p50 ${figure(p50_ms)}, p95 ${figure(p95_ms)}, p99 ${figure(p99_ms)}, max ${figure(max_ms)} ms`;
}

function targetText({ value, unit: of, at_least, at_most, met, entries, stated_for }: Target): string {
  const limit =
    at_least === undefined ? `at most ${figure(at_most as number)}` : `at least ${figure(at_least)}`;
  const verdict = met === null ? "not measured" : met ? "met" : "missed";
  const other = entries !== undefined && entries < (stated_for as number);
  const extent = other ? ` (at ${count(entries)} entries; stated for ${count(stated_for as number)})` : "";
  return `${unit(value, of === "ratio" ? "" : of)}, ${limit}: ${verdict}${extent}`;
}

function unit(value: number | null, of: string): string {
  return value === null ? "not measured here" : `${figure(value)}${of === "" ? "" : ` ${of}`}`;
}

/** Three significant digits, whole from 100 on. */
function figure(value: number): string {
  if (!Number.isFinite(value)) return "none";
  return Math.abs(value) >= 100 ? count(Math.round(value)) : value.toPrecision(3);
}
