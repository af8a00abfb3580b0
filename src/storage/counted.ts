// An object store that reports each operation: what it was, how it ended, how long it took. Changes nothing else.

import { type ObjectStore, StoreError } from "./store.ts";

/** `outcome`: `ok`, `absent`, `refused`, `not_applied`, `unknown`, or `failed` for anything that is no StoreError. */
export type StorageReport = (operation: string, outcome: string, ms: number) => void;

export function countedStore(store: ObjectStore, report: StorageReport): ObjectStore {
  async function timed<T>(
    operation: string,
    run: () => Promise<T>,
    outcomeOf: (value: T) => string,
  ): Promise<T> {
    const began = performance.now();
    try {
      const value = await run();
      report(operation, outcomeOf(value), performance.now() - began);
      return value;
    } catch (error) {
      report(operation, error instanceof StoreError ? error.outcome : "failed", performance.now() - began);
      throw error;
    }
  }
  const written = (result: { readonly outcome: "written" | "refused" }): string =>
    result.outcome === "written" ? "ok" : "refused";
  const ok = (): string => "ok";
  return {
    location: store.location,
    durableOnWrite: store.durableOnWrite,
    get: (key) =>
      timed(
        "get",
        () => store.get(key),
        (object) => (object === null ? "absent" : "ok"),
      ),
    create: (key, bytes) => timed("create", () => store.create(key, bytes), written),
    createDurable: (key, bytes) => timed("create", () => store.createDurable(key, bytes), written),
    replace: (key, bytes, version) => timed("replace", () => store.replace(key, bytes, version), written),
    overwrite: (key, bytes) => timed("overwrite", () => store.overwrite(key, bytes), ok),
    sync: (keys) => timed("sync", () => store.sync(keys), ok),
    remove: (key) => timed("remove", () => store.remove(key), ok),
    list: (prefix) => store.list(prefix),
    probe: () => timed("probe", () => store.probe(), ok),
    close: () => store.close(),
  };
}
