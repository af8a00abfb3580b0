// What a start decides before it writes anything: do database, signed head, published checkpoint and storage belong
// together, and do they tell one history (architecture, section 3, At start, (i) to (iv)). Every refusal names its way out.

import type { BulkHasher } from "../core/bulk-hasher.ts";
import { equalBytes, toHex } from "../core/bytes.ts";
import { CairnError, isCairnError } from "../core/errors.ts";
import type { Hash } from "../core/hash.ts";
import { entriesPath } from "../core/tile-path.ts";
import { TILE_WIDTH } from "../core/tile.ts";
import type { State, StateSnapshot } from "../state/state.ts";
import type { ObjectStore, ObjectVersion } from "../storage/store.ts";
import { LOG_FORMAT, keyIdsOf } from "./creation.ts";
import { foldRows, restoreEdge } from "./edge.ts";
import type { RestoredEdge } from "./edge.ts";
import { CHECKPOINT_KEY, HEAD_KEY, parseHead } from "./head.ts";
import type { HeadRecord } from "./head.ts";
import type { LogEvents, LogKeys } from "./options.ts";
import { readOwnCheckpoint } from "./publisher.ts";

export interface OwnNote {
  readonly bytes: Uint8Array;
  readonly size: number;
  readonly root: Hash;
}

export interface Judged {
  readonly head: { readonly record: HeadRecord; readonly version: ObjectVersion };
  /** The note in `state/head`. */
  readonly signed: OwnNote;
  readonly snapshot: StateSnapshot;
  /** The larger of the published checkpoint in the store and the database's, or null before the first. */
  readonly published: OwnNote | null;
  /** The version of the object `checkpoint`, or null where there is none. */
  readonly checkpointVersion: ObjectVersion | null;
  /** The size of the object `checkpoint`; -1 where there is none. */
  readonly checkpointSize: number;
  /** The edge at the first retained row, as it was compared: what is read a second time might be something else. */
  readonly restored: RestoredEdge;
}

export interface JudgeOptions {
  readonly keys: LogKeys;
  readonly store: ObjectStore;
  readonly state: State;
  readonly hasher: BulkHasher;
  readonly events: Pick<LogEvents, "note">;
  /** The key sets are about to be changed, so they need not match: at least one configured key must. */
  readonly anyKeys?: boolean;
}

/** Judges, and writes nothing. Throws the refusal. */
export async function judge(options: JudgeOptions): Promise<Judged> {
  const { keys, store, state } = options;
  const object = await store.get(HEAD_KEY);
  if (object === null)
    throw new CairnError("head_damaged", { detail: `there is no ${HEAD_KEY} in ${store.location}` });
  const record = parseHead(object.bytes);
  await judgeIdentity(keys, state, record, options.anyKeys === true);
  const signed = readNote("head_damaged", Buffer.from(record.note), keys);

  const snapshot = await state.snapshot();
  const checkpoint = await store.get(CHECKPOINT_KEY);
  const inStore = checkpoint === null ? null : readNote("checkpoint_damaged", checkpoint.bytes, keys);

  // (ii) Something beyond the database's next index.
  const { nextIndex } = snapshot;
  refuseBeyond(HEAD_KEY, signed.size, nextIndex);
  if (inStore !== null) refuseBeyond(CHECKPOINT_KEY, inStore.size, nextIndex);
  const beyond = await bundleBeyond(store, nextIndex);
  if (beyond !== null) {
    throw new CairnError("database_older", { detail: `${beyond} holds entries from ${nextIndex} on` });
  }

  // (iv) A head that is older than what the database knows to be signed, or than what is published.
  const known = Math.max(snapshot.signed?.size ?? 0, snapshot.published?.size ?? 0, inStore?.size ?? 0);
  if (signed.size < known) {
    throw new CairnError("head_damaged", {
      detail: `${HEAD_KEY} has size ${signed.size}, and ${known} was signed before`,
    });
  }

  const published = largerPublished(inStore, snapshot, keys);
  const restored = await restoreEdge(store, options.hasher, snapshot.firstRetained);
  await compareRoots(options, restored, snapshot, signed, published, inStore);
  return {
    head: { record, version: object.version },
    signed,
    snapshot,
    published,
    checkpointVersion: checkpoint?.version ?? null,
    checkpointSize: inStore?.size ?? -1,
    restored,
  };
}

/** (i) One log: origin, keys, format and database id. */
async function judgeIdentity(
  keys: LogKeys,
  state: State,
  record: HeadRecord,
  anyKeys: boolean,
): Promise<void> {
  const identity = await state.identity();
  if (identity === null) throw new CairnError("database_lost", { detail: state.location });
  if (identity.format > LOG_FORMAT) {
    throw new CairnError("format_newer", { detail: `${state.location} has format ${identity.format}` });
  }
  const mismatch = (what: string, ours: string, theirs: string): CairnError =>
    new CairnError("identity_mismatch", { detail: `${what}: ${ours}, not ${theirs}` });
  if (identity.origin !== keys.origin) {
    throw mismatch("the database's origin", identity.origin, `LOG_ORIGIN's ${keys.origin}`);
  }
  if (record.origin !== keys.origin)
    throw mismatch("state/head's origin", record.origin, `LOG_ORIGIN's ${keys.origin}`);
  if (record.database !== identity.databaseId) {
    throw mismatch("state/head's database", record.database, identity.databaseId);
  }
  if (anyKeys) return;
  const configured = keyIdsOf(keys).join(", ");
  const recorded = [identity.keys, identity.pendingKeys]
    .filter((ids) => ids !== null)
    .map((ids) => ids.join(", "));
  if (!recorded.includes(configured)) {
    const wayOut = `${configured}; put the right keys back, or change them with cairn keys rotate`;
    throw mismatch("the database's keys", recorded.join(" or "), wayOut);
  }
  const inHead = [...record.keyIds].sort().join(", ");
  if (!recorded.includes(inHead)) throw mismatch("state/head's keys", inHead, recorded.join(" or "));
}

function readNote(
  code: "head_damaged" | "checkpoint_damaged" | "state_wrong",
  bytes: Uint8Array,
  keys: LogKeys,
): OwnNote {
  try {
    return { bytes, ...readOwnCheckpoint(bytes, keys.origin, keys.verifiers) };
  } catch (cause) {
    if (!isCairnError(cause)) throw cause;
    throw new CairnError(code, { detail: cause.message, cause });
  }
}

function refuseBeyond(what: string, size: number, nextIndex: number): void {
  if (size > nextIndex) {
    throw new CairnError("database_older", {
      detail: `${what} has ${size} entries and the database ${nextIndex}`,
    });
  }
}

/** A bundle that reaches beyond `nextIndex`: only its own index and the next can, whoever wrote it in order. */
async function bundleBeyond(store: ObjectStore, nextIndex: number): Promise<string | null> {
  const index = Math.floor(nextIndex / TILE_WIDTH);
  const width = nextIndex % TILE_WIDTH;
  for (const key of [entriesPath(index), entriesPath(index + 1)])
    if ((await store.get(key)) !== null) return key;
  for await (const key of store.list(`${entriesPath(index)}.p/`)) {
    if (Number(key.slice(key.lastIndexOf("/") + 1)) > width) return key;
  }
  return null;
}

function largerPublished(inStore: OwnNote | null, snapshot: StateSnapshot, keys: LogKeys): OwnNote | null {
  if (snapshot.published === null) return inStore;
  if (inStore !== null && inStore.size >= snapshot.published.size) return inStore;
  return readNote("checkpoint_damaged", snapshot.published.note, keys);
}

/** (iii) The roots at every size that anything recorded, recomputed from tiles and rows. */
async function compareRoots(
  { state, keys, events }: JudgeOptions,
  restored: RestoredEdge,
  snapshot: StateSnapshot,
  signed: OwnNote,
  published: OwnNote | null,
  inStore: OwnNote | null,
): Promise<void> {
  const edge = restored.edge.copy();
  const recorded: { readonly what: string; readonly size: number; readonly root: Uint8Array }[] = [
    { what: HEAD_KEY, ...signed },
    { what: "the database's integrated head", ...snapshot.integrated },
  ];
  if (snapshot.signed !== null) {
    recorded.push({
      what: "the database's signed head",
      ...readNote("state_wrong", snapshot.signed.note, keys),
    });
  }
  if (published !== null) recorded.push({ what: "the published checkpoint", ...published });
  if (inStore !== null) recorded.push({ what: CHECKPOINT_KEY, ...inStore });
  // Sizes below the first retained row were compared when they were published; nothing recorded is that old but a
  // checkpoint that was put back by hand, and the newer one is published again.
  const comparable = recorded.filter((each) => each.size >= snapshot.firstRetained);
  events.note("comparing", { from: snapshot.firstRetained, to: snapshot.nextIndex });
  await foldRows(
    state,
    edge,
    snapshot.nextIndex,
    comparable.map((each) => each.size),
    (size) => {
      const root = edge.root();
      for (const each of comparable) {
        if (each.size !== size || equalBytes(each.root, root)) continue;
        throw new CairnError("root_mismatch", {
          detail: `at size ${size} ${each.what} has ${toHex(each.root)}, this database ${toHex(root)}`,
        });
      }
    },
  );
}
