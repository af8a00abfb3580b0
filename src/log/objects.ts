// Writing the immutable objects, tiles and bundles: in parallel with bounded concurrency, create-if-absent, asked again
// until the outcome is known. What to do with foreign bytes at such a key follows the signed head, not the object
// (architecture, section 3).

import { createHash } from "node:crypto";
import { equalBytes } from "../core/bytes.ts";
import { CairnError } from "../core/errors.ts";
import { StoreError } from "../storage/store.ts";
import type { ObjectStore, StoredObject } from "../storage/store.ts";
import { fatalError } from "./fatal.ts";
import { pause } from "./clock.ts";
import type { Clock } from "./clock.ts";

/** Objects on their way to the store at one time. */
const WRITES_AT_ONCE = 16;
/** Bytes that may wait for the store before whoever makes more has to wait too. */
const WAITING_MAX_BYTES = 24 * 1024 * 1024;
/** The pause after a first attempt; it doubles with each. */
export const FIRST_RETRY_MS = 50;
/** The longest pause between two attempts. */
export const MAX_RETRY_MS = 5000;
const QUARANTINE = "state/quarantine/";
const QUARANTINE_HASH_DIGITS = 16;

/** Where what stood at `key` is kept. The same bytes at the same moment have one place, so asking twice keeps them once. */
export function quarantineKey(clock: Clock, key: string, bytes: Uint8Array): string {
  const digest = createHash("sha256").update(bytes).digest("hex").slice(0, QUARANTINE_HASH_DIGITS);
  return `${QUARANTINE}${clock.now()}-${digest}-${key.replaceAll("/", "_")}`;
}

export interface ObjectWriterOptions {
  readonly store: ObjectStore;
  readonly clock: Clock;
  /** Re-reads `state/head`; throws `fenced` where it is no longer ours. */
  readonly requireOwnership: () => Promise<void>;
  /** The size of the newest signed head. */
  readonly signedSize: () => number;
  readonly onFatal: (error: CairnError) => void;
  /** What went wrong and is being tried again, and what was quarantined; for the logs. */
  readonly onTrouble: (what: string, key: string, error: unknown) => void;
}

export interface ObjectToWrite {
  readonly key: string;
  readonly bytes: Uint8Array;
  /** Leaves that the object needs: what is at or below the signed size is covered by a signed head. */
  readonly end: number;
  /**
   * `create`: it is new. `mend`: this process has just become the owner and what is there may be damaged or left over;
   * on a store that needs syncing it is written anew whatever is there. `keep`: it is recorded as synced, and rows were or
   * will be dropped on the strength of that, so it is left alone where it is right, and synced again where it is not.
   */
  readonly mode: "create" | "mend" | "keep";
}

export class ObjectWriter {
  readonly #o: ObjectWriterOptions;
  readonly #queue: (ObjectToWrite & { readonly number: number })[] = [];
  readonly #flying = new Map<string, Uint8Array>();
  /** Objects are numbered as they come; these are not in the store yet, oldest first. */
  readonly #unwritten = new Set<number>();
  #number = 0;
  #active = 0;
  #bytes = 0;
  #stopped: CairnError | null = null;
  readonly #stop = new AbortController();
  readonly #waiters: {
    readonly when: () => boolean;
    readonly resolve: () => void;
    readonly reject: (e: Error) => void;
  }[] = [];

  constructor(options: ObjectWriterOptions) {
    this.#o = options;
  }

  /** Starts writing; `idle` says when it is done. */
  write(object: ObjectToWrite): void {
    this.#flying.set(object.key, object.bytes);
    this.#bytes += object.bytes.length;
    const number = ++this.#number;
    this.#unwritten.add(number);
    this.#queue.push({ ...object, number });
    this.#pump();
  }

  /** The bytes of an object that is on its way, else null. */
  inFlight(key: string): Uint8Array | null {
    return this.#flying.get(key) ?? null;
  }

  /** Resolves when there is room for more; rejects once the writer has stopped. */
  room(): Promise<void> {
    return this.#wait(() => this.#bytes < WAITING_MAX_BYTES);
  }

  /** Resolves when everything that was to be written before this call is in the store; rejects as `room`. */
  idle(): Promise<void> {
    const last = this.#number;
    return this.#wait(() => this.#oldest() > last);
  }

  /** Gives up what has not been written; the next start writes it. */
  stop(reason: CairnError): void {
    this.#stopped ??= reason;
    this.#queue.length = 0;
    this.#stop.abort();
    this.#wake();
  }

  #oldest(): number {
    for (const number of this.#unwritten) return number;
    return Number.POSITIVE_INFINITY;
  }

  #wait(when: () => boolean): Promise<void> {
    if (this.#stopped !== null) return Promise.reject(this.#stopped);
    if (when()) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiters.push({ when, resolve, reject }));
  }

  #wake(): void {
    for (let i = this.#waiters.length - 1; i >= 0; i--) {
      const waiter = this.#waiters[i];
      if (waiter === undefined) continue;
      if (this.#stopped !== null) waiter.reject(this.#stopped);
      else if (waiter.when()) waiter.resolve();
      else continue;
      this.#waiters.splice(i, 1);
    }
  }

  #pump(): void {
    while (this.#active < WRITES_AT_ONCE && this.#stopped === null) {
      const object = this.#queue.shift();
      if (object === undefined) return;
      this.#active++;
      this.#settle(object).then(
        () => {
          this.#active--;
          this.#bytes -= object.bytes.length;
          this.#unwritten.delete(object.number);
          if (this.#flying.get(object.key) === object.bytes) this.#flying.delete(object.key);
          this.#wake();
          this.#pump();
        },
        (error: unknown) => {
          this.#active--;
          if (this.#stopped !== null) return;
          const fatal = fatalError(error);
          this.stop(fatal);
          this.#o.onFatal(fatal);
        },
      );
    }
  }

  /** Asks until the object is there with these bytes, or it is certain that it must not be. */
  async #settle(object: ObjectToWrite): Promise<void> {
    for (let wait = FIRST_RETRY_MS; ; wait = Math.min(wait * 2, MAX_RETRY_MS)) {
      if (this.#stopped !== null) throw this.#stopped;
      try {
        if (await this.#attempt(object)) return;
      } catch (error) {
        if (!(error instanceof StoreError) || !error.retryable) throw error;
        this.#o.onTrouble("write_retried", object.key, error);
      }
      await pause(this.#o.clock, wait, this.#stop.signal);
    }
  }

  /** True where the object now stands with these bytes. */
  async #attempt(object: ObjectToWrite): Promise<boolean> {
    const { store } = this.#o;
    if (object.mode !== "create" && !store.durableOnWrite) {
      const before = await this.#look(object.key);
      const isRight = before !== null && equalBytes(before.bytes, object.bytes);
      if (isRight && object.mode === "keep") return true;
      if (before !== null && !isRight) await this.#quarantine(object.key, before.bytes);
      // After a power loss a page can read well and not be on the disk, so nothing that was not synced is trusted.
      await store.overwrite(object.key, object.bytes);
      if (object.mode === "keep") await store.sync([object.key]);
      return true;
    }
    const created = await store.create(object.key, object.bytes);
    if (created.outcome === "written") return true;
    const there = await store.get(object.key);
    if (there === null) return false;
    if (equalBytes(there.bytes, object.bytes)) return true;

    await this.#o.requireOwnership();
    if (object.mode === "create" && object.end <= this.#o.signedSize()) {
      throw new CairnError("state_wrong", { detail: `${object.key} holds other bytes under a signed head` });
    }
    // A leftover of a writer that signed nothing over it, or damage under a head that ours agrees with: ours takes its
    // place, if it is still that version.
    await this.#quarantine(object.key, there.bytes);
    const replaced = await store.replace(object.key, object.bytes, there.version);
    return replaced.outcome === "written";
  }

  /** What stands where an object is written anew; null also where it cannot be read, since nothing relies on it. */
  async #look(key: string): Promise<StoredObject | null> {
    try {
      return await this.#o.store.get(key);
    } catch (error) {
      if (!(error instanceof StoreError) || error.retryable) throw error;
      this.#o.onTrouble("unreadable", key, error);
      return null;
    }
  }

  /** Keeps foreign bytes for whoever wants to know. */
  async #quarantine(key: string, bytes: Uint8Array): Promise<void> {
    const aside = quarantineKey(this.#o.clock, key, bytes);
    await this.#o.store.createDurable(aside, bytes);
    this.#o.onTrouble("quarantined", key, new Error(`foreign bytes are kept as ${aside}`));
  }
}
