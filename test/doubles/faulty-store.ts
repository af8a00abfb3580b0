// Wraps any object store and lets chosen calls fail in the forms of the fault matrix (faults.ts).

import {
  type ObjectStore,
  type ObjectVersion,
  type StoredObject,
  StoreError,
  type WriteResult,
} from "../../src/storage/store.ts";
import { damaged, type Fault, FaultPlan } from "./faults.ts";

export type StoreOperation =
  | "get"
  | "create"
  | "createDurable"
  | "replace"
  | "overwrite"
  | "sync"
  | "remove"
  | "list"
  | "probe";

const CONDITIONAL: readonly StoreOperation[] = ["create", "createDurable", "replace"];
const READS: readonly StoreOperation[] = ["get", "list", "probe"];

/** Why an operation cannot fail in a form, or null where it can. */
export function impossibleStoreFault({ operation, form }: Fault<StoreOperation>): string | null {
  const read = READS.includes(operation);
  if (read && ["F2", "F4", "F7", "F10"].includes(form)) return "a read applies nothing";
  if (form === "F8" || form === "F9") {
    if (!read) return "a write returns no bytes";
    if (operation !== "get") return "it returns no object";
  }
  if (form === "F10" && !CONDITIONAL.includes(operation)) return "it has no condition to be refused by";
  return null;
}

export class FaultyStore implements ObjectStore {
  readonly faults = new FaultPlan<StoreOperation>(impossibleStoreFault);
  readonly #inner: ObjectStore;
  /** What stood at a key before its newest write. */
  readonly #before = new Map<string, StoredObject | null>();
  readonly #late: { readonly key: string; readonly apply: () => Promise<unknown> }[] = [];

  constructor(inner: ObjectStore) {
    this.#inner = inner;
  }

  get location(): string {
    return this.#inner.location;
  }

  get durableOnWrite(): boolean {
    return this.#inner.durableOnWrite;
  }

  async get(key: string): Promise<StoredObject | null> {
    const fault = this.faults.next("get", key);
    if (fault?.form === "F8" && this.#before.has(key)) return this.#before.get(key) ?? null;
    const read = (): Promise<StoredObject | null> => this.#inner.get(key);
    if (fault?.form !== "F9") return this.#run(fault, key, read, read);
    const object = await read();
    if (object === null) return null;
    return { bytes: damaged(object.bytes, fault.damage ?? "flip"), version: object.version };
  }

  create(key: string, bytes: Uint8Array): Promise<WriteResult> {
    return this.#write("create", key, () => this.#inner.create(key, bytes), PRETENDED);
  }

  createDurable(key: string, bytes: Uint8Array): Promise<WriteResult> {
    return this.#write("createDurable", key, () => this.#inner.createDurable(key, bytes), PRETENDED);
  }

  replace(key: string, bytes: Uint8Array, version: ObjectVersion): Promise<WriteResult> {
    return this.#write("replace", key, () => this.#inner.replace(key, bytes, version), PRETENDED);
  }

  overwrite(key: string, bytes: Uint8Array): Promise<void> {
    return this.#write("overwrite", key, () => this.#inner.overwrite(key, bytes), undefined);
  }

  /** Counted once a call; a fault's `key` is asked about the first key. */
  async sync(keys: readonly string[]): Promise<void> {
    const key = keys[0] ?? "";
    const fault = this.faults.next("sync", key);
    await this.#run(
      fault,
      key,
      () => this.#inner.sync(keys),
      async () => undefined,
    );
  }

  remove(key: string): Promise<void> {
    return this.#write("remove", key, () => this.#inner.remove(key), undefined);
  }

  async *list(prefix: string): AsyncIterable<string> {
    const fault = this.faults.next("list", prefix);
    await this.#run(
      fault,
      prefix,
      async () => undefined,
      async () => undefined,
    );
    yield* this.#inner.list(prefix);
  }

  async probe(): Promise<void> {
    const fault = this.faults.next("probe", "");
    await this.#run(
      fault,
      "",
      () => this.#inner.probe(),
      async () => undefined,
    );
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  /** Applies what F4 held back, whatever came meanwhile. */
  async applyLate(): Promise<void> {
    for (const { apply } of this.#late.splice(0)) await apply().catch(() => {});
  }

  async #write<Result>(
    operation: StoreOperation,
    key: string,
    apply: () => Promise<Result>,
    pretended: Result,
  ): Promise<Result> {
    const fault = this.faults.next(operation, key);
    const applyAndRemember = async (): Promise<Result> => {
      const before = await this.#inner.get(key);
      const result = await apply();
      if ((result as WriteResult | undefined)?.outcome !== "refused") this.#before.set(key, before);
      return result;
    };
    const result = await this.#run(fault, key, applyAndRemember, async () => pretended);
    if (fault === null) {
      const due = this.#late.filter((late) => late.key === key);
      for (const late of due) this.#late.splice(this.#late.indexOf(late), 1);
      for (const { apply: applyLate } of due) await applyLate().catch(() => {});
    }
    return result;
  }

  /** `pretend` gives what F7 reports. */
  async #run<Result>(
    fault: Fault<StoreOperation> | null,
    key: string,
    apply: () => Promise<Result>,
    pretend: () => Promise<Result>,
  ): Promise<Result> {
    switch (fault?.form) {
      case undefined:
      case "F8":
      case "F9":
        return apply();
      case "F1":
        throw failure(key, fault.reported ?? "unknown", fault.noSpace ?? false);
      case "F2":
        await apply();
        throw failure(key, "unknown", false);
      case "F3":
        return this.faults.hang();
      case "F4":
        this.#late.push({ key, apply });
        throw failure(key, "unknown", false);
      case "F5":
        throw this.faults.kill();
      case "F6":
        await apply();
        throw this.faults.kill();
      case "F7":
        return pretend();
      case "F10": {
        const result = await apply();
        if ((result as WriteResult).outcome === "refused") return result;
        return { outcome: "refused" } as Result;
      }
    }
  }
}

const PRETENDED: WriteResult = { outcome: "written", version: "never-written" as ObjectVersion };

function failure(key: string, outcome: "not_applied" | "unknown", noSpace: boolean): StoreError {
  return new StoreError(`injected fault at ${key}`, { outcome, retryable: true, noSpace });
}
