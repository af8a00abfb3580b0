import { describe, expect, test } from "vitest";
import { noblePrimitives } from "../../../src/core/cosignature.ts";
import type { WitnessedLog } from "../../../src/state/witness-state.ts";
import { differences, KnownLogs, withAllKeys, withKey } from "../../../src/witness/service/logs.ts";
import { refusal } from "../../core/refusal.ts";
import { TestLog } from "../conformance/test-log.ts";

const log = new TestLog("log.example", { keys: ["ed25519", "ed25519", "mldsa44"] }, "keys");
const [first = "", second = "", third = ""] = log.vkeys;

function listed(vkey: string, origin = log.origin) {
  return { origin, vkey, qpd: null, contact: null };
}

function stored(keys: readonly string[], paused = false, origin = log.origin): WitnessedLog {
  return { origin, keys, paused, qpd: null, contact: null };
}

/** A database of logs that another process can change. */
function database(...logs: WitnessedLog[]) {
  let changed = true;
  return {
    rows: logs,
    logs() {
      return this.rows;
    },
    change(...rows: WitnessedLog[]) {
      this.rows = rows;
      changed = true;
    },
    changed() {
      const was = changed;
      changed = false;
      return was;
    },
  };
}

const ids = (known: KnownLogs, origin = log.origin) =>
  known.trusted(origin)?.map(({ keyId }) => keyId) ?? null;
const idsOf = (...vkeys: string[]) => vkeys.map((vkey) => Number.parseInt(vkey.split("+")[1] as string, 16));

describe("known logs", () => {
  test("the keys of the command line and of the database count together, each once", () => {
    const known = new KnownLogs([listed(first)], database(stored([first, second])), noblePrimitives);
    expect(ids(known)).toEqual(idsOf(first, second));
    expect(known.counts()).toEqual({ active: 1, paused: 0 });
  });

  test("keys of every type that can be verified", () => {
    const known = new KnownLogs([listed(first), listed(third)], database(), noblePrimitives);
    expect(ids(known)).toEqual(idsOf(first, third));
  });

  test("an unknown origin, one without keys and a paused one have no verifiers", () => {
    const known = new KnownLogs(
      [],
      database(stored([], false, "empty"), stored([first], true)),
      noblePrimitives,
    );
    for (const origin of ["unknown", "empty", log.origin]) expect(ids(known, origin)).toBeNull();
    expect(known.counts()).toEqual({ active: 1, paused: 1 });
  });

  test("a pause goes before the command line", () => {
    const known = new KnownLogs([listed(first)], database(stored([], true)), noblePrimitives);
    expect(ids(known)).toBeNull();
  });

  test("what another process adds, pauses or drops counts from the next request on", () => {
    const state = database();
    const known = new KnownLogs([], state, noblePrimitives);
    expect(ids(known)).toBeNull();
    state.change(stored([first]));
    expect(ids(known)).toEqual(idsOf(first));
    state.change(stored([first, second]));
    expect(ids(known)).toEqual(idsOf(first, second));
    state.change(stored([second]));
    expect(ids(known)).toEqual(idsOf(second));
    state.change(stored([second], true));
    expect(ids(known)).toBeNull();
  });

  test("an unchanged log keeps its parsed keys when another one changes", () => {
    const state = database(stored([first]));
    const known = new KnownLogs([], state, noblePrimitives);
    const before = known.trusted(log.origin);
    state.change(stored([first]), stored([second], false, "another"));
    expect(known.trusted(log.origin)).toBe(before);
  });
});

describe("lists", () => {
  test("all keys of an origin make one log, a repeated one once", () => {
    expect(withAllKeys([listed(first), listed(second, "other"), listed(second), listed(first)])).toEqual([
      stored([first, second]),
      stored([second], false, "other"),
    ]);
  });

  test("a newer list's other keys are found, and nothing else", () => {
    const known = [stored([first]), stored([second], false, "same")];
    const newer = [stored([first, second]), stored([second], false, "same"), stored([third], false, "new")];
    expect(differences(known, newer)).toEqual([{ origin: log.origin, newKeys: [second] }]);
  });

  test("two keys that cannot be told apart are refused", () => {
    expect(() => withKey(stored([first]), first)).toThrow(refusal("bad_config"));
  });
});
