// `state/head`: the one chain of signed heads of a store, whoever holds which copy of the database. Every signature is a
// conditional replacement of this object, so of two owners only one can go on; a signature leaves the process only
// after that replacement succeeded (architecture, section 2, step 4).

import { equalBytes, encodeUtf8, decodeUtf8 } from "../core/bytes.ts";
import { CairnError } from "../core/errors.ts";
import { StoreError } from "../storage/store.ts";
import type { ObjectStore, ObjectVersion } from "../storage/store.ts";
import { pause } from "./clock.ts";
import type { Clock } from "./clock.ts";
import { FIRST_RETRY_MS, MAX_RETRY_MS } from "./objects.ts";

export const HEAD_KEY = "state/head";
export const CHECKPOINT_KEY = "checkpoint";
export const HEAD_FORMAT = 1;

/** The object's content. Unknown members of a newer format are refused by the format number. */
export interface HeadRecord {
  readonly format: number;
  /** The database's random id. */
  readonly database: string;
  /** Grows by one with every process that takes the log over. */
  readonly epoch: number;
  /** 32 hex digits that only the owning process knows to be its own. */
  readonly holder: string;
  readonly origin: string;
  /** `name+id` of each of the log's keys. */
  readonly keyIds: readonly string[];
  /** The newest signed note. */
  readonly note: string;
  readonly frozen: boolean;
}

export function printHead(head: HeadRecord): Uint8Array {
  return encodeUtf8(
    `${JSON.stringify(
      {
        format: head.format,
        database: head.database,
        epoch: head.epoch,
        holder: head.holder,
        origin: head.origin,
        key_ids: head.keyIds,
        note: head.note,
        frozen: head.frozen,
      },
      null,
      2,
    )}\n`,
  );
}

/** Throws `head_damaged` on anything but a head, `format_newer` on one that a later version wrote. */
export function parseHead(bytes: Uint8Array): HeadRecord {
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(decodeUtf8(bytes)) as Record<string, unknown>;
  } catch (cause) {
    throw new CairnError("head_damaged", { detail: "state/head is not JSON", cause });
  }
  if (typeof value !== "object" || value === null) throw damaged("it is not an object");
  const { format, database, epoch, holder, origin, key_ids: keyIds, note, frozen } = value;
  if (typeof format !== "number" || !Number.isSafeInteger(format)) throw damaged("format");
  if (format > HEAD_FORMAT)
    throw new CairnError("format_newer", { detail: `state/head has format ${format}` });
  if (typeof database !== "string" || !/^[0-9a-f]{32}$/.test(database)) throw damaged("database");
  if (typeof epoch !== "number" || !Number.isSafeInteger(epoch) || epoch < 0) throw damaged("epoch");
  if (typeof holder !== "string" || !/^[0-9a-f]{32}$/.test(holder)) throw damaged("holder");
  if (typeof origin !== "string" || origin === "") throw damaged("origin");
  if (!Array.isArray(keyIds) || keyIds.length === 0 || !keyIds.every((id) => typeof id === "string")) {
    throw damaged("key_ids");
  }
  if (typeof note !== "string") throw damaged("note");
  if (typeof frozen !== "boolean") throw damaged("frozen");
  return { format, database, epoch, holder, origin, keyIds, note, frozen };
}

function damaged(member: string): CairnError {
  return new CairnError("head_damaged", { detail: `state/head is malformed: ${member}` });
}

export interface OwnedHeadOptions {
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly stop: AbortSignal;
  readonly onTrouble: (what: string, key: string, error: unknown) => void;
}

/** The head as this process owns it: reads, replaces, and knows when it is no longer the owner. */
export class OwnedHead {
  readonly #o: OwnedHeadOptions;
  #record: HeadRecord;
  #version: ObjectVersion;

  private constructor(options: OwnedHeadOptions, record: HeadRecord, version: ObjectVersion) {
    this.#o = options;
    this.#record = record;
    this.#version = version;
  }

  /**
   * Takes the next epoch on the very version that was judged, its note unchanged. Null where that version is gone: judge
   * again.
   */
  static async take(
    options: OwnedHeadOptions,
    judged: { readonly record: HeadRecord; readonly version: ObjectVersion },
    holder: string,
  ): Promise<OwnedHead | null> {
    const head = new OwnedHead(options, judged.record, judged.version);
    const next = { ...judged.record, epoch: judged.record.epoch + 1, holder };
    return (await head.#replace(next)) ? head : null;
  }

  get record(): HeadRecord {
    return this.#record;
  }

  /** Puts a newly signed note in. Throws `fenced` where another process owns the head by now. */
  async advance(note: string): Promise<void> {
    if (note === this.#record.note) return this.requireOwnership();
    if (!(await this.#replace({ ...this.#record, note }))) throw new CairnError("fenced");
  }

  /** Changes what recovery, rotation or a freeze changes. Throws `fenced` as `advance`. */
  async amend(change: Partial<Pick<HeadRecord, "keyIds" | "note" | "frozen" | "database">>): Promise<void> {
    if (!(await this.#replace({ ...this.#record, ...change }))) throw new CairnError("fenced");
  }

  /** Re-reads the head; throws `fenced` unless it is byte for byte what this process put there. */
  async requireOwnership(): Promise<void> {
    const there = await this.#ask(() => this.#o.store.get(HEAD_KEY));
    if (there === null || !equalBytes(there.bytes, printHead(this.#record))) throw new CairnError("fenced");
  }

  /**
   * Replaces the object on our version and waits until the outcome is certain. False where it is certain that another
   * version is there and not ours.
   */
  async #replace(next: HeadRecord): Promise<boolean> {
    const bytes = printHead(next);
    for (let wait = FIRST_RETRY_MS; ; wait = Math.min(wait * 2, MAX_RETRY_MS)) {
      try {
        const result = await this.#o.store.replace(HEAD_KEY, bytes, this.#version);
        if (result.outcome === "written") return this.#adopt(next, result.version);
        // An earlier attempt of ours may have been applied with its answer lost.
        const there = await this.#ask(() => this.#o.store.get(HEAD_KEY));
        if (there !== null && equalBytes(there.bytes, bytes)) return this.#adopt(next, there.version);
        return false;
      } catch (error) {
        if (!(error instanceof StoreError) || !error.retryable) throw error;
        this.#o.onTrouble("head_retried", HEAD_KEY, error);
      }
      await this.#pause(wait);
      const there = await this.#ask(() => this.#o.store.get(HEAD_KEY));
      if (there !== null && equalBytes(there.bytes, bytes)) return this.#adopt(next, there.version);
      if (there === null || !equalBytes(there.bytes, printHead(this.#record))) return false;
      // Unchanged, so ask again on its version: a late first attempt and this one write the same bytes.
      this.#version = there.version;
    }
  }

  #adopt(record: HeadRecord, version: ObjectVersion): true {
    this.#record = record;
    this.#version = version;
    return true;
  }

  async #ask<T>(read: () => Promise<T>): Promise<T> {
    for (let wait = FIRST_RETRY_MS; ; wait = Math.min(wait * 2, MAX_RETRY_MS)) {
      try {
        return await read();
      } catch (error) {
        if (!(error instanceof StoreError) || !error.retryable) throw error;
        this.#o.onTrouble("head_retried", HEAD_KEY, error);
      }
      await this.#pause(wait);
    }
  }

  async #pause(wait: number): Promise<void> {
    await pause(this.#o.clock, wait, this.#o.stop);
    if (this.#o.stop.aborted) throw new CairnError("draining");
  }
}
