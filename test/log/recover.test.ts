// Recovery: the log comes back from whatever still holds it, nothing is dropped, and it can be begun again at any point.

import { describe, expect, it } from "vitest";
import { printCheckpoint } from "../../src/core/checkpoint.ts";
import { isCairnError } from "../../src/core/errors.ts";
import type { Hash } from "../../src/core/hash.ts";
import { printNote, signNote } from "../../src/core/note.ts";
import { encodeBundle, decodeBundle } from "../../src/core/bundle.ts";
import { CHECKPOINT_KEY, HEAD_KEY, parseHead, printHead } from "../../src/log/head.ts";
import { tablePath } from "../../src/log/leaf-table-file.ts";
import type { Recovered } from "../../src/log/recover.ts";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { MemoryStore } from "../doubles/memory-store.ts";
import { naiveLeaf, naiveTree } from "../core/naive.ts";
import { entriesOf, entryOf } from "./doubles/entries.ts";
import { grow, grown } from "./doubles/grow.ts";
import { Ledger } from "./doubles/ledger.ts";
import type { MemoryState } from "./doubles/memory-state.ts";
import { type OracleOptions, checkOracle } from "./doubles/oracle.ts";
import { type LogProcess, World, keyOf } from "./doubles/world.ts";

function state(world: World): MemoryState {
  if (world.database.state === null) throw new Error("no database");
  return world.database.state;
}

/** Acknowledged and never published: the process died before its round. */
async function acknowledgedOnly(world: World, from: number, count: number): Promise<LogProcess> {
  const log = await world.start();
  log.store.faults.inject({
    form: "F1",
    operation: "get",
    key: (key) => key === HEAD_KEY,
    times: Number.POSITIVE_INFINITY,
  });
  await log.addBatch(entriesOf(from, count));
  await log.kill();
  return log;
}

async function recoveryError(world: World, options: Parameters<World["recover"]>[0] = {}): Promise<string> {
  try {
    await world.recover(options);
    return "recovered";
  } catch (error) {
    return isCairnError(error) ? error.code : String(error);
  }
}

/** The recovered log starts, takes entries old and new, collects, and everything holds. */
async function goesOn(world: World, options: OracleOptions = {}): Promise<void> {
  const log = await world.start();
  expect(log.troubles).toEqual([]);
  const next = log.running().status().nextIndex;
  await log.addBatch(entriesOf(5_000_000, 300));
  await log.addBatch(entriesOf(6_000_000, 2));
  await log.quiet();
  // Every entry has its index still.
  const known = [...world.acknowledged].filter(
    ([key, index]) => options.lost?.has(key) !== true && index < next,
  );
  const again = await log.addBatch(known.map(([key]) => Buffer.from(key, "latin1")));
  if (!Array.isArray(again)) throw again;
  const wrong = again
    .map((each, i) => ({ was: known[i]?.[1], is: isCairnError(each) ? each.code : each.index }))
    .filter(({ was, is }) => was !== is);
  expect(wrong.slice(0, 3)).toEqual([]);
  await log.quiet();
  expect(log.failure).toBeNull();
  await log.close();
  checkOracle(world, options);
}

/** A note that our key signed for any tree. */
function signed(size: number, root: Uint8Array): Uint8Array {
  const { origin, signers } = new Ledger().keys();
  const text = printCheckpoint({ origin, size: BigInt(size), root: root as Hash, extensions: [] });
  return printNote(signNote(text, signers));
}

const rootOf = (entries: readonly Uint8Array[]): Uint8Array =>
  naiveTree(entries.map(naiveLeaf)).root(0, entries.length);

function mirrorOf(world: World) {
  const contents = world.memory.copy().contents();
  return { get: async (path: string) => (path.startsWith("state/") ? null : (contents.get(path) ?? null)) };
}

describe("a healthy log", () => {
  it("is left as it is, but for the epoch", async () => {
    const world = await grown(5, 300, 700);
    const before = world.memory.contents();
    const database = state(world).look();
    const recovered = await world.recover();
    expect(recovered).toMatchObject({
      size: 700,
      nextIndex: 700,
      mended: [],
      quarantined: [],
      setAside: 0,
      newlySetAside: 0,
    });
    const after = world.memory.contents();
    expect([...after.keys()]).toEqual([...before.keys()]);
    for (const [key, bytes] of before) if (key !== HEAD_KEY) expect(after.get(key)).toEqual(bytes);
    expect(state(world).look()).toMatchObject({
      nextIndex: 700,
      signed: database.signed,
      published: database.published,
    });
    await goesOn(world);
  });

  it("keeps rows that are acknowledged and not yet published", async () => {
    const world = await grown(300);
    await acknowledgedOnly(world, 300, 50);
    expect(await world.recover()).toMatchObject({ size: 300, nextIndex: 350, setAside: 0 });
    await goesOn(world, { superseded: true });
  });

  it.each([0, 1, 255, 256, 257, 511, 512, 513])(
    "of %i entries can be recovered with its database and without",
    async (size) => {
      const world = await grown(...(size === 0 ? [] : [size]));
      expect(await world.recover()).toMatchObject({ size, nextIndex: size });
      world.loseDatabase();
      expect(await world.recover()).toMatchObject({ size, nextIndex: size });
      await goesOn(world);
    },
  );

  it("whose rows begin inside a bundle can be recovered, and collects afterwards", async () => {
    const world = await grown(300, 600);
    expect(state(world).look().firstRetained).toBe(300);
    await world.recover();
    expect(state(world).look().syncedSize % 256).toBe(0);
    await goesOn(world);
    expect(state(world).look().firstRetained).toBeGreaterThan(300);
  });

  it("has its saved table removed, since rows may have changed", async () => {
    const world = await grown(300);
    expect(existsSync(tablePath(world.databasePath))).toBe(true);
    await world.recover();
    expect(existsSync(tablePath(world.databasePath))).toBe(false);
  });
});

describe("a restored older database", () => {
  it("gets what is published back from the tiles", async () => {
    for (const [backupAt, end] of [
      [5, 10],
      [300, 310],
      [300, 700],
      [10, 1500],
    ] as const) {
      const world = await grown(backupAt);
      const backup = state(world).copy();
      await grow(world, end);
      world.restoreDatabase(backup);
      expect(await world.refusal()).toBe("database_older");
      const recovered = await world.recover();
      expect(recovered).toMatchObject({
        size: end,
        nextIndex: end,
        mended: [],
        quarantined: [],
        setAside: 0,
      });
      await goesOn(world);
    }
  });

  it("that has rows of its own beyond what is published keeps those that the tiles confirm", async () => {
    const world = await grown(10);
    await acknowledgedOnly(world, 10, 20);
    const backup = state(world).copy();
    await grow(world, 100);
    world.restoreDatabase(backup);
    expect(await world.recover()).toMatchObject({ size: 100, nextIndex: 100, setAside: 0 });
    await goesOn(world, { superseded: true });
  });

  it("loses what was acknowledged and never published, and nothing else", async () => {
    const world = await grown(10);
    const backup = state(world).copy();
    await grow(world, 20);
    await acknowledgedOnly(world, 20, 5);
    world.restoreDatabase(backup);
    const lost = new Set(entriesOf(20, 5).map(keyOf));
    expect(await world.recover()).toMatchObject({ size: 20, nextIndex: 20 });
    for (const key of lost) world.acknowledged.delete(key);
    await goesOn(world, { lost, superseded: true });
  });

  it("gets leftover bundles beyond the head back where they continue it", async () => {
    // Tiles were written for a size that was not signed: what was acknowledged stands in storage.
    const world = await grown(10);
    const backup = state(world).copy();
    const log = await world.start();
    log.store.faults.inject({ form: "F5", operation: "replace", key: (key) => key === HEAD_KEY });
    await log.addBatch(entriesOf(10, 300));
    await log.until("it is killed", () => log.failure !== null);
    await log.end();
    world.restoreDatabase(backup);
    expect(await world.refusal()).toBe("database_older");
    const recovered = await world.recover();
    expect(recovered).toMatchObject({ size: 10, nextIndex: 310, setAside: 0, quarantined: [] });
    await goesOn(world, { superseded: true });
  });

  it("that was restored twice, each time with new entries in between, keeps every one that is published", async () => {
    const world = await grown(10);
    const backup = state(world).copy();
    await grow(world, 50);
    world.restoreDatabase(backup);
    await world.recover();
    await grow(world, 400);
    world.restoreDatabase(backup);
    expect(await world.recover()).toMatchObject({ size: 400, nextIndex: 400 });
    await goesOn(world);
  });
});

describe("a lost database", () => {
  it.each([[5], [256], [300], [300, 700], [700]])("comes back from storage alone: %j", async (...sizes) => {
    const world = await grown(...(sizes as number[]));
    world.loseDatabase();
    expect(await world.refusal()).toBe("database_lost");
    const size = sizes.at(-1) as number;
    const recovered = await world.recover();
    expect(recovered).toMatchObject({
      size,
      nextIndex: size,
      headFrom: HEAD_KEY,
      mended: [],
      quarantined: [],
    });
    expect(state(world).look().published?.size).toBe(size);
    await goesOn(world);
  });

  it("and a lost head come back from the published checkpoint", async () => {
    const world = await grown(5, 300);
    world.loseDatabase();
    world.memory.take(HEAD_KEY);
    expect(await world.recover()).toMatchObject({ size: 300, headFrom: CHECKPOINT_KEY });
    await goesOn(world);
  });

  it("and everything else, come back from a mirror", async () => {
    const world = await grown(5, 300, 700);
    const mirror = mirrorOf(world);
    world.loseDatabase();
    world.memory = new MemoryStore();
    world.rewound();
    expect(await recoveryError(world)).toBe("log_absent");
    const recovered = await world.recover({ mirror });
    expect(recovered).toMatchObject({ size: 700, nextIndex: 700, headFrom: "mirror" });
    expect(recovered.mended).toContain("tile/0/000");
    await goesOn(world);
  });

  it.each([false, true])(
    "or lie on a volume that is not mounted: no folder takes its place, and start and recover name it (LOG_CREATE=%s)",
    async (create) => {
      const world = await grown(5, 300, 700);
      const mirror = mirrorOf(world);
      world.memory = new MemoryStore();
      world.rewound();
      const tiles = join(world.folder, "tiles");
      const places = { storeLockPath: join(tiles, "state/lock") };
      for (const around of [() => undefined, () => mkdirSync(tiles)]) {
        around();
        const before = [existsSync(tiles), world.memory.contents().size];
        await expect(world.start({ create, places })).rejects.toMatchObject({
          code: "head_damaged",
          message: expect.stringMatching(/Run cairn recover\..*state does not exist.* volume is mounted/),
        });
        await expect(world.recover({ places })).rejects.toMatchObject({
          code: "log_ended",
          message: expect.stringMatching(/^Nothing here .* volume is mounted, .* --from; .* has ended/),
        });
        expect([existsSync(tiles), world.memory.contents().size]).toEqual(before);
        expect(existsSync(join(tiles, "state"))).toBe(false);
      }
      expect(await world.recover({ places, mirror })).toMatchObject({ size: 700, nextIndex: 700 });
      expect(existsSync(places.storeLockPath)).toBe(true);
      await goesOn(world);
    },
  );

  it("are got back from the rows alone where no entry was collected yet, and only then is a folder made", async () => {
    const world = await grown(5, 200);
    world.memory = new MemoryStore();
    world.rewound();
    const places = { storeLockPath: join(world.folder, "tiles/state/lock") };
    expect(await world.refusal({ places })).toBe("head_damaged");
    expect(await world.recover({ places })).toMatchObject({ size: 200, nextIndex: 200 });
    await goesOn(world);
  });

  it("with nothing left anywhere creates nothing", async () => {
    const world = new World();
    expect(await recoveryError(world)).toBe("log_absent");
    expect([world.memory.contents().size, world.database.state, existsSync(world.databasePath)]).toEqual([
      0,
      null,
      false,
    ]);
  });
});

describe("a head", () => {
  it.each<[string, (world: World) => void]>([
    ["that is missing", (world) => world.memory.take(HEAD_KEY)],
    ["that is damaged", (world) => world.memory.plant(HEAD_KEY, new TextEncoder().encode("{"))],
    [
      "that is older than what was signed",
      (world) => {
        const head = parseHead(world.memory.contents().get(HEAD_KEY) as Uint8Array);
        const note = new TextDecoder().decode(signed(5, rootOf(entriesOf(0, 5))));
        world.memory.plant(HEAD_KEY, printHead({ ...head, note }));
      },
    ],
    [
      "whose note is none",
      (world) => {
        const head = parseHead(world.memory.contents().get(HEAD_KEY) as Uint8Array);
        world.memory.plant(HEAD_KEY, printHead({ ...head, note: "?" }));
      },
    ],
    [
      "of another database, as a clone left it",
      (world) => {
        const head = parseHead(world.memory.contents().get(HEAD_KEY) as Uint8Array);
        world.memory.plant(HEAD_KEY, printHead({ ...head, database: "f".repeat(32) }));
      },
    ],
  ])("%s is made again from what the database signed", async (_, change) => {
    const world = await grown(5, 300);
    change(world);
    expect(await world.refusal()).not.toBe("started");
    expect(await world.recover()).toMatchObject({ size: 300, nextIndex: 300 });
    const head = parseHead(world.memory.contents().get(HEAD_KEY) as Uint8Array);
    expect(head.database).toBe((await state(world).reopen().identity())?.databaseId);
    await goesOn(world, { quarantine: true });
  });

  it("of a newer format is refused, not made again", async () => {
    const world = await grown(5);
    world.memory.plant(HEAD_KEY, new TextEncoder().encode(JSON.stringify({ format: 2 })));
    expect(await recoveryError(world)).toBe("format_newer");
  });

  it("is never the smaller of those that this key signed", async () => {
    const world = await grown(5, 300);
    const ahead = signed(310, rootOf([...entriesOf(0, 310)]));
    await acknowledgedOnly(world, 300, 10);
    // Signed, and lost from state/head: a mirror has it.
    const mirror = { get: async (path: string) => (path === CHECKPOINT_KEY ? ahead : null) };
    expect(await world.recover({ mirror })).toMatchObject({ size: 310, nextIndex: 310, headFrom: "mirror" });
    await goesOn(world, { superseded: true });
  });
});

describe("a checkpoint", () => {
  it.each<[string, (world: World) => void]>([
    ["damaged", (world) => world.memory.plant(CHECKPOINT_KEY, new TextEncoder().encode("defaced"))],
    ["missing", (world) => world.memory.take(CHECKPOINT_KEY)],
    ["older", (world) => world.memory.plant(CHECKPOINT_KEY, signed(5, rootOf(entriesOf(0, 5))))],
  ])("that is %s is put back", async (_, change) => {
    for (const hasDatabase of [true, false]) {
      const world = await grown(5, 300);
      const original = world.memory.contents().get(CHECKPOINT_KEY);
      change(world);
      if (!hasDatabase) world.loseDatabase();
      await world.recover();
      if (hasDatabase) expect(world.memory.contents().get(CHECKPOINT_KEY)).toEqual(original);
      world.rewound();
      await goesOn(world, { quarantine: true });
    }
  });
});

describe("two heads that contradict each other", () => {
  it("are refused as inconsistent, and nothing is changed", async () => {
    const world = await grown(5, 300);
    for (const size of [5, 100, 300]) {
      const other = signed(size, new Uint8Array(32).fill(9));
      const mirror = { get: async (path: string) => (path === CHECKPOINT_KEY ? other : null) };
      const before = world.memory.contents();
      expect(await recoveryError(world, { mirror })).toBe("inconsistent");
      for (const [key, bytes] of before)
        if (key !== HEAD_KEY) expect(world.memory.contents().get(key)).toEqual(bytes);
    }
    expect(await world.recover()).toMatchObject({ size: 300 });
    await goesOn(world);
  });
});

describe("rows that contradict the head", () => {
  /** A world whose store went on with one history from `fork` on, and whose database holds another. */
  async function forked(
    fork: number,
    theirs: number,
    ours: number,
    sizes: number[] = [fork],
  ): Promise<World> {
    const world = await grown(...sizes);
    const store = world.memory.copy();
    const database = state(world).copy();
    // The other copy of the database goes on alone, and its entries get acknowledged too.
    const copy = new World();
    copy.memory = store;
    copy.restoreDatabase(database);
    copy.rewound();
    const log = await copy.start();
    await log.addBatch(entriesOf(1_000_000, ours));
    await log.kill();
    await grow(world, fork + theirs);
    world.restoreDatabase(state(copy));
    for (const [key] of copy.acknowledged) world.submitted.add(key);
    return world;
  }

  it.each([
    [300, 10, 20],
    [300, 400, 20],
    [300, 10, 700],
    [10, 500, 300],
    [512, 100, 10],
  ])(
    "are refused without --from-head, set aside with it, and added anew afterwards (fork at %i, %i and %i)",
    async (fork, theirs, ours) => {
      const world = await forked(fork, theirs, ours);
      expect(["root_mismatch", "database_older"]).toContain(await world.refusal());
      expect(await recoveryError(world)).toBe("root_mismatch");
      // Refused, and nothing of the database was lost.
      expect(state(world).look().nextIndex).toBe(fork + ours);

      const recovered = await world.recover({ fromHead: true });
      expect(recovered).toMatchObject({
        size: fork + theirs,
        nextIndex: fork + theirs,
        setAside: ours,
        newlySetAside: ours,
      });
      const log = await world.start();
      const aside = await log.running().setAside();
      expect(aside.map(({ first }) => first)[0]).toBe(fork);
      const entries = aside.flatMap((row) => decodeBundle(row.bytes, row.count));
      expect(entries.map(keyOf)).toEqual(entriesOf(1_000_000, ours).map(keyOf));
      const outcomes = await log.addBatch(entries);
      expect(Array.isArray(outcomes) && outcomes.map((each) => !isCairnError(each) && each.index)).toEqual(
        Array.from({ length: ours }, (_, i) => fork + theirs + i),
      );
      for (const { id } of aside) await log.running().forgetSetAside(id);
      await log.quiet();
      await log.close();
      await goesOn(world, { quarantine: true, superseded: true });
      expect((await world.recover()).setAside).toBe(0);
    },
  );

  it.each([
    [512, 600],
    [500, 505],
  ])("from the first retained row on are all set aside, and the log runs (%i, %i)", async (size, end) => {
    // The row at 256 begins a bundle, and the fork is where the rows begin.
    const world = await grown(256, size);
    const copy = new World();
    copy.memory = world.memory.copy();
    copy.restoreDatabase(state(world));
    const database = state(copy);
    await grow(world, end);
    database.damage((rows) => {
      for (const [i, row] of rows.entries()) {
        const entries = entriesOf(2_000_000 + i * 1000, row.count);
        rows[i] = {
          first: row.first,
          count: row.count,
          bytes: new Uint8Array(encodeBundle(entries)),
          hashes: new Uint8Array(Buffer.concat(entries.map(naiveLeaf))),
        };
      }
    });
    world.restoreDatabase(database);
    const { firstRetained, nextIndex } = state(world).look();
    const recovered = await world.recover({ fromHead: true });
    expect(recovered).toMatchObject({ size: end, nextIndex: end, newlySetAside: nextIndex - firstRetained });
    for (let i = 0; i < 3000; i++) world.submitted.add(keyOf(entryOf(2_000_000 + i)));
    await goesOn(world, { quarantine: true, superseded: true });
  });

  it("are set aside again at the same place where the first time was interrupted", async () => {
    const world = await forked(300, 100, 50);
    await expect(
      world.recover({
        fromHead: true,
        before: (process) => process.stateFaults.inject({ form: "F6", operation: "setAsideRows" }),
      }),
    ).rejects.toThrow();
    const recovered = await world.recover({ fromHead: true });
    expect(recovered).toMatchObject({ size: 400, nextIndex: 400, setAside: 50, newlySetAside: 0 });
    await goesOn(world, { quarantine: true, superseded: true });
  });
});

describe("missing and damaged objects", () => {
  const damages: [string, (world: World, key: string) => void][] = [
    ["missing", (world, key) => world.memory.take(key)],
    [
      "flipped",
      (world, key) => {
        const bytes = (world.memory.contents().get(key) as Uint8Array).slice();
        bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 0x20;
        world.memory.plant(key, bytes);
      },
    ],
    [
      "torn",
      (world, key) => world.memory.plant(key, (world.memory.contents().get(key) as Uint8Array).slice(0, 40)),
    ],
    ["empty", (world, key) => world.memory.plant(key, new Uint8Array(0))],
  ];

  it.each(damages)("%s tiles of any level are made again from the bundles", async (_, damage) => {
    for (const key of ["tile/0/000", "tile/0/001", "tile/0/002.p/188", "tile/1/000.p/2"]) {
      const world = await grown(300, 700);
      const original = world.memory.contents().get(key);
      damage(world, key);
      const recovered = await world.recover();
      expect(recovered.mended).toEqual([key]);
      expect(world.memory.contents().get(key)).toEqual(original);
      await goesOn(world, { quarantine: true });
    }
  });

  it.each(damages)(
    "a %s bundle comes back from the database's rows, where they hold it",
    async (_, damage) => {
      const key = "tile/entries/002.p/188";
      const world = await grown(300, 700);
      const original = world.memory.contents().get(key);
      damage(world, key);
      expect((await world.recover()).mended).toEqual([key]);
      expect(world.memory.contents().get(key)).toEqual(original);
      await goesOn(world, { quarantine: true });
    },
  );

  it.each(damages)(
    "a %s bundle that no row holds comes back from a mirror, or the log has ended",
    async (_, damage) => {
      const key = "tile/entries/000";
      const world = await grown(300, 700);
      expect(state(world).look().firstRetained).toBe(300);
      const mirror = mirrorOf(world);
      const original = world.memory.contents().get(key);
      damage(world, key);
      const before = world.memory.contents();
      expect(await recoveryError(world)).toBe("log_ended");
      for (const [each, bytes] of before)
        if (each !== HEAD_KEY) expect(world.memory.contents().get(each)).toEqual(bytes);
      const recovered = await world.recover({ mirror });
      expect(recovered.mended).toEqual([key]);
      expect(world.memory.contents().get(key)).toEqual(original);
      await goesOn(world, { quarantine: true });
    },
  );

  it("with bundles damaged here and there, each comes from where it is right", async () => {
    const world = await grown(300, 700, 1100);
    const contents = world.memory.copy().contents();
    const mirror = {
      get: async (path: string) =>
        path === "tile/entries/000" || path === CHECKPOINT_KEY ? (contents.get(path) ?? null) : null,
    };
    const [[, take], [, flip]] = damages as [(typeof damages)[0], (typeof damages)[0]];
    take(world, "tile/entries/000");
    flip(world, "tile/entries/003");
    const recovered = await world.recover({ mirror });
    expect(recovered.mended).toEqual(["tile/entries/000", "tile/entries/003"]);
    await goesOn(world, { quarantine: true });
  });
});

describe("leftovers beyond the last entry", () => {
  it("go to quarantine: tiles and bundles of a writer whose rows are gone and which nothing confirms", async () => {
    const world = await grown(5, 300);
    const original = world.memory.contents();
    const foreign = {
      "tile/entries/002": encodeBundle(entriesOf(3_000_000, 256)),
      "tile/entries/001.p/200": encodeBundle(entriesOf(3_000_000, 200)),
      "tile/0/001.p/200": new Uint8Array(200 * 32).fill(3),
      "tile/0/002": new Uint8Array(8192).fill(4),
      "tile/1/000.p/3": new Uint8Array(96).fill(5),
    };
    for (const [key, bytes] of Object.entries(foreign)) world.memory.plant(key, bytes);
    expect(await world.refusal()).toBe("database_older");
    const recovered = await world.recover();
    expect(recovered).toMatchObject({ size: 300, nextIndex: 300 });
    expect([...recovered.quarantined].sort()).toEqual(Object.keys(foreign).sort());
    const aside = [...world.memory.contents()]
      .filter(([key]) => key.startsWith("state/quarantine/"))
      .map(([, bytes]) => bytes);
    for (const bytes of Object.values(foreign)) expect(aside).toContainEqual(bytes);
    const rest = [...world.memory.contents().keys()].filter((key) => !key.startsWith("state/"));
    expect(rest).toEqual([...original.keys()].filter((key) => !key.startsWith("state/")));
    await goesOn(world, { quarantine: true });
  });

  it("are not adopted where they contradict the head they reach beyond, database or not", async () => {
    for (const hasDatabase of [true, false]) {
      const world = await grown(5, 300);
      world.memory.plant("tile/entries/001.p/60", encodeBundle(entriesOf(3_000_000, 60)));
      if (!hasDatabase) world.loseDatabase();
      const recovered = await world.recover();
      expect(recovered).toMatchObject({ size: 300, nextIndex: 300, quarantined: ["tile/entries/001.p/60"] });
      await goesOn(world, { quarantine: true });
    }
  });

  it("are adopted in the widest form that continues the rows, and only the others go to quarantine", async () => {
    const world = await grown(5, 300);
    const good = entriesOf(256, 70);
    world.memory.plant("tile/entries/001.p/70", encodeBundle(good));
    world.memory.plant("tile/entries/001.p/80", encodeBundle(entriesOf(3_000_000, 80)));
    for (const entry of good) world.submitted.add(keyOf(entry));
    const recovered = await world.recover();
    expect(recovered).toMatchObject({ size: 300, nextIndex: 326, quarantined: ["tile/entries/001.p/80"] });
    await goesOn(world, { quarantine: true });
  });

  it("do not stop recovery where they are no tiles at all", async () => {
    const world = await grown(5, 300);
    world.memory.plant("tile/README", new Uint8Array([1]));
    expect(await world.recover()).toMatchObject({ size: 300, nextIndex: 300 });
    expect(world.memory.contents().get("tile/README")).toEqual(new Uint8Array([1]));
  });
});

describe("an interrupted recovery", () => {
  /** Every kind of loss, as it looks before recovery. */
  const losses: [string, () => Promise<World>, Parameters<World["recover"]>[0]][] = [
    [
      "of the database",
      async () => {
        const world = await grown(300, 700);
        world.loseDatabase();
        return world;
      },
      {},
    ],
    [
      "of a newer database, with leftovers",
      async () => {
        const world = await grown(10, 300);
        const backup = state(world).copy();
        await grow(world, 600);
        const log = await world.start();
        log.store.faults.inject({ form: "F5", operation: "replace", key: (key) => key === HEAD_KEY });
        await log.addBatch(entriesOf(600, 300));
        await log.until("it is killed", () => log.failure !== null);
        await log.end();
        world.restoreDatabase(backup);
        world.memory.plant("tile/0/009", new Uint8Array(8192));
        return world;
      },
      {},
    ],
    [
      "of head, checkpoint and tiles",
      async () => {
        const world = await grown(300, 700);
        world.memory.take(HEAD_KEY);
        world.memory.take(CHECKPOINT_KEY);
        world.memory.take("tile/0/000");
        world.memory.plant("tile/0/001", new Uint8Array(5));
        return world;
      },
      {},
    ],
  ];

  it.each(losses)(
    "%s goes on from wherever it stopped",
    async (_, lose, options) => {
      const whole = await lose();
      let process: LogProcess | undefined;
      const expected = await whole.recover({
        ...options,
        before: (each) => {
          process = each;
        },
      });
      const calls = process?.effects.length ?? 0;
      const writes = (process?.effects ?? [])
        .map((effect, call) => ({ effect, call }))
        .filter(({ effect }) => !/^(get|list) /.test(effect))
        .map(({ call }) => call);
      expect(writes.length).toBeGreaterThan(5);
      for (const call of [...writes, calls - 1]) {
        const world = await lose();
        await world.recover({ ...options, before: (each) => each.killAt(call) }).catch(() => undefined);
        for (const each of world.processes) await each.end();
        // A start in between refuses, or works.
        const refusal = await world.refusal();
        expect(refusal).not.toBe("internal");
        const recovered: Recovered = await world.recover(options);
        // A start that worked in between has published what the recovery found.
        if (refusal !== "started") expect(recovered.size).toBe(expected.size);
        expect(recovered.nextIndex).toBe(expected.nextIndex);
        await goesOn(world, { quarantine: true, superseded: true });
      }
    },
    120_000,
  );
});

describe("recovery and other processes", () => {
  it("is refused while the log runs, and fences a log on another machine", async () => {
    const world = await grown(5);
    const log = await world.start();
    expect(await recoveryError(world)).toBe("locked");
    // The same store, another machine: no common file lock, only state/head.
    const copy = { state: state(world).copy() };
    const databasePath = `${world.databasePath}.copy`;
    const { writeFileSync } = await import("node:fs");
    writeFileSync(databasePath, "");
    await world.recover({ database: copy, databasePath });
    log.add(entryOf(77));
    await log.until("the overtaken log stops", () => log.failure !== null);
    expect(log.failure?.code).toBe("fenced");
    await log.close();
    expect(world.signed).toBe(5);
    rmSync(databasePath);
  });

  it("refuses another log's database, and a key that signed nothing here", async () => {
    const world = await grown(5);
    const other = world.ledger.keys("example.com/other", 7);
    expect(await recoveryError(world, { keys: other })).toBe("identity_mismatch");
    world.loseDatabase();
    expect(await recoveryError(world, { keys: world.ledger.keys("example.com/log", 8) })).toBe("log_absent");
    await world.recover();
    await goesOn(world);
  });
});
