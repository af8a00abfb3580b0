// The rows of the fault matrix: every call that a log makes to its store and its database, by the part it plays in the
// life of an entry. They are told apart by the drivers' own methods, so a new method is a row that is missing here.

import type { StateOperation } from "../../doubles/faulty-state.ts";
import type { StoreOperation } from "../../doubles/faulty-store.ts";
import { CHECKPOINT_KEY, HEAD_KEY } from "../../../src/log/head.ts";

/** Where the fault is met: while a log is created, while one starts, or while one runs. */
export type Phase = "creation" | "start" | "run";

interface OfState {
  readonly on: "state";
  readonly method: StateOperation;
}

interface OfStore {
  readonly on: "store";
  readonly method: StoreOperation;
  readonly key: (key: string) => boolean;
}

export type Operation = (OfState | OfStore) & {
  readonly phase: Phase;
  /** Whether a batch that grows the log from one size to the other comes to this call; always where absent. */
  readonly reached?: (from: number, to: number) => boolean;
  /** Further calls of the kind come first, such as those of the judgement: the first that counts. */
  readonly nth?: number;
};

const full = (prefix: string) => (key: string) => key.startsWith(prefix) && !key.includes(".p/");
const partial = (prefix: string) => (key: string) => key.startsWith(prefix) && key.includes(".p/");
const is = (name: string) => (key: string) => key === name;
const any = (): boolean => true;

const holds = (_from: number, to: number): boolean => to > 0;
const grows = (from: number, to: number): boolean => to > from;
const fillsBundle = (from: number, to: number): boolean => Math.floor(to / 256) > Math.floor(from / 256);
const fillsUpper = (from: number, to: number): boolean => Math.floor(to / 65_536) > Math.floor(from / 65_536);
const endsInside = (from: number, to: number): boolean => to > from && to % 256 !== 0;
const endsInsideUpper = (from: number, to: number): boolean =>
  fillsBundle(from, to) && Math.floor(to / 256) % 256 !== 0;

export const OPERATIONS = {
  // The acknowledgement.
  "group commit": { phase: "run", on: "state", method: "commit", reached: grows },
  // Integration.
  "full bundle": {
    phase: "run",
    on: "store",
    method: "create",
    key: full("tile/entries/"),
    reached: fillsBundle,
  },
  "full level-0 tile": {
    phase: "run",
    on: "store",
    method: "create",
    key: full("tile/0/"),
    reached: fillsBundle,
  },
  "full upper tile": {
    phase: "run",
    on: "store",
    method: "create",
    key: full("tile/1/"),
    reached: fillsUpper,
  },
  "partial bundle": {
    phase: "run",
    on: "store",
    method: "create",
    key: partial("tile/entries/"),
    reached: endsInside,
  },
  "partial level-0 tile": {
    phase: "run",
    on: "store",
    method: "create",
    key: partial("tile/0/"),
    reached: endsInside,
  },
  "partial upper tile": {
    phase: "run",
    on: "store",
    method: "create",
    key: partial("tile/1/"),
    reached: endsInsideUpper,
  },
  // Signing.
  "head is read before a round and before publishing": {
    phase: "run",
    on: "store",
    method: "get",
    key: is(HEAD_KEY),
  },
  "integrated head is recorded": { phase: "run", on: "state", method: "recordIntegrated", reached: grows },
  "signed head": { phase: "run", on: "store", method: "replace", key: is(HEAD_KEY), reached: grows },
  "signed head is recorded": { phase: "run", on: "state", method: "recordSigned", reached: grows },
  // Publication.
  "published note is recorded": { phase: "run", on: "state", method: "recordPublished" },
  "checkpoint is replaced": {
    phase: "run",
    on: "store",
    method: "replace",
    key: is(CHECKPOINT_KEY),
    reached: grows,
  },
  // Collection.
  "bundle is read back": {
    phase: "run",
    on: "store",
    method: "get",
    key: full("tile/entries/"),
    reached: fillsBundle,
  },
  "full objects are synced": { phase: "run", on: "store", method: "sync", key: any, reached: fillsBundle },
  "synced size is recorded": { phase: "run", on: "state", method: "recordSynced", reached: fillsBundle },
  "rows are dropped": { phase: "run", on: "state", method: "dropRows", reached: fillsBundle },
  "partial objects are listed": { phase: "run", on: "store", method: "list", key: any, reached: fillsBundle },
  "partial object is removed": {
    phase: "run",
    on: "store",
    method: "remove",
    key: any,
    reached: (from, to) => from % 256 !== 0 && fillsBundle(from, to),
  },
  "room inside the database is asked for": {
    phase: "run",
    on: "state",
    method: "freeBytes",
    reached: fillsBundle,
  },
  // Creation.
  "head is created": { phase: "creation", on: "store", method: "createDurable", key: is(HEAD_KEY) },
  "identity is created": { phase: "creation", on: "state", method: "create" },
  "checkpoint is created": {
    phase: "creation",
    on: "store",
    method: "createDurable",
    key: is(CHECKPOINT_KEY),
  },
  // A start: what it reads,
  "identity is read": { phase: "start", on: "state", method: "identity" },
  "state is read": { phase: "start", on: "state", method: "snapshot" },
  "hashes of rows are read": { phase: "start", on: "state", method: "readHashes", reached: holds },
  "rows are read": { phase: "start", on: "state", method: "readRows", reached: holds },
  "waiting bytes are counted": { phase: "start", on: "state", method: "bytesFrom" },
  "sizes of witnesses are read": { phase: "start", on: "state", method: "witnessSizes" },
  "head is read at a start": { phase: "start", on: "store", method: "get", key: is(HEAD_KEY) },
  "checkpoint is read at a start": { phase: "start", on: "store", method: "get", key: is(CHECKPOINT_KEY) },
  "right-edge tile is read": {
    phase: "start",
    on: "store",
    method: "get",
    key: full("tile/0/"),
    // Below 256 entries the rows say everything.
    reached: (_, to) => to >= 256,
  },
  "bundle beyond the end is looked for": {
    phase: "start",
    on: "store",
    method: "get",
    key: full("tile/entries/"),
  },
  "bundles beyond the end are listed": { phase: "start", on: "store", method: "list", key: any },
  // and what it writes.
  "the store is probed": { phase: "start", on: "store", method: "probe", key: any },
  "the epoch is taken": { phase: "start", on: "store", method: "replace", key: is(HEAD_KEY) },
  "an object is mended": { phase: "start", on: "store", method: "overwrite", key: any, reached: holds },
} as const satisfies Record<string, Operation>;

export type OperationName = keyof typeof OPERATIONS;

/** Methods of the drivers that no row is about, and why. */
export const NOT_HERE = {
  setPendingKeys: "rotation of keys, which is tested with its command",
  finishKeys: "rotation of keys",
  publishedNote: "a read for a client: it answers with an error and nothing else depends on it",
  markAnchored: "the index, which is not there yet",
  shrink: "gives pages back; its failure is that of the room asked for",
  rememberWitness: "witnesses, whose tests are in witness/",
  resetHeads: "recovery, which recover.test.ts kills at every call",
  setAsideRows: "recovery",
  adoptRows: "recovery",
  listSetAside: "recovery",
  removeSetAside: "recovery",
} as const satisfies Partial<Record<StateOperation, string>>;

type OnState = Extract<(typeof OPERATIONS)[OperationName], { on: "state" }>["method"];
type OnStore = Extract<(typeof OPERATIONS)[OperationName], { on: "store" }>["method"];

/** Does not compile when a driver gets a method that neither list knows. */
export const NOTHING_IS_MISSING: readonly [
  Exclude<StateOperation, OnState | keyof typeof NOT_HERE>,
  Exclude<StoreOperation, OnStore>,
] extends readonly [never, never]
  ? true
  : never = true;
