// What a start decides before it writes anything: each refusal with its code, what is adopted, and that it only reads.

import { describe, expect, it } from "vitest";
import { HEAD_KEY, CHECKPOINT_KEY, parseHead, printHead } from "../../src/log/head.ts";
import type { HeadRecord } from "../../src/log/head.ts";
import { printCheckpoint } from "../../src/core/checkpoint.ts";
import type { Hash } from "../../src/core/hash.ts";
import { printNote, signNote } from "../../src/core/note.ts";
import { naiveLeaf, naiveTree } from "../core/naive.ts";
import { entriesOf, entryOf } from "./doubles/entries.ts";
import { grown } from "./doubles/grow.ts";
import type { MemoryState } from "./doubles/memory-state.ts";
import { checkOracle } from "./doubles/oracle.ts";
import { type StartOptions, World } from "./doubles/world.ts";

function state(world: World): MemoryState {
  if (world.database.state === null) throw new Error("no database");
  return world.database.state;
}

function head(world: World): HeadRecord {
  return parseHead(world.memory.contents().get(HEAD_KEY) as Uint8Array);
}

function plantHead(world: World, change: Partial<HeadRecord>): void {
  world.memory.plant(HEAD_KEY, printHead({ ...head(world), ...change }));
}

/** A checkpoint that our key signed, for any tree: what a second copy of the log might have signed. */
function signedElsewhere(size: number, root: Uint8Array = new Uint8Array(32).fill(5)): string {
  const elsewhere = new World();
  const text = printCheckpoint({
    origin: elsewhere.keys.origin,
    size: BigInt(size),
    root: root as Hash,
    extensions: [],
  });
  return new TextDecoder().decode(printNote(signNote(text, elsewhere.keys.signers)));
}

/** The note of this log at a size that it has passed, signed by its key. */
function noteAt(size: number): string {
  return signedElsewhere(size, naiveTree(entriesOf(0, size).map(naiveLeaf)).root(0, size));
}

/** The refusal, after making sure that nothing was written. */
async function refusal(world: World, options: StartOptions = {}): Promise<string> {
  const before = world.memory.contents();
  const code = await world.refusal(options);
  const after = world.memory.contents();
  expect([...after.keys()]).toEqual([...before.keys()]);
  for (const [key, bytes] of before) expect(after.get(key)).toEqual(bytes);
  const effects = world.processes.at(-1)?.effects ?? [];
  expect(effects.filter((effect) => !/^(get|list) /.test(effect))).toEqual([]);
  return code;
}

/** The log starts, takes an entry, and everything holds. */
async function goesOn(world: World, quarantine = false): Promise<void> {
  const log = await world.start();
  log.add(entryOf(1_000_000));
  await log.quiet();
  await log.close();
  checkOracle(world, { quarantine });
}

describe("(i) what does not belong together is refused with identity_mismatch", () => {
  it.each<[string, (world: World) => StartOptions | void]>([
    ["the configured origin", (world) => ({ keys: world.ledger.keys("example.com/other", 7) })],
    ["the configured keys", (world) => ({ keys: world.ledger.keys("example.com/log", 8) })],
    ["the head's origin", (world) => plantHead(world, { origin: "example.com/other" })],
    ["the head's database", (world) => plantHead(world, { database: "f".repeat(32) })],
    ["the head's keys", (world) => plantHead(world, { keyIds: ["example.com/log+00000000"] })],
    [
      "one key too many in the head",
      (world) => plantHead(world, { keyIds: [...head(world).keyIds, "example.com/log+00000000"] }),
    ],
  ])("%s", async (_, change) => {
    const world = await grown(5);
    const options = change(world) ?? {};
    expect(await refusal(world, options)).toBe("identity_mismatch");
  });

  it("and a changed key set of the same origin is told of cairn keys rotate", async () => {
    const world = await grown(5);
    const keys = world.ledger.keys("example.com/log", 8);
    await expect(world.start({ keys })).rejects.toThrow(/; put .* or change them with cairn keys rotate\)$/);
    const elsewhere = world.ledger.keys("example.com/other", 7);
    await expect(world.start({ keys: elsewhere })).rejects.not.toThrow(/rotate/);
  });

  it("but either side of a pending change of keys is accepted", async () => {
    const world = await grown(5);
    const keys = head(world).keyIds;
    const next = world.ledger.keys("example.com/log", 8);
    const nextIds = next.signers.map((signer) => signer.vkey.slice(0, signer.vkey.lastIndexOf("+")));
    await state(world).reopen().setPendingKeys(nextIds);
    const log = await world.start();
    await log.close();
    plantHead(world, { keyIds: nextIds });
    const again = await world.start();
    await again.close();
    plantHead(world, { keyIds: keys });
    await goesOn(world);
  });

  it("a head or a database of a newer format is refused with format_newer", async () => {
    const world = await grown(5);
    world.memory.plant(HEAD_KEY, new TextEncoder().encode(JSON.stringify({ ...head(world), format: 2 })));
    expect(await refusal(world)).toBe("format_newer");
    const other = await grown(5);
    const database = state(other).reopen();
    const identity = await database.identity();
    database.identity = async () => ({ ...(identity as NonNullable<typeof identity>), format: 2 });
    database.reopen = () => database;
    other.database.state = database;
    expect(await refusal(other)).toBe("format_newer");
  });

  it("a database without an identity beside a head is a lost database", async () => {
    const world = await grown(5);
    world.loseDatabase();
    expect(await refusal(world)).toBe("database_lost");
  });
});

describe("(ii) what lies beyond the database's next index is refused with database_older", () => {
  it("the head, after an older database was put back", async () => {
    const world = await grown(5);
    const backup = state(world).copy();
    const log = await world.start();
    await log.addBatch(entriesOf(5, 5));
    await log.quiet();
    await log.close();
    world.restoreDatabase(backup);
    expect(await refusal(world)).toBe("database_older");
  });

  it("a checkpoint, where only the head was put back with the database", async () => {
    const world = await grown(5);
    const backup = state(world).copy();
    const before = world.memory.contents().get(HEAD_KEY) as Uint8Array;
    const log = await world.start();
    await log.addBatch(entriesOf(5, 5));
    await log.quiet();
    await log.close();
    world.restoreDatabase(backup);
    world.memory.plant(HEAD_KEY, before);
    for (const key of [...world.memory.contents().keys()]) if (key.endsWith("/10")) world.memory.take(key);
    expect(await refusal(world)).toBe("database_older");
  });

  it.each([
    [5, "tile/entries/000.p/6"],
    [5, "tile/entries/000.p/255"],
    [5, "tile/entries/000"],
    [5, "tile/entries/001"],
    [256, "tile/entries/001.p/1"],
    [256, "tile/entries/001"],
    [300, "tile/entries/002"],
  ])("at %i entries the bundle %s", async (size, key) => {
    const world = await grown(size);
    world.memory.plant(key, new Uint8Array([0, 1, 65]));
    expect(await refusal(world)).toBe("database_older");
    world.memory.take(key);
    await goesOn(world);
  });

  it("but not a bundle that the database's rows have made already", async () => {
    const world = await grown(5);
    const log = await world.start();
    log.store.faults.inject({ form: "F5", operation: "replace", key: (key) => key === HEAD_KEY });
    log.add(entryOf(5));
    await log.until("it is killed", () => log.failure !== null);
    await log.end();
    expect([...world.memory.contents().keys()]).toContain("tile/entries/000.p/6");
    await goesOn(world);
  });
});

describe("(iii) a root that differs is refused with root_mismatch", () => {
  it("the head's, at a size that rows cover", async () => {
    const world = await grown(5, 10);
    plantHead(world, { note: signedElsewhere(10) });
    expect(await refusal(world)).toBe("root_mismatch");
  });

  it("the head's, ahead of what the database knows to be signed", async () => {
    const world = await grown(5);
    const log = await world.start();
    log.store.faults.inject({ form: "F5", operation: "replace", key: (key) => key === HEAD_KEY });
    log.add(entryOf(5), entryOf(6));
    await log.until("it is killed", () => log.failure !== null);
    await log.end();
    plantHead(world, { note: signedElsewhere(7) });
    expect(await refusal(world)).toBe("root_mismatch");
  });

  it("the checkpoint's, where the head is right", async () => {
    const world = await grown(5, 10);
    for (const size of [5, 10]) {
      world.memory.plant(CHECKPOINT_KEY, new TextEncoder().encode(signedElsewhere(size)));
      expect(await refusal(world)).toBe("root_mismatch");
    }
  });

  it("the database's own record", async () => {
    const world = await grown(5);
    const database = state(world).reopen();
    await database.recordIntegrated({ size: 5, root: new Uint8Array(32).fill(1) });
    expect(await refusal(world)).toBe("root_mismatch");
    await database.recordIntegrated({ size: 5, root: naiveTree(entriesOf(0, 5).map(naiveLeaf)).root(0, 5) });
    await database.recordSigned({ size: 5, note: new TextEncoder().encode(signedElsewhere(5)) });
    expect(await refusal(world)).toBe("root_mismatch");
  });

  it("that comes of a damaged tile under the rows, and both are named", async () => {
    const world = await grown(300, 600);
    const tile = (world.memory.contents().get("tile/0/000") as Uint8Array).slice();
    tile[100] = (tile[100] as number) ^ 1;
    world.memory.plant("tile/0/000", tile);
    await expect(world.start()).rejects.toThrow(/root.*[0-9a-f]{64}.*[0-9a-f]{64}/s);
  });
});

describe("(iv) a head that is missing, damaged or older is refused with head_damaged", () => {
  it.each<[string, (world: World) => void]>([
    ["missing", (world) => world.memory.take(HEAD_KEY)],
    ["empty", (world) => world.memory.plant(HEAD_KEY, new Uint8Array(0))],
    [
      "cut",
      (world) =>
        world.memory.plant(HEAD_KEY, (world.memory.contents().get(HEAD_KEY) as Uint8Array).slice(0, 100)),
    ],
    ["with a note that is none", (world) => plantHead(world, { note: "?" })],
    [
      "with a note that another key signed",
      (world) => plantHead(world, { note: head(world).note.replaceAll("A", "B") }),
    ],
    ["of an earlier size", (world) => plantHead(world, { note: noteAt(5) })],
    ["of size 0", (world) => plantHead(world, { note: noteAt(0) })],
  ])("%s", async (_, change) => {
    const world = await grown(5, 10);
    change(world);
    expect(await refusal(world)).toBe("head_damaged");
  });

  it("also where only the checkpoint knows of the larger size", async () => {
    const world = await grown(5);
    const backup = state(world).copy();
    const earlier = head(world).note;
    const log = await world.start();
    await log.addBatch(entriesOf(5, 5));
    await log.quiet();
    await log.close();
    // The database has the rows, and knows nothing of the signature.
    const rows = await state(world).reopen().readRows(5, 1_000_000);
    world.restoreDatabase(backup);
    await state(world).adoptRows(rows);
    plantHead(world, { note: earlier });
    expect(await refusal(world)).toBe("head_damaged");
  });
});

describe("what is adopted", () => {
  it("a head beyond the database's record that equals ours", async () => {
    for (const operation of ["recordSigned", "recordPublished"] as const) {
      const world = await grown(5);
      const log = await world.start();
      log.stateFaults.inject({ form: "F5", operation });
      log.add(entryOf(5));
      await log.until("it is killed", () => log.failure !== null);
      await log.end();
      expect([world.signed, world.published]).toEqual([6, 5]);
      const signed = world.ledger.signed.length;
      const next = await world.start();
      await next.quiet();
      await next.close();
      // The stored note is used as it is: nothing was signed again.
      expect([world.published, world.ledger.signed.length]).toEqual([6, signed]);
      checkOracle(world);
    }
  });

  it("a checkpoint beyond the database's record, at or below the head", async () => {
    const world = await grown(5);
    const log = await world.start();
    log.stateFaults.inject({ form: "F7", operation: "recordPublished" });
    log.add(entryOf(5));
    await log.quiet();
    await log.kill();
    expect(state(world).look().published?.size).toBe(5);
    const next = await world.start();
    expect(next.running().published()?.size).toBe(6);
    await next.quiet();
    await next.close();
    expect(state(world).look().published?.size).toBe(6);
    checkOracle(world);
  });

  it("the database's published note, where the checkpoint is missing or older: it is put back", async () => {
    for (const change of [
      (world: World) => world.memory.take(CHECKPOINT_KEY),
      (world: World) => world.memory.plant(CHECKPOINT_KEY, new TextEncoder().encode(noteAt(5))),
    ]) {
      const world = await grown(5, 10);
      change(world);
      const log = await world.start();
      expect(log.running().published()?.size).toBe(10);
      await log.quiet();
      await log.close();
      expect(world.published).toBe(10);
      checkOracle(world);
    }
  });

  it("but not a checkpoint that does not verify: checkpoint_damaged", async () => {
    const world = await grown(5, 10);
    for (const bytes of ["", "?", signedElsewhere(10).replace("\n10\n", "\n11\n")]) {
      world.memory.plant(CHECKPOINT_KEY, new TextEncoder().encode(bytes));
      expect(await refusal(world)).toBe("checkpoint_damaged");
    }
  });
});

describe("the probe and the epoch", () => {
  it("come after the judgement: a store that cannot be written to safely is refused", async () => {
    const world = await grown(5);
    const code = await world.refusal({
      before: ({ store }) => {
        // A store that ignores conditions.
        store.replace = async (key, bytes) => {
          const there = await world.memory.get(key);
          return world.memory.replace(key, bytes, there?.version as never);
        };
        const probe = async (): Promise<void> => {
          const { probeStore } = await import("../../src/storage/probe.ts");
          await probeStore(store);
        };
        store.probe = probe;
      },
    });
    expect(code).toBe("store_unsafe");
    await goesOn(world);
  });

  it("are taken on the very version that was judged: another process in between is judged again", async () => {
    const world = await grown(5);
    let raced = 0;
    const log = await world.start({
      before: ({ store }) => {
        const probe = store.probe.bind(store);
        store.probe = async () => {
          await probe();
          raced++;
          plantHead(world, { epoch: head(world).epoch + 10 });
        };
      },
    });
    expect([raced, head(world).epoch]).toEqual([1, 12]);
    await log.close();
    await goesOn(world);
  });

  it("are given up where another process takes the head over and over", async () => {
    const world = await grown(5);
    const code = await world.refusal({
      before: ({ store }) => {
        const get = store.get.bind(store);
        store.get = async (key) => {
          const object = await get(key);
          if (key === HEAD_KEY) plantHead(world, { epoch: head(world).epoch + 1 });
          return object;
        };
      },
    });
    expect(code).toBe("locked");
    await goesOn(world);
  });
});

describe("tiles below the first retained row", () => {
  it("that are missing are made again from what is below them", async () => {
    const world = await grown(300, 700);
    expect(state(world).look().firstRetained).toBe(300);
    const original = world.memory.contents();
    for (const key of ["tile/0/000", "tile/0/001"]) world.memory.take(key);
    const log = await world.start();
    await log.quiet();
    await log.close();
    for (const key of ["tile/0/000", "tile/0/001"])
      expect(world.memory.contents().get(key)).toEqual(original.get(key));
    checkOracle(world);
  });

  it("that cannot be made again are refused with tile_missing", async () => {
    for (const damage of [
      (world: World) => world.memory.take("tile/entries/000"),
      (world: World) => world.memory.plant("tile/entries/000", new Uint8Array([0, 1])),
    ]) {
      const world = await grown(300, 700);
      world.memory.take("tile/0/000");
      damage(world);
      expect(await refusal(world)).toBe("tile_missing");
    }
    const world = await grown(300, 700);
    world.memory.take("tile/entries/001");
    expect(await refusal(world)).toBe("tile_missing");
  });
});
