// A store for starts, recovery and collection by command: what can be asked again without changing anything is asked
// again for a while, so that one bad answer among thousands of reads does not end what took minutes. A running log does
// not use it: its parts wait for the store each in its own way.

import { type ObjectStore, type StoredObject, StoreError } from "../storage/store.ts";
import type { Clock } from "./clock.ts";
import { pause } from "./clock.ts";
import { FIRST_RETRY_MS, MAX_RETRY_MS } from "./objects.ts";

/** How long a start waits for a store that does not answer. */
export const START_PATIENCE_MS = 30_000;

export interface Patience {
  readonly clock: Clock;
  readonly patienceMs: number;
  /** Ends the waiting; the error that is then at hand is thrown. */
  readonly stop?: AbortSignal;
  readonly onTrouble: (what: string, key: string, error: unknown) => void;
}

/**
 * `store` with reads, lists, removals, `overwrite` and `probe` asked again until the patience is over. Conditional writes
 * pass through: only their caller knows what an unknown outcome means.
 */
export function patientStore(store: ObjectStore, patience: Patience): ObjectStore {
  const again = <T>(key: string, ask: () => Promise<T>): Promise<T> => askAgain(key, ask, patience);
  return {
    location: store.location,
    durableOnWrite: store.durableOnWrite,
    get: (key) => again<StoredObject | null>(key, () => store.get(key)),
    create: (key, bytes) => store.create(key, bytes),
    createDurable: (key, bytes) => store.createDurable(key, bytes),
    replace: (key, bytes, version) => store.replace(key, bytes, version),
    overwrite: (key, bytes) => again(key, () => store.overwrite(key, bytes)),
    sync: (keys) => store.sync(keys),
    remove: (key) => again(key, () => store.remove(key)),
    list: (prefix) => listAgain(store, prefix, patience),
    // Each attempt races on a key of its own.
    probe: () => again("state/probe/", () => store.probe()),
    close: () => store.close(),
  };
}

async function askAgain<T>(key: string, ask: () => Promise<T>, patience: Patience): Promise<T> {
  const { clock, patienceMs, stop, onTrouble } = patience;
  const began = clock.monotonic();
  for (let wait = FIRST_RETRY_MS; ; wait = Math.min(wait * 2, MAX_RETRY_MS)) {
    try {
      return await ask();
    } catch (error) {
      const passes = error instanceof StoreError && error.retryable && !error.noSpace;
      if (!passes || stop?.aborted === true || clock.monotonic() - began + wait > patienceMs) throw error;
      onTrouble("store_retried", key, error);
    }
    await pause(clock, wait, stop);
  }
}

/** A list that broke off goes on after the last key that it gave. */
async function* listAgain(store: ObjectStore, prefix: string, patience: Patience): AsyncIterable<string> {
  let last = "";
  let keys = store.list(prefix)[Symbol.asyncIterator]();
  const next = async (): Promise<string | null> => {
    for (;;) {
      const { done, value } = await keys.next();
      if (done === true) return null;
      if (value > last) return value;
    }
  };
  for (;;) {
    const key = await askAgain(
      prefix,
      async () => {
        try {
          return await next();
        } catch (error) {
          keys = store.list(prefix)[Symbol.asyncIterator]();
          throw error;
        }
      },
      patience,
    );
    if (key === null) return;
    last = key;
    yield key;
  }
}
