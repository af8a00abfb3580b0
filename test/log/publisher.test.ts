// Rounds: the order of their effects, to the call, and when they come.

import { writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { publishedCheckpoint, readOwnCheckpoint } from "../../src/log/publisher.ts";
import { CHECKPOINT_KEY } from "../../src/log/head.ts";
import { StoreError } from "../../src/storage/store.ts";
import { turns } from "./doubles/fake-clock.ts";
import { entriesOf, entryOf } from "./doubles/entries.ts";
import { checkOracle } from "./doubles/oracle.ts";
import { type LogProcess, World } from "./doubles/world.ts";

/** What was asked for since the last look. */
function effectsOf(process: LogProcess): string[] {
  return process.effects.splice(0);
}

async function started(world: World, limits = {}): Promise<LogProcess> {
  const log = await world.start({ create: true, limits });
  await log.quiet();
  effectsOf(log);
  return log;
}

describe("a round", () => {
  it("has these effects in this order, and no others", async () => {
    const world = new World();
    const log = await started(world);
    log.add(...entriesOf(0, 10));
    await log.quiet();
    effectsOf(log);
    await log.addBatch(entriesOf(10, 290));
    await log.quiet();
    expect(effectsOf(log)).toEqual([
      // The acknowledgement.
      "commit 10+290",
      // What is full goes up without being asked for: the bundle before the tile of its leaves.
      "create tile/entries/000",
      "create tile/0/000",
      // The round: still the owner? then the partial objects of its size,
      "get state/head",
      "create tile/entries/001.p/44",
      "create tile/0/001.p/44",
      "create tile/1/000.p/1",
      // the head in the database before it is signed, signed through state/head, and only then recorded as signed,
      "recordIntegrated 300",
      "replace state/head",
      "recordSigned 300",
      // recorded as published before it is, and once more: still the owner?
      "recordPublished 300",
      "get state/head",
      "replace checkpoint",
      // Collection: read back, synced, recorded as synced, and only then dropped; then what the full ones supersede.
      "get tile/entries/000",
      "sync 2 keys",
      "recordSynced 256",
      "dropRows 256",
      "remove tile/entries/000.p/10",
      "remove tile/0/000.p/10",
    ]);
    await log.close();
    checkOracle(world);
  });

  it("in a bucket has the same without syncs", async () => {
    const world = new World({ durableOnWrite: true });
    const log = await started(world);
    log.add(entryOf(0));
    await log.quiet();
    expect(effectsOf(log)).toEqual([
      "commit 0+1",
      "get state/head",
      "create tile/entries/000.p/1",
      "create tile/0/000.p/1",
      "recordIntegrated 1",
      "replace state/head",
      "recordSigned 1",
      "recordPublished 1",
      "get state/head",
      "replace checkpoint",
    ]);
    await log.close();
    checkOracle(world);
  });

  it("signs nothing while an object of its size is not stored", async () => {
    const world = new World();
    const log = await started(world);
    log.store.faults.inject({
      form: "F1",
      operation: "create",
      key: (key) => key === "tile/0/000.p/3",
      times: Number.POSITIVE_INFINITY,
    });
    log.add(...entriesOf(0, 3));
    await log.pass(20_000);
    expect(effectsOf(log).filter((effect) => /record|replace/.test(effect))).toEqual([]);
    expect(world.signed).toBe(0);
    log.store.faults.clear();
    await log.quiet();
    expect([world.signed, world.published]).toEqual([3, 3]);
    await log.close();
    checkOracle(world);
  });

  it("stops the process where somebody else owns the head, before it writes a partial object", async () => {
    const world = new World();
    const first = await world.start({ create: true });
    await first.quiet();
    // A second copy of the process, on the same store, which no file lock keeps away.
    const database = { state: world.database.state?.copy() ?? null };
    const databasePath = `${world.databasePath}.copy`;
    writeFileSync(databasePath, "");
    await world.start({ database, databasePath });
    effectsOf(first);
    first.add(entryOf(0));
    await first.until("the overtaken process stops", () => first.failure !== null);
    expect(first.failure?.code).toBe("fenced");
    expect(effectsOf(first)).toEqual(["commit 0+1", "get state/head"]);
    expect(world.signed).toBe(0);
    await first.close();
  });
});

describe("the interval between publications", () => {
  it("stands from size 0 on: an add waits for the next, and goes at once where that time has passed", async () => {
    const world = new World();
    const log = await started(world);
    const published = (): number | undefined => log.running().published()?.size;
    // `quiet` took less than the interval, so the first add waits for what is left of it.
    log.add(entryOf(0));
    await turns(30);
    expect(published()).toBe(0);
    await log.pass(1000);
    expect(published()).toBe(1);
    await log.pass(5000);
    log.add(entryOf(1));
    await turns(60);
    expect(published()).toBe(2);
    // The next two wait together for one publication.
    log.add(entryOf(2));
    await turns(60);
    log.add(entryOf(3));
    await log.pass(900);
    expect(published()).toBe(2);
    await log.pass(150);
    expect([published(), log.rounds.slice(-2)]).toEqual([4, [2, 4]]);
    await log.close();
    checkOracle(world);
  });

  it("stands between publications under steady load, each of which covers what came before it", async () => {
    const world = new World();
    const log = await started(world, { checkpointIntervalMs: 500 });
    for (let i = 0; i < 100; i++) {
      log.add(entryOf(i));
      await log.pass(50);
    }
    const times = log.roundTimes;
    expect(times.length).toBeGreaterThanOrEqual(8);
    for (let i = 1; i < times.length; i++)
      expect((times[i] as number) - (times[i - 1] as number)).toBeGreaterThanOrEqual(500);
    await log.quiet();
    await log.close();
    checkOracle(world);
  });

  it("of an idle log is the longer one: it publishes the same head again, and signs nothing", async () => {
    const world = new World();
    const log = await started(world, { republishIntervalMs: 10_000 });
    log.add(entryOf(0));
    await log.quiet();
    const signed = world.ledger.signed.length;
    const note = log.running().published()?.note;
    log.rounds.length = 0;
    await log.pass(35_000);
    expect(log.rounds).toEqual([1, 1, 1]);
    expect(world.ledger.signed.length).toBe(signed);
    expect(log.running().published()?.note).toEqual(note);
    await log.pass(2000);
    log.add(entryOf(1));
    await turns(60);
    expect(log.running().published()?.size).toBe(2);
    await log.close();
    checkOracle(world);
  });
});

describe("the checkpoint", () => {
  it.each(["F1", "F2", "F4", "F10"] as const)(
    "is replaced for certain after %s, and never goes back",
    async (form) => {
      const world = new World();
      const log = await started(world);
      log.store.faults.inject({
        form,
        operation: "replace",
        key: (key) => key === CHECKPOINT_KEY,
        times: form === "F10" ? 1 : 3,
      });
      log.add(entryOf(0));
      await log.quiet();
      log.add(entryOf(1));
      await log.quiet();
      await log.store.applyLate();
      expect(world.published).toBe(2);
      await log.close();
      checkOracle(world);
    },
  );

  it("that somebody changed is replaced again where it is not ours, and told of", async () => {
    const world = new World();
    const log = await started(world);
    world.memory.plant(CHECKPOINT_KEY, new TextEncoder().encode("defaced"));
    log.add(entryOf(0));
    await log.quiet();
    expect(world.published).toBe(1);
    expect(log.troubles).toEqual([`checkpoint_replaced ${CHECKPOINT_KEY}`]);
    await log.close();
    checkOracle(world);
  });

  it("that is gone is made again", async () => {
    const world = new World();
    const log = await started(world);
    world.memory.take(CHECKPOINT_KEY);
    log.add(entryOf(0));
    await log.quiet();
    expect(world.published).toBe(1);
    await log.close();
    checkOracle(world);
  });

  it("that is ahead of us stops the process and stays", async () => {
    const world = new World();
    const log = await started(world);
    await log.addBatch(entriesOf(0, 5));
    await log.quiet();
    const ahead = world.memory.contents().get(CHECKPOINT_KEY) as Uint8Array;
    await log.close();

    const other = new World();
    const behind = await started(other);
    other.memory.plant(CHECKPOINT_KEY, ahead);
    behind.add(entryOf(0));
    await behind.until("it stops", () => behind.failure !== null);
    expect(behind.failure?.code).toBe("fenced");
    expect(other.memory.contents().get(CHECKPOINT_KEY)).toEqual(ahead);
    await behind.close();
  });

  it("stops the process where the store will never take it", async () => {
    const world = new World();
    const log = await started(world);
    const replace = log.store.replace.bind(log.store);
    log.store.replace = async (key, bytes, version) => {
      if (key === CHECKPOINT_KEY)
        throw new StoreError("no permission", { outcome: "not_applied", retryable: false });
      return replace(key, bytes, version);
    };
    log.add(entryOf(0));
    await log.until("it stops", () => log.failure !== null);
    expect(log.failure?.code).toBe("store_unavailable");
    await log.close();
    const next = await world.start();
    await next.quiet();
    await next.close();
    expect(world.published).toBe(1);
    checkOracle(world);
  });
});

describe("what is recorded of a round", () => {
  it.each(["recordIntegrated", "recordSigned", "recordPublished"] as const)(
    "waits for room where %s finds none, and the log goes on",
    async (operation) => {
      const world = new World();
      const log = await started(world);
      log.stateFaults.inject({ form: "F1", operation, reported: "not_applied", noSpace: true, times: 4 });
      log.add(entryOf(0));
      await log.quiet();
      expect(log.troubles.filter((each) => each.startsWith("record_retried"))).toHaveLength(4);
      expect([world.published, log.failure]).toEqual([1, null]);
      await log.close();
      checkOracle(world);
    },
  );

  it.each(["recordIntegrated", "recordSigned", "recordPublished"] as const)(
    "stops the process where %s has an unknown outcome, and the next start publishes",
    async (operation) => {
      for (const form of ["F1", "F2"] as const) {
        const world = new World();
        const log = await started(world);
        log.stateFaults.inject({ form, operation });
        log.add(entryOf(0));
        await log.until("it stops", () => log.failure !== null);
        expect(log.failure?.code).toBe("commit_unknown");
        await log.close();
        const next = await world.start();
        await next.quiet();
        await next.close();
        expect(world.published).toBe(1);
        checkOracle(world);
      }
    },
  );
});

describe("our own checkpoints", () => {
  it("are read with their signature and origin, and nothing else is", async () => {
    const world = new World();
    const log = await started(world);
    const { note } = log.running().published() as NonNullable<
      ReturnType<ReturnType<LogProcess["running"]>["published"]>
    >;
    const { origin, verifiers } = world.keys;
    expect(readOwnCheckpoint(note, origin, verifiers).size).toBe(0);
    expect(() => readOwnCheckpoint(note, "example.com/other", verifiers)).toThrow(
      expect.objectContaining({ code: "wrong_origin" }),
    );
    const text = new TextDecoder().decode(note);
    const bad = new TextEncoder().encode(text.replace("\n0\n", "\n1\n"));
    expect(() => readOwnCheckpoint(bad, origin, verifiers)).toThrow(
      expect.objectContaining({ code: "bad_signature" }),
    );
    const { verifiers: others } = world.ledger.keys(origin, 9);
    expect(() => readOwnCheckpoint(note, origin, others)).toThrow(
      expect.objectContaining({ code: "unsigned" }),
    );
    await log.close();
  });

  it("have an entity tag of their bytes", () => {
    const root = new Uint8Array(32) as never;
    const one = publishedCheckpoint(new Uint8Array([1]), 1, root, 5);
    expect(one.etag).toMatch(/^"[0-9a-f]{32}"$/);
    expect(publishedCheckpoint(new Uint8Array([1]), 1, root, 6).etag).toBe(one.etag);
    expect(publishedCheckpoint(new Uint8Array([2]), 1, root, 5).etag).not.toBe(one.etag);
  });
});
