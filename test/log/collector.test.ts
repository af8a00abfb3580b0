// Collection: what leaves the database and the store, when, and never before it is safe where it goes.

import { describe, expect, it } from "vitest";
import { collectGarbage } from "../../src/log/gc.ts";
import { fullKeys } from "../../src/log/collector.ts";
import { settled, turns } from "./doubles/fake-clock.ts";
import { entriesOf, entryOf } from "./doubles/entries.ts";
import { checkOracle } from "./doubles/oracle.ts";
import { type LogProcess, World } from "./doubles/world.ts";

async function started(world: World): Promise<LogProcess> {
  const log = await world.start({ create: true });
  await log.quiet();
  return log;
}

const kept = (world: World) => {
  const { firstRetained, nextIndex, syncedSize } = world.database.state?.look() ?? {
    firstRetained: -1,
    nextIndex: -1,
    syncedSize: -1,
  };
  return { firstRetained, nextIndex, syncedSize };
};

const tiles = (world: World): string[] =>
  [...world.memory.contents().keys()].filter((key) => key.startsWith("tile/"));

describe("rows", () => {
  it("go when their full bundle is published, and never the one that holds the right edge, nor the newest", async () => {
    const world = new World();
    const log = await started(world);
    await log.addBatch(entriesOf(0, 100));
    await log.quiet();
    expect(kept(world)).toEqual({ firstRetained: 0, nextIndex: 100, syncedSize: 0 });
    await log.addBatch(entriesOf(100, 100));
    await log.addBatch(entriesOf(200, 56));
    await log.quiet();
    // The bundle is full: the two older rows may go, and the newest says where the log ends.
    expect(kept(world)).toEqual({ firstRetained: 200, nextIndex: 256, syncedSize: 256 });
    await log.addBatch(entriesOf(256, 300));
    await log.quiet();
    expect(kept(world)).toEqual({ firstRetained: 256, nextIndex: 556, syncedSize: 512 });
    await log.addBatch(entriesOf(556, 10));
    await log.addBatch(entriesOf(566, 500));
    await log.quiet();
    // The row 566..1066 holds entries from 1024 on, which no full bundle has.
    expect(kept(world)).toEqual({ firstRetained: 566, nextIndex: 1066, syncedSize: 1024 });
    await log.close();
    checkOracle(world);
  });

  it("stay while their bundle is not read back as it was written, and the process stops", async () => {
    const world = new World();
    const log = await started(world);
    await log.addBatch(entriesOf(0, 200));
    log.store.faults.inject({ form: "F9", operation: "get", key: (key) => key === "tile/entries/000" });
    await log.addBatch(entriesOf(200, 100));
    await log.until("it stops", () => log.failure !== null);
    expect(log.failure?.code).toBe("state_wrong");
    expect(kept(world)).toMatchObject({ firstRetained: 0, syncedSize: 0 });
    await log.close();
    const next = await world.start();
    await next.quiet();
    expect(kept(world)).toMatchObject({ firstRetained: 200, syncedSize: 256 });
    await next.close();
    checkOracle(world);
  });

  it("stay where the bundle that was read back is really another, which the next start puts right", async () => {
    for (const durableOnWrite of [false, true]) {
      const world = new World({ durableOnWrite });
      const log = await started(world);
      await log.addBatch(entriesOf(0, 200));
      await log.quiet();
      const create = log.store.create.bind(log.store);
      // The store lies: it kept other bytes than it was given.
      log.store.create = async (key, bytes) => {
        const result = await create(key, bytes);
        if (key === "tile/entries/000") world.memory.plant(key, bytes.slice().fill(0x41, 5, 6));
        return result;
      };
      await log.addBatch(entriesOf(200, 100));
      await log.until("it stops", () => log.failure !== null);
      expect([log.failure?.code, kept(world).syncedSize]).toEqual(["state_wrong", 0]);
      await log.close();
      const next = await world.start();
      await next.quiet();
      await next.close();
      expect(world.published).toBe(300);
      checkOracle(world, { quarantine: true });
    }
  });

  it("stay while a sync fails, or nothing can be recorded; each is tried again", async () => {
    const world = new World();
    const log = await started(world);
    log.store.faults.inject({ form: "F1", operation: "sync", times: 2 });
    log.stateFaults.inject({
      form: "F1",
      operation: "recordSynced",
      reported: "not_applied",
      noSpace: true,
      times: 2,
    });
    log.stateFaults.inject({
      form: "F1",
      operation: "dropRows",
      reported: "not_applied",
      noSpace: true,
      times: 1,
    });
    await log.addBatch(entriesOf(0, 200));
    await log.addBatch(entriesOf(200, 100));
    await log.until(
      "it is tried again",
      () => log.troubles.filter((each) => each.startsWith("collection")).length >= 1,
    );
    expect(kept(world)).toMatchObject({ firstRetained: 0, syncedSize: 0 });
    await log.quiet();
    await log.addBatch(entriesOf(300, 300));
    await log.quiet();
    expect(kept(world)).toMatchObject({ firstRetained: 300, syncedSize: 512 });
    expect(log.failure).toBeNull();
    await log.close();
    checkOracle(world);
  });

  it("go in slices, so that a commit never waits for a large delete", async () => {
    const world = new World();
    const log = await started(world);
    const large = (i: number): Uint8Array => new Uint8Array(60_000).fill(i & 0xff, 2).fill(i >> 8, 0, 2);
    for (let i = 0; i < 300; i += 10) await log.addBatch(Array.from({ length: 10 }, (_, j) => large(i + j)));
    log.effects.length = 0;
    await log.quiet();
    const drops = log.effects.filter((effect) => effect.startsWith("dropRows"));
    // 15 MB in rows of 0.6 MB, one MiB a slice.
    expect(drops.length).toBeGreaterThan(12);
    expect(kept(world).firstRetained).toBe(250);
    await log.close();
    checkOracle(world);
  });
});

describe("partial objects", () => {
  it("go when the full one stands and is synced: exactly these keys are left", async () => {
    const world = new World();
    const log = await started(world);
    for (const size of [100, 50, 106]) {
      await log.addBatch(entriesOf(log.running().status().nextIndex, size));
      await log.quiet();
    }
    expect(tiles(world)).toEqual(["tile/0/000", "tile/1/000.p/1", "tile/entries/000"]);
    await log.addBatch(entriesOf(256, 200));
    await log.quiet();
    await log.addBatch(entriesOf(456, 200));
    await log.quiet();
    expect(tiles(world)).toEqual([
      "tile/0/000",
      "tile/0/001",
      "tile/0/002.p/144",
      "tile/1/000.p/1",
      "tile/1/000.p/2",
      "tile/entries/000",
      "tile/entries/001",
      "tile/entries/002.p/144",
    ]);
    await log.close();
    checkOracle(world);
  });

  it("stay while the full one is not published", async () => {
    const world = new World();
    const log = await started(world);
    await log.addBatch(entriesOf(0, 100));
    await log.quiet();
    log.store.faults.inject({
      form: "F1",
      operation: "replace",
      key: (key) => key === "checkpoint",
      times: Number.POSITIVE_INFINITY,
    });
    await log.addBatch(entriesOf(100, 200));
    await log.pass(20_000);
    expect(tiles(world)).toContain("tile/0/000.p/100");
    expect(log.running().published()?.size).toBe(100);
    expect((await log.running().read("tile", 0, 0, 100)).bytes.length).toBe(3200);
    log.store.faults.clear();
    await log.quiet();
    expect(tiles(world)).not.toContain("tile/0/000.p/100");
    await log.close();
    checkOracle(world);
  });

  it("that a crash left are found by gc, which a dry run only counts", async () => {
    const world = new World();
    const log = await started(world);
    await log.addBatch(entriesOf(0, 100));
    await log.quiet();
    log.store.faults.inject({ form: "F5", operation: "remove" });
    await log.addBatch(entriesOf(100, 200));
    await log.until("it is killed", () => log.failure !== null);
    await log.end();
    const next = await world.start();
    await next.quiet();
    await next.close();
    expect(tiles(world).filter((key) => key.includes("000.p/100"))).toEqual([
      "tile/0/000.p/100",
      "tile/entries/000.p/100",
    ]);
    checkOracle(world, { superseded: true });
    world.memory.plant("tile/README", new Uint8Array([1]));
    const gc = async (dryRun: boolean) => {
      let seen = 0;
      const options = next.options();
      const garbage = await settled(
        "gc",
        [next.clock],
        collectGarbage(options, { dryRun, progress: (count) => (seen = count) }),
      );
      expect(seen).toBeGreaterThan(4);
      return garbage;
    };
    expect(await gc(true)).toEqual({ superseded: 2, quarantined: [] });
    expect(await gc(false)).toEqual({ superseded: 2, quarantined: [] });
    expect(await gc(false)).toEqual({ superseded: 0, quarantined: [] });
    expect(tiles(world)).toContain("tile/README");
    world.memory.take("tile/README");
    const last = await world.start();
    await last.quiet();
    await last.close();
    checkOracle(world);
  });
});

describe("collection after a start", () => {
  it("goes on where it was, with bundles that the earlier process made", async () => {
    const world = new World();
    const log = await started(world);
    log.store.faults.inject({ form: "F1", operation: "sync", times: Number.POSITIVE_INFINITY });
    await log.addBatch(entriesOf(0, 700));
    await log.addBatch(entriesOf(700, 700));
    await log.until("it is published", () => log.running().published()?.size === 1400);
    await log.kill();
    expect(kept(world)).toMatchObject({ firstRetained: 0, syncedSize: 0 });
    const next = await world.start();
    await next.quiet();
    expect(kept(world)).toMatchObject({ firstRetained: 700, syncedSize: 1280 });
    await next.addBatch(entriesOf(1400, 1));
    await next.addBatch(entriesOf(1401, 200));
    await next.quiet();
    expect(kept(world)).toMatchObject({ firstRetained: 1401, syncedSize: 1536 });
    await next.close();
    checkOracle(world);
  });

  it("goes on at rows that begin inside a bundle", async () => {
    const world = new World();
    const log = await started(world);
    await log.addBatch(entriesOf(0, 300));
    await log.addBatch(entriesOf(300, 300));
    await log.quiet();
    await log.close();
    expect(kept(world).firstRetained).toBe(300);
    const next = await world.start();
    await next.addBatch(entriesOf(600, 500));
    await next.addBatch([entryOf(5000)]);
    await next.quiet();
    await next.close();
    expect(kept(world)).toMatchObject({ firstRetained: 600, syncedSize: 1024 });
    checkOracle(world);
  });
});

it("names the full objects of every level that end between two sizes", () => {
  expect(fullKeys(0, 0)).toEqual([]);
  expect(fullKeys(256, 768)).toEqual(["tile/entries/001", "tile/entries/002", "tile/0/001", "tile/0/002"]);
  const keys = fullKeys(65_280, 65_792);
  expect(keys).toEqual(["tile/entries/255", "tile/entries/256", "tile/0/255", "tile/0/256", "tile/1/000"]);
  expect(fullKeys(0, 65_536)).toHaveLength(256 + 256 + 1);
});

it("the database's file shrinks when much was collected, and keeps room for the next rows", async () => {
  const world = new World();
  const log = await started(world);
  const shrunk: number[] = [];
  const { state } = world.database;
  if (state === null) throw new Error("no database");
  let free = 100 * 1024 * 1024;
  state.freeBytes = async () => free;
  state.shrink = async (bytes) => {
    shrunk.push(bytes);
    free -= bytes;
    return free;
  };
  await log.addBatch(entriesOf(0, 300));
  await log.quiet();
  await turns(50);
  expect(free).toBe(64 * 1024 * 1024);
  expect(Math.max(...shrunk)).toBeLessThanOrEqual(4 * 1024 * 1024);
  await log.close();
});
