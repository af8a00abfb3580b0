// A log as its process has it: what it takes and refuses when, what it says of itself, how it ends and begins again.

import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { cosignatureVkey } from "../../src/core/cosignature.ts";
import { type CairnError, isCairnError } from "../../src/core/errors.ts";
import { policyFromQuorum } from "../../src/core/policy.ts";
import { parseTlogProof } from "../../src/core/tlog-proof.ts";
import { loadTable, saveTable, tablePath } from "../../src/log/leaf-table-file.ts";
import { LeafTable, TABLE_KEY_BYTES } from "../../src/log/leaf-table.ts";
import { openLog } from "../../src/log/log.ts";
import type { LogWitnesses } from "../../src/log/options.ts";
import { LOG_RESERVE, ballastPath } from "../../src/log/space.ts";
import { naiveLeaf } from "../core/naive.ts";
import { FakeWitness, network } from "../witness/client/fake-witness.ts";
import { checkOracle } from "./doubles/oracle.ts";
import { turns } from "./doubles/fake-clock.ts";
import type { MemoryState } from "./doubles/memory-state.ts";
import { type LogProcess, World } from "./doubles/world.ts";
import { entriesOf, entryOf } from "./doubles/entries.ts";

const codes = (outcomes: unknown): unknown =>
  Array.isArray(outcomes)
    ? outcomes.map((each) => (isCairnError(each) ? each.code : each.index))
    : (outcomes as CairnError).code;

describe("a log", () => {
  it("acknowledges, publishes, proves, stops and goes on", async () => {
    const world = new World();
    const first = await world.start({ create: true });
    await first.quiet();
    expect(world.published).toBe(0);
    const answers = first.add(...entriesOf(0, 10));
    await first.quiet();
    expect(answers.map(({ receipt }) => receipt?.index)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    await first.addBatch(entriesOf(10, 600));
    await first.quiet();
    await first.close();
    const second = await world.start();
    expect(codes(await second.addBatch(entriesOf(605, 10)))).toEqual([
      605, 606, 607, 608, 609, 610, 611, 612, 613, 614,
    ]);
    await second.quiet();
    const proof = parseTlogProof(await second.running().proof(607));
    expect(proof.index).toBe(607n);
    await second.close();
    expect([world.published, first.rounds, second.rounds]).toEqual([615, [0, 10, 610], [610, 615]]);
    expect([first.troubles, second.troubles]).toEqual([[], []]);
    checkOracle(world);
  });

  it("finds every entry again that was ever acknowledged, with the saved table, without it, and with a damaged one", async () => {
    const world = new World();
    const first = await world.start({ create: true });
    await first.addBatch(entriesOf(0, 700));
    await first.quiet();
    await first.close();
    const path = tablePath(world.databasePath);
    expect(existsSync(path)).toBe(true);
    for (const damage of [
      () => undefined,
      () => writeFileSync(path, readFileSync(path).subarray(0, 200)),
      () => writeFileSync(path, ""),
      () => writeFileSync(path, Buffer.alloc(5000, 7)),
    ]) {
      damage();
      const log = await world.start();
      const again = await log.addBatch(entriesOf(0, 700));
      expect(codes(again)).toEqual(Array.from({ length: 700 }, (_, i) => i));
      expect(log.running().status().nextIndex).toBe(700);
      await log.quiet();
      await log.close();
    }
    checkOracle(world);
  });

  it("forgets a saved table of another history for good, so that it never hides what came instead", async () => {
    const world = new World();
    const first = await world.start({ create: true });
    await first.addBatch(entriesOf(0, 40));
    await first.quiet();
    const backup = world.database.state?.copy();
    const store = world.memory.copy();
    // Acknowledged, and lost with the volume: tiles and database are both put back as they were.
    await first.addBatch(entriesOf(40, 50));
    await first.close();
    world.memory = store;
    world.restoreDatabase(backup as never);
    world.rewound();
    const lost = new Set(entriesOf(40, 50).map((entry) => Buffer.from(entry).toString("latin1")));
    for (const each of lost) world.acknowledged.delete(each);
    for (let size = 41; size <= 90; size++) world.ledger.forget(size);

    const second = await world.start();
    await second.addBatch(entriesOf(1000, 60));
    await second.quiet();
    await second.kill();
    const third = await world.start();
    expect(codes(await third.addBatch(entriesOf(1000, 60)))).toEqual(
      Array.from({ length: 60 }, (_, i) => 40 + i),
    );
    await third.close();
    expect(third.running().status().nextIndex).toBe(100);
  });

  it("saves the table beside the database when it stops, for the size it then has", async () => {
    const world = new World();
    const log = await world.start({ create: true });
    await log.addBatch(entriesOf(0, 300));
    await log.quiet();
    await log.close();
    const id = (await world.database.state?.reopen().identity())?.databaseId as string;
    expect((await loadTable(tablePath(world.databasePath), id, 300))?.covered).toBe(300);
    expect(statSync(tablePath(world.databasePath)).mode & 0o777).toBe(0o600);
  });

  it("goes on where the saved table knows nothing that the log holds", async () => {
    const world = new World();
    const first = await world.start({ create: true });
    await first.addBatch(entriesOf(0, 300));
    await first.quiet();
    await first.close();
    const id = (await world.database.state?.reopen().identity())?.databaseId as string;
    await saveTable(tablePath(world.databasePath), new LeafTable(new Uint8Array(TABLE_KEY_BYTES)), id, 0);
    const second = await world.start();
    expect(codes(await second.addBatch(entriesOf(299, 2)))).toEqual([299, 300]);
    await second.quiet();
    await second.close();
    checkOracle(world);
  });
});

describe("admission", () => {
  it("refuses with the reason before a body is read, and again where it is added", async () => {
    const world = new World();
    const log = await world.start({ create: true });
    log.running().checkAdmission();
    log.running().drain();
    expect(() => log.running().checkAdmission()).toThrow(expect.objectContaining({ code: "draining" }));
    expect(log.add(entryOf(0))[0]?.error?.code).toBe("draining");
    expect(codes(await log.addBatch([entryOf(0)]))).toBe("draining");
    await log.close();
  });

  it("refuses writes with backlog_full from the byte that fills it until something was published", async () => {
    const world = new World();
    const log = await world.start({ create: true, limits: { backlogMaxBytes: 1000 } });
    await log.quiet();
    log.store.faults.inject({ form: "F1", operation: "replace", times: Number.POSITIVE_INFINITY });
    const entries = Array.from({ length: 10 }, (_, i) => new Uint8Array(98).fill(i + 1));
    log.add(...entries.slice(0, 9));
    await log.pass(200);
    expect(log.add(entries[9] as Uint8Array)[0]?.error).toBeNull();
    await log.pass(200);
    expect(log.running().status().backlogBytes).toBe(1000);
    expect(log.add(entryOf(1))[0]?.error?.code).toBe("backlog_full");
    expect(codes(await log.addBatch([entryOf(1)]))).toBe("backlog_full");
    expect(() => log.running().checkAdmission()).toThrow(expect.objectContaining({ code: "backlog_full" }));
    log.store.faults.clear();
    await log.quiet();
    expect([log.running().status().backlogBytes, log.add(entryOf(1))[0]?.error]).toEqual([0, null]);
    await log.quiet();
    await log.close();
    checkOracle(world);
  });

  it("refuses writes with storage_low below 256 MiB, publishes what it has, and takes writes a little above", async () => {
    const world = new World();
    let free = LOG_RESERVE;
    const log = await world.start({
      create: true,
      places: { freeBytes: async () => ({ database: free, store: LOG_RESERVE * 2 }) },
    });
    log.add(entryOf(0));
    await log.quiet();
    free = LOG_RESERVE - 1;
    await log.pass(6000);
    expect(log.add(entryOf(1))[0]?.error?.code).toBe("storage_low");
    expect(log.running().status()).toMatchObject({ ready: false, reasons: [{ code: "storage_low" }] });
    free = LOG_RESERVE + 1024;
    await log.pass(6000);
    expect(log.add(entryOf(1))[0]?.error?.code).toBe("storage_low");
    free = LOG_RESERVE * 2;
    await log.pass(6000);
    expect(log.add(entryOf(1))[0]?.error).toBeNull();
    await log.quiet();
    await log.close();
    checkOracle(world);
  });

  it("minds the store's disk as well, and counts free pages inside the database as room", async () => {
    const world = new World();
    const room = { database: LOG_RESERVE, store: LOG_RESERVE - 1 };
    const log = await world.start({ create: true, places: { freeBytes: async () => ({ ...room }) } });
    await log.until("storage is low", () => !log.running().status().ready);
    expect(log.add(entryOf(0))[0]?.error?.code).toBe("storage_low");
    room.store = LOG_RESERVE * 2;
    room.database = LOG_RESERVE * 2;
    await log.pass(6000);
    await log.addBatch(entriesOf(0, 2000));
    await log.addBatch(entriesOf(2000, 2000));
    await log.quiet();
    // Rows were collected: their pages are free, and make up for what is missing outside.
    room.database = LOG_RESERVE - 1024;
    await log.pass(6000);
    expect(log.running().status().reasons).toEqual([]);
    await log.close();
    checkOracle(world);
  });

  it("refuses with storage_low at once where the database has no room, and tries again later", async () => {
    const world = new World();
    const log = await world.start({ create: true });
    await log.quiet();
    log.stateFaults.inject({ form: "F1", operation: "commit", reported: "not_applied", noSpace: true });
    const [lost] = log.add(entryOf(0));
    await turns(20);
    expect(lost?.error?.code).toBe("storage_low");
    expect(log.add(entryOf(1))[0]?.error?.code).toBe("storage_low");
    await log.pass(6000);
    expect(log.running().status().ready).toBe(false);
    await log.close();
    expect(log.failure).toBeNull();
  });
});

describe("the file that is given up in need", () => {
  it("is laid where there is room, once, and given up at a start that finds none", async () => {
    const world = new World();
    const path = ballastPath(world.databasePath);
    let free = LOG_RESERVE * 2;
    const places = { freeBytes: async () => ({ database: free, store: null }) };
    const first = await world.start({ create: true, places });
    await first.until("it is laid", () => existsSync(path));
    await first.close();
    expect(statSync(path).size).toBe(16 * 1024 * 1024);
    const { mtimeMs } = statSync(path);
    const second = await world.start({ places });
    await second.quiet();
    await second.close();
    expect(statSync(path).mtimeMs).toBe(mtimeMs);
    const holder = await world.start({ places });
    await holder.quiet();
    free = 1024 * 1024;
    // Nor by whoever is refused while another process holds the log: it is that one's.
    await expect(world.start({ places })).rejects.toMatchObject({ code: "locked" });
    expect(existsSync(path)).toBe(true);
    await holder.close();
    const third = await world.start({ places });
    expect(existsSync(path)).toBe(false);
    await third.close();
    checkOracle(world);
  });

  it("is finished, or left out, before the log is closed", async () => {
    const world = new World();
    const log = await world.start({
      create: true,
      places: { freeBytes: async () => ({ database: LOG_RESERVE * 2, store: null }) },
    });
    await log.close();
    const after = existsSync(ballastPath(world.databasePath));
    await new Promise((done) => setTimeout(done, 50));
    expect(existsSync(ballastPath(world.databasePath))).toBe(after);
    expect(log.troubles).toEqual([]);
  });
});

describe("a stop", () => {
  it("answers everyone who waits, publishes once more, and leaves the places to the next", async () => {
    const world = new World();
    const log = await world.start({ create: true });
    await log.quiet();
    const answers = log.add(...entriesOf(0, 5));
    const ticket = log.running().reserveProof();
    await turns(5);
    const receipt = answers[0]?.receipt;
    const proof = log.running().awaitProof(ticket, receipt as never);
    await log.close();
    expect(answers.map(({ receipt: each, times }) => [each?.index, times])).toEqual(
      [0, 1, 2, 3, 4].map((i) => [i, 1]),
    );
    expect(parseTlogProof(await proof).index).toBe(0n);
    expect(world.published).toBe(5);
    checkOracle(world);
  });

  it("waits 10 s for its last round and no longer, and the next start publishes", async () => {
    const world = new World();
    const log = await world.start({ create: true });
    await log.quiet();
    log.store.faults.inject({ form: "F1", operation: "replace", times: Number.POSITIVE_INFINITY });
    const [answer] = log.add(entryOf(0));
    await turns(5);
    const ticket = log.running().reserveProof();
    const proof = log.running().awaitProof(ticket, answer?.receipt as never);
    proof.catch(() => undefined);
    const began = log.clock.monotonic();
    await log.close();
    const took = log.clock.monotonic() - began;
    expect(took).toBeGreaterThanOrEqual(9000);
    expect(took).toBeLessThanOrEqual(11_000);
    await expect(proof).rejects.toMatchObject({
      code: "proof_timeout",
      members: { index: 0, retry: "safe" },
    });
    expect(world.published).toBe(0);
    const next = await world.start();
    await next.quiet();
    await next.close();
    expect(world.published).toBe(1);
    checkOracle(world);
  });

  it("while it starts does not wait for the deduplication table", async () => {
    const world = new World();
    const first = await world.start({ create: true });
    await first.addBatch(entriesOf(0, 600));
    await first.quiet();
    await first.kill();
    const second = await world
      .start({
        before: (process) =>
          process.store.faults.inject({
            form: "F1",
            operation: "get",
            key: (key) => key === "tile/0/000",
            reported: "not_applied",
          }),
      })
      .catch((error: unknown) => error);
    expect(second).toBeDefined();
  });

  it("can be asked for twice", async () => {
    const world = new World();
    const log = await world.start({ create: true });
    const running = log.running();
    await log.close();
    await running.close();
  });

  it("refuses entries and whoever asks for a proof afterwards", async () => {
    const world = new World();
    const log = await world.start({ create: true });
    const [answer] = log.add(entryOf(0));
    await log.quiet();
    const ticket = log.running().reserveProof();
    await log.close();
    expect(log.add(entryOf(1))[0]?.error?.code).toBe("draining");
    const late = log
      .running()
      .awaitProof(ticket, { ...(answer?.receipt as never as object), index: 5 } as never);
    late.catch(() => undefined);
    await turns(5);
    expect(log.clock.pending).toBe(0);
    await expect(late).rejects.toMatchObject({ code: "proof_timeout" });
  });
});

describe("a log that stops by itself", () => {
  it("says why, answers everyone, refuses writes, goes on reading, and the next start decides", async () => {
    const world = new World();
    const log = await world.start({ create: true });
    await log.addBatch(entriesOf(0, 5));
    await log.quiet();
    log.stateFaults.inject({ form: "F2", operation: "commit" });
    const [unknown] = log.add(entryOf(5));
    await log.until("it stops", () => log.failure !== null);
    expect([log.failure?.code, unknown?.error?.code]).toEqual(["commit_unknown", "store_unavailable"]);
    expect(log.add(entryOf(6))[0]?.error?.code).toBe("store_unavailable");
    expect(log.running().status()).toMatchObject({
      ready: false,
      publishedSize: 5,
      reasons: [{ code: "commit_unknown" }],
    });
    expect((await log.running().read("entries", 0, 0, 5)).bytes.length).toBeGreaterThan(0);
    // It asks for nothing any more: no round begins over and over.
    const asked = log.effects.length;
    await log.pass(5000);
    expect(log.effects.length).toBe(asked);
    await log.close();
    const next = await world.start();
    // The row was applied: the same entry has its index, and nobody was told of it before.
    expect(codes(await next.addBatch([entryOf(5)]))).toEqual([5]);
    await next.quiet();
    await next.close();
    checkOracle(world);
  });
});

describe("reads at a start", () => {
  it("are refused with starting for what a power loss may have taken, until it is written anew", async () => {
    const world = new World();
    const first = await world.start({ create: true });
    await first.addBatch(entriesOf(0, 700));
    await first.quiet();
    await first.kill();
    world.memory.powerLoss((key) => (key.includes(".p/") ? "torn" : "kept"));
    // Writes are held up, so that the log is caught in the midst of mending.
    let opened = false;
    const process = world.start({
      before: (each) =>
        each.store.faults.inject({
          form: "F1",
          operation: "overwrite",
          times: Number.POSITIVE_INFINITY,
        }),
    });
    const log = await process;
    opened = true;
    expect(opened).toBe(true);
    expect(log.running().published()?.size).toBe(700);
    expect(() => log.running().read("tile", 0, 2, 188)).toThrow(
      expect.objectContaining({ code: "starting" }),
    );
    expect(() => log.running().read("entries", 0, 2, 1)).toThrow(
      expect.objectContaining({ code: "starting" }),
    );
    expect((await log.running().read("tile", 0, 1, 256)).bytes.length).toBe(8192);
    log.store.faults.clear();
    await log.quiet();
    expect((await log.running().read("tile", 0, 2, 188)).bytes.length).toBe(188 * 32);
    await log.close();
    checkOracle(world, { quarantine: true });
  });
});

describe("what a log says of itself", () => {
  it("is ready, and late only when entries wait longer than they may, with the reason", async () => {
    const world = new World();
    const log = await world.start({ create: true });
    await log.quiet();
    expect(log.running().status()).toMatchObject({
      ready: true,
      nextIndex: 0,
      integratedSize: 0,
      publishedSize: 0,
      reasons: [],
    });
    log.store.faults.inject({ form: "F1", operation: "replace", times: Number.POSITIVE_INFINITY });
    log.add(entryOf(0));
    await log.pass(30_000);
    expect(log.running().status().ready).toBe(true);
    await log.pass(3000);
    const { ready, reasons, nextIndex, publishedSize } = log.running().status();
    expect([ready, reasons.map(({ code }) => code), nextIndex, publishedSize]).toEqual([
      false,
      ["publication_late"],
      1,
      0,
    ]);
    log.store.faults.clear();
    const from = log.clock.monotonic();
    await log.until("it is published", () => log.running().published()?.size === 1);
    expect(log.clock.monotonic() - from).toBeLessThanOrEqual(10_000);
    expect(log.running().status().ready).toBe(true);
    await log.close();
    checkOracle(world);
  });

  it("is not ready, though idle, where its checkpoint could not be published anew, and says why", async () => {
    const world = new World();
    const log = await world.start({ create: true, limits: { republishIntervalMs: 600_000 } });
    log.add(entryOf(0));
    await log.until("it is published", () => log.running().published()?.size === 1);
    await log.quiet();
    await log.pass(620_000);
    expect(log.running().status()).toMatchObject({ ready: true, reasons: [] });
    for (const operation of ["replace", "overwrite", "get"] as const) {
      log.store.faults.inject({ form: "F1", operation, times: Number.POSITIVE_INFINITY });
    }
    await log.pass(640_000);
    const { ready, reasons, checkpointAgeSeconds } = log.running().status();
    expect([ready, reasons.map(({ code }) => code)]).toEqual([false, ["checkpoint_old"]]);
    expect(checkpointAgeSeconds).toBeGreaterThan(631);
    log.store.faults.clear();
    await log.until("it is published anew", () => log.running().status().ready);
    await log.close();
    checkOracle(world);
  });

  it("is not ready once a reader met a published object that is gone, and names it, until it is back", async () => {
    const world = new World();
    const log = await world.start({ create: true });
    // Beyond what the last commit's row keeps, which a start would mend it from.
    for (const [from, count] of [
      [0, 300],
      [300, 300],
    ] as const) {
      await log.addBatch(entriesOf(from, count));
      await log.quiet();
    }
    await log.close();
    const bundle = world.memory.contents().get("tile/entries/000") as Uint8Array;
    world.memory.take("tile/entries/000");
    const again = await world.start();
    await again.quiet();
    expect(again.running().status()).toMatchObject({ ready: true, reasons: [] });
    const read = async (): Promise<string> => (await again.running().read("entries", 0, 0, 256)).etag;
    for (let i = 0; i < 2; i++) await expect(read()).rejects.toMatchObject({ code: "object_missing" });
    expect(again.running().status()).toMatchObject({ ready: false, reasons: [{ code: "object_missing" }] });
    expect(again.running().status().reasons[0]?.detail).toContain("tile/entries/000");
    expect(again.troubles).toEqual(["object_missing tile/entries/000"]);
    world.memory.plant("tile/entries/000", bundle);
    await read();
    expect(again.running().status()).toMatchObject({ ready: true, reasons: [] });
    await again.close();
    checkOracle(world);
  });

  it("answers for an earlier checkpoint that it is draining once its database is closed, which is no fault", async () => {
    const world = new World();
    const log = await world.start({ create: true });
    await log.quiet();
    log.add(entryOf(0));
    await log.quiet();
    const running = log.running();
    expect(await running.checkpointAt(0)).not.toBeNull();
    await log.close();
    await expect(running.checkpointAt(0)).rejects.toMatchObject({ code: "draining" });
    expect(await running.checkpointAt(1)).not.toBeNull();
  });

  describe("before its first checkpoint", () => {
    const limits = { readyMaxLagMs: 31_000 };
    const unborn = async (misbehave: FakeWitness["misbehave"]) => {
      const world = new World();
      const witness = new FakeWitness("w", 1);
      witness.misbehave = misbehave;
      const { name, key, url, peer } = witness;
      const witnesses: LogWitnesses = {
        policy: policyFromQuorum([{ name, key: cosignatureVkey(key), url }], 1),
        peers: [peer],
        ignored: new Set(),
        surplusWaitMs: 0,
        fetch: network([witness]),
      };
      const log = await world.start({ create: true, limits, witnesses });
      return { world, witness, log };
    };
    const said = (log: LogProcess): unknown => {
      const { ready, reasons } = log.running().status();
      return [ready, reasons.map(({ code }) => code)];
    };

    it("is ready and waits for its first entry where its witnesses refuse size 0", async () => {
      const { log, witness } = await unborn(({ note }) =>
        note.text.includes("\n0\n") ? new Response("no empty logs\n", { status: 400 }) : null,
      );
      await log.until("it was asked", () => witness.asked.length > 1);
      expect(said(log)).toEqual([true, ["waiting_for_first_entry"]]);
      await log.pass(120_000);
      expect(said(log)).toEqual([true, ["waiting_for_first_entry"]]);
      log.add(entryOf(0));
      await log.until("it is published", () => log.running().published()?.size === 1);
      expect(said(log)).toEqual([true, []]);
      await log.close();
    });

    it.each<[string, FakeWitness["misbehave"]]>([
      [
        "does not answer",
        () => {
          throw new TypeError("fetch failed: ECONNREFUSED");
        },
      ],
      ["does not know the log", () => new Response("unknown log\n", { status: 404 })],
      ["is a proxy without a witness behind it", () => new Response("bad gateway\n", { status: 502 })],
    ])("is late, and not ready, where its only witness %s", async (_, misbehave) => {
      const { log, witness } = await unborn(misbehave);
      await log.until("it was asked", () => witness.asked.length > 1);
      expect(said(log)).toEqual([true, []]);
      await log.pass(limits.readyMaxLagMs);
      expect(said(log)).toEqual([false, ["publication_late"]]);
      expect(log.running().status().reasons[0]?.detail).toMatch(
        /^the first checkpoint waits .*witness w fails/,
      );
      witness.misbehave = null;
      await log.until("it is published", () => log.running().published()?.size === 0);
      expect(said(log)).toEqual([true, []]);
      await log.close();
    });
  });

  it("counts the age of the checkpoint, and never less than nothing when the calendar goes back", async () => {
    const world = new World();
    const log = await world.start({ create: true });
    await log.quiet();
    await log.pass(5000);
    expect(log.running().status().checkpointAgeSeconds).toBe(5);
    log.clock.stepBack(3_600_000);
    expect(log.running().status().checkpointAgeSeconds).toBe(0);
    log.add(entryOf(0));
    await log.quiet();
    await log.close();
    checkOracle(world);
  });
});

describe("duplicates of what lies deep in the log", () => {
  it("are found by a read of their tile, and answered within 5 s where the store does not answer", async () => {
    const world = new World();
    const first = await world.start({ create: true });
    await first.addBatch(entriesOf(0, 300));
    await first.addBatch(entriesOf(300, 300));
    await first.quiet();
    await first.close();
    // What is collected lies in tiles only.
    const log = await world.start();
    await log.quiet();
    log.store.faults.inject({ form: "F3", operation: "get", key: (key) => key === "tile/0/000" });
    const [hanging] = log.add(entryOf(3));
    const [fresh] = log.add(entryOf(9999));
    await log.pass(200);
    expect([hanging?.times, fresh?.receipt?.index]).toEqual([0, 600]);
    await log.pass(5000);
    expect(hanging?.error?.code).toBe("store_unavailable");
    log.store.faults.releaseHung();
    await turns(5);
    const [again] = log.add(entryOf(3));
    await log.pass(100);
    expect([again?.receipt?.index, again?.receipt?.duplicate]).toEqual([3, true]);
    expect(again?.receipt?.leafHash).toEqual(naiveLeaf(entryOf(3)));
    await log.close();
    checkOracle(world);
  });
});

it("a start that is refused holds nothing: the next one takes the same places", async () => {
  const world = new World();
  const log = await world.start({ create: true });
  await log.close();
  const other = world.ledger.keys("example.com/other", 8);
  expect(await world.refusal({ keys: other })).toBe("identity_mismatch");
  const next = await world.start();
  await expect(openLog(next.options())).rejects.toMatchObject({ code: "locked" });
  await next.close();
});

it("knows every entry although rows are collected while a start makes its table", async () => {
  const world = new World();
  const first = await world.start({ create: true });
  first.store.faults.inject({ form: "F1", operation: "sync", times: Number.POSITIVE_INFINITY });
  for (let from = 0; from < 2000; from += 100) await first.addBatch(entriesOf(from, 100));
  await first.until("it is published", () => first.running().published()?.size === 2000);
  await first.kill();
  expect(world.database.state?.look().firstRetained).toBe(0);

  // The database is slow to say what its rows are, so that collection is there first.
  const database = world.database.state as MemoryState;
  const reopen = database.reopen.bind(database);
  database.reopen = () => {
    const state = reopen();
    const readHashes = state.readHashes.bind(state);
    let calls = 0;
    state.readHashes = async (from, maxRows) => {
      // The judgement's call comes before anything is collected.
      if (++calls === 1) return readHashes(from, maxRows);
      while (state.look().firstRetained < 1000) await turns(1);
      return readHashes(from, 5);
    };
    return state;
  };
  const second = await world.start();
  await second.quiet();
  expect(world.database.state?.look().firstRetained).toBeGreaterThan(1000);
  expect(codes(await second.addBatch(entriesOf(0, 2000)))).toEqual(Array.from({ length: 2000 }, (_, i) => i));
  await second.close();
  checkOracle(world);
});

it("survives a power loss after a restart between the sync of its tiles and the drop of their rows", async () => {
  const world = new World();
  // One row that is the newest, so it is kept although the bundles in it are recorded as synced.
  const first = await world.start({ create: true });
  await first.addBatch(entriesOf(0, 1000));
  await first.quiet();
  await first.close();
  const second = await world.start();
  await second.quiet();
  // Now a newer row stands, and the old one is dropped on the strength of the record.
  await second.addBatch(entriesOf(1000, 300));
  await second.quiet();
  await second.kill();
  world.memory.powerLoss((key) => (key.startsWith("tile/") ? "torn" : "kept"));
  const third = await world.start();
  await third.quiet();
  expect(third.running().published()?.size).toBe(1300);
  await third.close();
  checkOracle(world, { quarantine: true });
});

it("goes on counting over a restart what waits for publication, and how long", async () => {
  const world = new World();
  const limits = { backlogMaxBytes: 1000 };
  const first = await world.start({ create: true, limits });
  await first.quiet();
  first.store.faults.inject({ form: "F1", operation: "replace", times: Number.POSITIVE_INFINITY });
  first.add(...Array.from({ length: 10 }, (_, i) => new Uint8Array(98).fill(i + 1)));
  await first.pass(200);
  await first.kill();
  const second = await world.start({
    limits,
    before: ({ store }) =>
      store.faults.inject({ form: "F1", operation: "overwrite", times: Number.POSITIVE_INFINITY }),
  });
  expect(second.running().status().backlogBytes).toBe(1000);
  expect(second.add(entryOf(1))[0]?.error?.code).toMatch(/^(starting|backlog_full)$/);
  await second.pass(60_000);
  expect(second.add(entryOf(1))[0]?.error?.code).toBe("backlog_full");
  expect(
    second
      .running()
      .status()
      .reasons.map(({ code }) => code),
  ).toContain("publication_late");
  second.store.faults.clear();
  await second.quiet();
  expect(second.running().status().backlogBytes).toBe(0);
  await second.close();
  checkOracle(world);
});
