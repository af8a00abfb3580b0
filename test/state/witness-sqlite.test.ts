import Database from "better-sqlite3";
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { asHash } from "../../src/core/hash.ts";
import type { StateError } from "../../src/state/state.ts";
import { openWitnessState } from "../../src/state/witness-sqlite.ts";
import type { WitnessedLog, WitnessState } from "../../src/state/witness-state.ts";
import { refusal } from "../core/refusal.ts";

const ORIGIN = "log.example/one";
const ORIGIN_HASH = new Uint8Array(32).fill(7);

let folder: string;
let path: string;
const open: WitnessState[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "cairn-witness-state-"));
  path = join(folder, "w.db");
});
afterEach(() => {
  for (const state of open.splice(0)) state.close();
  rmSync(folder, { recursive: true, force: true });
});

async function witness(): Promise<WitnessState> {
  const { state } = await openWitnessState(path, "witness");
  open.push(state);
  return state;
}

async function beside(): Promise<WitnessState> {
  const { state } = await openWitnessState(path, "beside");
  open.push(state);
  return state;
}

function checkpoint(size: bigint | number, root = Number(BigInt(size) % 251n), note = `note of ${size}`) {
  return {
    size: BigInt(size),
    root: asHash(new Uint8Array(32).fill(root)),
    note: new TextEncoder().encode(note),
  };
}

function log(origin: string, changed: Partial<WitnessedLog> = {}): WitnessedLog {
  return { origin, keys: [`${origin}+00000000+AA==`], paused: false, qpd: null, contact: null, ...changed };
}

describe("the newest cosigned checkpoint", () => {
  test("nothing is remembered of a log at first", async () => {
    const state = await witness();
    expect(state.cosigned(ORIGIN)).toBeNull();
    expect(state.note(ORIGIN_HASH)).toBeNull();
    expect(state.cosignedCount()).toBe(0);
  });

  test("an advance is remembered, also by the next process", async () => {
    const state = await witness();
    expect(state.advance(ORIGIN, ORIGIN_HASH, null, checkpoint(5))).toBe(true);
    expect(state.advance(ORIGIN, ORIGIN_HASH, checkpoint(5), checkpoint(9))).toBe(true);
    open.pop()?.close();
    const again = await witness();
    expect(again.cosigned(ORIGIN)).toEqual({ size: 9n, root: Buffer.from(checkpoint(9).root) });
    expect(again.note(ORIGIN_HASH)?.toString()).toBe("note of 9");
    expect(again.cosignedCount()).toBe(1);
  });

  test("sizes up to 2^63 - 1 are kept exactly", async () => {
    const state = await witness();
    let from = null;
    for (const size of [0n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n - 1n]) {
      const to = checkpoint(size);
      expect(state.advance(ORIGIN, ORIGIN_HASH, from, to)).toBe(true);
      expect(state.cosigned(ORIGIN)?.size).toBe(size);
      from = to;
    }
  });

  test("an advance from anything but the newest changes nothing", async () => {
    const state = await witness();
    expect(state.advance(ORIGIN, ORIGIN_HASH, checkpoint(5), checkpoint(9))).toBe(false);
    expect(state.cosigned(ORIGIN)).toBeNull();
    state.advance(ORIGIN, ORIGIN_HASH, null, checkpoint(5));
    for (const from of [null, checkpoint(4), checkpoint(6), { ...checkpoint(5), root: checkpoint(6).root }]) {
      expect(state.advance(ORIGIN, ORIGIN_HASH, from, checkpoint(9))).toBe(false);
    }
    expect(state.cosigned(ORIGIN)?.size).toBe(5n);
    expect(state.note(ORIGIN_HASH)?.toString()).toBe("note of 5");
  });

  test("of two connections that judged the same checkpoint, one advances", async () => {
    const [one, other] = [await witness(), await beside()];
    one.advance(ORIGIN, ORIGIN_HASH, null, checkpoint(5));
    const before = other.cosigned(ORIGIN);
    expect(one.advance(ORIGIN, ORIGIN_HASH, before, checkpoint(9, 1))).toBe(true);
    expect(other.advance(ORIGIN, ORIGIN_HASH, before, checkpoint(9, 2))).toBe(false);
    expect(one.cosigned(ORIGIN)?.root[0]).toBe(1);
  });

  test("the write-ahead log does not grow however much is written", async () => {
    const state = await witness();
    const length = statSync(`${path}-wal`).size;
    expect(length).toBeGreaterThan(4_000_000);
    let from = null;
    for (let size = 0; size < 1500; size++) {
      const to = checkpoint(size, size % 251, "x".repeat(3000));
      expect(state.advance(ORIGIN, ORIGIN_HASH, from, to)).toBe(true);
      from = to;
    }
    expect(statSync(`${path}-wal`).size).toBe(length);
    expect(statSync(path).size).toBeLessThan(6_000_000);
  });
});

describe("logs", () => {
  test("are listed as they were put, by origin", async () => {
    const state = await witness();
    const logs = [log("a", { qpd: 24, contact: "somebody" }), log("b", { paused: true, keys: [] })];
    for (const each of logs.toReversed()) state.putLog(each);
    expect(state.logs()).toEqual(logs);
    state.putLog(log("a", { keys: ["other"] }));
    expect(state.logs()[0]).toEqual(log("a", { keys: ["other"] }));
  });

  test("a discovered log is added once, and what is known stays as it is", async () => {
    const state = await witness();
    state.putLog(log("known", { paused: true }));
    expect(state.discover([log("known", { keys: ["new"] }), log("new")])).toEqual(["new"]);
    expect(state.logs()).toEqual([log("known", { paused: true }), log("new")]);
    expect(state.discover([log("new", { contact: "changed" })])).toEqual([]);
  });

  test("another process's writes are noticed, our own are not", async () => {
    const [state, other] = [await witness(), await beside()];
    expect(state.changed()).toBe(true);
    expect(state.changed()).toBe(false);
    state.putLog(log("ours"));
    expect(state.changed()).toBe(false);
    other.putLog(log("theirs"));
    expect(state.changed()).toBe(true);
    expect(state.changed()).toBe(false);
    expect(state.logs()).toHaveLength(2);
  });
});

describe("the file", () => {
  test("is made where there is none, and where an empty one stands, for the witness alone", async () => {
    await expect(openWitnessState(path, "beside")).rejects.toThrow(refusal("witness_absent"));
    writeFileSync(path, "");
    await expect(openWitnessState(path, "beside")).rejects.toThrow(refusal("witness_absent"));
    const { state, created } = await openWitnessState(path, "witness");
    state.close();
    expect(created).toBe(true);
    const again = await openWitnessState(path, "witness");
    again.state.close();
    expect(again.created).toBe(false);
  });

  test("of another program, a log's database included, is refused", async () => {
    const other = new Database(path);
    other.exec("CREATE TABLE t (x)");
    other.pragma("application_id = 1130458734");
    other.close();
    await expect(openWitnessState(path, "witness")).rejects.toThrow(refusal("identity_mismatch"));
  });

  test("of a newer version is refused", async () => {
    (await witness()).close();
    open.pop();
    const newer = new Database(path);
    newer.pragma("user_version = 99");
    newer.close();
    await expect(openWitnessState(path, "witness")).rejects.toThrow(refusal("format_newer"));
  });

  test("that is none, or no database, is refused in words", async () => {
    mkdirSync(join(folder, "a-folder"));
    await expect(openWitnessState(join(folder, "a-folder"), "witness")).rejects.toThrow(
      refusal("file_unreadable"),
    );
    writeFileSync(path, "this is not a database, and long enough to be read as one".repeat(100));
    await expect(openWitnessState(path, "witness")).rejects.toThrow(refusal("file_unreadable"));
    await expect(openWitnessState(join(folder, "none", "w.db"), "witness")).rejects.toThrow(
      refusal("file_unreadable"),
    );
  });

  test("a write that waits too long for another process is not applied, and the next one is", async () => {
    const state = await witness();
    state.advance(ORIGIN, ORIGIN_HASH, null, checkpoint(5));
    const shell = new Database(path);
    shell.exec("BEGIN IMMEDIATE");
    expect(() => state.advance(ORIGIN, ORIGIN_HASH, checkpoint(5), checkpoint(9))).toThrow(
      expect.objectContaining({ outcome: "not_applied" }) as StateError,
    );
    shell.exec("ROLLBACK");
    shell.close();
    expect(state.advance(ORIGIN, ORIGIN_HASH, checkpoint(5), checkpoint(9))).toBe(true);
  });
});
