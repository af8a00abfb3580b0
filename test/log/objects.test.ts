// Writing immutable objects: what is there in the end, whatever the store answered on the way, and who has the last word
// where other bytes stand at a key.

import { describe, expect, it } from "vitest";
import { CairnError } from "../../src/core/errors.ts";
import { ObjectWriter, type ObjectToWrite } from "../../src/log/objects.ts";
import { StoreError } from "../../src/storage/store.ts";
import { FaultyStore } from "../doubles/faulty-store.ts";
import { MemoryStore } from "../doubles/memory-store.ts";
import { FakeClock, settled, turns, until } from "./doubles/fake-clock.ts";

const OURS = new Uint8Array([1, 2, 3]);
const THEIRS = new Uint8Array([9, 9]);
const KEY = "tile/0/000";

interface Setting {
  readonly durableOnWrite?: boolean;
  readonly signed?: number;
  readonly owner?: boolean;
}

function rig({ durableOnWrite = false, signed = 0, owner = true }: Setting = {}) {
  const memory = new MemoryStore({ durableOnWrite });
  const store = new FaultyStore(memory);
  const clock = new FakeClock();
  const fatal: CairnError[] = [];
  const trouble: string[] = [];
  let asked = 0;
  const writer = new ObjectWriter({
    store,
    clock,
    requireOwnership: async () => {
      asked++;
      if (!owner) throw new CairnError("fenced");
    },
    signedSize: () => signed,
    onFatal: (error) => fatal.push(error),
    onTrouble: (what, key) => trouble.push(`${what} ${key}`),
  });
  const write = (object: Partial<ObjectToWrite> = {}): void =>
    writer.write({ key: KEY, bytes: OURS, end: 256, mode: "create", ...object });
  return {
    memory,
    store,
    clock,
    writer,
    write,
    fatal,
    trouble,
    asked: () => asked,
    idle: () => settled("everything is written", [clock], writer.idle()),
    at: (key: string) => memory.contents().get(key),
    quarantined: () =>
      [...memory.contents()].filter(([key]) => key.startsWith("state/quarantine/")).map(([, bytes]) => bytes),
  };
}

describe("an object that is new", () => {
  it("is created once, in order of nothing but its arrival, and idle says when it stands", async () => {
    const log = rig();
    log.write();
    log.write({ key: "tile/0/001", bytes: THEIRS });
    expect(log.writer.inFlight(KEY)).toEqual(OURS);
    await log.idle();
    expect([log.at(KEY), log.at("tile/0/001")]).toEqual([OURS, THEIRS]);
    expect(log.writer.inFlight(KEY)).toBeNull();
    expect(log.trouble).toEqual([]);
  });

  it("is adopted where equal bytes stand, and not written again", async () => {
    const log = rig({ signed: 1000 });
    log.memory.plant(KEY, OURS);
    const version = (await log.memory.get(KEY))?.version;
    log.write();
    await log.idle();
    expect((await log.memory.get(KEY))?.version).toBe(version);
    expect([log.trouble, log.quarantined(), log.asked()]).toEqual([[], [], 0]);
  });

  it.each(["F1", "F2", "F4"] as const)(
    "is there in the end after %s, asked again with pauses up to 5 s",
    async (form) => {
      const log = rig();
      log.store.faults.inject({ form, operation: "create", times: 12 });
      log.write();
      let longest = 0;
      await until("it is written", [log.clock], () => {
        longest = Math.max(longest, log.clock.untilNext ?? 0);
        return log.writer.inFlight(KEY) === null;
      });
      await log.store.applyLate();
      expect(log.at(KEY)).toEqual(OURS);
      expect(log.fatal).toEqual([]);
      expect(longest).toBeLessThanOrEqual(5000);
      if (form === "F1") expect([log.trouble.length, longest]).toEqual([12, 5000]);
      expect(log.clock.pending).toBe(0);
    },
  );

  it("is there once although its answer was lost and it was sent again", async () => {
    const log = rig();
    log.store.faults.inject({ form: "F10", operation: "create" });
    log.write();
    await log.idle();
    expect(log.at(KEY)).toEqual(OURS);
    expect(log.quarantined()).toEqual([]);
  });

  it("stops the process where the store will never take it", async () => {
    const log = rig();
    const refusing = new StoreError("no permission", { outcome: "not_applied", retryable: false });
    log.memory.create = async () => {
      throw refusing;
    };
    log.write();
    const idle = log.writer.idle();
    await expect(idle).rejects.toMatchObject({ code: "store_unavailable" });
    expect(log.fatal.map(({ code }) => code)).toEqual(["store_unavailable"]);
    await expect(log.writer.room()).rejects.toMatchObject({ code: "store_unavailable" });
  });
});

describe("foreign bytes at its key", () => {
  it("under a signed head stop the process, and nothing is overwritten", async () => {
    const log = rig({ signed: 256 });
    log.memory.plant(KEY, THEIRS);
    log.write({ end: 256 });
    await expect(log.idle()).rejects.toMatchObject({ code: "state_wrong" });
    expect([log.at(KEY), log.quarantined()]).toEqual([THEIRS, []]);
    expect(log.fatal.map(({ code }) => code)).toEqual(["state_wrong"]);
  });

  it.each([0, 255])(
    "under no signed head (its size is %i) are a leftover: kept aside, then replaced",
    async (signed) => {
      const log = rig({ signed });
      log.memory.plant(KEY, THEIRS);
      log.write({ end: 256 });
      await log.idle();
      expect([log.at(KEY), log.quarantined()]).toEqual([OURS, [THEIRS]]);
      expect(log.trouble).toEqual([`quarantined ${KEY}`]);
      expect(log.asked()).toBe(1);
    },
  );

  it.each([0, 256])(
    "stop a process that no longer owns the head (signed size %i), and nothing is overwritten",
    async (signed) => {
      const log = rig({ owner: false, signed });
      log.memory.plant(KEY, THEIRS);
      log.write();
      await expect(log.idle()).rejects.toMatchObject({ code: "fenced" });
      expect([log.at(KEY), log.quarantined()]).toEqual([THEIRS, []]);
    },
  );

  it("are not replaced by a stale look: whoever came meanwhile is judged again", async () => {
    const log = rig();
    log.memory.plant(KEY, THEIRS);
    const others = new Uint8Array([7]);
    const replace = log.memory.replace.bind(log.memory);
    let raced = false;
    log.memory.replace = async (key, bytes, version) => {
      if (!raced) log.memory.plant(KEY, others);
      raced = true;
      return replace(key, bytes, version);
    };
    log.write();
    await log.idle();
    expect([log.at(KEY), log.quarantined()]).toEqual([OURS, [THEIRS, others]]);
  });

  it("all stand in quarantine, although the clock stood still between two of them", async () => {
    const log = rig();
    log.memory.plant(KEY, THEIRS);
    log.write();
    await turns(30);
    expect(log.at(KEY)).toEqual(OURS);
    const others = new Uint8Array([7]);
    log.memory.plant(KEY, others);
    log.write();
    await turns(30);
    expect(log.quarantined()).toEqual([THEIRS, others]);
  });

  it.each(["F1", "F2", "F4", "F10"] as const)(
    "are kept aside and replaced although the store answers with %s",
    async (form) => {
      for (const operation of ["createDurable", "replace"] as const) {
        const log = rig();
        log.memory.plant(KEY, THEIRS);
        log.store.faults.inject({ form, operation });
        log.write();
        await log.idle();
        await log.store.applyLate();
        expect(log.at(KEY)).toEqual(OURS);
        expect(log.quarantined()).toContainEqual(THEIRS);
      }
    },
  );
});

describe("an object that is recorded as synced", () => {
  it("is left as it is where it is right: written anew it would not be synced, and its rows go on the record", async () => {
    const log = rig({ signed: 256 });
    await log.memory.create(KEY, OURS);
    await log.memory.sync([KEY]);
    const version = (await log.memory.get(KEY))?.version;
    log.write({ mode: "keep" });
    await log.idle();
    expect((await log.memory.get(KEY))?.version).toBe(version);
    log.memory.powerLoss();
    expect(log.at(KEY)).toEqual(OURS);
  });

  it.each([
    ["other bytes", THEIRS],
    ["nothing", null],
  ])("is written anew and synced where there is %s", async (_, before) => {
    const log = rig({ signed: 256 });
    if (before !== null) log.memory.plant(KEY, before);
    log.write({ mode: "keep" });
    await log.idle();
    log.memory.powerLoss();
    expect(log.at(KEY)).toEqual(OURS);
    expect(log.quarantined()).toEqual(before === null ? [] : [before]);
  });
});

describe("an object that is mended", () => {
  it("is written anew on a filesystem, also where it reads well", async () => {
    const log = rig({ signed: 256 });
    log.memory.plant(KEY, OURS);
    const version = (await log.memory.get(KEY))?.version;
    log.write({ mode: "mend" });
    await log.idle();
    expect(log.at(KEY)).toEqual(OURS);
    expect((await log.memory.get(KEY))?.version).not.toBe(version);
    expect([log.quarantined(), log.trouble]).toEqual([[], []]);
  });

  it("is kept aside on a filesystem where it held other bytes", async () => {
    const log = rig({ signed: 256 });
    log.memory.plant(KEY, THEIRS);
    log.write({ mode: "mend" });
    await log.idle();
    expect([log.at(KEY), log.quarantined()]).toEqual([OURS, [THEIRS]]);
    expect(log.trouble).toEqual([`quarantined ${KEY}`]);
  });

  it("is written anew on a filesystem where it cannot even be read", async () => {
    const log = rig({ signed: 256 });
    log.memory.plant(KEY, OURS);
    log.store.get = async () => {
      throw new StoreError("the disk reported an error", { outcome: "not_applied", retryable: false });
    };
    log.write({ mode: "mend" });
    await log.idle();
    expect(log.at(KEY)).toEqual(OURS);
    expect(log.fatal).toEqual([]);
  });

  it("is left alone in a bucket where it is right, and quarantined and replaced where it is not, signed or not", async () => {
    for (const signed of [0, 256]) {
      const log = rig({ durableOnWrite: true, signed });
      log.memory.plant(KEY, OURS);
      log.memory.plant("tile/0/001", THEIRS);
      const version = (await log.memory.get(KEY))?.version;
      log.write({ mode: "mend" });
      log.write({ mode: "mend", key: "tile/0/001" });
      await log.idle();
      expect((await log.memory.get(KEY))?.version).toBe(version);
      expect([log.at("tile/0/001"), log.quarantined()]).toEqual([OURS, [THEIRS]]);
    }
  });

  it.each(["F1", "F2", "F4"] as const)("is there in the end after %s", async (form) => {
    const log = rig();
    log.store.faults.inject({ form, operation: "overwrite", times: 3 });
    log.write({ mode: "mend" });
    await log.idle();
    await log.store.applyLate();
    expect(log.at(KEY)).toEqual(OURS);
  });
});

describe("many objects", () => {
  it("are on their way 16 at a time, and who makes more waits while 24 MiB do", async () => {
    const log = rig();
    let active = 0;
    let most = 0;
    const open: (() => void)[] = [];
    const create = log.memory.create.bind(log.memory);
    log.memory.create = async (key, bytes) => {
      most = Math.max(most, ++active);
      await new Promise<void>((resolve) => open.push(resolve));
      active--;
      return create(key, bytes);
    };
    const large = new Uint8Array(1024 * 1024);
    for (let i = 0; i < 24; i++) log.write({ key: `tile/1/${100 + i}`, bytes: large });
    let hasRoom = false;
    void log.writer.room().then(() => {
      hasRoom = true;
    });
    await turns();
    expect([most, hasRoom]).toEqual([16, false]);
    open.shift()?.();
    await turns();
    expect([most, hasRoom]).toEqual([16, true]);
    while (open.length > 0) {
      for (const release of open.splice(0)) release();
      await turns();
    }
    await log.idle();
    expect(log.memory.contents().size).toBe(24);
  });

  it("that come after one asked do not hold up those before: a busy log publishes", async () => {
    const log = rig();
    const open: (() => void)[] = [];
    const create = log.memory.create.bind(log.memory);
    log.memory.create = async (key, bytes) => {
      await new Promise<void>((resolve) => open.push(resolve));
      return create(key, bytes);
    };
    log.write();
    let isIdle = false;
    void log.writer.idle().then(() => {
      isIdle = true;
    });
    for (let i = 1; i < 50 && !isIdle; i++) {
      // There is always one more on its way, as under steady load.
      log.write({ key: `tile/0/${String(i).padStart(3, "0")}`, bytes: new Uint8Array([i]) });
      await turns(1);
      open.shift()?.();
      await turns(2);
    }
    expect([isIdle, log.at(KEY)]).toEqual([true, OURS]);
    for (let left = 0; left < 60; left++) {
      open.shift()?.();
      await turns(1);
    }
  });

  it("that fail keep idle waiting, although later ones stand", async () => {
    const log = rig();
    log.store.faults.inject({
      form: "F1",
      operation: "create",
      key: (key) => key === KEY,
      times: Number.POSITIVE_INFINITY,
    });
    log.write();
    log.write({ key: "tile/0/001" });
    let isIdle = false;
    void log.writer.idle().then(() => {
      isIdle = true;
    });
    for (let i = 0; i < 100; i++) {
      log.clock.advance(1000);
      await turns(2);
    }
    expect([isIdle, log.at("tile/0/001")]).toEqual([false, OURS]);
    log.store.faults.clear();
    await until("it is written", [log.clock], () => isIdle);
    expect(log.at(KEY)).toEqual(OURS);
  });
});

describe("a writer that is stopped", () => {
  it("settles whoever waits, writes nothing more, and leaves no timer", async () => {
    const log = rig();
    log.store.faults.inject({ form: "F1", operation: "create", times: Number.POSITIVE_INFINITY });
    log.write();
    await turns();
    const waiting = [log.writer.idle()];
    log.writer.stop(new CairnError("draining"));
    for (const each of waiting) await expect(each).rejects.toMatchObject({ code: "draining" });
    await turns();
    log.store.faults.clear();
    log.write({ key: "tile/0/001" });
    await turns();
    expect([log.memory.contents().size, log.clock.pending, log.fatal]).toEqual([0, 0, []]);
    await expect(log.writer.idle()).rejects.toMatchObject({ code: "draining" });
  });
});
