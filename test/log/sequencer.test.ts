// Sequencing is the acknowledgement: what is told to whom, and when, whatever the database and the store do.

import { describe, expect, it } from "vitest";
import { createNodeBulkHasher } from "../../src/cli/node-bulk-hasher.ts";
import type { BulkHasher } from "../../src/core/bulk-hasher.ts";
import { encodeBundle } from "../../src/core/bundle.ts";
import { CairnError, type ErrorCode, isCairnError } from "../../src/core/errors.ts";
import type { Receipt } from "../../src/log/api.ts";
import { LeafTable, TABLE_KEY_BYTES } from "../../src/log/leaf-table.ts";
import {
  ENTRY_MAX_BYTES,
  QUEUE_MAX_BYTES,
  QUEUE_MAX_ENTRIES,
  Sequencer,
  type SequencerOptions,
} from "../../src/log/sequencer.ts";
import { type Row, StateError } from "../../src/state/state.ts";
import { naiveLeaf } from "../core/naive.ts";
import { FakeClock, turns } from "./doubles/fake-clock.ts";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const entryOf = (index: number): Uint8Array => text(`entry ${index}`);

/** What became of one `add`. */
interface Answer {
  error: CairnError | null;
  receipt: Receipt | null;
  times: number;
}

interface Commit {
  readonly row: Row;
  readonly entries: number;
  apply(): Promise<void>;
  fail(error: unknown): Promise<void>;
}

/** A sequencer with a database that commits when it is told to, and a store that answers when it is told to. */
class Rig {
  readonly clock = new FakeClock();
  readonly table: LeafTable;
  readonly hasher: BulkHasher;
  /** Leaf hashes of what is committed. */
  readonly leaves: Uint8Array[] = [];
  readonly rows: Row[] = [];
  readonly commits: Commit[] = [];
  readonly reads: { index: number; answer: (leaf: Uint8Array) => void; fail: (error: Error) => void }[] = [];
  readonly fatal: CairnError[] = [];
  readonly order: string[] = [];
  noSpace = 0;
  readonly sequencer: Sequencer;

  constructor(
    options: Partial<SequencerOptions> & { inMemory?: (index: number) => boolean; committed?: number } = {},
  ) {
    this.hasher = options.hasher ?? createNodeBulkHasher();
    this.table = new LeafTable(new Uint8Array(TABLE_KEY_BYTES).map((_, i) => i * 7 + 1));
    const inMemory = options.inMemory ?? (() => true);
    for (let index = 0; index < (options.committed ?? 0); index++)
      this.#remember(leafOf(this.hasher, entryOf(index)));
    this.sequencer = new Sequencer({
      state: { commit: (row) => this.#commit(row) },
      table: this.table,
      hasher: this.hasher,
      clock: this.clock,
      nextIndex: this.leaves.length,
      maxGroupEntries: 10_000,
      maxGroupAgeMs: 0,
      leafInMemory: (index) => (inMemory(index) ? (this.leaves[index] ?? null) : null),
      readLeaf: (index) =>
        new Promise((answer, fail) => {
          this.reads.push({ index, answer, fail });
        }),
      refuseContent: () => null,
      onMeasured: () => {},
      onDuplicate: () => {},
      onCommitted: (row) => {
        this.order.push(`committed ${row.first}+${row.count}`);
        for (let i = 0; i < row.count; i++) this.leaves.push(row.hashes.slice(i * 32, i * 32 + 32));
        this.rows.push(row);
      },
      onNoSpace: () => {
        this.noSpace++;
      },
      onFatal: (error) => this.fatal.push(error),
      ...options,
    });
  }

  add(entry: Uint8Array, name = ""): Answer {
    const answer: Answer = { error: null, receipt: null, times: 0 };
    this.sequencer.add(entry, (error, receipt) => {
      answer.error = error;
      answer.receipt = receipt;
      answer.times++;
      this.order.push(`answered ${name}`);
    });
    return answer;
  }

  /** Commits everything that is asked for until nothing is. */
  async drain(): Promise<void> {
    for (;;) {
      await turns(3);
      const commit = this.commits.shift();
      if (commit === undefined) return;
      await commit.apply();
    }
  }

  async next(): Promise<Commit> {
    await turns(3);
    const commit = this.commits.shift();
    if (commit === undefined) throw new Error("no commit was asked for");
    return commit;
  }

  #remember(leaf: Uint8Array): void {
    const fingerprint = { high: 0, low: 0 };
    this.table.fingerprint(leaf, 0, fingerprint);
    this.table.insert(fingerprint, this.leaves.length);
    this.leaves.push(leaf);
  }

  #commit(given: Row): Promise<Row> {
    // As a thread takes them: the sequencer must not look at these buffers until they come back.
    const row = structuredClone(given, { transfer: [given.hashes.buffer, given.bytes.buffer] });
    return new Promise((resolve, reject) => {
      this.commits.push({
        row,
        entries: row.count,
        apply: async () => {
          resolve(row);
          await turns(1);
        },
        fail: async (error) => {
          reject(error);
          await turns(1);
        },
      });
    });
  }
}

function leafOf(hasher: BulkHasher, entry: Uint8Array): Uint8Array {
  const framed = new Uint8Array(entry.length + 1);
  framed.set(entry, 1);
  const hash = new Uint8Array(32);
  hasher.leafInto(framed, 1, framed.length, hash, 0);
  return hash;
}

function codeOf(outcome: Receipt | CairnError | undefined): ErrorCode | undefined {
  return isCairnError(outcome) ? outcome.code : undefined;
}

/** Every entry that begins with "same" has a leaf hash that begins with the same 16 bytes, so their fingerprints meet. */
function collidingHasher(): BulkHasher {
  const real = createNodeBulkHasher();
  const same = text("same");
  return {
    ...real,
    leafInto(source, start, end, target, offset) {
      real.leafInto(source, start, end, target, offset);
      if (same.every((byte, i) => source[start + i] === byte)) target.fill(0x5a, offset, offset + 16);
    },
  };
}

const notApplied = (noSpace: boolean): StateError =>
  new StateError("injected", { outcome: "not_applied", noSpace });
const unknown = (): StateError => new StateError("injected", { outcome: "unknown" });

describe("sequencing", () => {
  it("answers nobody before the row is durable, and the log hears of the row before the publisher does", async () => {
    const rig = new Rig();
    const answers = [rig.add(entryOf(0), "a"), rig.add(entryOf(1), "b")];
    const commit = await rig.next();
    expect(answers.map((answer) => answer.times)).toEqual([0, 0]);
    expect(rig.sequencer.nextIndex).toBe(0);
    await commit.apply();
    expect(answers.map(({ receipt, times }) => [receipt?.index, receipt?.duplicate, times])).toEqual([
      [0, false, 1],
      [1, false, 1],
    ]);
    expect(answers[1]?.receipt?.leafHash).toEqual(naiveLeaf(entryOf(1)));
    expect(rig.order).toEqual(["committed 0+2", "answered a", "answered b"]);
    expect(rig.sequencer.nextIndex).toBe(2);
  });

  it("commits one row at a time, paced by the disk: what comes meanwhile is the next row", async () => {
    const rig = new Rig();
    rig.add(entryOf(0));
    const first = await rig.next();
    const later = [1, 2, 3, 4, 5].map((i) => rig.add(entryOf(i)));
    await turns(5);
    expect(rig.commits).toHaveLength(0);
    await first.apply();
    const second = await rig.next();
    expect([first.row.first, first.entries, second.row.first, second.entries]).toEqual([0, 1, 1, 5]);
    await second.apply();
    expect(later.map(({ receipt }) => receipt?.index)).toEqual([1, 2, 3, 4, 5]);
  });

  it("writes each row as the bundle framing of its entries, and their RFC 6962 leaf hashes", async () => {
    const rig = new Rig();
    const entries = [
      text("a"),
      new Uint8Array(ENTRY_MAX_BYTES).fill(7),
      new Uint8Array(256).fill(1),
      text("\n"),
    ];
    for (const entry of entries) rig.add(entry);
    const { row } = await rig.next();
    expect(Buffer.compare(row.bytes, encodeBundle(entries))).toBe(0);
    expect(Buffer.compare(row.hashes, Buffer.concat(entries.map(naiveLeaf)))).toBe(0);
  });

  it("copies the entry before it returns", async () => {
    const rig = new Rig();
    const entry = text("changed afterwards");
    const leaf = naiveLeaf(entry);
    const answer = rig.add(entry);
    entry.fill(0);
    await rig.drain();
    expect(answer.receipt?.leafHash).toEqual(leaf);
  });

  describe("of the same bytes", () => {
    it("gives one index to all who wait in one group, and says who came later", async () => {
      const rig = new Rig();
      const answers = [rig.add(text("x")), rig.add(text("x")), rig.add(text("y")), rig.add(text("x"))];
      const commit = await rig.next();
      expect(commit.entries).toBe(2);
      await commit.apply();
      expect(answers.map(({ receipt }) => [receipt?.index, receipt?.duplicate])).toEqual([
        [0, false],
        [0, true],
        [1, false],
        [0, true],
      ]);
    });

    it("gives the index of the commit under way to who comes meanwhile, and not before it is durable", async () => {
      const rig = new Rig();
      const first = rig.add(text("x"));
      const commit = await rig.next();
      const second = rig.add(text("x"));
      await turns(3);
      expect(second.times).toBe(0);
      await commit.apply();
      expect([first, second].map(({ receipt }) => [receipt?.index, receipt?.duplicate])).toEqual([
        [0, false],
        [0, true],
      ]);
      await rig.drain();
      expect(rig.leaves).toHaveLength(1);
    });

    it("answers at once what stands already, also while a commit is under way", async () => {
      const rig = new Rig({ committed: 5 });
      rig.add(text("new"));
      await rig.next();
      const answer = rig.add(entryOf(3));
      expect([answer.times, answer.receipt?.index, answer.receipt?.duplicate]).toEqual([1, 3, true]);
      expect(answer.receipt?.leafHash).toEqual(naiveLeaf(entryOf(3)));
    });

    it("gives one batch one outcome for each, in order, with one entry for its duplicates", async () => {
      const rig = new Rig({ committed: 2 });
      const outcomes = rig.sequencer.addBatch([
        text("n"),
        entryOf(1),
        text("n"),
        text("m"),
        entryOf(0),
        text("m"),
      ]);
      await rig.drain();
      expect(
        (await outcomes).map((each) => (isCairnError(each) ? each.code : [each.index, each.duplicate])),
      ).toEqual([
        [2, false],
        [1, true],
        [2, true],
        [3, false],
        [0, true],
        [3, true],
      ]);
      expect(rig.rows.map(({ first, count }) => [first, count])).toEqual([[2, 2]]);
    });

    it("tells apart entries whose fingerprints meet, in one group, across groups, and against the log", async () => {
      const rig = new Rig({ hasher: collidingHasher() });
      const answers: Answer[] = [];
      for (const name of ["same a", "same b", "same a"]) answers.push(rig.add(text(name)));
      const first = await rig.next();
      for (const name of ["same b", "same c", "same a"]) answers.push(rig.add(text(name)));
      await first.apply();
      for (const name of ["same c", "same a", "same d"]) answers.push(rig.add(text(name)));
      await rig.drain();
      for (const name of ["same d", "same b"]) answers.push(rig.add(text(name)));
      await rig.drain();
      expect(answers.map(({ receipt }) => [receipt?.index, receipt?.duplicate])).toEqual([
        [0, false],
        [1, false],
        [0, true],
        [1, true],
        [2, false],
        [0, true],
        [2, true],
        [0, true],
        [3, false],
        [3, true],
        [1, true],
      ]);
      expect(rig.leaves).toHaveLength(4);
    });

    it("never gives the index of an entry whose commit failed", async () => {
      const rig = new Rig();
      const lost = rig.add(text("x"));
      await (await rig.next()).fail(notApplied(true));
      expect(lost.error?.code).toBe("storage_low");
      const again = rig.add(text("x"));
      expect(again.times).toBe(0);
      await rig.drain();
      expect([again.receipt?.index, again.receipt?.duplicate]).toEqual([0, false]);
    });

    it("does not believe a table that knows indices which this log has not reached", async () => {
      const rig = new Rig({ committed: 2 });
      const fingerprint = { high: 0, low: 0 };
      rig.table.fingerprint(naiveLeaf(text("x")), 0, fingerprint);
      rig.table.insert(fingerprint, 7);
      const answer = rig.add(text("x"));
      await rig.drain();
      expect([answer.receipt?.index, answer.receipt?.duplicate]).toEqual([2, false]);
    });
  });

  describe("of a hit that only a read can confirm", () => {
    it("leaves the group: the others are committed and answered meanwhile", async () => {
      const rig = new Rig({ committed: 3, inMemory: (index) => index > 2 });
      const hit = rig.add(entryOf(1));
      const other = rig.add(text("other"));
      await rig.drain();
      expect([hit.times, other.receipt?.index]).toEqual([0, 3]);
      expect(rig.reads.map(({ index }) => index)).toEqual([1]);
      rig.reads[0]?.answer(naiveLeaf(entryOf(1)));
      await turns();
      expect([hit.receipt?.index, hit.receipt?.duplicate, hit.times]).toEqual([1, true, 1]);
      expect(hit.receipt?.leafHash).toEqual(naiveLeaf(entryOf(1)));
      expect(rig.clock.pending).toBe(0);
    });

    it("is a new entry where the read shows another leaf with that fingerprint", async () => {
      const hasher = collidingHasher();
      const rig = new Rig({ hasher, inMemory: () => false });
      rig.add(text("same a"));
      await rig.drain();
      const answer = rig.add(text("same b"));
      await turns();
      rig.reads[0]?.answer(leafOf(hasher, text("same a")));
      await rig.drain();
      expect([answer.receipt?.index, answer.receipt?.duplicate]).toEqual([1, false]);
      expect(rig.reads).toHaveLength(1);
    });

    it("asks about every index with that fingerprint, each once, and settles beside the same bytes", async () => {
      const hasher = collidingHasher();
      const rig = new Rig({ hasher, inMemory: () => false });
      rig.add(text("same a"));
      rig.add(text("same b"));
      await rig.drain();
      const known = [leafOf(hasher, text("same a")), leafOf(hasher, text("same b"))];
      const answers = [rig.add(text("same c")), rig.add(text("same c"))];
      for (let read = 0; read < 4; read++) {
        await turns();
        const { index, answer } = rig.reads[read] as Rig["reads"][number];
        answer(known[index] as Uint8Array);
      }
      await rig.drain();
      expect(rig.reads.map(({ index }) => index).sort((a, b) => a - b)).toEqual([0, 0, 1, 1]);
      expect(answers.map(({ receipt }) => [receipt?.index, receipt?.duplicate])).toEqual([
        [2, false],
        [2, true],
      ]);
    });

    it("is refused with store_unavailable where the read fails, whatever the reason", async () => {
      const rig = new Rig({ committed: 2, inMemory: () => false });
      const answers = [rig.add(entryOf(0)), rig.add(entryOf(1))];
      rig.reads[0]?.fail(new Error("EIO"));
      rig.reads[1]?.fail(new CairnError("tile_missing"));
      await turns();
      expect(answers.map(({ error }) => error?.code)).toEqual(["store_unavailable", "store_unavailable"]);
      expect(rig.clock.pending).toBe(0);
    });

    it("is refused with store_unavailable after 5 s where the read never answers, and not before", async () => {
      const rig = new Rig({ committed: 2, inMemory: () => false });
      const answer = rig.add(entryOf(0));
      const other = rig.add(text("other"));
      await rig.drain();
      expect(other.receipt?.index).toBe(2);
      rig.clock.advance(4999);
      await turns();
      expect(answer.times).toBe(0);
      rig.clock.advance(1);
      await turns();
      expect([answer.error?.code, answer.times]).toEqual(["store_unavailable", 1]);
      // A read that answers after all changes nothing.
      rig.reads[0]?.answer(naiveLeaf(entryOf(0)));
      await turns();
      expect(answer.times).toBe(1);
      expect(rig.clock.pending).toBe(0);
    });

    it("holds one entry of a batch, not the commit of the others", async () => {
      const rig = new Rig({ committed: 2, inMemory: (index) => index > 1 });
      const batch = rig.sequencer.addBatch([text("a"), entryOf(0), text("b")]);
      let isDone = false;
      void batch.then(() => {
        isDone = true;
      });
      await rig.drain();
      expect([rig.leaves.length, isDone]).toEqual([4, false]);
      rig.clock.advance(5000);
      const outcomes = await batch;
      expect(outcomes.map(codeOf)).toEqual([undefined, "store_unavailable", undefined]);
    });

    it("is waited for when the log becomes idle", async () => {
      const rig = new Rig({ committed: 1, inMemory: () => false });
      rig.add(entryOf(0));
      let isIdle = false;
      void rig.sequencer.idle().then(() => {
        isIdle = true;
      });
      await turns();
      expect(isIdle).toBe(false);
      rig.reads[0]?.answer(naiveLeaf(entryOf(0)));
      await turns();
      expect(isIdle).toBe(true);
    });

    it("is settled when the process stops, and leaves no timer", async () => {
      const rig = new Rig({ committed: 1, inMemory: () => false });
      const answer = rig.add(entryOf(0));
      await turns();
      rig.sequencer.abort(new CairnError("store_unavailable"));
      await turns();
      expect([answer.error?.code, answer.times]).toEqual(["store_unavailable", 1]);
      expect(rig.clock.pending).toBe(0);
    });
  });

  describe("when a commit fails", () => {
    it("for want of room: its group is refused with storage_low, admission hears of it, and the next group goes on", async () => {
      const rig = new Rig();
      const lost = [rig.add(entryOf(0)), rig.add(entryOf(0))];
      const commit = await rig.next();
      const next = rig.add(entryOf(1));
      await commit.fail(notApplied(true));
      expect(lost.map(({ error, times }) => [error?.code, times])).toEqual([
        ["storage_low", 1],
        ["storage_low", 1],
      ]);
      expect(rig.noSpace).toBe(1);
      expect(rig.fatal).toEqual([]);
      await rig.drain();
      expect([next.receipt?.index, rig.leaves.length]).toEqual([0, 1]);
      expect(rig.sequencer.waitingEntries).toBe(0);
    });

    it("beside somebody's long write: its group is refused with store_unavailable, and the next group goes on", async () => {
      const rig = new Rig();
      const lost = rig.add(entryOf(0));
      const commit = await rig.next();
      const next = rig.add(entryOf(1));
      await commit.fail(new StateError("held by another process", { outcome: "not_applied", busy: true }));
      expect([lost.error?.code, rig.noSpace, rig.fatal]).toEqual(["store_unavailable", 0, []]);
      await rig.drain();
      expect([next.receipt?.index, rig.leaves.length]).toEqual([0, 1]);
    });

    it.each([
      ["its outcome is unknown", unknown(), "commit_unknown"],
      ["it was refused for another reason", notApplied(false), "commit_unknown"],
      ["the database's thread throws what nobody knows", new Error("?"), "commit_unknown"],
      ["a sync failed", new CairnError("sync_failed"), "sync_failed"],
    ])(
      "the process ends where %s, everybody is answered, and nothing is committed afterwards",
      async (_, error, code) => {
        const rig = new Rig();
        const answers = [rig.add(entryOf(0))];
        const commit = await rig.next();
        answers.push(rig.add(entryOf(1)), rig.add(entryOf(0)));
        const batch = rig.sequencer.addBatch([entryOf(2), entryOf(3)]);
        await commit.fail(error);
        expect(rig.fatal.map((each) => each.code)).toEqual([code]);
        expect(answers.map((answer) => [answer.error?.code, answer.times])).toEqual(
          answers.map(() => ["store_unavailable", 1]),
        );
        expect((await batch).map(codeOf)).toEqual(["store_unavailable", "store_unavailable"]);
        const late = rig.add(entryOf(4));
        await expect(rig.sequencer.addBatch([entryOf(5)])).rejects.toMatchObject({
          code: "store_unavailable",
        });
        await turns();
        expect([late.error?.code, rig.commits.length]).toEqual(["store_unavailable", 0]);
        await rig.sequencer.idle();
      },
    );

    it("a commit that comes back after the process stopped answers nobody twice", async () => {
      const rig = new Rig();
      const answer = rig.add(entryOf(0));
      const commit = await rig.next();
      rig.sequencer.abort(new CairnError("store_unavailable"));
      await commit.apply();
      expect([answer.error?.code, answer.times, rig.rows.length]).toEqual(["store_unavailable", 1, 0]);
    });
  });

  describe("of bad entries", () => {
    it("refuses them at once, each for itself, and leaves no trace of them", async () => {
      const rig = new Rig({
        refuseContent: (entry) => (entry[0] === 0x21 ? new CairnError("reserved_shape") : null),
      });
      const single = [
        rig.add(new Uint8Array(0)),
        rig.add(new Uint8Array(ENTRY_MAX_BYTES + 1)),
        rig.add(text("!")),
      ];
      expect(single.map(({ error }) => error?.code)).toEqual([
        "entry_empty",
        "entry_too_large",
        "reserved_shape",
      ]);
      const batch = rig.sequencer.addBatch([
        text("good"),
        new Uint8Array(0),
        text("!bad"),
        new Uint8Array(ENTRY_MAX_BYTES + 1),
        text("good too"),
      ]);
      await rig.drain();
      const outcomes = await batch;
      expect(outcomes.map(codeOf)).toEqual([
        undefined,
        "entry_empty",
        "reserved_shape",
        "entry_too_large",
        undefined,
      ]);
      expect(rig.rows.map(({ count, bytes }) => [count, Buffer.from(bytes).toString("latin1")])).toEqual([
        [2, "\0\x04good\0\x08good too"],
      ]);
    });

    it("answers a batch of nothing but refused entries, and an empty one, without a commit", async () => {
      const rig = new Rig();
      expect((await rig.sequencer.addBatch([new Uint8Array(0)])).map(codeOf)).toEqual(["entry_empty"]);
      expect(await rig.sequencer.addBatch([])).toEqual([]);
      await turns();
      expect(rig.commits).toHaveLength(0);
      await rig.sequencer.idle();
    });
  });

  describe("of a full queue", () => {
    const large = (i: number): Uint8Array => {
      const entry = new Uint8Array(65_534);
      entry.set(text(String(i)));
      return entry;
    };

    it("takes exactly 64 MiB, framing included, refuses the next byte, and takes more when a commit is done", async () => {
      const rig = new Rig();
      for (let i = 0; i < QUEUE_MAX_BYTES / 65_536; i++) rig.add(large(i));
      expect(rig.sequencer.refusal(0, 0)).toBeNull();
      expect(rig.sequencer.refusal(1, 0)?.code).toBe("queue_full");
      const refused = rig.add(text("x"));
      expect(refused.error?.code).toBe("queue_full");
      const commit = await rig.next();
      expect(rig.add(text("y")).error?.code).toBe("queue_full");
      await commit.apply();
      expect(rig.add(text("z")).error).toBeNull();
      await rig.drain();
      expect(rig.sequencer.refusal(QUEUE_MAX_BYTES, QUEUE_MAX_ENTRIES)).toBeNull();
    });

    it("takes exactly 200,000 entries, those under way and those being confirmed included", async () => {
      const rig = new Rig({ committed: 1, inMemory: () => false });
      const confirming = rig.add(entryOf(0));
      for (let from = 1; from < QUEUE_MAX_ENTRIES; from += 10_000) {
        const count = Math.min(10_000, QUEUE_MAX_ENTRIES - from);
        void rig.sequencer.addBatch(Array.from({ length: count }, (_, i) => text(`n${from + i}`)));
      }
      await turns(3);
      expect(rig.commits).toHaveLength(1);
      expect(rig.add(text("x")).error?.code).toBe("queue_full");
      await expect(rig.sequencer.addBatch([text("x")])).rejects.toMatchObject({ code: "queue_full" });
      rig.reads[0]?.fail(new Error());
      await turns(3);
      expect(confirming.times).toBe(1);
      expect(rig.add(text("x")).error).toBeNull();
      expect(rig.add(text("y")).error?.code).toBe("queue_full");
    });

    it("counts those who wait for an entry that waits already", async () => {
      const rig = new Rig();
      const batch = Array.from({ length: 10_000 }, (_, i) => entryOf(i));
      for (let i = 0; i < QUEUE_MAX_ENTRIES / 10_000; i++) void rig.sequencer.addBatch(batch);
      await expect(rig.sequencer.addBatch(batch)).rejects.toMatchObject({ code: "queue_full" });
      expect(rig.add(entryOf(0)).error?.code).toBe("queue_full");
      await rig.drain();
      expect([rig.leaves.length, rig.sequencer.refusal(1, QUEUE_MAX_ENTRIES)]).toEqual([10_000, null]);
    });

    it("refuses a whole batch before any of it is sequenced", async () => {
      const rig = new Rig();
      for (let i = 0; i < QUEUE_MAX_BYTES / 65_536 - 1; i++) rig.add(large(i));
      await expect(rig.sequencer.addBatch([text("a"), large(5000), text("b")])).rejects.toMatchObject({
        code: "queue_full",
      });
      await rig.drain();
      expect(rig.leaves).toHaveLength(QUEUE_MAX_BYTES / 65_536 - 1);
    });
  });

  describe("of groups", () => {
    it("holds at most BATCH_MAX_SIZE single entries in a commit", async () => {
      const rig = new Rig({ maxGroupEntries: 10 });
      for (let i = 0; i < 25; i++) rig.add(entryOf(i));
      await rig.drain();
      expect(rig.rows.map(({ count }) => count)).toEqual([10, 10, 5]);
    });

    it("makes a larger batch one commit of its own, between what came before and after it", async () => {
      const rig = new Rig({ maxGroupEntries: 10 });
      rig.add(text("before"));
      const batch = rig.sequencer.addBatch(Array.from({ length: 35 }, (_, i) => entryOf(i)));
      rig.add(text("after"));
      await rig.drain();
      expect(rig.rows.map(({ count }) => count)).toEqual([1, 35, 1]);
      expect((await batch).map((each) => (each as Receipt).index)).toEqual(
        Array.from({ length: 35 }, (_, i) => i + 1),
      );
    });

    it("goes on after a duplicate opened a group and a larger batch needed one of its own", async () => {
      const rig = new Rig({ maxGroupEntries: 10, committed: 1 });
      expect(rig.add(entryOf(0)).receipt?.index).toBe(0);
      const batch = rig.sequencer.addBatch(Array.from({ length: 35 }, (_, i) => text(`n${i}`)));
      const single = rig.add(text("after"));
      await rig.drain();
      expect(rig.leaves).toHaveLength(37);
      expect(single.receipt?.index).toBe(36);
      await batch;
    });

    it("goes on after a duplicate during a commit, and a batch over 8 MiB", async () => {
      const rig = new Rig({ committed: 1 });
      rig.add(text("first"));
      const commit = await rig.next();
      expect(rig.add(entryOf(0)).receipt?.index).toBe(0);
      const bytes = new Uint8Array(65_535);
      const batch = rig.sequencer.addBatch(
        Array.from({ length: 130 }, (_, i) => {
          const entry = bytes.slice();
          entry.set(text(String(i)));
          return entry;
        }),
      );
      await commit.apply();
      await rig.drain();
      await batch;
      expect(rig.leaves).toHaveLength(132);
    });

    it("keeps a group below 8 MiB where no single batch is larger", async () => {
      const rig = new Rig();
      for (let i = 0; i < 300; i++) {
        const entry = new Uint8Array(60_000);
        entry.set(text(String(i)));
        rig.add(entry);
      }
      await rig.drain();
      expect(rig.rows.length).toBeGreaterThan(2);
      for (const row of rig.rows) expect(row.bytes.length).toBeLessThanOrEqual(8 * 1024 * 1024);
      expect(rig.leaves).toHaveLength(300);
    });

    it("grows with its entries: sizes and counts at random come out in order", async () => {
      const rig = new Rig({ maxGroupEntries: 500 });
      const entries: Uint8Array[] = [];
      let seed = 1;
      const random = (below: number): number => {
        seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
        return (seed >>> 8) % below;
      };
      for (let i = 0; i < 1500; i++) {
        const entry = new Uint8Array(8 + random(i % 50 === 0 ? 60_000 : 300));
        entry.set(text(`${i} `));
        entries.push(entry);
      }
      const answers: Answer[] = [];
      for (const [i, entry] of entries.entries()) {
        answers.push(rig.add(entry));
        if (i % 137 === 0) await rig.drain();
      }
      await rig.drain();
      expect(Buffer.concat(rig.rows.map(({ bytes }) => bytes)).equals(encodeBundle(entries))).toBe(true);
      expect(answers.map(({ receipt }) => receipt?.index)).toEqual(entries.map((_, i) => i));
    });
  });

  describe("held for BATCH_MAX_AGE_MS", () => {
    it("commits when the oldest entry is that old, and not before", async () => {
      const rig = new Rig({ maxGroupAgeMs: 100 });
      rig.add(entryOf(0));
      await turns();
      rig.clock.advance(60);
      rig.add(entryOf(1));
      await turns();
      rig.clock.advance(39);
      await turns();
      expect(rig.commits).toHaveLength(0);
      rig.clock.advance(1);
      await turns();
      expect(rig.commits.map(({ entries }) => entries)).toEqual([2]);
    });

    it("commits at once when a group is full", async () => {
      const rig = new Rig({ maxGroupAgeMs: 60_000, maxGroupEntries: 3 });
      for (let i = 0; i < 3; i++) {
        rig.add(entryOf(i));
        await turns();
      }
      expect(rig.commits.map(({ entries }) => entries)).toEqual([3]);
      await (await rig.next()).apply();
      for (let i = 3; i < 5; i++) rig.add(entryOf(i));
      await turns();
      const large = rig.sequencer.addBatch(Array.from({ length: 9 }, (_, i) => text(`n${i}`)));
      await rig.drain();
      await large;
      expect(rig.rows.map(({ count }) => count)).toEqual([3, 2, 9]);
    });

    it("commits at once when the log stops taking entries", async () => {
      const rig = new Rig({ maxGroupAgeMs: 60_000 });
      const answer = rig.add(entryOf(0));
      await turns();
      rig.sequencer.refuse(new CairnError("draining"));
      await rig.drain();
      expect(answer.receipt?.index).toBe(0);
      expect(rig.clock.pending).toBe(0);
      expect(rig.add(entryOf(1)).error?.code).toBe("draining");
      await rig.sequencer.idle();
    });

    it("leaves no timer behind when the process stops", async () => {
      const rig = new Rig({ maxGroupAgeMs: 60_000 });
      const answer = rig.add(entryOf(0));
      await turns();
      rig.sequencer.abort(new CairnError("store_unavailable"));
      expect([answer.error?.code, rig.clock.pending]).toEqual(["store_unavailable", 0]);
    });
  });

  it("refuses what it is told to refuse with, and takes entries again when that is taken back", async () => {
    const rig = new Rig();
    rig.sequencer.refuse(new CairnError("draining"));
    expect(rig.add(entryOf(0)).error?.code).toBe("draining");
    await expect(rig.sequencer.addBatch([entryOf(0)])).rejects.toMatchObject({ code: "draining" });
    rig.sequencer.refuse(null);
    const answer = rig.add(entryOf(0));
    await rig.drain();
    expect(answer.receipt?.index).toBe(0);
  });
});
