// The memory store passes what every driver passes, and its own invariants hold.

import { describe, expect, it } from "vitest";
import { storageConformance } from "../storage/conformance.ts";
import { ImmutabilityViolation, MemoryStore } from "./memory-store.ts";

storageConformance("the memory store", async () => {
  const store = new MemoryStore();
  return { open: async () => store.reopen(), remove: async () => {} };
});

const A = new Uint8Array([1, 2]);
const B = new Uint8Array([3, 4]);

describe("the memory store as a double", () => {
  it("fails a test in which an immutable object would change, in whatever way", async () => {
    const store = new MemoryStore();
    await store.create("tile/0/000", A);
    await expect(store.create("tile/0/000", B)).rejects.toThrow(ImmutabilityViolation);
    await expect(store.overwrite("tile/0/000", B)).rejects.toThrow(ImmutabilityViolation);
    await store.remove("tile/0/000");
    await expect(store.create("tile/0/000", B)).rejects.toThrow(ImmutabilityViolation);
    expect(store.violations).toHaveLength(3);
    await store.create("tile/0/000", A);
    await store.overwrite("tile/0/000", A);
  });

  it("leaves planted bytes to be judged and mended", async () => {
    const store = new MemoryStore();
    store.plant("tile/0/000", B);
    expect(await store.create("tile/0/000", A)).toEqual({ outcome: "refused" });
    await store.overwrite("tile/0/000", A);
    store.plant("tile/0/000", B);
    expect(await store.create("tile/0/000", A)).toEqual({ outcome: "refused" });
    await store.overwrite("tile/0/000", A);
    expect(store.violations).toEqual([]);
  });

  it("loses, keeps or tears what was not synced, and nothing else", async () => {
    const store = new MemoryStore();
    await store.createDurable("state/head", A);
    await store.create("tile/0/000", A);
    await store.sync(["tile/0/000"]);
    for (const key of ["tile/0/001", "tile/0/002", "tile/0/003"]) await store.create(key, A);
    await store.remove("tile/0/000");
    store.powerLoss((key) => (key.endsWith("1") ? "kept" : key.endsWith("2") ? "torn" : "lost"));
    expect([...store.contents()]).toEqual([
      ["state/head", A],
      ["tile/0/000", A],
      ["tile/0/001", A],
      ["tile/0/002", A.slice(0, 1)],
    ]);
  });

  it("loses nothing where writes are durable", async () => {
    const store = new MemoryStore({ durableOnWrite: true });
    await store.create("tile/0/000", A);
    store.powerLoss();
    expect(store.contents().size).toBe(1);
  });
});
