// Every form of fault that a bucket can show, on every class of object, over real HTTP: what the log does then, and that
// nothing is forked, lost or left wrong after the next start. The forms that end a process are test/crash's.

import { describe, expect, it } from "vitest";
import type { FaultForm } from "../doubles/faults.ts";
import { impossibleS3Fault, type S3Fault, type S3Operation } from "../doubles/s3-server.ts";
import { entriesOf } from "../log/doubles/entries.ts";
import { Bucket, eventually } from "./bucket-log.ts";

/** What the fault does to the process, and what the start after it does. */
interface Outcome {
  /** `goes on`, or the code that the process stops with. */
  readonly process: "goes on" | "state_wrong" | "fenced";
  /** `starts`, or the code of the refusal that recovery is for. */
  readonly next: "starts" | "head_damaged";
  /** Partial objects that full ones replaced may be left for `cairn gc`. */
  readonly superseded?: true;
}

/** A group commit of a log. */
const BATCH_MAX = 10_000;

const GOES_ON: Outcome = { process: "goes on", next: "starts" };

/** Objects that the growth from 200 to 300 entries writes, reads back or removes. */
const CLASSES = {
  "full bundle": "tile/entries/000",
  "full tile": "tile/0/000",
  "partial bundle": "tile/entries/001.p/44",
  "partial tile": "tile/0/001.p/44",
  "upper tile": "tile/1/000.p/1",
  head: "state/head",
  checkpoint: "checkpoint",
} as const;
type ObjectClass = keyof typeof CLASSES;

const PUT_FAULTS: readonly (readonly [string, Pick<S3Fault, "form" | "answer" | "times">])[] = [
  ["F1, a 500", { form: "F1" }],
  ["F1, a broken connection, three times", { form: "F1", answer: "reset", times: 3 }],
  ["F1, a conflict that lasts", { form: "F1", answer: { status: 409, code: "OperationAborted" }, times: 7 }],
  ["F1, a refusal that passes", { form: "F1", answer: { status: 403, code: "AccessDenied" }, times: 2 }],
  ["F2, a 500", { form: "F2" }],
  ["F2, a broken connection", { form: "F2", answer: "reset" }],
  ["F3", { form: "F3" }],
  ["F4", { form: "F4" }],
  ["F7", { form: "F7" }],
  ["F10", { form: "F10" }],
];

function outcomeOfPut(form: FaultForm, object: ObjectClass): Outcome {
  if (form !== "F7") return GOES_ON;
  // A store that says it wrote and did not: found where it is read back before anything relies on it.
  if (object === "full bundle") return { process: "state_wrong", next: "starts" };
  if (object === "head") return { process: "fenced", next: "head_damaged" };
  return GOES_ON;
}

const GET_FAULTS: readonly (readonly [string, Pick<S3Fault, "form" | "damage" | "times">])[] = [
  ["F1", { form: "F1" }],
  ["F1, five times", { form: "F1", times: 5 }],
  ["F3", { form: "F3" }],
  ["F8", { form: "F8" }],
  ["F9, cut short", { form: "F9", damage: "truncate" }],
  ["F9, a flipped bit", { form: "F9", damage: "flip" }],
];

function outcomeOfGet(fault: Pick<S3Fault, "form" | "damage">, object: ObjectClass): Outcome {
  const isBelieved = fault.form === "F8" || (fault.form === "F9" && fault.damage === "flip");
  if (!isBelieved) return GOES_ON;
  // What reads as somebody else's, or as never written, is taken for that: a stop costs a start and no more.
  return { process: object === "head" ? "fenced" : "state_wrong", next: "starts" };
}

/** A log of `size` entries meets the fault while it grows by a hundred. */
async function runCase(fault: S3Fault, expected: Outcome, size = 200): Promise<void> {
  const bucket = await Bucket.make();
  const { server } = bucket;
  const log = await bucket.start({ create: true });
  await log.quiet();
  for (let from = 0; from < size; from += BATCH_MAX) {
    await log.addBatch(entriesOf(from, Math.min(BATCH_MAX, size - from)));
  }
  await log.quiet();
  server.inject(fault);
  await log.addBatch(entriesOf(size, 100));
  if (expected.process === "goes on") {
    await log.quiet(expected.superseded === true);
    await eventually("the fault comes about", () => server.faults.fired.length > 0);
    // The same batch again is the same entries, and the log grows on.
    await log.addBatch(entriesOf(size, 100));
    await log.addBatch(entriesOf(size + 100, 5));
    await log.quiet(expected.superseded === true);
    expect(log.failure).toBeNull();
    await log.end();
  } else {
    expect(await log.stopped()).toBe(expected.process);
  }
  server.applyLate();
  server.faults.clear();

  if (expected.next !== "starts") {
    expect(await bucket.refusal()).toBe(expected.next);
    await bucket.recover();
  }
  const next = await bucket.start();
  await next.quiet(expected.superseded === true);
  const from = next.log.status().nextIndex;
  await next.addBatch(entriesOf(from, 300));
  await next.quiet(expected.superseded === true);
  expect(next.failure).toBeNull();
  await next.end();
  await bucket.check(expected.superseded === true ? { superseded: true } : {});
  expect(bucket.published).toBe(from + 300);
}

describe.each(Object.entries(CLASSES))("a write of the %s", (name, key) => {
  it.each(PUT_FAULTS)("meets %s", async (_, fault) => {
    const expected = outcomeOfPut(fault.form, name as ObjectClass);
    await runCase({ operation: "put", key: (each) => each === key, ...fault }, expected);
  });
});

describe("a write of a full upper tile", () => {
  // It takes 65,536 entries: only one form that leaves the outcome open, and the one that lies.
  const kinds = PUT_FAULTS.filter(([name]) => ["F2, a 500", "F7"].includes(name));
  it.each(kinds)("meets %s", async (_, fault) => {
    await runCase({ operation: "put", key: (each) => each === "tile/1/000", ...fault }, GOES_ON, 65_480);
  });
});

describe.each(["head", "full bundle"] as const)("a read of the %s", (name) => {
  it.each(GET_FAULTS)("meets %s", async (_, fault) => {
    await runCase(
      { operation: "get", key: (each) => each === CLASSES[name], ...fault },
      outcomeOfGet(fault, name),
    );
  });
});

describe("a removal of a superseded object", () => {
  it.each<FaultForm>(["F1", "F2", "F3", "F4", "F7"])("meets %s", async (form) => {
    await runCase({ operation: "delete", form }, { ...GOES_ON, superseded: true });
  });
});

/** A start reads the head, the checkpoint and the right edge, and lists what lies beyond the end. */
const START_READS: readonly (readonly [string, S3Operation, string])[] = [
  ["the head", "get", "state/head"],
  ["the checkpoint", "get", "checkpoint"],
  ["a full tile of the right edge", "get", "tile/0/000"],
  ["a list", "list", "tile/entries/002.p/"],
];

describe.each(START_READS)("at a start, %s", (_, operation, key) => {
  it.each(GET_FAULTS)(
    "meets %s: it starts, or says what is wrong and starts the next time",
    async (_name, fault) => {
      const bucket = await Bucket.make();
      const first = await bucket.start({ create: true });
      await first.quiet();
      for (let i = 0; i < 6; i++) {
        await first.addBatch(entriesOf(i * 100, 100));
        await first.quiet();
      }
      await first.end();
      bucket.server.inject({ operation, key: (each) => each === key, ...fault });
      const passes = fault.form === "F1" || fault.form === "F3" || fault.damage === "truncate";
      const refusal = await bucket.refusal();
      if (passes) expect(refusal).toBe("started");
      else
        expect(["started", "head_damaged", "checkpoint_damaged", "root_mismatch", "internal"]).toContain(
          refusal,
        );
      for (const process of bucket.processes) await process.end();
      bucket.server.faults.clear();
      const next = await bucket.start();
      await next.addBatch(entriesOf(600, 100));
      // A start that believed an older checkpoint put back the partial objects of its size.
      const isStale = fault.form === "F8";
      await next.quiet(isStale);
      await next.end();
      await bucket.check(isStale ? { superseded: true } : {});
    },
  );
});

/** A start writes its probe and its epoch; a creation the first head and the first checkpoint besides. */
const FIRST_WRITES = {
  "the probe at a start": { key: (key: string) => key.startsWith("state/probe/"), create: false },
  "the epoch at a start": { key: (key: string) => key === "state/head", create: false },
  "the head at a creation": { key: (key: string) => key === "state/head", create: true },
  "the checkpoint at a creation": { key: (key: string) => key === "checkpoint", create: true },
} as const;
type FirstWrite = keyof typeof FIRST_WRITES;

/** How the start ends that meets the fault, what becomes of the log where it runs, and how the next start ends. */
interface FirstOutcome {
  readonly start: "started" | "store_unsafe" | "head_damaged" | "StoreError";
  readonly process: "goes on" | "fenced";
  readonly next: "started" | "head_damaged";
}

function outcomeOfFirst(form: FaultForm, write: FirstWrite): FirstOutcome {
  const started: FirstOutcome = { start: "started", process: "goes on", next: "started" };
  switch (write) {
    case "the probe at a start":
      // What it says of itself is not so: for this once it is not trusted with a log.
      return form === "F7" || form === "F10" ? { ...started, start: "store_unsafe" } : started;
    case "the epoch at a start":
      return form === "F7" ? { ...started, process: "fenced" } : started;
    case "the head at a creation":
      // Somebody waits for a creation: it says what was wrong, and is completed by the next.
      if (form === "F7") return { start: "head_damaged", process: "goes on", next: "head_damaged" };
      return form === "F10" ? started : { ...started, start: "StoreError" };
    case "the checkpoint at a creation":
      return started;
  }
}

describe.each(Object.keys(FIRST_WRITES) as FirstWrite[])("a write of %s", (name) => {
  it.each(PUT_FAULTS)("meets %s", async (_, fault) => {
    const { key, create } = FIRST_WRITES[name];
    const expected = outcomeOfFirst(fault.form, name);
    const bucket = await Bucket.make();
    const { server } = bucket;
    if (!create) {
      const first = await bucket.start({ create: true });
      await first.addBatch(entriesOf(0, 300));
      await first.quiet();
      await first.end();
    }
    server.inject({ operation: "put", key, ...fault });
    const [refusal] = (await bucket.refusal({ create })).split(":");
    expect(refusal).toBe(expected.start);
    const log = bucket.processes.at(-1);
    if (expected.start === "started" && log !== undefined) {
      await log.quiet();
      expect(log.failure?.code ?? "goes on").toBe(expected.process);
    }
    for (const process of bucket.processes) await process.end();
    expect(server.faults.fired.length).toBeGreaterThan(0);
    server.applyLate();
    server.faults.clear();

    if (expected.next !== "started") {
      // Nothing was ever acknowledged, and there is nothing to recover: such a database is removed by hand.
      expect(await bucket.refusal({ create })).toBe(expected.next);
      await expect(bucket.recover()).rejects.toMatchObject({ code: "log_absent" });
      expect([...server.contents().keys()]).toEqual([]);
      return;
    }
    const next = await bucket.start({ create: create && expected.start !== "started" });
    await next.quiet();
    const from = next.log.status().nextIndex;
    await next.addBatch(entriesOf(from, 300));
    await next.quiet();
    expect(next.failure).toBeNull();
    await next.end();
    expect(bucket.published).toBe(from + 300);
    await bucket.check({ ...(fault.form === "F4" ? { probe: true } : {}) });
  });
});

it("every form that a bucket can show is tried, and the others are impossible for a reason", () => {
  const tried: Record<S3Operation, readonly FaultForm[]> = {
    put: PUT_FAULTS.map(([, { form }]) => form),
    get: GET_FAULTS.map(([, { form }]) => form),
    delete: ["F1", "F2", "F3", "F4", "F7"],
    list: GET_FAULTS.map(([, { form }]) => form),
  };
  for (const operation of ["put", "get", "delete", "list"] as const) {
    for (const form of ["F1", "F2", "F3", "F4", "F5", "F6", "F7", "F8", "F9", "F10"] as const) {
      const isPossible = impossibleS3Fault({ operation, form }) === null;
      expect(tried[operation].includes(form), `${operation} ${form}`).toBe(isPossible);
    }
  }
});
