// What can be asked again is, for as long as the patience lasts; what cannot is not.

import { describe, expect, it } from "vitest";
import { CairnError } from "../../src/core/errors.ts";
import { patientStore } from "../../src/log/patient-store.ts";
import { type ObjectStore, type ObjectVersion, StoreError } from "../../src/storage/store.ts";
import { FaultyStore, type StoreOperation } from "../doubles/faulty-store.ts";
import { MemoryStore } from "../doubles/memory-store.ts";
import { FakeClock, settled } from "./doubles/fake-clock.ts";

const BYTES = new TextEncoder().encode("bytes");

function prepared(patienceMs = 30_000) {
  const memory = new MemoryStore({ durableOnWrite: true });
  const faulty = new FaultyStore(memory);
  const clock = new FakeClock();
  const stop = new AbortController();
  const troubles: string[] = [];
  const store = patientStore(faulty, {
    clock,
    patienceMs,
    stop: stop.signal,
    onTrouble: (what, key) => troubles.push(`${what} ${key}`),
  });
  return { memory, faulty, clock, stop, troubles, store };
}

const PATIENT: readonly [StoreOperation, (store: ObjectStore) => Promise<unknown>][] = [
  ["get", (store) => store.get("state/a")],
  ["list", (store) => keys(store)],
  ["remove", (store) => store.remove("state/a")],
  ["overwrite", (store) => store.overwrite("state/a", BYTES)],
  ["probe", (store) => store.probe()],
];

describe.each(PATIENT)("%s", (operation, call) => {
  it("is asked again until it is answered", async () => {
    const { faulty, clock, troubles, store } = prepared();
    faulty.faults.inject({ operation, form: "F1", times: 6 });
    await settled(operation, [clock], call(store));
    expect(troubles).toHaveLength(6);
  });

  it("gives up when the patience is over, with the store's own words", async () => {
    const { faulty, clock, store } = prepared();
    faulty.faults.inject({ operation, form: "F1", times: Number.POSITIVE_INFINITY });
    const failing = call(store).catch((error: unknown) => error);
    expect(await settled(operation, [clock], failing)).toBeInstanceOf(StoreError);
    expect(clock.monotonic()).toBeGreaterThan(20_000);
    expect(clock.monotonic()).toBeLessThanOrEqual(30_000);
  });

  it("ends at once when everything stops", async () => {
    const { faulty, stop, store } = prepared(Number.POSITIVE_INFINITY);
    faulty.faults.inject({ operation, form: "F1", times: Number.POSITIVE_INFINITY });
    const failing = call(store);
    stop.abort();
    await expect(failing).rejects.toBeInstanceOf(StoreError);
  });
});

it.each<[string, (store: ObjectStore) => Promise<unknown>]>([
  ["create", (store) => store.create("state/a", BYTES)],
  ["createDurable", (store) => store.createDurable("state/a", BYTES)],
  ["replace", (store) => store.replace("state/a", BYTES, "v1" as ObjectVersion)],
])("%s is asked once: only its caller knows what an unknown outcome means", async (operation, call) => {
  const { faulty, troubles, store } = prepared();
  faulty.faults.inject({ operation: operation as StoreOperation, form: "F2" });
  await expect(call(store)).rejects.toMatchObject({ outcome: "unknown" });
  expect(troubles).toEqual([]);
});

it("what asking again cannot change is told at once", async () => {
  const failures = [
    new StoreError("no such bucket", { outcome: "not_applied", retryable: false }),
    new StoreError("no room", { outcome: "not_applied", retryable: true, noSpace: true }),
    new CairnError("store_unsafe"),
  ];
  for (const failure of failures) {
    const { memory, clock, troubles } = prepared();
    const failing: ObjectStore = Object.assign(Object.create(memory) as ObjectStore, {
      get: () => Promise.reject(failure),
    });
    const store = patientStore(failing, { clock, patienceMs: 30_000, onTrouble: () => troubles.push("") });
    await expect(store.get("state/a")).rejects.toBe(failure);
    expect(troubles).toEqual([]);
  }
});

it("a list that breaks off goes on after the last key it gave, each key once", async () => {
  const { memory, clock } = prepared();
  const names = ["a", "b", "c", "d", "e"].map((name) => `state/${name}`);
  let lists = 0;
  const breaking: ObjectStore = Object.assign(Object.create(memory) as ObjectStore, {
    async *list() {
      const from = lists++;
      for (const [i, name] of names.entries()) {
        if (i > from) throw new StoreError("broken", { outcome: "not_applied", retryable: true });
        yield name;
      }
    },
  });
  const store = patientStore(breaking, { clock, patienceMs: 30_000, onTrouble: () => undefined });
  expect(await settled("the list", [clock], keys(store))).toEqual(names);
  expect(lists).toBe(names.length);
});

async function keys(store: ObjectStore): Promise<string[]> {
  const found: string[] = [];
  for await (const key of store.list("")) found.push(key);
  return found;
}
