// How much a run does. The defaults take less than two minutes; the targets are stated for the full measure.

import { tmpdir } from "node:os";
import { TILE_WIDTH } from "../../core/tile.ts";
import { usageError } from "../args.ts";

export interface BenchSettings {
  /** Where the run makes its folder. */
  readonly data: string;
  readonly keep: boolean;
  /** Connections of the single adds. */
  readonly connections: number;
  /** How often each ratio is measured, ceiling and log in turn. */
  readonly turns: number;
  /** The length of a timed turn. */
  readonly seconds: number;
  /** Single adds after which memory and CPU are read: at least one tile of them, to have one to read. */
  readonly adds: number;
  /** Entries through `/add-batch` in each turn. */
  readonly entries: number;
  /** Entries in a batch. */
  readonly batch: number;
  /** Entries that the deduplication table grows to. */
  readonly table: number;
}

export interface SettingsOptions {
  readonly data: string | undefined;
  readonly keep: boolean;
  readonly full: boolean;
  readonly connections: string | undefined;
  readonly turns: string | undefined;
  readonly seconds: string | undefined;
  readonly adds: string | undefined;
  readonly entries: string | undefined;
  readonly batch: string | undefined;
  readonly table: string | undefined;
}

export const FULL_ENTRIES = 1_000_000;
export const FULL_TABLE = 10_000_000;
const QUICK_ENTRIES = 200_000;
const QUICK_TABLE = 1_000_000;
const MAX_CONNECTIONS = 4096;
const MAX_TURNS = 99;
const MAX_SECONDS = 3600;
const MAX_ENTRIES = 100_000_000;
/** As `POST /add-batch` takes. */
const MAX_BATCH = 10_000;

/** Throws `usage`. */
export function benchSettings(options: SettingsOptions): BenchSettings {
  const { full } = options;
  const batch = whole("batch", options.batch ?? "1000", 1, MAX_BATCH);
  const entries = whole(
    "entries",
    options.entries ?? String(full ? FULL_ENTRIES : QUICK_ENTRIES),
    batch,
    MAX_ENTRIES,
  );
  if (entries % batch !== 0) throw usageError(`--entries is a multiple of the entries in a batch, ${batch}`);
  return {
    data: options.data ?? tmpdir(),
    keep: options.keep,
    connections: whole("connections", options.connections ?? "256", 1, MAX_CONNECTIONS),
    turns: whole("turns", options.turns ?? "3", 1, MAX_TURNS),
    seconds: seconds(options.seconds ?? (full ? "5" : "2")),
    adds: whole("adds", options.adds ?? String(full ? FULL_ENTRIES : QUICK_ENTRIES), TILE_WIDTH, MAX_ENTRIES),
    entries,
    batch,
    table: whole("table", options.table ?? String(full ? FULL_TABLE : QUICK_TABLE), 1, MAX_ENTRIES),
  };
}

function whole(name: string, text: string, minimum: number, maximum: number): number {
  const value = Number(text);
  if (/^[0-9]{1,12}$/.test(text) && value >= minimum && value <= maximum) return value;
  throw usageError(`--${name} is a whole number from ${minimum} to ${maximum}`);
}

function seconds(text: string): number {
  const value = Number(text);
  if (/^[0-9]{1,4}(?:\.[0-9]{1,3})?$/.test(text) && value > 0 && value <= MAX_SECONDS) return value;
  throw usageError(`--seconds is a number above 0, at most ${MAX_SECONDS}`);
}
