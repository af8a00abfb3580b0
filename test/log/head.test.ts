// `state/head`, the one chain of signed heads: its form to the byte, and who may go on after which answer of the store.

import { describe, expect, it } from "vitest";
import { HEAD_KEY, type HeadRecord, OwnedHead, parseHead, printHead } from "../../src/log/head.ts";
import { type ObjectVersion, StoreError } from "../../src/storage/store.ts";
import { FaultyStore } from "../doubles/faulty-store.ts";
import { MemoryStore } from "../doubles/memory-store.ts";
import { FakeClock, settled, turns, until } from "./doubles/fake-clock.ts";

const RECORD: HeadRecord = {
  format: 1,
  database: "0123456789abcdef0123456789abcdef",
  epoch: 7,
  holder: "fedcba9876543210fedcba9876543210",
  origin: "example.com/log",
  keyIds: ["example.com/log+0badcafe"],
  note: "example.com/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— example.com/log AAAA\n",
  frozen: false,
};

const OURS = "00000000000000000000000000000001";
const THEIRS = "00000000000000000000000000000002";

describe("the head's form", () => {
  it("is this JSON", () => {
    expect(new TextDecoder().decode(printHead(RECORD))).toBe(
      `{
  "format": 1,
  "database": "0123456789abcdef0123456789abcdef",
  "epoch": 7,
  "holder": "fedcba9876543210fedcba9876543210",
  "origin": "example.com/log",
  "key_ids": [
    "example.com/log+0badcafe"
  ],
  "note": "example.com/log\\n0\\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\\n\\n— example.com/log AAAA\\n",
  "frozen": false
}
`,
    );
  });

  it("comes back as it was", () => {
    for (const record of [RECORD, { ...RECORD, frozen: true, epoch: 0, keyIds: ["a", "b"] }]) {
      expect(parseHead(printHead(record))).toEqual(record);
    }
  });

  const members: [string, unknown[]][] = [
    ["format", [undefined, null, "1", 1.5, true]],
    ["database", [undefined, null, 5, "", "0123", "0123456789ABCDEF0123456789abcdef", `${RECORD.database}0`]],
    ["epoch", [undefined, null, "7", -1, 1.5, 2 ** 53]],
    ["holder", [undefined, null, 5, "", "xyz"]],
    ["origin", [undefined, null, 5, ""]],
    ["key_ids", [undefined, null, "a", [], [5], ["a", null]]],
    ["note", [undefined, null, 5, ["a"]]],
    ["frozen", [undefined, null, 0, "false"]],
  ];

  it.each(members)("is refused as damaged where %s is none", (member, values) => {
    const good = JSON.parse(new TextDecoder().decode(printHead(RECORD))) as Record<string, unknown>;
    for (const value of values) {
      const bytes = new TextEncoder().encode(JSON.stringify({ ...good, [member]: value }));
      expect(() => parseHead(bytes), JSON.stringify(value)).toThrow(
        expect.objectContaining({ code: "head_damaged" }),
      );
    }
  });

  it.each([
    ["nothing", ""],
    ["no JSON", "{"],
    ["a list", "[]"],
    ["null", "null"],
    ["a number", "1"],
    ["a string", '"head"'],
  ])("is refused as damaged where it is %s", (_, text) => {
    expect(() => parseHead(new TextEncoder().encode(text))).toThrow(
      expect.objectContaining({ code: "head_damaged" }),
    );
  });

  it("is refused as damaged where it is cut anywhere, or not UTF-8", () => {
    const bytes = printHead(RECORD);
    for (let end = 0; end < bytes.length - 2; end++) {
      expect(() => parseHead(bytes.subarray(0, end))).toThrow(
        expect.objectContaining({ code: "head_damaged" }),
      );
    }
    const bad = bytes.slice();
    bad[40] = 0xff;
    expect(() => parseHead(bad)).toThrow(expect.objectContaining({ code: "head_damaged" }));
  });

  it("of a newer format is refused as such, whatever else it holds", () => {
    const newer = new TextEncoder().encode(JSON.stringify({ format: 2, heads: [] }));
    expect(() => parseHead(newer)).toThrow(expect.objectContaining({ code: "format_newer" }));
  });
});

async function rig() {
  const memory = new MemoryStore();
  await memory.createDurable(HEAD_KEY, printHead(RECORD));
  const store = new FaultyStore(memory);
  const clock = new FakeClock();
  const stop = new AbortController();
  const trouble: string[] = [];
  const options = { store, clock, stop: stop.signal, onTrouble: (what: string) => trouble.push(what) };
  const version = (await memory.get(HEAD_KEY))?.version as ObjectVersion;
  return {
    memory,
    store,
    clock,
    stop,
    trouble,
    version,
    take: () => settled("the epoch", [clock], OwnedHead.take(options, { record: RECORD, version }, OURS)),
    async owned(): Promise<OwnedHead> {
      const head = await OwnedHead.take(options, { record: RECORD, version }, OURS);
      if (head === null) throw new Error("not taken");
      return head;
    },
    settled: <T>(promise: Promise<T>) => settled("the head", [clock], promise),
    there: () => parseHead(memory.contents().get(HEAD_KEY) as Uint8Array),
  };
}

describe("taking the head", () => {
  it("is the next epoch under our name, the note unchanged", async () => {
    const log = await rig();
    const head = await log.take();
    expect(log.there()).toEqual({ ...RECORD, epoch: 8, holder: OURS });
    expect(head?.record).toEqual({ ...RECORD, epoch: 8, holder: OURS });
  });

  it("is refused where another version stands than the one that was judged, and changes nothing", async () => {
    const log = await rig();
    const others = printHead({ ...RECORD, epoch: 8, holder: THEIRS });
    log.memory.plant(HEAD_KEY, others);
    expect(await log.take()).toBeNull();
    expect(log.memory.contents().get(HEAD_KEY)).toEqual(others);
    log.memory.take(HEAD_KEY);
    expect(await log.take()).toBeNull();
    expect(log.memory.contents().has(HEAD_KEY)).toBe(false);
  });

  it("lets one of two in", async () => {
    const log = await rig();
    const judged = { record: RECORD, version: log.version };
    const options = {
      store: log.memory,
      clock: log.clock,
      stop: log.stop.signal,
      onTrouble: () => undefined,
    };
    const heads = await Promise.all([OURS, THEIRS].map((holder) => OwnedHead.take(options, judged, holder)));
    expect(heads.filter((head) => head !== null)).toHaveLength(1);
  });
});

describe("advancing the head", () => {
  it("puts the note in and nothing else", async () => {
    const log = await rig();
    const head = await log.owned();
    await head.advance("signed 1");
    await head.advance("signed 2");
    expect(log.there()).toEqual({ ...RECORD, epoch: 8, holder: OURS, note: "signed 2" });
    expect(head.record.note).toBe("signed 2");
  });

  it("writes nothing for the note that stands there, and finds out whether it is still ours", async () => {
    const log = await rig();
    const head = await log.owned();
    await head.advance("signed");
    const version = (await log.memory.get(HEAD_KEY))?.version;
    await head.advance("signed");
    expect((await log.memory.get(HEAD_KEY))?.version).toBe(version);
    log.memory.plant(HEAD_KEY, printHead({ ...RECORD, epoch: 9, holder: THEIRS, note: "signed" }));
    await expect(head.advance("signed")).rejects.toMatchObject({ code: "fenced" });
  });

  it.each(["F1", "F2", "F4", "F10"] as const)("is done once, for certain, after %s", async (form) => {
    const log = await rig();
    const head = await log.owned();
    log.store.faults.inject({ form, operation: "replace", times: form === "F10" ? 1 : 4 });
    await log.settled(head.advance("signed 1"));
    await log.settled(head.advance("signed 2"));
    // Whatever the network still held changes nothing.
    await log.store.applyLate();
    expect(log.there().note).toBe("signed 2");
    await head.requireOwnership();
    expect(log.clock.pending).toBe(0);
  });

  it("takes a 412 after its own success for what it is", async () => {
    const log = await rig();
    const head = await log.owned();
    log.store.faults.inject({ form: "F2", operation: "replace" });
    log.store.faults.inject({ form: "F1", operation: "get", times: 3 });
    await log.settled(head.advance("signed"));
    expect(log.there().note).toBe("signed");
    expect(head.record.note).toBe("signed");
  });

  it("waits through an outage, asking at least every 5 s, and goes on within 10 s of its end", async () => {
    const log = await rig();
    const head = await log.owned();
    for (const operation of ["replace", "get"] as const) {
      log.store.faults.inject({ form: "F1", operation, times: Number.POSITIVE_INFINITY });
    }
    let isDone = false;
    void head.advance("signed").then(() => {
      isDone = true;
    });
    let longest = 0;
    for (let i = 0; i < 600; i++) {
      longest = Math.max(longest, log.clock.untilNext ?? 0);
      log.clock.advance(100);
      await turns(2);
    }
    expect([isDone, longest <= 5000, log.trouble.length > 10]).toEqual([false, true, true]);
    log.store.faults.clear();
    const from = log.clock.monotonic();
    await until("the head is there", [log.clock], () => isDone);
    expect(log.clock.monotonic() - from).toBeLessThanOrEqual(10_000);
    expect(log.there().note).toBe("signed");
  });

  it.each([
    ["another owner's", printHead({ ...RECORD, epoch: 9, holder: THEIRS })],
    ["our own of an earlier epoch", printHead(RECORD)],
    ["no head", new TextEncoder().encode("?")],
  ])("stops where the head has become %s, and changes nothing", async (_, bytes) => {
    const log = await rig();
    const head = await log.owned();
    log.memory.plant(HEAD_KEY, bytes);
    for (const act of [
      () => head.advance("signed"),
      () => head.requireOwnership(),
      () => head.amend({ frozen: true }),
    ]) {
      await expect(act()).rejects.toMatchObject({ code: "fenced" });
    }
    expect(log.memory.contents().get(HEAD_KEY)).toEqual(bytes);
  });

  it("stops where the head is gone, and does not make it again", async () => {
    const log = await rig();
    const head = await log.owned();
    log.memory.take(HEAD_KEY);
    await expect(head.advance("signed")).rejects.toMatchObject({ code: "fenced" });
    await expect(head.requireOwnership()).rejects.toMatchObject({ code: "fenced" });
    expect(log.memory.contents().has(HEAD_KEY)).toBe(false);
  });

  it("stops where another one came between an attempt of unknown outcome and the next", async () => {
    const log = await rig();
    const head = await log.owned();
    log.store.faults.inject({ form: "F1", operation: "replace" });
    const advancing = head.advance("signed");
    advancing.catch(() => undefined);
    await turns();
    log.memory.plant(HEAD_KEY, printHead({ ...RECORD, epoch: 9, holder: THEIRS }));
    await expect(log.settled(advancing)).rejects.toMatchObject({ code: "fenced" });
    expect(log.there().holder).toBe(THEIRS);
  });

  it("stops where the store will never take it", async () => {
    const log = await rig();
    const head = await log.owned();
    log.memory.replace = async () => {
      throw new StoreError("no permission", { outcome: "not_applied", retryable: false });
    };
    await expect(log.settled(head.advance("signed"))).rejects.toBeInstanceOf(StoreError);
  });

  it("ends its waiting when the process stops", async () => {
    const log = await rig();
    const head = await log.owned();
    log.store.faults.inject({ form: "F1", operation: "replace", times: Number.POSITIVE_INFINITY });
    const advancing = head.advance("signed");
    advancing.catch(() => undefined);
    await turns();
    log.stop.abort();
    await expect(advancing).rejects.toMatchObject({ code: "draining" });
    expect(log.clock.pending).toBe(0);
  });
});

it("amending changes what recovery, rotation and a freeze change", async () => {
  const log = await rig();
  const head = await log.owned();
  await head.amend({ frozen: true });
  await head.amend({ keyIds: ["a", "b"] });
  expect(log.there()).toEqual({ ...RECORD, epoch: 8, holder: OURS, frozen: true, keyIds: ["a", "b"] });
});
