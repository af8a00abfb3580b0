// What every storage driver promises (src/storage/store.ts), as tests that each driver passes.

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type ObjectStore,
  type ObjectVersion,
  StoreError,
  type WriteResult,
} from "../../src/storage/store.ts";

/** A place that outlives a store: opened again it holds what was written. */
export interface StoragePlace {
  open(): Promise<ObjectStore>;
  remove(): Promise<void>;
}

const RACERS = 16;
const RACES = 20;

export function storageConformance(name: string, makePlace: () => Promise<StoragePlace>): void {
  describe(`${name} as an object store`, () => {
    let place: StoragePlace;
    let store: ObjectStore;

    beforeEach(async () => {
      place = await makePlace();
      store = await place.open();
    });

    afterEach(async () => {
      await store.close();
      await place.remove();
    });

    const reopen = async (): Promise<void> => {
      await store.close();
      store = await place.open();
    };

    describe("get", () => {
      it("answers null where there is nothing, before and after anything was written", async () => {
        expect(await store.get("checkpoint")).toBeNull();
        await store.create("tile/0/000", bytes("a"));
        expect(await store.get("checkpoint")).toBeNull();
        expect(await store.get("tile/0/001")).toBeNull();
        expect(await store.get("tile/9/x001/000")).toBeNull();
      });

      it.each([0, 1, 255, 8192, 4 * 1024 * 1024])("gives back %i bytes exactly", async (length) => {
        const written = noise(length);
        await store.create("tile/0/000", written);
        expect(sameBytes((await store.get("tile/0/000"))?.bytes, written)).toBe(true);
      });

      it("answers with memory of its own, which nobody else changes", async () => {
        const written = bytes("abc");
        await store.create("tile/0/000", written);
        written[0] = 0;
        const first = await store.get("tile/0/000");
        first?.bytes.fill(1);
        expect(text(await store.get("tile/0/000"))).toBe("abc");
      });
    });

    describe.each(["create", "createDurable"] as const)("%s", (create) => {
      it("writes once and is refused ever after, whatever the bytes", async () => {
        expect((await store[create]("tile/0/000", bytes("first"))).outcome).toBe("written");
        expect(await store[create]("tile/0/000", bytes("first"))).toEqual({ outcome: "refused" });
        // Under state/, where the bytes may differ without breaking the log's own invariant.
        expect((await store[create]("state/head", bytes("first"))).outcome).toBe("written");
        expect(await store[create]("state/head", bytes("second"))).toEqual({ outcome: "refused" });
        expect(text(await store.get("state/head"))).toBe("first");
      });

      it("answers with the version that get answers and replace accepts", async () => {
        const created = await store[create]("state/head", bytes("first"));
        expect(versionOf(created)).toBe((await store.get("state/head"))?.version);
        expect((await store.replace("state/head", bytes("second"), versionOf(created))).outcome).toBe(
          "written",
        );
      });

      it(`lets one of ${RACERS} racing creates win, and keeps the winner's bytes whole`, async () => {
        for (let race = 0; race < RACES; race++) {
          const key = `state/race/${race}`;
          const contents = Array.from({ length: RACERS }, (_, racer) => new Uint8Array(3000).fill(racer));
          const results = await Promise.all(contents.map((content) => store[create](key, content)));
          const winners = results.flatMap((result, racer) => (result.outcome === "written" ? [racer] : []));
          expect(winners).toHaveLength(1);
          expect((await store.get(key))?.bytes).toEqual(contents[winners[0] as number]);
        }
      });

      it("shows a reader all of an object or nothing", async () => {
        const content = noise(1024 * 1024);
        let done = false;
        const writing = store[create]("tile/0/000", content).finally(() => {
          done = true;
        });
        while (!done) {
          const object = await store.get("tile/0/000");
          if (object === null) continue;
          expect(object.bytes.length).toBe(content.length);
        }
        await writing;
        expect(sameBytes((await store.get("tile/0/000"))?.bytes, content)).toBe(true);
      });

      it("keeps what it wrote across closing and opening", async () => {
        await store[create]("tile/0/x001/x234/067.p/5", bytes("kept"));
        await reopen();
        expect(text(await store.get("tile/0/x001/x234/067.p/5"))).toBe("kept");
      });
    });

    describe("replace", () => {
      it("replaces the version it names and no other", async () => {
        await store.createDurable("checkpoint", bytes("1"));
        const first = await versionAt("checkpoint");
        const replaced = await store.replace("checkpoint", bytes("2"), first);
        expect(replaced.outcome).toBe("written");
        expect(versionOf(replaced)).toBe(await versionAt("checkpoint"));
        expect(await store.replace("checkpoint", bytes("3"), first)).toEqual({ outcome: "refused" });
        expect(text(await store.get("checkpoint"))).toBe("2");
      });

      it("is refused where there is nothing, and creates nothing", async () => {
        await store.createDurable("state/head", bytes("1"));
        const version = await versionAt("state/head");
        expect(await store.replace("checkpoint", bytes("2"), version)).toEqual({ outcome: "refused" });
        await store.remove("state/head");
        expect(await store.replace("state/head", bytes("2"), version)).toEqual({ outcome: "refused" });
        expect(await keys("")).toEqual([]);
      });

      it(`lets one of ${RACERS} racing replacements of a version win`, async () => {
        await store.createDurable("state/head", bytes("start"));
        for (let race = 0; race < RACES; race++) {
          const version = await versionAt("state/head");
          const contents = Array.from({ length: RACERS }, (_, racer) => bytes(`${race}:${racer}`));
          const results = await Promise.all(
            contents.map((each) => store.replace("state/head", each, version)),
          );
          const winners = results.flatMap((result, racer) => (result.outcome === "written" ? [racer] : []));
          expect(winners).toHaveLength(1);
          expect((await store.get("state/head"))?.bytes).toEqual(contents[winners[0] as number]);
        }
      });

      it("shows a reader the old or the new bytes and nothing between", async () => {
        const contents = [new Uint8Array(200_000).fill(0), new Uint8Array(100_000).fill(1)];
        await store.createDurable("state/head", contents[0] as Uint8Array);
        let done = false;
        const writing = (async () => {
          for (let i = 1; i <= 20; i++) {
            const version = await versionAt("state/head");
            await store.replace("state/head", contents[i % 2] as Uint8Array, version);
          }
          done = true;
        })();
        while (!done) {
          const read = (await store.get("state/head"))?.bytes;
          expect(contents.some((content) => sameBytes(read, content))).toBe(true);
        }
        await writing;
      });

      it("keeps what it wrote across closing and opening", async () => {
        await store.createDurable("state/head", bytes("1"));
        await store.replace("state/head", bytes("2"), await versionAt("state/head"));
        await reopen();
        expect(text(await store.get("state/head"))).toBe("2");
      });
    });

    describe("overwrite", () => {
      it("puts bytes at a key, absent or not, and changes its version", async () => {
        await store.overwrite("state/x", bytes("1"));
        const version = await versionAt("state/x");
        await store.overwrite("state/x", bytes("2"));
        expect(text(await store.get("state/x"))).toBe("2");
        expect(await store.replace("state/x", bytes("3"), version)).toEqual({ outcome: "refused" });
      });
    });

    describe("sync", () => {
      it("accepts what create and overwrite wrote, many at once, the same one twice, and none", async () => {
        const written = Array.from(
          { length: 50 },
          (_, i) => `tile/0/x00${i % 3}/${String(i).padStart(3, "0")}`,
        );
        for (const key of written) await store.create(key, bytes(key));
        await store.overwrite(written[0] as string, bytes(written[0] as string));
        await store.sync([...written, ...written]);
        await store.sync([]);
        await reopen();
        for (const key of written) expect(text(await store.get(key))).toBe(key);
      });
    });

    describe("remove", () => {
      it("removes an object, and is content where there is none", async () => {
        await store.create("tile/0/000.p/5", bytes("a"));
        await store.create("tile/0/000.p/6", bytes("b"));
        await store.remove("tile/0/000.p/5");
        await store.remove("tile/0/000.p/5");
        await store.remove("tile/7/000");
        expect(await store.get("tile/0/000.p/5")).toBeNull();
        expect(await keys("")).toEqual(["tile/0/000.p/6"]);
      });

      it("leaves nothing in the way of a later object beside what was removed", async () => {
        await store.create("tile/0/000.p/5", bytes("a"));
        await store.remove("tile/0/000.p/5");
        await Promise.all([
          store.create("tile/0/000.p/6", bytes("b")),
          store.remove("tile/0/000.p/5"),
          store.create("tile/0/000.p/7", bytes("c")),
        ]);
        await store.sync(["tile/0/000.p/6", "tile/0/000.p/7"]);
        expect(await keys("tile/")).toEqual(["tile/0/000.p/6", "tile/0/000.p/7"]);
      });
    });

    describe("list", () => {
      const WRITTEN = [
        "checkpoint",
        "state/head",
        // "-" and "." come before "/" in ASCII, so a folder's keys do not stand where its bare name would.
        "state/notes-5",
        "state/notes.5",
        "state/notes/5",
        "state/notes0",
        "tile/0/000",
        "tile/0/000.p/17",
        "tile/0/000.p/5",
        "tile/0/001",
        "tile/0/x001/000",
        "tile/0/x001/x000/000",
        "tile/1/000",
        "tile/10/000",
        "tile/entries/000",
      ];

      beforeEach(async () => {
        for (const key of [...WRITTEN].reverse()) await store.create(key, bytes(key));
      });

      it("gives every key once, in ascending order of bytes", async () => {
        expect(await keys("")).toEqual(WRITTEN);
      });

      it.each(["state/", "tile/", "tile/0/", "tile/0/000.p/", "tile/0/x001/", "tile/1/", "tile/entries/"])(
        "gives exactly the keys below %s",
        async (prefix) => {
          expect(await keys(prefix)).toEqual(WRITTEN.filter((key) => key.startsWith(prefix)));
        },
      );

      it("is empty below a prefix that nothing has", async () => {
        expect(await keys("tile/5/")).toEqual([]);
        expect(await keys("nothing/at/all/")).toEqual([]);
      });

      it("can be left in the middle", async () => {
        for await (const key of store.list("")) {
          expect(key).toBe("checkpoint");
          break;
        }
        await store.create("tile/2/000", bytes("x"));
      });
    });

    describe("keys", () => {
      it.each([
        "",
        "/checkpoint",
        "checkpoint/",
        "tile//000",
        "..",
        "../outside",
        "tile/../../outside",
        "tile/./000",
        "tile/.hidden",
        "tile/0/0\0",
        "tile\\0",
        "tile/0/000 ",
        "tile/ü",
        `tile/${"x".repeat(300)}`,
      ])("refuses %j everywhere, with nothing changed", async (key) => {
        await expectNotApplied(() => store.get(key));
        await expectNotApplied(() => store.create(key, bytes("a")));
        await expectNotApplied(() => store.createDurable(key, bytes("a")));
        await expectNotApplied(() => store.replace(key, bytes("a"), "v" as ObjectVersion));
        await expectNotApplied(() => store.overwrite(key, bytes("a")));
        await expectNotApplied(() => store.remove(key));
        await expectNotApplied(() => store.sync([key]));
        expect(await keys("")).toEqual([]);
      });
    });

    it("proves its conditional writes, and leaves nothing of the proof behind", async () => {
      await store.probe();
      await store.probe();
      expect(await keys("")).toEqual([]);
    });

    async function versionAt(key: string): Promise<ObjectVersion> {
      const object = await store.get(key);
      if (object === null) throw new Error(`nothing at ${key}`);
      return object.version;
    }

    async function keys(prefix: string): Promise<string[]> {
      const found: string[] = [];
      for await (const key of store.list(prefix)) found.push(key);
      return found;
    }
  });
}

/** The call rejects, and says that nothing was applied. */
export async function expectNotApplied(call: () => Promise<unknown>): Promise<StoreError> {
  const error = await settledError(call);
  expect(error).toBeInstanceOf(StoreError);
  expect((error as StoreError).outcome).toBe("not_applied");
  return error as StoreError;
}

async function settledError(call: () => Promise<unknown>): Promise<unknown> {
  try {
    await call();
  } catch (error) {
    return error;
  }
  throw new Error("it did not fail");
}

function versionOf(result: WriteResult): ObjectVersion {
  if (result.outcome !== "written") throw new Error("refused");
  return result.version;
}

function bytes(content: string): Uint8Array {
  return new TextEncoder().encode(content);
}

function text(object: { bytes: Uint8Array } | null): string | null {
  return object === null ? null : new TextDecoder().decode(object.bytes);
}

/** Bytes without a pattern that a shortened or shifted copy would share. */
function noise(length: number): Uint8Array {
  const out = new Uint8Array(length);
  let state = 1;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    out[i] = state >>> 24;
  }
  return out;
}

function sameBytes(a: Uint8Array | undefined, b: Uint8Array): boolean {
  return a !== undefined && Buffer.compare(a, b) === 0;
}
