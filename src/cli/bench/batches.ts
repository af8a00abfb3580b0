// Batches, sustained: at acknowledgement and to the checkpoint that covers the last entry, each turn on a new log in a
// process of its own, whose peak of memory is then that of batches alone. Each log is checked, and `cairn fsck` timed on it.

import { BATCH_RECEIVE_MAX_BYTES_PER_CLIENT } from "../../http/limits.ts";
import type { AcknowledgedCheck } from "./acknowledged.ts";
import { batchBytes } from "./entries.ts";
import type { LoadResult } from "./load.ts";
import { residentBytes } from "./process-usage.ts";
import { type Batches, milliseconds } from "./results.ts";
import type { BenchRun } from "./run.ts";
import { runFsck } from "./server.ts";
import { latencies, type Latencies, median } from "./statistics.ts";
import { perSecond, rate, ratio } from "./turns.ts";
import { Watch } from "./watch.ts";

const MAX_CONNECTIONS = 8;

interface Turn {
  readonly load: LoadResult;
  readonly acknowledged: number;
  readonly published: number;
  readonly lag: Latencies;
  readonly peak: number | null;
  readonly check: AcknowledgedCheck;
  readonly fsckRate: number;
  readonly clean: boolean;
}

export async function measureBatches(
  run: BenchRun,
): Promise<{ readonly batches: Batches; readonly checks: readonly AcknowledgedCheck[] }> {
  const { settings } = run;
  const { seconds, batch } = settings;
  // What one client may send at a time, beyond which a log refuses, bounds the batches in flight.
  const inFlight = Math.floor(BATCH_RECEIVE_MAX_BYTES_PER_CLIENT / batchBytes(batch));
  const connections = Math.min(MAX_CONNECTIONS, settings.connections, inFlight);
  const subject = { kind: "batch", noise: run.noise, first: 0, size: batch } as const;
  const ceilings: number[] = [];
  const turns: Turn[] = [];
  run.say("batches: warm-up");
  await run.loadCeiling("/hashed", subject, { connections, seconds });
  const measureCeiling = async (): Promise<void> => {
    ceilings.push(batch * perSecond(await run.loadCeiling("/hashed", subject, { connections, seconds })));
  };
  await measureCeiling();
  for (let turn = 1; turn <= settings.turns; turn++) {
    run.say(`batches, turn ${turn}: log`);
    turns.push(await batchTurn(run, connections, measureCeiling));
  }
  const acknowledged = turns.map((turn) => turn.acknowledged);
  const published = turns.map((turn) => turn.published);
  const peaks = turns.flatMap(({ peak }) => (peak === null ? [] : [peak]));
  return {
    batches: {
      hashed_ceiling: rate(ceilings),
      entries_per_turn: settings.entries,
      acknowledged: rate(acknowledged),
      published: rate(published),
      latency: milliseconds(latencies(...turns.map(({ load }) => load.latencies))),
      acknowledged_to_ceiling: ratio(acknowledged, ceilings),
      published_to_ceiling: ratio(published, ceilings),
      publication_lag: milliseconds(medianLag(turns)),
      peak_resident_bytes: peaks.length === 0 ? null : Math.max(...peaks),
      fsck: rate(turns.map(({ fsckRate }) => fsckRate)),
      fsck_differs: turns.filter(({ clean }) => !clean).length,
    },
    checks: turns.map(({ check }) => check),
  };
}

/** `afterLoad` runs once the load is over and published, before the log is checked. */
async function batchTurn(run: BenchRun, connections: number, afterLoad: () => Promise<void>): Promise<Turn> {
  const { entries, batch } = run.settings;
  const log = await run.startLog();
  const watch = new Watch(log.server);
  const load = await log.addBatches(batch, { connections, requests: entries / batch });
  const publishedAt = await watch.published(log.entries);
  await watch.stop();
  const peak = (await residentBytes(log.server.pid))?.peak ?? null;
  await log.settle();
  await afterLoad();
  run.say("batches: check");
  const check = await log.check();
  await run.stopLog(log);
  const fsck = await runFsck(log.server.tiles, log.server.vkey, run.environment);
  await run.removeLog(log);
  return {
    load,
    acknowledged: batch * perSecond(load),
    published: (log.entries * 1000) / (publishedAt - load.startedAt),
    lag: watch.lags(load).publication,
    peak,
    check,
    fsckRate: fsck.entries / fsck.seconds,
    clean: fsck.outcome === "clean" && fsck.entries === log.entries,
  };
}

function medianLag(turns: readonly Turn[]): Latencies {
  const of = (pick: (lag: Latencies) => number): number => median(turns.map(({ lag }) => pick(lag)));
  return {
    count: turns.reduce((sum, { lag }) => sum + lag.count, 0),
    p50: of((lag) => lag.p50),
    p95: of((lag) => lag.p95),
    p99: of((lag) => lag.p99),
    max: Math.max(...turns.map(({ lag }) => lag.max)),
  };
}
