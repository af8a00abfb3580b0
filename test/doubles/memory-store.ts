// An object store in memory for everybody's tests. It holds the invariant of immutable objects: a key under `tile/` that
// once got its bytes never gets others, not even after it was removed, or the test fails. It models power loss: what was
// not synced can be lost or torn.

import {
  isObjectKey,
  type ObjectStore,
  type ObjectVersion,
  StoreError,
  type StoredObject,
  type WriteResult,
} from "../../src/storage/store.ts";
import { probeStore } from "../../src/storage/probe.ts";

/** Thrown, and noted in `violations`, when an immutable object would change. */
export class ImmutabilityViolation extends Error {}

/** What power loss does to a change that was not synced: undo it, leave it, or leave half of its bytes. */
export type LossOutcome = "lost" | "kept" | "torn";

interface Stored {
  readonly bytes: Uint8Array;
  readonly version: ObjectVersion;
}

export interface MemoryStoreOptions {
  /** As S3: every write survives power loss. Default false, as on a filesystem. */
  readonly durableOnWrite?: boolean;
  readonly isImmutable?: (key: string) => boolean;
}

export class MemoryStore implements ObjectStore {
  readonly location = "memory:";
  readonly durableOnWrite: boolean;
  /** Every change of an immutable object that was attempted; a test ends by finding this empty. */
  readonly violations: string[] = [];
  readonly #isImmutable: (key: string) => boolean;
  readonly #objects = new Map<string, Stored>();
  /** What a power loss certainly leaves. */
  readonly #durable = new Map<string, Uint8Array>();
  /** The bytes that each immutable key got first. */
  readonly #given = new Map<string, Uint8Array>();
  #writes = 0;
  #closed = false;

  constructor(options: MemoryStoreOptions = {}) {
    this.durableOnWrite = options.durableOnWrite ?? false;
    this.#isImmutable = options.isImmutable ?? ((key) => key.startsWith("tile/"));
  }

  async get(key: string): Promise<StoredObject | null> {
    this.#check(key);
    const stored = this.#objects.get(key);
    return stored === undefined ? null : { bytes: stored.bytes.slice(), version: stored.version };
  }

  create(key: string, bytes: Uint8Array): Promise<WriteResult> {
    return this.#create(key, bytes, this.durableOnWrite);
  }

  createDurable(key: string, bytes: Uint8Array): Promise<WriteResult> {
    return this.#create(key, bytes, true);
  }

  async replace(key: string, bytes: Uint8Array, version: ObjectVersion): Promise<WriteResult> {
    this.#check(key);
    if (this.#objects.get(key)?.version !== version) return { outcome: "refused" };
    return { outcome: "written", version: this.#put(key, bytes, true) };
  }

  async overwrite(key: string, bytes: Uint8Array): Promise<void> {
    this.#check(key);
    this.#put(key, bytes, this.durableOnWrite);
  }

  async sync(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      this.#check(key);
      const stored = this.#objects.get(key);
      if (stored === undefined) {
        throw new StoreError(`memory: could not sync ${key}: there is none`, {
          outcome: "unknown",
          retryable: false,
        });
      }
      this.#durable.set(key, stored.bytes);
    }
  }

  async remove(key: string): Promise<void> {
    this.#check(key);
    this.#objects.delete(key);
    if (this.durableOnWrite) this.#durable.delete(key);
  }

  async *list(prefix: string): AsyncIterable<string> {
    this.#check(`${prefix}x`);
    if (prefix !== "" && !prefix.endsWith("/")) throw new Error(`not a prefix: ${prefix}`);
    for (const key of [...this.#objects.keys()].sort()) if (key.startsWith(prefix)) yield key;
  }

  async probe(): Promise<void> {
    await probeStore(this);
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  // What follows is for tests.

  /** The same contents again after `close`, as the next process finds them. */
  reopen(): this {
    this.#closed = false;
    return this;
  }

  /** Another store with these contents and this memory of what immutable keys got: a copied volume. */
  copy(): MemoryStore {
    const copy = new MemoryStore({ durableOnWrite: this.durableOnWrite, isImmutable: this.#isImmutable });
    for (const [key, stored] of this.#objects) copy.#objects.set(key, stored);
    for (const [key, bytes] of this.#durable) copy.#durable.set(key, bytes);
    for (const [key, bytes] of this.#given) copy.#given.set(key, bytes);
    copy.#writes = this.#writes;
    return copy;
  }

  /** Every key with its bytes, ascending. */
  contents(): ReadonlyMap<string, Uint8Array> {
    return new Map([...this.#objects].map(([key, { bytes }]) => [key, bytes] as const).sort(byKey));
  }

  /** Puts bytes at a key behind the owner's back: another writer's, or damage. Durable. */
  plant(key: string, bytes: Uint8Array): void {
    this.#objects.set(key, { bytes: new Uint8Array(bytes), version: this.#nextVersion() });
    this.#durable.set(key, new Uint8Array(bytes));
  }

  /** Takes an object away behind the owner's back. */
  take(key: string): void {
    this.#objects.delete(key);
    this.#durable.delete(key);
  }

  /** Lets an immutable key get other bytes: a mend that the test declares. */
  permitChange(key: string): void {
    this.#given.delete(key);
  }

  /** Takes the power away. `outcome` says what becomes of each key whose newest change was not synced. */
  powerLoss(outcome: (key: string) => LossOutcome = () => "lost"): void {
    for (const key of new Set([...this.#objects.keys(), ...this.#durable.keys()])) {
      const now = this.#objects.get(key)?.bytes;
      const before = this.#durable.get(key);
      if (now === before) continue;
      const chosen = outcome(key);
      let after = chosen === "lost" ? before : now;
      if (chosen === "torn" && now !== undefined) after = now.slice(0, Math.floor(now.length / 2));
      if (after === undefined) {
        this.take(key);
        continue;
      }
      this.#objects.set(key, { bytes: after, version: this.#nextVersion() });
      this.#durable.set(key, after);
    }
  }

  async #create(key: string, bytes: Uint8Array, durable: boolean): Promise<WriteResult> {
    this.#check(key);
    const there = this.#objects.get(key);
    if (there === undefined) return { outcome: "written", version: this.#put(key, bytes, durable) };
    // Other bytes than this key got from its owner are a fork in the making; planted ones are the owner's to judge.
    if (this.#given.has(key) && sameBytes(there.bytes, this.#given.get(key))) this.#give(key, bytes);
    return { outcome: "refused" };
  }

  #put(key: string, bytes: Uint8Array, durable: boolean): ObjectVersion {
    this.#give(key, bytes);
    const stored = { bytes: new Uint8Array(bytes), version: this.#nextVersion() };
    this.#objects.set(key, stored);
    if (durable) this.#durable.set(key, stored.bytes);
    return stored.version;
  }

  #give(key: string, bytes: Uint8Array): void {
    if (!this.#isImmutable(key)) return;
    const given = this.#given.get(key);
    if (given === undefined) this.#given.set(key, new Uint8Array(bytes));
    else if (!sameBytes(given, bytes)) {
      this.violations.push(key);
      throw new ImmutabilityViolation(`${key} would change`);
    }
  }

  #nextVersion(): ObjectVersion {
    return `v${++this.#writes}` as ObjectVersion;
  }

  #check(key: string): void {
    if (this.#closed) {
      throw new StoreError("memory: is closed", { outcome: "not_applied", retryable: false });
    }
    if (!isObjectKey(key)) {
      throw new StoreError(`"${key}" is not a key of this store`, {
        outcome: "not_applied",
        retryable: false,
      });
    }
  }
}

function byKey(a: readonly [string, unknown], b: readonly [string, unknown]): number {
  return a[0] < b[0] ? -1 : 1;
}

function sameBytes(a: Uint8Array, b: Uint8Array | undefined): boolean {
  return b !== undefined && a.length === b.length && a.every((byte, index) => byte === b[index]);
}
