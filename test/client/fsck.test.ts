import { describe, expect, test } from "vitest";
import { nodeHasher } from "../../src/cli/node-hasher.ts";
import { fsck, type FsckOptions, UNREAD_IN_A_ROW } from "../../src/client/fsck.ts";
import type { TileSource } from "../../src/client/tile-source.ts";
import { encodeBundle } from "../../src/core/bundle.ts";
import { CairnError } from "../../src/core/errors.ts";
import { refusal } from "../core/refusal.ts";
import {
  mapSource,
  memoryLog,
  ORIGIN,
  signedCheckpoint,
  testSigner,
  testTrust,
  textEntry,
} from "./build-log.ts";

type Objects = Map<string, Uint8Array>;

function check(source: TileSource, options: Partial<FsckOptions> = {}) {
  return fsck({ source, trust: testTrust(), hasher: nodeHasher, ...options });
}

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice();
  copy[at] = (copy[at] as number) ^ 1;
  return copy;
}

/** Damages copies of objects, checks, and answers with the paths that were reported. */
async function pathsAfter(objects: Objects, damage: (copy: Objects) => void): Promise<string[]> {
  const copy = new Map(objects);
  damage(copy);
  const report = await check(mapSource(copy));
  expect(report.outcome).toBe("differs");
  expect(report.differenceCount).toBe(report.differences.length);
  return report.differences.map(({ path }) => path);
}

describe("a sound log is clean", () => {
  test.each([0, 1, 255, 256, 257, 511, 512, 513, 700, 65_535, 65_536, 65_537])("at size %d", async (size) => {
    const report = await check(mapSource(memoryLog(size)));
    expect(report).toMatchObject({
      outcome: "clean",
      origin: ORIGIN,
      size,
      entries: size,
      differenceCount: 0,
    });
    expect(report.failure).toBeNull();
  });

  test("also where partial objects went after the full ones came", async () => {
    const objects = memoryLog(700);
    const later = memoryLog(1024);
    for (const path of ["tile/entries/002", "tile/0/002"]) {
      objects.delete(`${path}.p/188`);
      objects.set(path, later.get(path) as Uint8Array);
    }
    expect((await check(mapSource(objects))).outcome).toBe("clean");
  });

  test("also with entries of length 0, which a foreign log may have", async () => {
    const objects = memoryLog(300, (i) => (i % 2 === 0 ? new Uint8Array(0) : textEntry(i)));
    expect((await check(mapSource(objects))).outcome).toBe("clean");
  });
});

describe("one damaged object is found, and named", () => {
  const small = memoryLog(700);
  // Past 65,536 there are three levels and a full tile at level 1.
  const large = memoryLog(65_536 + 300);
  const cases = [
    ...[...small.keys()].filter((path) => path !== "checkpoint").map((path) => [small, 700, path] as const),
    ...[
      "tile/2/000.p/1",
      "tile/1/000",
      "tile/1/001.p/1",
      "tile/0/007",
      "tile/0/257.p/44",
      "tile/entries/007",
    ].map((path) => [large, 65_836, path] as const),
  ];

  test.each(cases.map(([objects, size, path]) => ({ objects, size, path })))(
    "$path of $size, with a flipped bit",
    async ({ objects, path }) => {
      const bytes = objects.get(path) as Uint8Array;
      for (const at of [5, bytes.length - 1]) {
        const paths = await pathsAfter(objects, (copy) => copy.set(path, flipped(bytes, at)));
        expect(paths).toEqual([path]);
      }
    },
  );

  test.each(cases.map(([objects, size, path]) => ({ objects, size, path })))(
    "$path of $size, missing, empty or cut short",
    async ({ objects, path }) => {
      const bytes = objects.get(path) as Uint8Array;
      expect(await pathsAfter(objects, (copy) => copy.delete(path))).toEqual([path]);
      for (const cut of [new Uint8Array(0), bytes.subarray(0, bytes.length - 1)]) {
        expect(await pathsAfter(objects, (copy) => copy.set(path, cut))).toEqual([path]);
      }
    },
  );

  test("a bundle with an entry too many or too few is named", async () => {
    for (const count of [255, 257]) {
      const bundle = encodeBundle(Array.from({ length: count }, (_, i) => textEntry(i)));
      const paths = await pathsAfter(small, (copy) => copy.set("tile/entries/000", bundle));
      expect(paths).toEqual(["tile/entries/000"]);
    }
  });

  test("the entry that was changed is named", async () => {
    const bundle = encodeBundle(Array.from({ length: 256 }, (_, i) => textEntry(i === 17 ? 99 : i + 256)));
    const copy = new Map(small).set("tile/entries/001", bundle);
    const { differences } = await check(mapSource(copy));
    expect(differences[0]?.detail).toContain("entry 273");
  });
});

describe("several damaged objects", () => {
  const objects = memoryLog(700);

  test("are all named, with what cannot be told apart from them", async () => {
    const damaged = ["tile/0/001", "tile/0/002.p/188", "tile/1/000.p/2", "tile/entries/000"];
    const paths = await pathsAfter(objects, (copy) => {
      for (const path of damaged) copy.set(path, flipped(objects.get(path) as Uint8Array, 40));
    });
    // The hash above this bundle and its tile is damaged too, so nothing says which of the two is right.
    expect(paths.toSorted()).toEqual([...damaged, "tile/entries/001"]);
  });

  test("a bundle and its tile changed together are found by the level above", async () => {
    const other = memoryLog(700, (i) => textEntry(i === 3 ? 1000 : i));
    const paths = await pathsAfter(objects, (copy) => {
      for (const path of ["tile/entries/000", "tile/0/000"]) copy.set(path, other.get(path) as Uint8Array);
    });
    expect(paths).toEqual(["tile/0/000"]);
  });

  test("a bundle and its tile both missing are named, and what is above is still checked", async () => {
    const gone = ["tile/entries/000", "tile/0/000"];
    expect(await pathsAfter(objects, (copy) => gone.forEach((path) => copy.delete(path)))).toEqual(gone);
  });

  test("a whole other log under this checkpoint is a wrong root", async () => {
    const other = memoryLog(700, (i) => textEntry(i + 1));
    const checkpoint = objects.get("checkpoint") as Uint8Array;
    expect(await pathsAfter(other, (copy) => copy.set("checkpoint", checkpoint))).toEqual(["checkpoint"]);
  });

  test("are described up to a bound, and counted beyond it", async () => {
    const copy = new Map(memoryLog(2560));
    for (const path of copy.keys()) if (path.startsWith("tile/0/")) copy.delete(path);
    const report = await check(mapSource(copy), { maxDifferences: 3 });
    expect(report.differences).toHaveLength(3);
    expect(report.differenceCount).toBe(10);
  });
});

describe("the checkpoint", () => {
  const objects = memoryLog(300);
  const at = (note: Uint8Array) => mapSource(new Map(objects).set("checkpoint", note));

  test("with another root differs", async () => {
    const report = await check(at(signedCheckpoint(300, new Uint8Array(32))));
    expect(report.outcome).toBe("differs");
    expect(report.differences.map(({ path }) => path)).toEqual(["checkpoint"]);
  });

  test("of size 0 with a root of its own differs", async () => {
    expect((await check(at(signedCheckpoint(0, new Uint8Array(32))))).outcome).toBe("differs");
  });

  test("whose signature does not verify differs", async () => {
    const note = objects.get("checkpoint") as Uint8Array;
    expect((await check(at(flipped(note, note.length - 5)))).outcome).toBe("differs");
    expect((await check(at(signedCheckpoint(300, new Uint8Array(32), testSigner(9))))).outcome).toBe(
      "differs",
    );
    expect((await check(at(new Uint8Array(3)))).outcome).toBe("differs");
  });

  test("that is absent, or another log's, leaves nothing to check", async () => {
    const absent = new Map(objects);
    absent.delete("checkpoint");
    expect(await check(mapSource(absent))).toMatchObject({
      outcome: "could_not_check",
      size: null,
      failure: refusal("not_published_yet"),
    });
    const elsewhere = testTrust(testSigner(7, "log.example/other").vkey);
    expect(await check(mapSource(objects), { trust: elsewhere })).toMatchObject({
      outcome: "could_not_check",
      failure: refusal("wrong_origin"),
    });
  });
});

describe("a source that fails", () => {
  const objects = memoryLog(1024);
  const failing = (bad: string) => ({
    get: async (path: string) => {
      if (path === bad) throw new CairnError("unreachable");
      return objects.get(path) ?? null;
    },
  });

  test("is told apart from a log that differs", async () => {
    const report = await check(failing("tile/0/002"), { concurrency: 1 });
    expect(report).toMatchObject({
      outcome: "could_not_check",
      entries: 768,
      unread: [{ path: "tile/0/002" }],
      unreadCount: 1,
      failure: refusal("unreachable"),
    });
  });

  test("at a tile of a higher level is no difference either, and a bundle and its tile unread hide no root", async () => {
    for (const bad of [
      ["tile/1/000.p/4"],
      ["tile/entries/002", "tile/0/002"],
      ["tile/entries/003", "tile/0/003"],
    ]) {
      const get = async (path: string) => {
        if (bad.includes(path)) throw new CairnError("store_unavailable");
        return objects.get(path) ?? null;
      };
      const report = await check({ get });
      expect(report).toMatchObject({ outcome: "could_not_check", differenceCount: 0 });
      expect(report.unread.map(({ path }) => path)).toEqual(bad);
    }
  });

  test("and says of an object that it has lost it, has a difference", async () => {
    const get = async (path: string) => {
      if (path === "tile/entries/001") throw new CairnError("object_missing");
      return objects.get(path) ?? null;
    };
    const report = await check({ get });
    expect(report).toMatchObject({ outcome: "differs", entries: 1024, unread: [], failure: null });
    expect(report.differences.map(({ path }) => path)).toEqual(["tile/entries/001"]);
  });

  test("for good ends the check, instead of being asked for each of many objects", async () => {
    const large = memoryLog(65_536);
    let asked = 0;
    const get = async (path: string) => {
      if (path === "checkpoint") return large.get(path) ?? null;
      asked++;
      throw new CairnError("unreachable");
    };
    const report = await check({ get }, { concurrency: 4 });
    expect(report).toMatchObject({ outcome: "could_not_check", entries: 0, unreadCount: UNREAD_IN_A_ROW });
    expect(asked).toBeLessThanOrEqual(UNREAD_IN_A_ROW + 8);
  });

  test("after a difference does not hide it", async () => {
    const source = failing("tile/0/003");
    const get = async (path: string) => (path === "tile/entries/000" ? null : await source.get(path));
    const report = await check({ get }, { concurrency: 1 });
    expect(report).toMatchObject({ outcome: "differs", failure: refusal("unreachable") });
  });
});

describe("superseded partial objects", () => {
  const objects = memoryLog(700);
  for (const size of [5, 300, 600]) {
    for (const [path, bytes] of memoryLog(size)) if (path !== "checkpoint") objects.set(path, bytes);
  }
  // Of a later checkpoint, which is being written while this one is checked.
  objects.set("tile/0/002.p/200", new Uint8Array(200 * 32));
  objects.set("tile/entries/002.p/200", new Uint8Array(3));

  function listing(copy: Objects): TileSource {
    return {
      ...mapSource(copy),
      partialWidths: async (path) =>
        [...copy.keys()]
          .filter((key) => key.startsWith(`${path}.p/`))
          .map((key) => Number(key.slice(path.length + 3))),
    };
  }

  test("that agree with the wider ones are clean, and later ones are left alone", async () => {
    expect((await check(listing(objects))).outcome).toBe("clean");
  });

  test.each([
    "tile/0/000.p/5",
    "tile/entries/000.p/5",
    "tile/0/002.p/88",
    "tile/entries/002.p/88",
    "tile/1/000.p/1",
  ])("%s that does not agree is named", async (path) => {
    const bytes = objects.get(path) as Uint8Array;
    for (const damaged of [flipped(bytes, 3), bytes.subarray(1), new Uint8Array([...bytes, 0])]) {
      const report = await check(listing(new Map(objects).set(path, damaged)));
      expect(report.differences.map((difference) => difference.path)).toEqual([path]);
    }
  });

  test("may go while they are looked at", async () => {
    const source = listing(objects);
    const get = async (path: string) => (path === "tile/0/000.p/5" ? null : await source.get(path));
    expect((await check({ ...source, get })).outcome).toBe("clean");
  });
});

test("no more objects are under way at a time than asked for, and progress is told", async () => {
  const objects = memoryLog(5120);
  let underway = 0;
  let most = 0;
  const seen: number[] = [];
  const source = {
    get: async (path: string) => {
      most = Math.max(most, ++underway);
      await new Promise((resolve) => setImmediate(resolve));
      underway--;
      return objects.get(path) ?? null;
    },
  };
  const report = await check(source, { concurrency: 4, onProgress: ({ entries }) => seen.push(entries) });
  expect(report.outcome).toBe("clean");
  // Each bundle comes with its tile, and one tile of a level above may be read meanwhile.
  expect(most).toBeLessThanOrEqual(9);
  expect(seen).toEqual(Array.from({ length: 20 }, (_, i) => (i + 1) * 256));
});
