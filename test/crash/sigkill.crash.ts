// kill -9 at random moments, while a log starts and under load, with publishers that remember every acknowledgement: nothing
// that was acknowledged is ever missing, what is stored is always a whole log, and every head that was ever signed is a head
// of this one history.
//   CRASH_CYCLES=300 CRASH_SEED=42 npm run test:crash

import { join } from "node:path";
import { expect, inject, it } from "vitest";
import { storeEnv } from "../e2e/store.ts";
import { runCycles } from "./cycles.ts";
import { Random } from "./random.ts";

/** Each cycle takes one to two seconds. */
const CYCLES = Number(process.env.CRASH_CYCLES ?? 50);
/** The share of kills that hit a start, each at another of its few steps: reading, the epoch, mending, the table. */
const EARLY_SHARE = 0.25;
/** fsck reads everything each time, so not after every kill. */
const FSCK_EVERY = 10;

const random = Random.fromEnvironment();

it(`${CYCLES} kills lose nothing and fork nothing (CRASH_SEED=${random.seed})`, async () => {
  const report = await runCycles({
    program: join(inject("cairnPackage"), "dist/cli/main.js"),
    cycles: CYCLES,
    random,
    earlyShare: EARLY_SHARE,
    fsckEvery: FSCK_EVERY,
    storeEnv,
  });
  process.stdout.write(`killed: ${JSON.stringify(report)}\n`);
  expect(report.early).toBeGreaterThanOrEqual(Math.floor(CYCLES / 16));
  expect(report.acknowledged).toBeGreaterThan(CYCLES * 100);
  expect(report.published).toBeGreaterThanOrEqual(report.acknowledged);
  expect(report.heads).toBeGreaterThan(CYCLES / 4);
});
