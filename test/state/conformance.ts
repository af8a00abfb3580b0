// What every state driver promises (src/state/state.ts), as tests that each driver passes.

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isCairnError } from "../../src/core/errors.ts";
import {
  type Identity,
  PUBLISHED_NOTES_KEPT,
  type Row,
  type State,
  StateError,
} from "../../src/state/state.ts";

/** A place that outlives a state: opened again it holds what was committed. */
export interface StatePlace {
  open(): Promise<State>;
  remove(): Promise<void>;
}

export const IDENTITY: Identity = {
  format: 1,
  databaseId: "0123456789abcdef0123456789abcdef",
  origin: "log.example/cairn",
  keys: ["log.example/cairn+00000001+AQ==", "log.example/cairn+00000002+AQ=="],
  pendingKeys: null,
};

export const EMPTY_ROOT = new Uint8Array(32).fill(0xe3);

const LARGEST = Number.MAX_SAFE_INTEGER;

export function stateConformance(name: string, makePlace: () => Promise<StatePlace>): void {
  describe(`${name} as a state`, () => {
    let place: StatePlace;
    let state: State;

    beforeEach(async () => {
      place = await makePlace();
      state = await place.open();
      await state.create(IDENTITY, EMPTY_ROOT);
    });

    afterEach(async () => {
      await state.close();
      await place.remove();
    });

    const reopen = async (): Promise<void> => {
      await state.close();
      state = await place.open();
    };

    /** Commits rows of these counts one after another from the next index. */
    const commitRows = async (...counts: number[]): Promise<void> => {
      for (const count of counts) await state.commit(makeRow((await state.snapshot()).nextIndex, count));
    };

    describe("identity", () => {
      it("is what was created, also after opening again", async () => {
        expect(await state.identity()).toEqual(IDENTITY);
        await reopen();
        expect(await state.identity()).toEqual(IDENTITY);
      });

      it("is written once: a second creation is refused and changes nothing", async () => {
        await commitRows(3);
        const other = { ...IDENTITY, databaseId: "f".repeat(32), origin: "other" };
        await expect(state.create(other, new Uint8Array(32))).rejects.toMatchObject({ code: "log_exists" });
        expect(await state.identity()).toEqual(IDENTITY);
        expect((await state.snapshot()).nextIndex).toBe(3);
      });

      it("changes its keys in two steps, either of which survives opening again", async () => {
        const next = ["log.example/cairn+00000003+AQ=="];
        await state.setPendingKeys(next);
        await reopen();
        expect(await state.identity()).toEqual({ ...IDENTITY, pendingKeys: next });
        await state.finishKeys();
        await reopen();
        expect(await state.identity()).toEqual({ ...IDENTITY, keys: next });
      });

      it("gives up a pending change, and has nothing to finish then", async () => {
        await state.setPendingKeys(["a"]);
        await state.setPendingKeys(null);
        expect(await state.identity()).toEqual(IDENTITY);
        await expectRefused(() => state.finishKeys());
        expect(await state.identity()).toEqual(IDENTITY);
      });
    });

    it("begins with the empty tree", async () => {
      expect(await state.snapshot()).toEqual({
        nextIndex: 0,
        firstRetained: 0,
        integrated: { size: 0, root: EMPTY_ROOT },
        signed: null,
        published: null,
        syncedSize: 0,
      });
      expect(await state.readRows(0, 1000)).toEqual([]);
      expect(await state.readHashes(0, 10)).toEqual([]);
      expect(await state.publishedNote(0)).toBeNull();
      expect(await state.listSetAside()).toEqual([]);
    });

    describe("commit", () => {
      it("appends rows that read back exactly, also after opening again", async () => {
        const rows = [makeRow(0, 1), makeRow(1, 256), makeRow(257, 10_000), makeRow(10_257, 1)];
        for (const row of rows) await state.commit(copyOf(row));
        const expectAll = async (): Promise<void> => {
          expectRows(await state.readRows(0, LARGEST), rows);
          expect((await state.snapshot()).nextIndex).toBe(10_258);
        };
        await expectAll();
        await reopen();
        await expectAll();
      });

      it("gives the row back, whatever part of a larger buffer it was", async () => {
        const row = makeRow(0, 3);
        const hashes = new Uint8Array(4096);
        const bytes = new Uint8Array(4096);
        hashes.set(row.hashes, 32);
        bytes.set(row.bytes, 100);
        const back = await state.commit({
          first: 0,
          count: 3,
          hashes: hashes.subarray(32, 32 + row.hashes.length),
          bytes: bytes.subarray(100, 100 + row.bytes.length),
        });
        expectRows([back], [row]);
        expect(back.hashes.buffer.byteLength).toBe(4096);
        expect(back.bytes.byteOffset).toBe(100);
        expectRows(await state.readRows(0, LARGEST), [row]);
      });

      it("takes both parts from one buffer", async () => {
        const row = makeRow(0, 3);
        const both = new Uint8Array(row.hashes.length + row.bytes.length);
        both.set(row.hashes);
        both.set(row.bytes, row.hashes.length);
        const back = await state.commit({
          ...row,
          hashes: both.subarray(0, row.hashes.length),
          bytes: both.subarray(row.hashes.length),
        });
        expectRows([back], [row]);
      });

      it("refuses a gap, an overlap and a repetition, and goes on where it was", async () => {
        await commitRows(10);
        for (const first of [11, 9, 0, 12]) await expectRefused(() => state.commit(makeRow(first, 5)));
        expect((await state.snapshot()).nextIndex).toBe(10);
        await commitRows(5);
        expectRows(await state.readRows(0, LARGEST), [makeRow(0, 10), makeRow(10, 5)]);
      });

      it("lets one of several rows for the same index in", async () => {
        const results = await Promise.allSettled(
          [1, 2, 3, 4].map((count) => state.commit(makeRow(0, count))),
        );
        expect(results.filter((result) => result.status === "fulfilled")).toHaveLength(1);
        expect((await state.readRows(0, LARGEST)).length).toBe(1);
      });

      it.each([
        ["no entries", { first: 0, count: 0, hashes: new Uint8Array(0), bytes: new Uint8Array(0) }],
        ["too few hashes", { ...makeRow(0, 2), hashes: new Uint8Array(32) }],
        ["too many hashes", { ...makeRow(0, 2), hashes: new Uint8Array(96) }],
        ["fewer entries than it says", { ...makeRow(0, 2), bytes: makeRow(0, 1).bytes }],
        ["more entries than it says", { ...makeRow(0, 2), bytes: makeRow(0, 3).bytes }],
        ["torn framing", { ...makeRow(0, 2), bytes: makeRow(0, 2).bytes.slice(0, -1) }],
        ["a negative index", { ...makeRow(0, 1), first: -1 }],
        ["a fractional index", { ...makeRow(0, 1), first: 0.5 }],
        ["an index of 2^53", { ...makeRow(0, 1), first: 2 ** 53 }],
        ["an index that is no number", { ...makeRow(0, 1), first: Number.NaN }],
      ] as [string, Row][])("refuses a row with %s, and changes nothing", async (_name, row) => {
        await expect(state.commit(copyOf(row))).rejects.toSatisfy(
          (error) => isCairnError(error) || (error instanceof StateError && error.outcome === "not_applied"),
        );
        expect((await state.snapshot()).nextIndex).toBe(0);
        await commitRows(1);
      });

      it("holds entries of every length that the framing carries", async () => {
        const row = framedRow(0, [0, 1, 65_535, 255, 256]);
        await state.commit(copyOf(row));
        expectRows(await state.readRows(0, LARGEST), [row]);
      });

      it("refuses what would lead beyond 2^53 - 1, and goes right up to it", async () => {
        await state.resetHeads({
          integrated: head(LARGEST - 3),
          signed: null,
          published: null,
          syncedSize: 0,
        });
        expect((await state.snapshot()).nextIndex).toBe(LARGEST - 3);
        await expect(state.commit(makeRow(LARGEST - 3, 4))).rejects.toMatchObject({ code: "unsafe_integer" });
        const row = makeRow(LARGEST - 3, 3);
        await state.commit(copyOf(row));
        await reopen();
        expect((await state.snapshot()).nextIndex).toBe(LARGEST);
        expectRows(await state.readRows(LARGEST - 1, 1), [row]);
        await expect(state.commit(makeRow(LARGEST, 1))).rejects.toMatchObject({ code: "unsafe_integer" });
      });
    });

    describe("readRows and readHashes", () => {
      it("begin with the row that holds the index", async () => {
        await commitRows(10, 1, 5);
        for (const [from, first] of [
          [0, 0],
          [9, 0],
          [10, 10],
          [11, 11],
          [15, 11],
        ] as const) {
          expect((await state.readRows(from, 1))[0]?.first).toBe(first);
          expect((await state.readHashes(from, 1))[0]?.first).toBe(first);
        }
        expect(await state.readRows(16, 1)).toEqual([]);
        expect(await state.readHashes(16, 1)).toEqual([]);
      });

      it("begin with the first retained row where the index lies below it", async () => {
        await commitRows(10, 10, 10);
        await state.dropRows(20, LARGEST);
        expect((await state.readRows(0, 1))[0]?.first).toBe(20);
        expect((await state.readHashes(5, 1))[0]?.first).toBe(20);
      });

      it("stop at about maxBytes, with one row at least, and at maxRows", async () => {
        await commitRows(100, 100, 100, 100);
        const length = makeRow(0, 100).bytes.length;
        expect(await state.readRows(0, 0)).toHaveLength(1);
        expect(await state.readRows(0, length)).toHaveLength(1);
        expect(await state.readRows(0, length + 1)).toHaveLength(2);
        expect(await state.readRows(0, LARGEST)).toHaveLength(4);
        expect(await state.readHashes(0, 3)).toHaveLength(3);
        expect(await state.readHashes(150, 100)).toHaveLength(3);
      });

      it("hashes come without bytes", async () => {
        await commitRows(7, 3);
        const rows = await state.readHashes(0, 10);
        expectRows(rows, [
          { ...makeRow(0, 7), bytes: new Uint8Array(0) },
          { ...makeRow(7, 3), bytes: new Uint8Array(0) },
        ]);
      });

      it("see a commit as soon as it is acknowledged", async () => {
        for (let i = 0; i < 50; i++) {
          await commitRows(1);
          expect((await state.readRows(i, 1))[0]?.first).toBe(i);
        }
      });

      it("answer many at once with memory of their own", async () => {
        await commitRows(5);
        const reads = await Promise.all(Array.from({ length: 20 }, () => state.readRows(0, 1)));
        reads[0]?.[0]?.bytes.fill(0);
        for (const rows of reads.slice(1)) expectRows(rows, [makeRow(0, 5)]);
      });
    });

    describe("heads", () => {
      it("are recorded, and survive opening again", async () => {
        await commitRows(10);
        await state.recordIntegrated(head(10));
        await state.recordSigned(note(10));
        await state.recordPublished(note(7));
        await state.recordSynced(5);
        await reopen();
        expect(await state.snapshot()).toEqual({
          nextIndex: 10,
          firstRetained: 0,
          integrated: head(10),
          signed: note(10),
          published: note(7),
          syncedSize: 5,
        });
      });

      it("of the same size replace each other: the empty tree is signed and published too", async () => {
        await state.recordSigned(note(0, "a"));
        await state.recordPublished(note(0, "a"));
        await state.recordSigned(note(0, "b"));
        await state.recordPublished(note(0, "b"));
        const { signed, published } = await state.snapshot();
        expect([signed, published]).toEqual([note(0, "b"), note(0, "b")]);
      });

      it("never shrink and never pass the next index", async () => {
        await commitRows(10);
        await state.recordIntegrated(head(5));
        await state.recordSigned(note(5));
        await state.recordPublished(note(5));
        await state.recordSynced(5);
        const before = await state.snapshot();
        for (const size of [4, 0, 11]) {
          await expectRefused(() => state.recordIntegrated(head(size)));
          await expectRefused(() => state.recordSigned(note(size)));
          await expectRefused(() => state.recordPublished(note(size)));
          await expectRefused(() => state.recordSynced(size));
        }
        for (const size of [-1, 0.5, 2 ** 53, Number.NaN]) {
          const refused = { code: "unsafe_integer" };
          await expect(state.recordIntegrated(head(size))).rejects.toMatchObject(refused);
          await expect(state.recordSigned(note(size))).rejects.toMatchObject(refused);
          await expect(state.recordPublished(note(size))).rejects.toMatchObject(refused);
          await expect(state.recordSynced(size)).rejects.toMatchObject(refused);
        }
        await expectRefused(() => state.recordIntegrated({ size: 6, root: new Uint8Array(31) }));
        expect(await state.snapshot()).toEqual(before);
      });
    });

    describe("published notes", () => {
      it("are kept by their size, the newest of a size", async () => {
        await commitRows(10);
        await state.recordPublished(note(3, "old"));
        await state.recordPublished(note(3, "new"));
        await state.recordPublished(note(7));
        expect(await state.publishedNote(3)).toEqual(note(3, "new").note);
        expect(await state.publishedNote(7)).toEqual(note(7).note);
        expect(await state.publishedNote(5)).toBeNull();
      });

      it(`are kept to the number of ${PUBLISHED_NOTES_KEPT}, and those of anchored sizes for ever`, async () => {
        const more = 20;
        await commitRows(PUBLISHED_NOTES_KEPT + more);
        expect(await state.markAnchored(3)).toBe(false);
        for (let size = 1; size <= PUBLISHED_NOTES_KEPT + more; size++) {
          await state.recordPublished(note(size));
          if (size === 3) expect(await state.markAnchored(3)).toBe(true);
          // Published again: no place is used up, and an anchored size stays one.
          if (size === 3 || size === 500) await state.recordPublished(note(size, "again"));
        }
        await reopen();
        expect(await state.publishedNote(3)).toEqual(note(3, "again").note);
        expect(await state.publishedNote(more)).toBeNull();
        expect(await state.publishedNote(more + 1)).toEqual(note(more + 1).note);
        expect(await state.publishedNote(500)).toEqual(note(500, "again").note);
        expect(await state.publishedNote(PUBLISHED_NOTES_KEPT + more)).not.toBeNull();
      }, 60_000);
    });

    it("remembers the size of each witness, the last one told, also after opening again", async () => {
      expect(await state.witnessSizes()).toEqual(new Map());
      await state.rememberWitness("witness.example/a", 5);
      await state.rememberWitness("witness.example/b", 0);
      await state.rememberWitness("witness.example/a", 7);
      for (const size of [-1, 2 ** 53, 0.5]) {
        await expect(state.rememberWitness("witness.example/a", size)).rejects.toMatchObject({
          code: "unsafe_integer",
        });
      }
      await reopen();
      expect(await state.witnessSizes()).toEqual(
        new Map([
          ["witness.example/a", 7],
          ["witness.example/b", 0],
        ]),
      );
    });

    describe("dropRows", () => {
      it("drops whole rows below the size, oldest first, within the bytes it was given", async () => {
        await commitRows(10, 10, 10, 10, 10);
        const length = makeRow(0, 10).bytes.length;
        expect(await state.dropRows(35, length)).toEqual({ firstRetained: 10, more: true });
        expect(await state.dropRows(35, 2 * length + 1)).toEqual({ firstRetained: 30, more: false });
        expect(await state.dropRows(35, LARGEST)).toEqual({ firstRetained: 30, more: false });
        expectRows(await state.readRows(0, LARGEST), [makeRow(30, 10), makeRow(40, 10)]);
      });

      it("drops one row at least, where there is one to drop", async () => {
        await commitRows(10, 10, 10);
        expect(await state.dropRows(20, 0)).toEqual({ firstRetained: 10, more: true });
        expect(await state.dropRows(20, 0)).toEqual({ firstRetained: 20, more: false });
      });

      it("never drops the newest row, which says where the log ends", async () => {
        await commitRows(10, 10);
        expect(await state.dropRows(LARGEST, LARGEST)).toEqual({ firstRetained: 10, more: false });
        await reopen();
        expect(await state.snapshot()).toMatchObject({ nextIndex: 20, firstRetained: 10 });
        await commitRows(1);
      });

      it("drops nothing of an empty log", async () => {
        expect(await state.dropRows(10, LARGEST)).toEqual({ firstRetained: 0, more: false });
      });
    });

    it("gives free pages back to the file system, in slices", async () => {
      await commitRows(10_000, 10_000, 1);
      await state.dropRows(20_000, LARGEST);
      const free = await state.freeBytes();
      expect(free).toBeGreaterThan(1_000_000);
      const left = await state.shrink(500_000);
      expect(left).toBeLessThan(free);
      expect(left).toBeGreaterThan(0);
      expect(await state.shrink(0)).toBe(left);
      expect(await state.shrink(LARGEST)).toBeLessThan(100_000);
      expectRows(await state.readRows(0, LARGEST), [makeRow(20_000, 1)]);
    });

    describe("recovery", () => {
      it("resets every head at once, downwards too", async () => {
        await commitRows(10);
        await state.recordIntegrated(head(10));
        await state.recordSigned(note(10));
        await state.recordPublished(note(10));
        await state.recordSynced(10);
        const heads = { integrated: head(6), signed: note(6), published: null, syncedSize: 0 };
        await state.resetHeads(heads);
        await reopen();
        expect(await state.snapshot()).toEqual({ nextIndex: 10, firstRetained: 0, ...heads });
      });

      it("keeps a published note that it sets", async () => {
        await commitRows(10);
        await state.resetHeads({ integrated: head(6), signed: note(6), published: note(5), syncedSize: 0 });
        expect(await state.publishedNote(5)).toEqual(note(5).note);
      });

      it("drops rows that a head found in storage leaves behind, so that no gap stands after them", async () => {
        await commitRows(10);
        await state.resetHeads({
          integrated: head(500),
          signed: note(500),
          published: null,
          syncedSize: 256,
        });
        expect(await state.snapshot()).toMatchObject({ nextIndex: 500, firstRetained: 500 });
        await state.commit(makeRow(500, 1));
        expect(await state.snapshot()).toMatchObject({ nextIndex: 501, firstRetained: 500 });
      });

      it("adopts rows that continue the last, and anywhere where there is none", async () => {
        await state.adoptRows([makeRow(256, 256), makeRow(512, 3)]);
        await state.adoptRows([makeRow(515, 1)]);
        await state.adoptRows([]);
        for (const first of [515, 517, 0]) await expectRefused(() => state.adoptRows([makeRow(first, 1)]));
        expect(await state.snapshot()).toMatchObject({ nextIndex: 516, firstRetained: 256 });
        await commitRows(1);
      });

      it("adopts all rows of a call or none", async () => {
        await commitRows(1);
        await expectRefused(() => state.adoptRows([makeRow(1, 1), makeRow(3, 1)]));
        expect((await state.snapshot()).nextIndex).toBe(1);
      });

      it("sets rows aside, and splits the one that straddles", async () => {
        const rows = [framedRow(0, [5, 6, 7]), framedRow(3, [0, 300, 2, 9]), framedRow(7, [1])];
        for (const row of rows) await state.commit(copyOf(row));
        await state.setAsideRows(5, "contradicts the head");
        await reopen();
        const [first, straddling, last] = rows as [Row, Row, Row];
        // Entries of 0 and 300 bytes stay: 2 + 302 bytes with their lengths.
        expectRows(await state.readRows(0, LARGEST), [
          first,
          {
            first: 3,
            count: 2,
            hashes: straddling.hashes.slice(0, 64),
            bytes: straddling.bytes.slice(0, 304),
          },
        ]);
        const aside = await state.listSetAside();
        expect(aside.map(({ first, count, reason }) => [first, count, reason])).toEqual([
          [5, 2, "contradicts the head"],
          [7, 1, "contradicts the head"],
        ]);
        expect(aside[0]?.bytes).toEqual(straddling.bytes.slice(304));
        expect(aside[1]?.bytes).toEqual(last.bytes);
        expect((await state.snapshot()).nextIndex).toBe(5);
        await commitRows(1);
      });

      it.each([
        [0, 0],
        [3, 3],
        [8, 8],
        [100, 8],
      ])("sets aside from index %i, which leaves %i entries", async (from, left) => {
        for (const row of [makeRow(0, 3), makeRow(3, 5)]) await state.commit(row);
        await state.setAsideRows(from, "test");
        expect((await state.snapshot()).nextIndex).toBe(left);
        expect((await state.listSetAside()).reduce((sum, row) => sum + row.count, 0)).toBe(8 - left);
      });

      it("removes what was placed from what is set aside, and never uses an id twice", async () => {
        await commitRows(1, 1, 1);
        await state.setAsideRows(0, "test");
        const ids = (await state.listSetAside()).map((row) => row.id);
        await state.removeSetAside(ids.slice(1));
        await state.removeSetAside([...ids.slice(1), 999]);
        expect((await state.listSetAside()).map((row) => row.id)).toEqual(ids.slice(0, 1));
        await commitRows(1);
        await state.setAsideRows(0, "test");
        expect(ids).not.toContain((await state.listSetAside())[1]?.id);
      });
    });

    it("refuses calls after close, and closes twice without complaint", async () => {
      await state.close();
      await expect(state.commit(makeRow(0, 1))).rejects.toBeInstanceOf(StateError);
      await expect(state.readRows(0, 1)).rejects.toBeInstanceOf(StateError);
      await state.close();
    });

    it("finishes the calls before close", async () => {
      const commit = state.commit(makeRow(0, 1));
      const read = state.snapshot();
      await state.close();
      await commit;
      await read;
      await reopen();
      expect((await state.snapshot()).nextIndex).toBe(1);
    });
  });
}

/** The call rejects with a StateError that says that nothing was applied. */
export async function expectRefused(call: () => Promise<unknown>): Promise<StateError> {
  try {
    await call();
  } catch (error) {
    expect(error).toBeInstanceOf(StateError);
    expect((error as StateError).outcome).toBe("not_applied");
    return error as StateError;
  }
  throw new Error("it did not fail");
}

/** A row of entries of 20 bytes, each of which says its index, with hashes that do too. */
export function makeRow(first: number, count: number): Row {
  return framedRow(
    first,
    Array.from({ length: count }, () => 20),
  );
}

/** A row of entries of these lengths. */
export function framedRow(first: number, lengths: readonly number[]): Row {
  const hashes = Buffer.alloc(lengths.length * 32);
  const bytes = Buffer.alloc(lengths.reduce((sum, length) => sum + 2 + length, 0));
  let offset = 0;
  for (const [i, length] of lengths.entries()) {
    const text = String(first + i);
    hashes.write(text, i * 32);
    bytes.writeUInt16BE(length, offset);
    bytes.write(text.slice(0, length), offset + 2);
    offset += 2 + length;
  }
  // Buffers of their own, since a commit moves them to another thread.
  return { first, count: lengths.length, hashes: new Uint8Array(hashes), bytes: new Uint8Array(bytes) };
}

/** A row whose buffers can be moved away without losing the original. */
function copyOf(row: Row): Row {
  return { ...row, hashes: row.hashes.slice(), bytes: row.bytes.slice() };
}

function expectRows(actual: readonly Row[], expected: readonly Row[]): void {
  expect(actual.map(({ first, count }) => ({ first, count }))).toEqual(
    expected.map(({ first, count }) => ({ first, count })),
  );
  for (const [i, row] of expected.entries()) {
    expect(Buffer.compare((actual[i] as Row).hashes, row.hashes)).toBe(0);
    expect(Buffer.compare((actual[i] as Row).bytes, row.bytes)).toBe(0);
  }
}

function head(size: number): { size: number; root: Uint8Array } {
  return { size, root: new Uint8Array(32).fill(size % 251) };
}

function note(size: number, mark = "note"): { size: number; note: Uint8Array } {
  return { size, note: new TextEncoder().encode(`${mark} of ${size}`) };
}
