// A bucket that is away: the log acknowledges for as long as it has room, pushes back, and catches up by itself.

import { expect, it } from "vitest";
import { isCairnError } from "../../src/core/errors.ts";
import { FakeClock } from "../log/doubles/fake-clock.ts";
import { Bucket, type BucketLog } from "./bucket-log.ts";
import type { Outage } from "../doubles/s3-server.ts";

const ENTRY_BYTES = 1000;
const BATCH = 100;
/** The smallest that can be configured. */
const BACKLOG_MAX_BYTES = 1024 * 1024;
const HOUR_MS = 3_600_000;
/** No pause of a log that asks a store again is longer than five of these. */
const STEP_MS = 1_000;
const LONG_STEP_MS = 20_000;

/** Distinct entries of the same size. */
function batch(number: number): Uint8Array[] {
  return Array.from({ length: BATCH }, (_, i) => {
    const entry = new Uint8Array(ENTRY_BYTES).fill(0x2e);
    entry.set(Buffer.from(`${number * BATCH + i}`));
    return entry;
  });
}

/** Time passes; between steps the network, which is real, gets its turns. */
async function pass(
  clock: FakeClock,
  ms: number,
  done: () => boolean = () => false,
  stepMs = STEP_MS,
): Promise<void> {
  for (let passed = 0; passed < ms && !done(); passed += stepMs) {
    clock.advance(stepMs);
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

async function add(log: BucketLog, number: number): Promise<string> {
  try {
    const outcomes = await log.addBatch(batch(number));
    return outcomes.some((outcome) => isCairnError(outcome)) ? "refused" : "acknowledged";
  } catch (error) {
    if (isCairnError(error)) return error.code;
    throw error;
  }
}

it.each<[string, Outage]>([
  ["breaks every connection", "resetting"],
  ["answers 503", { status: 503, code: "SlowDown" }],
  ["refuses its own credentials", { status: 403, code: "AccessDenied" }],
])(
  "a store that %s for an hour stops no acknowledgement until the backlog is full, and no entry is lost",
  async (_, outage) => {
    const bucket = await Bucket.make();
    const clock = new FakeClock();
    const log = await bucket.start({
      create: true,
      clock,
      limits: { checkpointIntervalMs: 1000, backlogMaxBytes: BACKLOG_MAX_BYTES },
      timing: { readPatienceMs: 0 },
    });
    await pass(clock, 10_000, () => log.rounds.length > 0);
    let number = 0;
    expect(await add(log, number++)).toBe("acknowledged");
    await pass(clock, 10_000, () => log.log.published()?.size === BATCH);
    expect(log.log.status().ready).toBe(true);

    bucket.server.outage = outage;
    const outcomes: string[] = [];
    for (; outcomes.at(-1) !== "backlog_full"; number++) {
      outcomes.push(await add(log, number));
      await pass(clock, 10_000);
    }
    // What is acknowledged fills the backlog, and nothing is refused before.
    expect(outcomes.slice(0, -1)).toEqual(
      Array.from(
        { length: Math.ceil(BACKLOG_MAX_BYTES / (BATCH * (ENTRY_BYTES + 2))) },
        () => "acknowledged",
      ),
    );
    await pass(clock, HOUR_MS - clock.monotonic(), undefined, LONG_STEP_MS);
    expect(await add(log, number)).toBe("backlog_full");
    expect(log.log.status()).toMatchObject({
      ready: false,
      publishedSize: BATCH,
      reasons: [{ code: "publication_late" }, { code: "checkpoint_old" }],
    });
    // What was published before is read from memory, what is not there says so.
    expect(log.failure).toBeNull();

    bucket.server.outage = null;
    const back = clock.monotonic();
    await pass(clock, 60_000, () => log.log.published()?.size === log.log.status().nextIndex);
    expect(log.log.published()?.size).toBe(log.log.status().nextIndex);
    expect(clock.monotonic() - back).toBeLessThanOrEqual(10_000);
    expect(log.log.status()).toMatchObject({ ready: true, reasons: [] });
    expect(await add(log, number - 1)).toBe("acknowledged");
    await pass(clock, 60_000, () => log.log.published()?.size === log.log.status().nextIndex);
    await pass(clock, 10_000, () => !bucket.hasSuperseded());
    const end = log.end();
    await pass(clock, 10_000);
    await end;
    await bucket.check();
  },
  60_000,
);

it("a store that never answers is given up at a start, and the log starts when it is back", async () => {
  const bucket = await Bucket.make();
  const clock = new FakeClock();
  const first = await bucket.start({ create: true, clock });
  expect(await add(first, 0)).toBe("acknowledged");
  await pass(clock, 60_000, () => bucket.published === BATCH);
  bucket.server.outage = "silent";
  expect(await add(first, 1)).toBe("acknowledged");
  // It stops in the time that a last round is given, though that cannot go through.
  const end = first.end();
  await pass(clock, 20_000);
  await end;
  expect(await bucket.refusal()).toBe("store_unreachable");
  bucket.server.outage = null;
  const second = await bucket.start();
  await second.quiet();
  expect(bucket.published).toBe(2 * BATCH);
  await second.end();
  await bucket.check({ superseded: true });
});

it("publication goes on within the time of one request and one pause after a silent store is back", async () => {
  const bucket = await Bucket.make();
  const log = await bucket.start({ create: true, timing: { answerTimeoutMs: 300 } });
  await log.quiet();
  bucket.server.outage = "silent";
  expect(await add(log, 0)).toBe("acknowledged");
  await new Promise((resolve) => setTimeout(resolve, 1500));
  bucket.server.outage = null;
  const back = performance.now();
  await log.quiet();
  expect(performance.now() - back).toBeLessThan(10_000);
  await log.end();
  await bucket.check();
});
