// What a slow bucket costs: 30 ms added to every call, and the log on it measured in turn with one on the filesystem, by the
// bench's own load generator. Publishers must hardly notice: an acknowledgement waits for the database and not for the store.
//   npx vitest run --config vitest.s3.config.ts test/s3/delay

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { tmpdir } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { BenchRun } from "../../src/cli/bench/run.ts";
import type { LogUnderLoad } from "../../src/cli/bench/log-under-load.ts";
import { benchSettings } from "../../src/cli/bench/settings.ts";
import { latencies, median } from "../../src/cli/bench/statistics.ts";
import { perSecond } from "../../src/cli/bench/turns.ts";
import { Watch } from "../../src/cli/bench/watch.ts";

const DELAY_MS = 30;
const CONNECTIONS = 256;
const MIN_RATIO = 0.6;
const MAX_PUBLICATION_LAG_MS = 2000;
/** Lone adds wait for one fsync on either; this is how much two medians of one disk differ anyway. */
const LONE_TOLERANCE = 1.25;
/** One more at a time where the medians do not hold yet: other work of the machine hits one turn or the other. */
const MIN_TURNS = 3;
const MAX_TURNS = 9;
const SECONDS = 1.5;
/** Until the S3 client's code is compiled as well as it will be. */
const WARM_UP_SECONDS = 3;
const LONE_SECONDS = 0.5;
const PROCESS = fileURLToPath(new URL("s3-process.ts", import.meta.url));

/** One turn: both logs, one right after the other. */
interface Turn {
  readonly folderRate: number;
  readonly bucketRate: number;
  /** The 99th percentile of the bucket's log, in milliseconds. */
  readonly lag: number;
  /** Medians of lone adds, in milliseconds. */
  readonly folderLone: number;
  readonly bucketLone: number;
}

interface Figures {
  readonly ratio: number;
  readonly lag: number;
  readonly loneRatio: number;
}

test("a store 30 ms away costs at most two fifths of the adds, nothing of a lone one, and 2 s of publication lag", async () => {
  const store = spawn(process.execPath, ["--import", "tsx", PROCESS, String(DELAY_MS)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const [line] = (await once(createInterface({ input: store.stdout }), "line")) as [string];
  const settings = benchSettings({
    data: tmpdir(),
    keep: false,
    full: false,
    connections: String(CONNECTIONS),
    turns: undefined,
    seconds: undefined,
    adds: undefined,
    entries: undefined,
    batch: undefined,
    table: undefined,
  });
  const clock = { now: () => Date.now(), sleep };
  const run = await BenchRun.start(settings, { env: process.env, fetch, clock }, () => undefined);
  try {
    const folder = await run.startLog();
    const bucket = await run.startLog(JSON.parse(line) as Record<string, string>);
    for (const log of [folder, bucket]) {
      await log.add({ connections: CONNECTIONS, seconds: WARM_UP_SECONDS });
      await log.settle();
    }

    const turns: Turn[] = [];
    while (turns.length < MIN_TURNS || (turns.length < MAX_TURNS && !holds(figuresOf(turns)))) {
      turns.push(await takeTurn(folder, bucket, turns.length % 2 === 1));
    }
    const figures = figuresOf(turns);
    // Every acknowledged entry is read, one bundle after another.
    store.stdin.write("0\n");
    const checks = [await folder.check(), await bucket.check()];
    console.log(JSON.stringify({ ...rounded(figures), turns: turns.map((turn) => rounded(turn)) }));
    expect(run.requestErrors).toBe(0);
    expect(checks.map(({ errors }) => errors)).toEqual([0, 0]);
    expect(figures.ratio).toBeGreaterThanOrEqual(MIN_RATIO);
    expect(figures.lag).toBeLessThan(MAX_PUBLICATION_LAG_MS);
    expect(figures.loneRatio).toBeLessThan(LONE_TOLERANCE);
  } finally {
    await run.close();
    store.stdin.end();
    await once(store, "exit");
  }
}, 300_000);

async function takeTurn(folder: LogUnderLoad, bucket: LogUnderLoad, bucketFirst: boolean): Promise<Turn> {
  const rates = new Map<LogUnderLoad, number>();
  const lones = new Map<LogUnderLoad, number>();
  let lag = 0;
  for (const log of bucketFirst ? [bucket, folder] : [folder, bucket]) {
    const lone = await log.add({ connections: 1, seconds: LONE_SECONDS });
    lones.set(log, latencies(lone.latencies).p50);
  }
  for (const log of bucketFirst ? [bucket, folder] : [folder, bucket]) {
    const watch = new Watch(log.server);
    const result = await log.add({ connections: CONNECTIONS, seconds: SECONDS });
    rates.set(log, perSecond(result));
    await watch.published(log.entries);
    await watch.stop();
    if (log === bucket) lag = watch.lags(result).publication.p99;
    await log.settle();
  }
  const of = (measured: ReadonlyMap<LogUnderLoad, number>, log: LogUnderLoad): number =>
    measured.get(log) as number;
  return {
    folderRate: of(rates, folder),
    bucketRate: of(rates, bucket),
    lag,
    folderLone: of(lones, folder),
    bucketLone: of(lones, bucket),
  };
}

function figuresOf(turns: readonly Turn[]): Figures {
  return {
    ratio: median(turns.map(({ folderRate, bucketRate }) => bucketRate / folderRate)),
    lag: median(turns.map(({ lag }) => lag)),
    loneRatio: median(turns.map(({ folderLone, bucketLone }) => bucketLone / folderLone)),
  };
}

function holds({ ratio, lag, loneRatio }: Figures): boolean {
  return ratio >= MIN_RATIO && lag < MAX_PUBLICATION_LAG_MS && loneRatio < LONE_TOLERANCE;
}

/** Three digits that count. */
function rounded<T extends object>(figures: T): Record<string, number> {
  return Object.fromEntries(
    Object.entries(figures).map(([name, value]) => [
      name,
      value > 100 ? Math.round(value) : Number(Number(value).toPrecision(3)),
    ]),
  );
}
