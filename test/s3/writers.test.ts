// Two writers on one bucket, each with its own copy of one database: no lock keeps them apart, `state/head` alone does.

import { describe, expect, it } from "vitest";
import { entriesOf } from "../log/doubles/entries.ts";
import { Bucket, type BucketLog, keyOf } from "./bucket-log.ts";

async function filled(): Promise<Bucket> {
  const bucket = await Bucket.make();
  const log = await bucket.start({ create: true });
  await log.addBatch(entriesOf(0, 300));
  await log.quiet();
  await log.end();
  return bucket;
}

function signedSizes(bucket: Bucket): number[] {
  return bucket.ledger.signed.map(({ size }) => size);
}

describe("a cloned volume", () => {
  it("runs once: the first writer stops before it signs anything more, and says why", async () => {
    const bucket = await filled();
    const clone = bucket.database.copy();
    const first = await bucket.start();
    await first.quiet();
    const second = await bucket.start({ database: clone });
    await second.quiet();
    const signed = signedSizes(bucket);
    const lost = entriesOf(1000, 7);
    await first.addBatch(lost);
    expect(await first.stopped()).toBe("fenced");
    expect(signedSizes(bucket)).toEqual(signed);
    expect(bucket.signed).toBe(300);

    await second.addBatch(entriesOf(300, 300));
    await second.quiet();
    expect(second.failure).toBeNull();
    await second.end();

    // What the first one acknowledged meanwhile is listed by recovery, and added anew.
    expect(await bucket.refusal()).toBe("database_older");
    const recovered = await bucket.recover({ fromHead: true });
    expect(recovered).toMatchObject({ size: 600, newlySetAside: 7 });
    const again = await bucket.start();
    for (const entry of lost) bucket.acknowledged.delete(keyOf(entry));
    for (const row of await again.log.setAside()) {
      expect([row.first, row.count]).toEqual([300, 7]);
      await again.addBatch(lost);
      await again.log.forgetSetAside(row.id);
    }
    await again.quiet();
    await again.end();
    expect(bucket.published).toBe(607);
    await bucket.check();
  });

  it("runs once, whichever is started first and however they race, and nothing is ever signed twice", async () => {
    for (let round = 0; round < 8; round++) {
      const bucket = await filled();
      bucket.server.conflicts = round % 2 === 1;
      const clone = bucket.database.copy();
      const starts = [bucket.start(), bucket.start({ database: clone })];
      const started = await Promise.allSettled(starts);
      const logs = started
        .filter((each): each is PromiseFulfilledResult<BucketLog> => each.status === "fulfilled")
        .map(({ value }) => value);
      // One may be refused at once, where the other took the head from it again and again.
      expect(logs.length).toBeGreaterThan(0);
      await Promise.all(logs.map((log, i) => log.addBatch(entriesOf(1000 * (i + 1), 260)).catch(() => null)));
      await Promise.all(logs.map((log) => log.quiet(true)));
      const running = logs.filter((log) => log.failure === null);
      expect(running.map(({ rounds }) => rounds.at(-1))).toEqual([560]);
      for (const log of logs) {
        if (log.failure !== null) expect(["fenced", "database_older"]).toContain(log.failure.code);
        await log.end();
      }
      const other = new Set([...bucket.acknowledged.keys()]);
      for (const [entry] of bucket.entries()) other.delete(entry);
      await bucket.check({ superseded: true, quarantined: true, lost: other });
    }
  });
});

describe("a bucket that is not this log's", () => {
  it("of another log is refused, and so is an empty one, and neither is changed", async () => {
    const [bucket, other] = [await filled(), await filled()];
    const elsewhere = await Bucket.make();
    for (const wrong of [other, elsewhere]) {
      const before = [...wrong.server.contents().keys()];
      const code = await wrong.refusal({ database: bucket.database.copy() });
      expect(code).toBe(wrong === other ? "identity_mismatch" : "head_damaged");
      expect([...wrong.server.contents().keys()]).toEqual(before);
      expect(await wrong.refusal({ database: bucket.database.copy(), create: true })).toBe(code);
      expect([...wrong.server.contents().keys()]).toEqual(before);
    }
  });

  it("that ignores conditions is refused before anything is written but the probe", async () => {
    const bucket = await filled();
    const before = [...bucket.server.contents().keys()];
    for (const conditions of [
      "if-none-match ignored",
      "if-match ignored",
      "all ignored",
      "unknown",
    ] as const) {
      bucket.server.conditions = conditions;
      const from = bucket.server.requests.length;
      expect(await bucket.refusal()).toBe("store_unsafe");
      for (const key of bucket.server.written(from)) expect(key).toMatch(/^state\/probe\//);
      expect([...bucket.server.contents().keys()]).toEqual(before);
    }
    bucket.server.conditions = "kept";
    const log = await bucket.start();
    await log.quiet();
    await log.end();
  });

  it("that ignores conditions gets no log", async () => {
    const bucket = await Bucket.make();
    bucket.server.conditions = "all ignored";
    expect(await bucket.refusal({ create: true })).toBe("store_unsafe");
    expect([...bucket.server.contents().keys()]).toEqual([]);
  });
});
