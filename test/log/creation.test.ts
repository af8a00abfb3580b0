// Creation: a log comes into being once, only where it was asked for, and an interrupted creation can be repeated.

import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { creatingPath, keyIdsOf } from "../../src/log/creation.ts";
import { CHECKPOINT_KEY, HEAD_KEY, parseHead, printHead } from "../../src/log/head.ts";
import { entriesOf, entryOf } from "./doubles/entries.ts";
import { MemoryState } from "./doubles/memory-state.ts";
import { checkOracle } from "./doubles/oracle.ts";
import { World } from "./doubles/world.ts";

const ID = "00112233445566778899aabbccddeeff";

async function created(world: World): Promise<void> {
  const log = await world.start({ create: true });
  await log.quiet();
  await log.close();
}

async function works(world: World): Promise<void> {
  const log = await world.start();
  log.add(entryOf(0));
  await log.quiet();
  await log.close();
  checkOracle(world);
}

describe("the ids that head and database remember", () => {
  it("are name and id alone, also of a key with plus signs in its base64", () => {
    const vkey = "example.com/log+0badcafe+AWL+nE9kxbeA+BW/zD4Lh9CMe7q7CoR5qHpfvYl5c5eo";
    const signer = { name: "example.com/log", keyId: 0x0badcafe, vkey, sign: () => new Uint8Array() };
    expect(keyIdsOf({ origin: signer.name, signers: [signer], verifiers: [] })).toEqual([
      "example.com/log+0badcafe",
    ]);
  });
});

describe("a creation", () => {
  it("leaves a head of size 0 under the database's id, a database with it, and no file of its own", async () => {
    const world = new World();
    const log = await world.start({ create: true });
    const head = parseHead(world.memory.contents().get(HEAD_KEY) as Uint8Array);
    const identity = await world.database.state?.reopen().identity();
    expect(identity).toMatchObject({ format: 1, origin: "example.com/log", pendingKeys: null });
    expect([head.database, head.origin, head.keyIds, head.frozen]).toEqual([
      identity?.databaseId,
      "example.com/log",
      identity?.keys,
      false,
    ]);
    expect(identity?.keys[0]).toMatch(/^example\.com\/log\+[0-9a-f]{8}$/);
    expect(existsSync(creatingPath(world.databasePath))).toBe(false);
    expect(log.notes).toContain("created");
    await log.quiet();
    await log.close();
    expect(world.published).toBe(0);
    await works(world);
  });

  it("happens in this order: the file with the id, the head, the database", async () => {
    const world = new World();
    const seen: string[] = [];
    await world.start({
      create: true,
      before: (process) => {
        const createDurable = process.store.createDurable.bind(process.store);
        process.store.createDurable = async (key, bytes) => {
          if (key === HEAD_KEY) {
            const id = readFileSync(creatingPath(world.databasePath), "utf8").trim();
            const identity = await world.database.state?.identity();
            seen.push(`head ${id === parseHead(bytes).database} ${identity === null}`);
          }
          return createDurable(key, bytes);
        };
      },
    });
    expect(seen).toEqual(["head true true"]);
  });

  it("is not made twice: on a log that exists it is warned of, and nothing else happens", async () => {
    const world = new World();
    await created(world);
    const head = parseHead(world.memory.contents().get(HEAD_KEY) as Uint8Array);
    const log = await world.start({ create: true });
    expect(log.troubles.map((each) => each.split(" ")[0])).toEqual(["log_create_set"]);
    const after = parseHead(world.memory.contents().get(HEAD_KEY) as Uint8Array);
    expect([after.database, after.epoch]).toEqual([head.database, head.epoch + 1]);
    await log.close();
    await works(world);
  });
});

describe("nothing is created", () => {
  it("where it was not asked for, because something was not found", async () => {
    const world = new World();
    expect(await world.refusal()).toBe("log_absent");
    expect([world.memory.contents().size, world.database.state, existsSync(world.databasePath)]).toEqual([
      0,
      null,
      false,
    ]);
    // An empty database, as a program that was killed may leave it.
    world.restoreDatabase(new MemoryState());
    expect(await world.refusal()).toBe("log_absent");
    expect(world.memory.contents().size).toBe(0);
  });

  it.each([
    ["the head", HEAD_KEY],
    ["the checkpoint", CHECKPOINT_KEY],
    ["a tile", "tile/0/000.p/5"],
  ])("where only %s of another log stands, with LOG_CREATE or without", async (_, key) => {
    const other = new World();
    const log = await other.start({ create: true });
    log.add(...entriesOf(0, 5));
    await log.quiet();
    await log.close();
    const bytes = other.memory.contents().get(key) as Uint8Array;

    const world = new World();
    world.memory.plant(key, bytes);
    expect(await world.refusal({ create: true })).toBe("log_exists");
    expect(await world.refusal()).toBe("database_lost");
    expect([...world.memory.contents().keys()]).toEqual([key]);
    // The same beside an empty database.
    world.restoreDatabase(new MemoryState());
    expect(await world.refusal({ create: true })).toBe("log_exists");
    expect(await world.refusal()).toBe("database_lost");
    expect([...world.memory.contents().keys()]).toEqual([key]);
    expect(existsSync(creatingPath(world.databasePath))).toBe(false);
  });

  it("where a head of size 0 belongs to another creation than the one that was interrupted", async () => {
    const other = new World();
    await created(other);
    const world = new World();
    world.memory.plant(HEAD_KEY, other.memory.contents().get(HEAD_KEY) as Uint8Array);
    writeFileSync(creatingPath(world.databasePath), `${ID}\n`);
    expect(await world.refusal({ create: true })).toBe("creation_unfinished");
    expect(await world.database.state?.reopen().identity()).toBeNull();
  });

  it("where a head of size 0 with the right id is signed by another key", async () => {
    const other = new World();
    await created(other);
    const head = parseHead(other.memory.contents().get(HEAD_KEY) as Uint8Array);
    const world = new World();
    world.memory.plant(HEAD_KEY, printHead({ ...head, database: ID }));
    writeFileSync(creatingPath(world.databasePath), `${ID}\n`);
    expect(await world.refusal({ create: true, keys: world.ledger.keys("example.com/log", 8) })).toBe(
      "creation_unfinished",
    );
  });

  it.each(["", "xyz\n", `${ID}0\n`, `${ID.toUpperCase()}\n`])(
    "where the file of a creation holds no id: %j",
    async (text) => {
      const world = new World();
      writeFileSync(creatingPath(world.databasePath), text);
      expect(await world.refusal({ create: true })).toBe("creation_unfinished");
      expect(world.memory.contents().size).toBe(0);
    },
  );

  it("where a database that exists is not the one that an interrupted creation began", async () => {
    const world = new World();
    await created(world);
    writeFileSync(creatingPath(world.databasePath), `${ID}\n`);
    expect(await world.refusal({ create: true })).toBe("creation_unfinished");
    expect(await world.refusal()).toBe("creation_unfinished");
    rmSync(creatingPath(world.databasePath));
    await works(world);
  });

  it("where tiles stand beside an interrupted creation", async () => {
    const world = new World();
    writeFileSync(creatingPath(world.databasePath), `${ID}\n`);
    world.memory.plant("tile/0/000.p/1", new Uint8Array(32));
    expect(await world.refusal({ create: true })).toBe("creation_unfinished");
  });
});

describe("a creation that was interrupted", () => {
  /** Every call to store and database that a creation makes, in order. */
  async function stepsOfCreation(): Promise<string[]> {
    const world = new World();
    const log = await world.start({ create: true });
    await log.close();
    return log.effects;
  }

  it("can be repeated from wherever it stopped, killed before or after any of its calls", async () => {
    const steps = (await stepsOfCreation()).length;
    expect(steps).toBeGreaterThan(8);
    let reached = 0;
    for (const when of ["before", "after"] as const) {
      for (let step = 0; step < steps; step++) {
        const world = new World();
        const killed = await world
          .start({
            create: true,
            before: (process) => process.killAt(step + (when === "after" ? 1 : 0)),
          })
          .catch((error: unknown) => error);
        if (killed instanceof Error) reached++;
        for (const process of world.processes) await process.end();
        await world.start({ create: true }).then((log) => log.quiet());
        for (const process of world.processes) await process.close();
        for (const process of world.processes) await process.end();
        expect(existsSync(creatingPath(world.databasePath))).toBe(false);
        await works(world);
      }
    }
    expect(reached).toBeGreaterThan(steps);
  });

  it("goes on with the id that it began with", async () => {
    const world = new World();
    writeFileSync(creatingPath(world.databasePath), `${ID}\n`);
    expect(await world.refusal()).toBe("log_absent");
    await created(world);
    expect((await world.database.state?.reopen().identity())?.databaseId).toBe(ID);
    await works(world);
  });

  it("is refused without LOG_CREATE, naming what to do, until it is finished", async () => {
    const world = new World();
    const killed = world.start({
      create: true,
      before: (process) => process.stateFaults.inject({ form: "F5", operation: "create" }),
    });
    await expect(killed).rejects.toThrow();
    for (const process of world.processes) await process.end();
    expect(existsSync(creatingPath(world.databasePath))).toBe(true);
    expect(await world.refusal()).toBe("creation_unfinished");
    expect(existsSync(creatingPath(world.databasePath))).toBe(true);
    await created(world);
    await works(world);
  });

  it("at its very last step is finished by any start", async () => {
    const world = new World();
    const killed = world.start({
      create: true,
      before: (process) => process.stateFaults.inject({ form: "F6", operation: "create" }),
    });
    await expect(killed).rejects.toThrow();
    for (const process of world.processes) await process.end();
    expect(existsSync(creatingPath(world.databasePath))).toBe(true);
    await works(world);
    expect(existsSync(creatingPath(world.databasePath))).toBe(false);
  });

  it.each(["F1", "F2", "F4", "F10"] as const)(
    "by a store that answers %s is repeated with one head",
    async (form) => {
      const world = new World();
      let process: Awaited<ReturnType<World["start"]>> | undefined;
      await world
        .start({
          create: true,
          before: (each) => {
            process = each;
            each.store.faults.inject({ form, operation: "createDurable" });
          },
        })
        .then((log) => log.close())
        .catch(() => undefined);
      await process?.end();
      await created(world);
      await process?.store.applyLate();
      const head = parseHead(world.memory.contents().get(HEAD_KEY) as Uint8Array);
      expect(head.database).toBe((await world.database.state?.reopen().identity())?.databaseId);
      await works(world);
    },
  );
});
