// Integration: every object that comes out is the one RFC 6962 and tlog-tiles name, at every size, however rows and cuts
// fall, and whatever is stored already.

import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { createNodeBulkHasher } from "../../src/cli/node-bulk-hasher.ts";
import { encodeBundle } from "../../src/core/bundle.ts";
import { CairnError } from "../../src/core/errors.ts";
import { RightEdge } from "../../src/core/right-edge.ts";
import { entriesPath, tilePath } from "../../src/core/tile-path.ts";
import { TILE_WIDTH, partialTiles } from "../../src/core/tile.ts";
import { Backlog } from "../../src/log/backlog.ts";
import { restoreEdge } from "../../src/log/edge.ts";
import { type Cut, Integrator } from "../../src/log/integrator.ts";
import { ObjectWriter } from "../../src/log/objects.ts";
import type { Row } from "../../src/state/state.ts";
import { MemoryStore } from "../doubles/memory-store.ts";
import { type NaiveTree, naiveLeaf, naiveSha256, naiveTree } from "../core/naive.ts";
import { FakeClock, settled, turns } from "./doubles/fake-clock.ts";

const LARGEST = 65_537 + 600;
const hasher = createNodeBulkHasher();
let entries: Uint8Array[];
let tree: NaiveTree;

beforeAll(() => {
  entries = Array.from({ length: LARGEST }, (_, i) => Buffer.from(`entry ${i} ${"x".repeat(i % 7)}`));
  tree = naiveTree(entries.map(naiveLeaf));
});

/** Every object of a tree of that size: full ones, and the partial ones of exactly that size. */
function objectsOf(size: number): Map<string, Uint8Array> {
  const objects = new Map<string, Uint8Array>();
  for (let index = 0; (index + 1) * TILE_WIDTH <= size; index++) {
    objects.set(
      entriesPath(index),
      encodeBundle(entries.slice(index * TILE_WIDTH, (index + 1) * TILE_WIDTH)),
    );
  }
  for (let level = 0, nodes = size; nodes >= TILE_WIDTH; level++, nodes = Math.floor(nodes / TILE_WIDTH)) {
    for (let index = 0; (index + 1) * TILE_WIDTH <= nodes; index++) {
      objects.set(tilePath(level, index), tree.tile(level, index, TILE_WIDTH));
    }
  }
  for (const [key, bytes] of partialsOf(size)) objects.set(key, bytes);
  return objects;
}

function partialsOf(size: number): Map<string, Uint8Array> {
  const objects = new Map<string, Uint8Array>();
  for (const { level, index, width } of partialTiles(size)) {
    objects.set(tilePath(level, index, width), tree.tile(level, index, width));
    if (level !== 0) continue;
    objects.set(entriesPath(index, width), encodeBundle(entries.slice(index * TILE_WIDTH, size)));
  }
  return objects;
}

function rowOf(first: number, count: number): Row {
  const some = entries.slice(first, first + count);
  return {
    first,
    count,
    bytes: new Uint8Array(encodeBundle(some)),
    hashes: new Uint8Array(Buffer.concat(some.map(naiveLeaf))),
  };
}

interface Setting {
  readonly store?: MemoryStore;
  /** Rows of an earlier process: integration starts where the first one does. */
  readonly rows?: Row[];
  readonly mendSizes?: readonly number[];
}

async function rig({ store = new MemoryStore(), rows = [], mendSizes = [] }: Setting = {}) {
  const clock = new FakeClock();
  const state = {
    rows,
    async readRows(from: number): Promise<Row[]> {
      return rows.filter((row) => row.first + row.count > from).slice(0, 2);
    },
  };
  const fatal: CairnError[] = [];
  const writer = new ObjectWriter({
    store,
    clock,
    requireOwnership: async () => undefined,
    signedSize: () => 0,
    onFatal: (error) => fatal.push(error),
    onTrouble: () => undefined,
  });
  const first = rows[0]?.first ?? 0;
  const last = rows.at(-1);
  const next = last === undefined ? 0 : last.first + last.count;
  const { edge, openBundle } = await restoreEdge(store, hasher, first);
  const backlog = new Backlog(state, next, hasher);
  backlog.resumeAt(first);
  const kept: string[] = [];
  const written: string[] = [];
  const write = writer.write.bind(writer);
  writer.write = (object) => {
    written.push(`${object.mode} ${object.key}`);
    write(object);
  };
  const integrator = new Integrator({
    backlog,
    writer,
    hasher,
    edge,
    openBundle,
    onTile: (path) => kept.push(path),
    monotonic: () => clock.monotonic(),
    mendSizes: new Set(mendSizes),
    mendEnd: next,
    syncedSize: 0,
    signedBefore: { size: 0, root: hasher.tree.empty() },
    onFatal: (error) => fatal.push(error),
  });
  return {
    store,
    clock,
    backlog,
    integrator,
    writer,
    fatal,
    kept,
    written,
    push(count: number): void {
      backlog.push(rowOf(backlog.end, count));
      integrator.advance();
    },
    cut: (size: number): Promise<Cut> => settled(`a cut at ${size}`, [clock], integrator.cutAt(size)),
  };
}

/** The store holds exactly these objects, byte for byte. */
function expectObjects(store: MemoryStore, expected: ReadonlyMap<string, Uint8Array>): void {
  const there = store.contents();
  expect([...there.keys()]).toEqual([...expected.keys()].sort());
  for (const [key, bytes] of expected) {
    if (Buffer.compare(there.get(key) as Uint8Array, bytes) !== 0) expect.fail(`${key} has other bytes`);
  }
}

describe("integration", () => {
  it.each([0, 1, 2, 254, 255, 256, 257, 258, 511, 512, 513, 65_535, 65_536, 65_537])(
    "makes exactly the objects and the root of a tree of %i entries",
    async (size) => {
      const log = await rig();
      for (let left = size; left > 0; left -= 1000) log.push(Math.min(1000, left));
      const cut = await log.cut(size);
      expect([cut.size, Buffer.compare(cut.root, tree.root(0, size))]).toEqual([size, 0]);
      expectObjects(log.store, objectsOf(size));
      expect(log.store.violations).toEqual([]);
      expect(log.kept).toHaveLength(Math.floor(size / TILE_WIDTH));
      for (let index = 0; index < Math.floor(size / TILE_WIDTH); index++) {
        const bundle = log.store.contents().get(entriesPath(index)) as Uint8Array;
        expect(log.integrator.digest(index)).toEqual(naiveSha256(bundle));
      }
    },
  );

  it("makes the same whatever rows and cuts fall where, appended while a cut is under way", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ count: fc.integer({ min: 1, max: 400 }), cut: fc.boolean() }), {
          maxLength: 12,
        }),
        async (steps) => {
          const log = await rig();
          const cuts: Promise<Cut>[] = [];
          const expected = new Map<string, Uint8Array>();
          let size = 0;
          for (const { count, cut } of steps) {
            log.push(count);
            size += count;
            if (!cut) continue;
            const cutting = log.cut(size);
            cuts.push(cutting);
            // More comes before the cut is done, and must not be in it.
            log.push(1);
            size++;
            const done = await cutting;
            expect([done.size, Buffer.compare(done.root, tree.root(0, size - 1))]).toEqual([size - 1, 0]);
            for (const [key, bytes] of partialsOf(size - 1)) expected.set(key, bytes);
          }
          const last = await log.cut(size);
          expect(Buffer.compare(last.root, tree.root(0, size))).toBe(0);
          for (const [key, bytes] of objectsOf(size)) expected.set(key, bytes);
          expectObjects(log.store, expected);
        },
      ),
      { numRuns: 40 },
    );
  });

  it("writes a bundle before the tile of its leaves, and each tile before the one above", async () => {
    const log = await rig();
    for (let i = 0; i < 66; i++) log.push(1000);
    await log.cut(65_537);
    const at = (key: string): number => log.written.indexOf(`create ${key}`);
    for (let index = 0; index < 256; index++)
      expect(at(entriesPath(index))).toBeLessThan(at(tilePath(0, index)));
    expect(at(tilePath(0, 255))).toBeLessThan(at(tilePath(1, 0)));
    expect(at(entriesPath(256, 1))).toBeLessThan(at(tilePath(0, 256, 1)));
  });

  it("writes full objects without being asked for a size, and partial ones only then", async () => {
    const log = await rig();
    log.push(300);
    await turns(20);
    expect([...log.store.contents().keys()]).toEqual(["tile/0/000", "tile/entries/000"]);
    await log.cut(300);
    expectObjects(log.store, objectsOf(300));
  });

  it("cuts at a size below what is committed by then, and goes on after it", async () => {
    const log = await rig();
    log.push(100);
    const cutting = log.cut(100);
    log.push(500);
    expect((await cutting).size).toBe(100);
    const next = await log.cut(600);
    expect(Buffer.compare(next.root, tree.root(0, 600))).toBe(0);
    await expect(log.integrator.cutAt(599)).rejects.toMatchObject({ code: "internal" });
  });

  it("answers a second cut at the same size with the same root, and writes the same bytes", async () => {
    const log = await rig();
    log.push(10);
    const first = await log.cut(10);
    expect(await log.cut(10)).toEqual(first);
    expectObjects(log.store, objectsOf(10));
    expect(log.store.violations).toEqual([]);
  });

  it("gives other work a turn every few milliseconds", async () => {
    const log = await rig();
    // Each look at the time finds that a slice has passed, so every bundle must be a slice of its own.
    const monotonic = log.clock.monotonic.bind(log.clock);
    log.clock.monotonic = () => {
      log.clock.advance(4);
      return monotonic();
    };
    log.push(2560);
    let slices = 0;
    const cutting = log.integrator.cutAt(2560);
    let isDone = false;
    void cutting.then(() => {
      isDone = true;
    });
    while (!isDone) {
      await turns(1);
      slices++;
    }
    expect(slices).toBeGreaterThanOrEqual(10);
  });

  it("knows the leaf hashes of the tile that is being filled", async () => {
    const log = await rig();
    log.push(300);
    await log.cut(300);
    expect(log.integrator.leafHash(299)).toEqual(naiveLeaf(entries[299] as Uint8Array));
    expect([log.integrator.leafHash(255), log.integrator.leafHash(300)]).toEqual([null, null]);
  });
});

describe("integration after a start", () => {
  /** A store as a process left it at `size`, and the rows from `first` on. */
  async function left(size: number, first: number): Promise<{ store: MemoryStore; rows: Row[] }> {
    const store = new MemoryStore();
    for (const [key, bytes] of objectsOf(size)) {
      await store.create(key, bytes);
      await store.sync([key]);
    }
    const rows: Row[] = [];
    for (let at = first; at < size; at += 70) rows.push(rowOf(at, Math.min(70, size - at)));
    return { store, rows };
  }

  it.each([
    [600, 0],
    [600, 256],
    [600, 300],
    [600, 511],
    [513, 300],
    [65_537, 65_300],
    [65_700, 65_536],
    [65_800, 65_540],
  ])("goes on at size %i from rows that begin at %i, and ends with the same objects", async (size, first) => {
    const { store, rows } = await left(size, first);
    const log = await rig({ store, rows, mendSizes: [size] });
    log.integrator.advance();
    const cut = await log.cut(size);
    expect(Buffer.compare(cut.root, tree.root(0, size))).toBe(0);
    log.push(100);
    const next = await log.cut(size + 100);
    expect(Buffer.compare(next.root, tree.root(0, size + 100))).toBe(0);
    const expected = objectsOf(size + 100);
    for (const [key, bytes] of partialsOf(size)) expected.set(key, bytes);
    expectObjects(store, expected);
    expect(store.violations).toEqual([]);
  });

  it("writes anew, or for the first time, all that rows cover: whatever a power loss took is back", async () => {
    const { store, rows } = await left(600, 256);
    const signed = [520, 600];
    const covered = [...objectsOf(600).keys()].filter((key) => !key.endsWith("/000"));
    for (const key of covered) store.take(key);
    const log = await rig({ store, rows, mendSizes: signed });
    log.integrator.advance();
    await log.cut(600);
    const expected = objectsOf(600);
    for (const [key, bytes] of partialsOf(520)) expected.set(key, bytes);
    expectObjects(store, expected);
    expect(log.written.filter((each) => each.startsWith("create"))).toEqual([]);
  });

  it("mends the partial objects of a size that was signed where the rows begin", async () => {
    const { store, rows } = await left(600, 512);
    store.take(tilePath(1, 0, 2));
    const log = await rig({ store, rows, mendSizes: [512] });
    await settled("partials of 512", [log.clock], log.writer.idle());
    expect([...partialsOf(512).keys()]).toEqual([tilePath(1, 0, 2)]);
    expect(store.contents().get(tilePath(1, 0, 2))).toEqual(partialsOf(512).get(tilePath(1, 0, 2)));
  });

  it("checks its root where a head was signed before it goes on, and stops where they differ", async () => {
    const { store, rows } = await left(600, 256);
    const log = await rig({ store, rows });
    const fatal: CairnError[] = [];
    const integrator = new Integrator({
      backlog: log.backlog,
      writer: log.writer,
      hasher,
      edge: (await restoreEdge(store, hasher, 256)).edge,
      openBundle: new Uint8Array(0),
      onTile: () => undefined,
      monotonic: () => 0,
      mendSizes: new Set([520]),
      mendEnd: 600,
      syncedSize: 0,
      signedBefore: { size: 520, root: naiveSha256() },
      onFatal: (error) => fatal.push(error),
    });
    const cutting = integrator.cutAt(600);
    await expect(cutting).rejects.toMatchObject({ code: "root_mismatch" });
    expect(fatal.map(({ code }) => code)).toEqual(["root_mismatch"]);
    expect([...store.contents().keys()]).not.toContain(tilePath(0, 2, 10));
  });

  it("refuses a bundle that is not under the tile of its leaves, instead of writing it anew with other bytes", async () => {
    const { store } = await left(600, 300);
    const key = entriesPath(1);
    const bytes = (store.contents().get(key) as Uint8Array).slice();
    bytes[10] = (bytes[10] as number) ^ 1;
    store.plant(key, bytes);
    await expect(restoreEdge(store, hasher, 300)).rejects.toMatchObject({ code: "tile_missing" });
    // Torn rather than flipped: the same way out, and not the words for a bundle that somebody sent.
    store.plant(key, bytes.slice(0, 50));
    await expect(restoreEdge(store, hasher, 300)).rejects.toMatchObject({ code: "tile_missing" });
  });
});

describe("integration that stops", () => {
  it("settles the cut that waits, writes nothing more, and refuses the next", async () => {
    const log = await rig();
    log.push(10);
    const cutting = log.integrator.cutAt(10_000);
    cutting.catch(() => undefined);
    log.integrator.stop(new CairnError("draining"));
    await expect(cutting).rejects.toMatchObject({ code: "draining" });
    await expect(log.integrator.cutAt(10)).rejects.toMatchObject({ code: "draining" });
    log.push(300);
    await turns(10);
    expect(log.store.contents().size).toBe(0);
    expect(log.clock.pending).toBe(0);
  });

  it("stops the process where rows cannot be read back", async () => {
    const rows = [rowOf(0, 10), rowOf(10, 10)];
    const log = await rig({ rows });
    rows.splice(1, 1);
    const cutting = log.integrator.cutAt(20);
    await expect(cutting).rejects.toMatchObject({ code: "internal" });
    expect(log.fatal.map(({ code }) => code)).toEqual(["internal"]);
  });
});

it("an edge restored from tiles is the one that grew there", async () => {
  const store = new MemoryStore();
  for (const [key, bytes] of objectsOf(65_537)) store.plant(key, bytes);
  const { edge, repairs } = await restoreEdge(store, hasher, 65_536);
  expect([edge.size, Buffer.compare(edge.root(), tree.root(0, 65_536)), repairs]).toEqual([65_536, 0, []]);
  const grown = new RightEdge(hasher);
  for (let i = 0; i < 65_536; i += 4096) {
    grown.append(Buffer.concat(entries.slice(i, i + 4096).map(naiveLeaf)), 0, 4096, () => undefined);
  }
  expect(grown.partials()).toEqual(edge.partials());
});

it("an edge whose full tiles are gone is made from what is below them, and names what it made", async () => {
  const store = new MemoryStore();
  for (const [key, bytes] of objectsOf(65_537)) store.plant(key, bytes);
  store.take(tilePath(1, 0));
  store.take(tilePath(0, 7));
  store.plant(tilePath(0, 9), new Uint8Array(10));
  const { edge, repairs } = await restoreEdge(store, hasher, 65_536);
  expect(Buffer.compare(edge.root(), tree.root(0, 65_536))).toBe(0);
  expect(repairs.map(({ key }) => key).sort()).toEqual(
    [tilePath(0, 7), tilePath(0, 9), tilePath(1, 0)].sort(),
  );
  for (const { key, bytes } of repairs)
    expect(Buffer.compare(bytes, objectsOf(65_536).get(key) as Uint8Array)).toBe(0);
  store.take(entriesPath(7));
  await expect(restoreEdge(store, hasher, 65_536)).rejects.toMatchObject({ code: "tile_missing" });
});
