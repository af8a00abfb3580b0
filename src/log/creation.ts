// Creation: a log comes into being in one order, each step durable before the next, so that an interrupted creation can
// be repeated and nothing is ever created because something was not found (architecture, section 3, Creation).

import { randomBytes } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { equalBytes } from "../core/bytes.ts";
import { printCheckpoint } from "../core/checkpoint.ts";
import { CairnError, isCairnError } from "../core/errors.ts";
import { printNote, signNote } from "../core/note.ts";
import { printKeyId } from "../core/vkey.ts";
import type { Identity, State } from "../state/state.ts";
import { makeFolderDurable, removeFileDurable, writeFileDurable } from "../storage/durable.ts";
import type { ObjectStore } from "../storage/store.ts";
import { dirname } from "node:path";
import { CHECKPOINT_KEY, HEAD_FORMAT, HEAD_KEY, parseHead, printHead } from "./head.ts";
import type { LogKeys, LogOptions } from "./options.ts";
import { readOwnCheckpoint } from "./publisher.ts";

/** The format of database and store together. A newer one is refused by an older binary. */
export const LOG_FORMAT = 1;

/** The file that holds the new database's id while a creation is under way. */
export function creatingPath(databasePath: string): string {
  return `${databasePath}.creating`;
}

/** The id in the creation's file, or null where no creation is under way. */
export async function readCreating(databasePath: string): Promise<string | null> {
  let text: string;
  try {
    text = await readFile(creatingPath(databasePath), "utf8");
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return null;
    throw error;
  }
  const id = text.trim();
  if (!/^[0-9a-f]{32}$/.test(id)) {
    throw new CairnError("creation_unfinished", {
      detail: `${creatingPath(databasePath)} holds no database id`,
    });
  }
  return id;
}

export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return false;
    throw error;
  }
}

/** What stands in a store, for the question whether a log is there. */
export async function surveyStore(
  store: ObjectStore,
): Promise<{ head: Uint8Array | null; rest: string | null }> {
  const head = (await store.get(HEAD_KEY))?.bytes ?? null;
  if ((await store.get(CHECKPOINT_KEY)) !== null) return { head, rest: CHECKPOINT_KEY };
  for await (const key of store.list("tile/")) return { head, rest: key };
  return { head, rest: null };
}

/** What makes the ids that `state/head` and the database remember: `name+id` of each key. */
export function keyIdsOf(keys: LogKeys): string[] {
  return keys.signers.map(({ name, keyId }) => `${name}+${printKeyId(keyId)}`).sort();
}

/**
 * Creates the log, or finishes a creation that was interrupted. Throws `log_exists` where any part of a log stands that
 * this creation did not make, `creation_unfinished` where the parts of one do not match.
 */
export async function createLog(options: LogOptions, store: ObjectStore, state: State): Promise<void> {
  const { keys, places, hasher } = options;
  const path = places.databasePath;
  const begun = await readCreating(path);
  const { head, rest } = await surveyStore(store);
  if (begun === null && (head !== null || rest !== null)) {
    throw new CairnError("log_exists", {
      detail: `${store.location} holds ${rest ?? HEAD_KEY} and ${state.location} is empty; see cairn recover`,
    });
  }
  if (rest !== null)
    throw new CairnError("creation_unfinished", { detail: `${store.location} holds ${rest} already` });
  // A store that ignores conditions gets no head either.
  await store.probe();

  const databaseId = begun ?? randomBytes(16).toString("hex");
  if (begun === null) {
    await makeFolderDurable(dirname(path));
    await writeFileDurable(creatingPath(path), Buffer.from(`${databaseId}\n`), { exclusive: true });
  }

  const emptyRoot = hasher.tree.empty();
  if (head === null) {
    const text = printCheckpoint({ origin: keys.origin, size: 0n, root: emptyRoot, extensions: [] });
    const note = printNote(signNote(text, keys.signers));
    const made = printHead({
      format: HEAD_FORMAT,
      database: databaseId,
      epoch: 0,
      holder: randomBytes(16).toString("hex"),
      origin: keys.origin,
      keyIds: keyIdsOf(keys),
      note: new TextDecoder().decode(note),
      frozen: false,
    });
    if ((await store.createDurable(HEAD_KEY, made)).outcome === "refused") {
      const there = await store.get(HEAD_KEY);
      if (there === null || !equalBytes(there.bytes, made))
        throw new CairnError("log_exists", { detail: HEAD_KEY });
    }
  } else {
    const foreign = (cause?: unknown): CairnError =>
      new CairnError("creation_unfinished", { detail: `${HEAD_KEY} belongs to another creation`, cause });
    let isOurs: boolean;
    try {
      const record = parseHead(head);
      const { size } = readOwnCheckpoint(Buffer.from(record.note), keys.origin, keys.verifiers);
      isOurs = record.database === databaseId && size === 0;
    } catch (error) {
      if (!isCairnError(error)) throw error;
      throw foreign(error);
    }
    if (!isOurs) throw foreign();
  }
  const identity: Identity = {
    format: LOG_FORMAT,
    databaseId,
    origin: keys.origin,
    keys: keyIdsOf(keys),
    pendingKeys: null,
  };
  await state.create(identity, emptyRoot);
  await removeFileDurable(creatingPath(path));
}
