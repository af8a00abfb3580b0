// The faulty doubles do what their forms say, since every fault test stands on that.

import { describe, expect, it } from "vitest";
import type { ObjectStore, StoredObject } from "../../src/storage/store.ts";
import { FAULT_FORMS, type FaultForm, Killed } from "./faults.ts";
import { FaultyStore, impossibleStoreFault, type StoreOperation } from "./faulty-store.ts";
import { MemoryStore } from "./memory-store.ts";

const OLD = new Uint8Array([1, 1, 1, 1]);
const NEW = new Uint8Array([2, 2, 2, 2]);
const KEY = "state/head";

async function faulty(): Promise<{ inner: MemoryStore; store: FaultyStore; stored: StoredObject }> {
  const inner = new MemoryStore();
  await inner.createDurable(KEY, OLD);
  const store = new FaultyStore(inner);
  const stored = await store.get(KEY);
  if (stored === null) throw new Error("nothing there");
  return { inner, store, stored };
}

const now = (inner: MemoryStore): Uint8Array | undefined => inner.contents().get(KEY);

describe("a faulty store", () => {
  it("does what the inner one does where no fault was injected", async () => {
    const { inner, store, stored } = await faulty();
    expect((await store.replace(KEY, NEW, stored.version)).outcome).toBe("written");
    expect(now(inner)).toEqual(NEW);
  });

  it("F1: an error, nothing applied, once", async () => {
    const { inner, store, stored } = await faulty();
    store.faults.inject({ operation: "replace", form: "F1" });
    await expect(store.replace(KEY, NEW, stored.version)).rejects.toMatchObject({ outcome: "unknown" });
    expect(now(inner)).toEqual(OLD);
    expect((await store.replace(KEY, NEW, stored.version)).outcome).toBe("written");
  });

  it("F2: an error, and applied", async () => {
    const { inner, store, stored } = await faulty();
    store.faults.inject({ operation: "replace", form: "F2" });
    await expect(store.replace(KEY, NEW, stored.version)).rejects.toMatchObject({ outcome: "unknown" });
    expect(now(inner)).toEqual(NEW);
  });

  it("F3: never returns, until it is released", async () => {
    const { inner, store, stored } = await faulty();
    store.faults.inject({ operation: "replace", form: "F3" });
    const hanging = store.replace(KEY, NEW, stored.version);
    const first = await Promise.race([
      hanging,
      new Promise((resolve) => setImmediate(() => resolve("nothing"))),
    ]);
    expect(first).toBe("nothing");
    expect(store.faults.hanging).toBe(1);
    store.faults.releaseHung();
    await expect(hanging).rejects.toThrow("released");
    expect(now(inner)).toEqual(OLD);
  });

  it("F4: an error, and applied after the next write to the same key", async () => {
    const { inner, store } = await faulty();
    store.faults.inject({ operation: "overwrite", form: "F4" });
    await expect(store.overwrite(KEY, OLD)).rejects.toMatchObject({ outcome: "unknown" });
    await store.overwrite("state/other", NEW);
    await store.overwrite(KEY, NEW);
    expect(now(inner)).toEqual(OLD);
  });

  it("F5 and F6: killed before or after, and everything after that is dead", async () => {
    for (const form of ["F5", "F6"] as const) {
      const { inner, store, stored } = await faulty();
      store.faults.inject({ operation: "replace", form });
      await expect(store.replace(KEY, NEW, stored.version)).rejects.toThrow(Killed);
      await expect(store.get(KEY)).rejects.toThrow(Killed);
      expect(now(inner)).toEqual(form === "F5" ? OLD : NEW);
      store.faults.revive();
      expect((await store.get(KEY))?.bytes).toEqual(form === "F5" ? OLD : NEW);
    }
  });

  it("F7: success reported, nothing applied", async () => {
    const { inner, store, stored } = await faulty();
    store.faults.inject({ operation: "replace", form: "F7" });
    expect((await store.replace(KEY, NEW, stored.version)).outcome).toBe("written");
    expect(now(inner)).toEqual(OLD);
    await store.create("tile/0/000", NEW);
    store.faults.inject({ operation: "sync", form: "F7" });
    await store.sync(["tile/0/000"]);
    inner.powerLoss();
    expect(inner.contents().has("tile/0/000")).toBe(false);
  });

  it("F8: a read of what stood before the newest write", async () => {
    const { store, stored } = await faulty();
    await store.replace(KEY, NEW, stored.version);
    await store.create("tile/0/000", NEW);
    store.faults.inject({ operation: "get", form: "F8", times: 2 });
    expect((await store.get(KEY))?.bytes).toEqual(OLD);
    expect(await store.get("tile/0/000")).toBeNull();
    expect((await store.get(KEY))?.bytes).toEqual(NEW);
  });

  it("F9: a read that is flipped or cut", async () => {
    const { store } = await faulty();
    store.faults.inject({ operation: "get", form: "F9" });
    expect((await store.get(KEY))?.bytes).toEqual(new Uint8Array([1, 1, 0, 1]));
    store.faults.inject({ operation: "get", form: "F9", damage: "truncate" });
    expect((await store.get(KEY))?.bytes).toEqual(OLD.slice(0, 2));
    expect((await store.get(KEY))?.bytes).toEqual(OLD);
  });

  it("F10: applied, and refused because of itself", async () => {
    const { inner, store, stored } = await faulty();
    store.faults.inject({ operation: "replace", form: "F10" });
    expect(await store.replace(KEY, NEW, stored.version)).toEqual({ outcome: "refused" });
    expect(now(inner)).toEqual(NEW);
  });

  it("counts the calls that match, and stops after as many as it was told", async () => {
    const { store } = await faulty();
    store.faults.inject({ operation: "get", form: "F1", key: (key) => key === KEY, nth: 2, times: 2 });
    const outcomes: string[] = [];
    for (const key of [KEY, "checkpoint", KEY, KEY, KEY]) {
      outcomes.push(
        await store.get(key).then(
          () => "read",
          () => "failed",
        ),
      );
    }
    expect(outcomes).toEqual(["read", "read", "failed", "failed", "read"]);
    expect(store.faults.fired).toHaveLength(2);
  });

  it("says of every pair of operation and form either why it cannot be, or meets it", async () => {
    const operations: StoreOperation[] = [
      "get",
      "create",
      "createDurable",
      "replace",
      "overwrite",
      "sync",
      "remove",
      "list",
      "probe",
    ];
    for (const operation of operations) {
      for (const form of Object.keys(FAULT_FORMS) as FaultForm[]) {
        const { store, stored } = await faulty();
        if (impossibleStoreFault({ operation, form }) !== null) {
          expect(() => store.faults.inject({ operation, form })).toThrow("cannot meet");
          continue;
        }
        store.faults.inject({ operation, form });
        const call = perform(store, operation, stored).catch(() => {});
        await Promise.race([call, new Promise((resolve) => setImmediate(resolve))]);
        expect(store.faults.fired).toHaveLength(1);
        store.faults.releaseHung();
        await call;
      }
    }
  });
});

async function perform(
  store: ObjectStore,
  operation: StoreOperation,
  { version }: StoredObject,
): Promise<void> {
  switch (operation) {
    case "get":
      await store.get(KEY);
      return;
    case "create":
    case "createDurable":
      await store[operation]("checkpoint", NEW);
      return;
    case "replace":
      await store.replace(KEY, NEW, version);
      return;
    case "overwrite":
      return store.overwrite(KEY, NEW);
    case "sync":
      return store.sync([KEY]);
    case "remove":
      return store.remove(KEY);
    case "list":
      for await (const _key of store.list("")) continue;
      return;
    case "probe":
      return store.probe();
  }
}
