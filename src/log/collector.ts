// Collection: entry bytes leave the database only when the full bundle that holds them is covered by a published head,
// has been read back and is what the rows made, and the tiles of every level up to its end are synced. Partial objects
// go once the full one is there and synced. Slowly, in slices, so that commits do not wait (architecture, section 2, 9).

import { equalBytes } from "../core/bytes.ts";
import type { BulkHasher } from "../core/bulk-hasher.ts";
import { CairnError } from "../core/errors.ts";
import { entriesPath, tilePath } from "../core/tile-path.ts";
import { TILE_WIDTH } from "../core/tile.ts";
import { StateError } from "../state/state.ts";
import type { State } from "../state/state.ts";
import { StoreError } from "../storage/store.ts";
import type { ObjectStore } from "../storage/store.ts";
import { fatalError } from "./fatal.ts";
import { pause } from "./clock.ts";
import type { Clock } from "./clock.ts";
import type { Integrator } from "./integrator.ts";

/** Bundles read back, synced and recorded in one step. */
const STEP_BUNDLES = 128;
const READS_AT_ONCE = 8;
const REMOVALS_AT_ONCE = 8;
/** Full objects whose partial versions could not be removed yet; of older ones only `cairn gc` knows. */
const FULL_MAX = 65_536;
/** Entry bytes dropped in one commit: a larger one held group commits up. */
const DROP_BYTES = 1024 * 1024;
const SHRINK_BYTES = 4 * 1024 * 1024;
/** Free pages kept inside the file for the next rows. */
const KEEP_FREE_BYTES = 64 * 1024 * 1024;
const RETRY_MS = 1000;

export interface CollectorOptions {
  readonly store: ObjectStore;
  readonly state: Pick<State, "recordSynced" | "dropRows" | "shrink" | "freeBytes">;
  readonly integrator: Pick<Integrator, "digest" | "forgetDigest" | "superseded" | "forgetSuperseded">;
  readonly hasher: BulkHasher;
  readonly clock: Clock;
  readonly syncedSize: number;
  readonly publishedSize: () => number;
  readonly onFatal: (error: CairnError) => void;
  readonly onTrouble: (what: string, key: string, error: unknown) => void;
}

export class Collector {
  readonly #o: CollectorOptions;
  readonly #stop = new AbortController();
  #synced: number;
  /** Full objects whose partial versions are still to go. */
  readonly #full: string[] = [];
  #running: Promise<void> | null = null;

  constructor(options: CollectorOptions) {
    this.#o = options;
    this.#synced = options.syncedSize;
  }

  /** Every full tile and bundle that ends at or below this size is synced. */
  get syncedSize(): number {
    return this.#synced;
  }

  /** Something was published: collect what it covers. Returns at once. */
  wake(): void {
    if (this.#running !== null || this.#stop.signal.aborted) return;
    this.#running = this.#run().finally(() => {
      this.#running = null;
      if (this.#target() > this.#synced) this.wake();
    });
  }

  /** Resolves when what was covered at this call is collected, or cannot be now. */
  async settled(): Promise<void> {
    while (this.#running !== null) await this.#running;
  }

  /** Begins nothing more; the next start goes on. */
  stop(): void {
    this.#stop.abort();
  }

  /** Stops, and resolves when nothing is under way. */
  async close(): Promise<void> {
    this.stop();
    await this.#running;
  }

  #target(): number {
    return this.#o.publishedSize() - (this.#o.publishedSize() % TILE_WIDTH);
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted && this.#synced < this.#target()) {
      try {
        await this.#step(Math.min(this.#target(), this.#synced + STEP_BUNDLES * TILE_WIDTH));
        await this.#dropPartials();
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        const isPassing =
          (error instanceof StoreError && error.retryable) ||
          (error instanceof StateError && error.outcome === "not_applied");
        if (!isPassing) {
          this.#stop.abort();
          this.#o.onFatal(fatalError(error));
          return;
        }
        this.#o.onTrouble("collection_retried", "", error);
        await pause(this.#o.clock, RETRY_MS, this.#stop.signal);
      }
    }
    await this.#dropPartials();
    await this.#shrink();
  }

  async #step(end: number): Promise<void> {
    const { store, state, integrator } = this.#o;
    const first = this.#synced / TILE_WIDTH;
    const last = end / TILE_WIDTH;
    for (let from = first; from < last; from += READS_AT_ONCE) {
      const some = Array.from({ length: Math.min(READS_AT_ONCE, last - from) }, (_, i) => from + i);
      await Promise.all(some.map((index) => this.#readBack(index)));
      if (this.#stop.signal.aborted) return;
    }
    if (!store.durableOnWrite) await store.sync(fullKeys(this.#synced, end));
    await state.recordSynced(end);
    const before = this.#synced;
    this.#synced = end;
    for (let index = first; index < last; index++) integrator.forgetDigest(index);
    this.#full.push(...fullKeys(before, end));
    for (const key of this.#full.splice(0, this.#full.length - FULL_MAX)) integrator.forgetSuperseded(key);
    for (let more = true; more && !this.#stop.signal.aborted; ) {
      ({ more } = await state.dropRows(end, DROP_BYTES));
    }
  }

  /** Reads a bundle back and compares it with what was made from the rows. */
  async #readBack(index: number): Promise<void> {
    const key = entriesPath(index);
    const made = this.#o.integrator.digest(index);
    if (made === null) throw new CairnError("internal", { detail: `no digest of ${key}` });
    const there = await this.#o.store.get(key);
    if (there === null || !equalBytes(this.#o.hasher.tree.sha256(there.bytes), made)) {
      throw new CairnError("state_wrong", { detail: `${key} does not read back as it was written` });
    }
  }

  /**
   * Partial versions of objects that became full. Those of this process are known; only what an earlier one began is looked
   * for in the store, since a list costs a bucket's owner as much as a write. What cannot go now is left for the next time:
   * rows must not wait for it.
   */
  async #dropPartials(): Promise<void> {
    const drop = async (): Promise<void> => {
      for (let key = this.#full.shift(); key !== undefined; key = this.#full.shift()) {
        try {
          const known = this.#o.integrator.superseded(key);
          for await (const partial of known ?? this.#o.store.list(`${key}.p/`)) {
            if (this.#stop.signal.aborted) return;
            await this.#o.store.remove(partial);
          }
          this.#o.integrator.forgetSuperseded(key);
        } catch (error) {
          this.#full.push(key);
          throw error;
        }
      }
    };
    const drops = await Promise.allSettled(Array.from({ length: REMOVALS_AT_ONCE }, drop));
    const failed = drops.find((each) => each.status === "rejected");
    if (failed === undefined || this.#stop.signal.aborted) return;
    const { reason } = failed as { readonly reason: unknown };
    if (reason instanceof StoreError && reason.retryable) {
      return this.#o.onTrouble("collection_retried", this.#full[0] ?? "", reason);
    }
    this.#stop.abort();
    this.#o.onFatal(fatalError(reason));
  }

  /** Gives free pages back beyond what the next rows will need. */
  async #shrink(): Promise<void> {
    let free: number;
    try {
      free = await this.#o.state.freeBytes();
    } catch (error) {
      // Only room is not given back, and that is looked at again after the next collection.
      if (!this.#stop.signal.aborted) this.#o.onTrouble("collection_retried", "", error);
      return;
    }
    try {
      while (free > KEEP_FREE_BYTES && !this.#stop.signal.aborted) {
        const left = await this.#o.state.shrink(Math.min(SHRINK_BYTES, free - KEEP_FREE_BYTES));
        if (left >= free) return;
        free = left;
      }
    } catch (error) {
      if (error instanceof StateError && error.outcome === "not_applied") return;
      if (this.#stop.signal.aborted) return;
      this.#stop.abort();
      this.#o.onFatal(fatalError(error));
    }
  }
}

/** Keys of the full tiles of every level, and bundles, that end in (from, to]; both multiples of 256. */
export function fullKeys(from: number, to: number): string[] {
  const keys: string[] = [];
  let first = from / TILE_WIDTH;
  let last = to / TILE_WIDTH;
  for (let index = first; index < last; index++) keys.push(entriesPath(index));
  for (let level = 0; last > 0; level++) {
    for (let index = first; index < last; index++) keys.push(tilePath(level, index));
    first = Math.floor(first / TILE_WIDTH);
    last = Math.floor(last / TILE_WIDTH);
  }
  return keys;
}
