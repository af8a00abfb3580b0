// Single adds: alone against the disk's own sync, and at many connections against the bare route that holds its answers;
// how far publication lags behind; what an entry costs the process when the log is small and when it is large.

import type { LoadResult } from "./load.ts";
import type { LogUnderLoad } from "./log-under-load.ts";
import { cpuSeconds, residentBytes } from "./process-usage.ts";
import { milliseconds, type SingleAdds } from "./results.ts";
import type { BenchRun } from "./run.ts";
import { latencies, median } from "./statistics.ts";
import { perSecond, rate, ratio } from "./turns.ts";
import { Watch } from "./watch.ts";

/** A log of this size is the small one that the large one is compared with. */
const SMALL_ENTRIES = 10_000;
const CPU_WINDOW = 50_000;
/** Of a run with few adds, so much at most. */
const CPU_WINDOW_SHARE = 0.25;
const SMALL_SHARE = 0.1;
const WARM_UP_ADDS = 50;
const REST_SECONDS = 10;
const MICROSECONDS = 1e6;

/** Leaves the log with at least `settings.adds` entries. */
export async function measureSingleAdds(run: BenchRun, log: LogUnderLoad): Promise<SingleAdds> {
  const { settings } = run;
  const { connections, seconds, adds } = settings;
  const { appends, lone } = await measureLone(run, log);

  run.say("CPU of a small log");
  const window = Math.floor(Math.min(CPU_WINDOW, adds * CPU_WINDOW_SHARE));
  await fill(run, log, Math.min(SMALL_ENTRIES, Math.floor(adds * SMALL_SHARE)));
  const smallAt = log.entries;
  const small = await cpuOfAdds(log, window, connections);

  const ceilings: LoadResult[] = [];
  const turns: LoadResult[] = [];
  const loadCeiling = () => run.loadCeiling("/held", entrySubject(run), { connections, seconds });
  run.say("single adds: warm-up");
  await loadCeiling();
  ceilings.push(await loadCeiling());
  const watch = new Watch(log.server);
  for (let turn = 1; turn <= settings.turns; turn++) {
    run.say(`single adds, turn ${turn}: log`);
    turns.push(await log.add({ connections, seconds }));
    // The ceiling is measured beside a log that rests.
    await watch.published(log.entries);
    await log.settle();
    run.say(`single adds, turn ${turn}: ceiling`);
    ceilings.push(await loadCeiling());
  }
  await watch.stop();
  const lags = watch.lags(...turns);

  run.say("CPU of a large log");
  await fill(run, log, adds);
  const largeAt = log.entries;
  const large = await cpuOfAdds(log, window, connections);

  run.say("memory at rest");
  const rest = Math.min(REST_SECONDS, seconds * REST_SECONDS);
  await run.pause(Math.max(0, rest * 1000 - (run.now() - log.lastAddAt)));
  const resident = await residentBytes(log.server.pid);

  const ceilingRates = ceilings.map(perSecond);
  const addRates = turns.map(perSecond);
  return {
    append_fdatasync: milliseconds(appends),
    lone: milliseconds(lone),
    held_ceiling: rate(ceilingRates),
    adds: rate(addRates),
    latency: milliseconds(latencies(...turns.map((turn) => turn.latencies))),
    to_ceiling: ratio(addRates, ceilingRates),
    integration_lag: milliseconds(lags.integration),
    publication_lag: milliseconds(lags.publication),
    cpu: {
      window,
      small_at_entries: smallAt,
      small_us_per_entry: small,
      large_at_entries: largeAt,
      large_us_per_entry: large,
    },
    resident: { after_entries: log.entries, seconds_after: rest, bytes: resident?.now ?? null },
  };
}

async function measureLone(run: BenchRun, log: LogUnderLoad) {
  const { turns, seconds } = run.settings;
  const appends: Float64Array[] = [];
  const lone: Float64Array[] = [];
  await log.add({ connections: 1, requests: WARM_UP_ADDS });
  for (let turn = 1; turn <= turns; turn++) {
    run.say(`lone adds, turn ${turn}`);
    appends.push(await run.append(seconds));
    lone.push((await log.add({ connections: 1, seconds })).latencies);
  }
  // The median of the turns' medians: one turn beside a busy neighbour does not decide.
  return {
    appends: { ...latencies(...appends), p50: median(appends.map((turn) => latencies(turn).p50)) },
    lone: { ...latencies(...lone), p50: median(lone.map((turn) => latencies(turn).p50)) },
  };
}

/** Single adds until the log has so many entries. */
async function fill(run: BenchRun, log: LogUnderLoad, entries: number): Promise<void> {
  const missing = entries - log.entries;
  if (missing > 0) await log.add({ connections: run.settings.connections, requests: missing });
}

/** Microseconds of CPU for each of `count` adds, with all that they cause; null where the kernel does not say. */
async function cpuOfAdds(log: LogUnderLoad, count: number, connections: number): Promise<number | null> {
  await log.settle();
  const before = await cpuSeconds(log.server.pid);
  const { answered } = await log.add({ connections, requests: count });
  await log.settle();
  const after = await cpuSeconds(log.server.pid);
  return before === null || after === null || answered === 0
    ? null
    : ((after - before) * MICROSECONDS) / answered;
}

function entrySubject(run: BenchRun) {
  return { kind: "entry", noise: run.noise, first: 0 } as const;
}
