// A log's state in memory, with the semantics of the SQLite driver (it passes the same conformance suite): what is
// written is durable at once. It can be copied, as a backup is, and a commit takes its buffers away as a thread does.

import { bundleOffsets } from "../../../src/core/bundle.ts";
import { CairnError } from "../../../src/core/errors.ts";
import { HASH_BYTES } from "../../../src/core/hash.ts";
import {
  type Identity,
  PUBLISHED_NOTES_KEPT,
  type Row,
  type SetAsideRow,
  type State,
  StateError,
  type StateSnapshot,
  type StoredNote,
  type TreeHead,
} from "../../../src/state/state.ts";

/** Pages of the database beside the bytes of rows, which `shrink` cannot give back. */
const PAGE_BYTES = 8192;

interface Contents {
  identity: Identity | null;
  rows: Row[];
  heads: {
    integrated: TreeHead;
    signed: StoredNote | null;
    published: StoredNote | null;
    syncedSize: number;
  };
  notes: { size: number; note: Uint8Array; anchored: boolean }[];
  witnesses: Map<string, number>;
  aside: SetAsideRow[];
  lastAside: number;
  free: number;
}

export class MemoryState implements State {
  readonly location = "memory:log";
  #is: Contents = {
    identity: null,
    rows: [],
    heads: {
      integrated: { size: 0, root: new Uint8Array(HASH_BYTES) },
      signed: null,
      published: null,
      syncedSize: 0,
    },
    notes: [],
    witnesses: new Map(),
    aside: [],
    lastAside: 0,
    free: 0,
  };
  #closed = false;

  async identity(): Promise<Identity | null> {
    this.#check();
    return this.#is.identity;
  }

  async create(identity: Identity, emptyRoot: Uint8Array): Promise<void> {
    this.#check();
    if (this.#is.identity !== null) throw new CairnError("log_exists", { detail: this.location });
    this.#is.identity = structuredClone(identity);
    this.#is.heads.integrated = { size: 0, root: emptyRoot.slice() };
  }

  async setPendingKeys(keys: readonly string[] | null): Promise<void> {
    this.#is.identity = { ...this.#identity(), pendingKeys: keys };
  }

  async finishKeys(): Promise<void> {
    const identity = this.#identity();
    if (identity.pendingKeys === null) throw refused("no change of keys is pending");
    this.#is.identity = { ...identity, keys: identity.pendingKeys, pendingKeys: null };
  }

  async snapshot(): Promise<StateSnapshot> {
    this.#identity();
    return structuredClone(this.look());
  }

  async commit(row: Row): Promise<Row> {
    this.#identity();
    // Away from the caller, also where the commit is refused.
    const taken = structuredClone(row, { transfer: [...new Set([row.hashes.buffer, row.bytes.buffer])] });
    checkRow(taken);
    if (taken.first !== this.#nextIndex()) {
      throw refused(`the row begins at ${taken.first}, the next index is ${this.#nextIndex()}`);
    }
    this.#is.rows.push(copyRow(taken));
    return taken;
  }

  async readRows(from: number, maxBytes: number): Promise<Row[]> {
    this.#check();
    const rows: Row[] = [];
    let bytes = 0;
    for (const row of this.#from(from)) {
      rows.push(copyRow(row));
      bytes += row.bytes.length;
      if (bytes >= maxBytes) break;
    }
    return rows;
  }

  async bytesFrom(from: number): Promise<number> {
    const rows = await this.readRows(from, Number.MAX_SAFE_INTEGER);
    return rows.reduce((sum, row) => sum + row.bytes.length, 0);
  }

  async readHashes(from: number, maxRows: number): Promise<Row[]> {
    this.#check();
    return this.#from(from)
      .slice(0, Math.max(1, maxRows))
      .map((row) => ({ ...row, hashes: row.hashes.slice(), bytes: new Uint8Array(0) }));
  }

  async recordIntegrated({ size, root }: TreeHead): Promise<void> {
    this.#refuseSmaller("integrated", size, this.#is.heads.integrated.size);
    if (root.length !== HASH_BYTES) throw refused("a root has 32 bytes");
    this.#is.heads.integrated = { size, root: root.slice() };
  }

  async recordSigned({ size, note }: StoredNote): Promise<void> {
    this.#refuseSmaller("signed", size, this.#is.heads.signed?.size ?? 0);
    this.#is.heads.signed = { size, note: note.slice() };
  }

  async recordPublished({ size, note }: StoredNote): Promise<void> {
    this.#refuseSmaller("published", size, this.#is.heads.published?.size ?? 0);
    this.#is.heads.published = { size, note: note.slice() };
    this.#keepNote({ size, note });
  }

  async publishedNote(size: number): Promise<Uint8Array | null> {
    this.#check();
    return this.#is.notes.find((each) => each.size === size)?.note.slice() ?? null;
  }

  async markAnchored(size: number): Promise<boolean> {
    this.#check();
    const note = this.#is.notes.find((each) => each.size === size);
    if (note !== undefined) note.anchored = true;
    return note !== undefined;
  }

  async recordSynced(size: number): Promise<void> {
    this.#refuseSmaller("synced", size, this.#is.heads.syncedSize);
    this.#is.heads.syncedSize = size;
  }

  async dropRows(size: number, maxBytes: number): Promise<{ firstRetained: number; more: boolean }> {
    this.#identity();
    const { rows } = this.#is;
    let bytes = 0;
    let dropped = 0;
    let more = false;
    for (const row of rows.slice(0, -1)) {
      if (row.first + row.count > size) break;
      more = dropped > 0 && bytes + row.bytes.length > maxBytes;
      if (more) break;
      bytes += row.bytes.length;
      this.#is.free += row.bytes.length + row.hashes.length;
      dropped++;
    }
    rows.splice(0, dropped);
    return { firstRetained: rows[0]?.first ?? this.#nextIndex(), more };
  }

  async shrink(maxBytes: number): Promise<number> {
    this.#check();
    this.#is.free = Math.max(0, this.#is.free - Math.floor(maxBytes / PAGE_BYTES) * PAGE_BYTES);
    return this.#freeBytes();
  }

  async freeBytes(): Promise<number> {
    this.#check();
    return this.#freeBytes();
  }

  async witnessSizes(): Promise<ReadonlyMap<string, number>> {
    this.#check();
    return new Map(this.#is.witnesses);
  }

  async rememberWitness(name: string, size: number): Promise<void> {
    this.#check();
    this.#is.witnesses.set(name, safe(size));
  }

  async resetHeads(heads: Parameters<State["resetHeads"]>[0]): Promise<void> {
    this.#identity();
    for (const size of [heads.integrated.size, heads.signed?.size, heads.published?.size, heads.syncedSize]) {
      if (size !== undefined) safe(size);
    }
    this.#is.heads = structuredClone(heads);
    if (heads.published !== null) this.#keepNote(heads.published);
    const newest = this.#is.rows.at(-1);
    if (newest !== undefined && newest.first + newest.count < heads.integrated.size) this.#is.rows = [];
  }

  async setAsideRows(from: number, reason: string): Promise<void> {
    this.#identity();
    const kept: Row[] = [];
    for (const row of this.#is.rows) {
      const keep = Math.min(row.count, Math.max(0, from - row.first));
      const cut = bundleOffsets(row.bytes, row.count)[keep] as number;
      if (keep > 0) {
        kept.push({
          first: row.first,
          count: keep,
          hashes: row.hashes.slice(0, keep * HASH_BYTES),
          bytes: row.bytes.slice(0, cut),
        });
      }
      if (keep === row.count) continue;
      this.#is.aside.push({
        id: ++this.#is.lastAside,
        first: row.first + keep,
        count: row.count - keep,
        bytes: row.bytes.slice(cut),
        reason,
      });
    }
    this.#is.rows = kept;
  }

  async adoptRows(rows: readonly Row[]): Promise<void> {
    this.#identity();
    for (const row of rows) checkRow(row);
    const all = [...this.#is.rows];
    for (const row of rows) {
      const last = all.at(-1);
      const next = last === undefined ? row.first : last.first + last.count;
      if (row.first !== next)
        throw refused(`the row begins at ${row.first}, the rows before it end at ${next}`);
      all.push(copyRow(row));
    }
    this.#is.rows = all;
  }

  async listSetAside(): Promise<SetAsideRow[]> {
    this.#check();
    return structuredClone(this.#is.aside);
  }

  async removeSetAside(ids: readonly number[]): Promise<void> {
    this.#check();
    this.#is.aside = this.#is.aside.filter(({ id }) => !ids.includes(id));
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  // What follows is for tests.

  /** What stands in the database, at once and also when it is closed. */
  look(): StateSnapshot {
    const nextIndex = this.#nextIndex();
    return { nextIndex, firstRetained: this.#is.rows[0]?.first ?? nextIndex, ...this.#is.heads };
  }

  /** The same contents, as the next process finds them. */
  reopen(): MemoryState {
    const state = new MemoryState();
    state.#is = this.#is;
    return state;
  }

  /** A copy of the database, as a backup or a cloned volume is one. */
  copy(): MemoryState {
    const state = new MemoryState();
    // Rows and notes never change in place, so a copy of the lists is enough however large the log is.
    state.#is = {
      ...this.#is,
      rows: [...this.#is.rows],
      heads: { ...this.#is.heads },
      notes: this.#is.notes.map((each) => ({ ...each })),
      witnesses: new Map(this.#is.witnesses),
      aside: [...this.#is.aside],
    };
    return state;
  }

  /** Lets a test damage what is stored, as a disk can. */
  damage(change: (rows: Row[]) => void): void {
    change(this.#is.rows);
  }

  #from(index: number): Row[] {
    return this.#is.rows.filter((row) => row.first + row.count > index);
  }

  #nextIndex(): number {
    const newest = this.#is.rows.at(-1);
    return newest === undefined ? this.#is.heads.integrated.size : newest.first + newest.count;
  }

  #freeBytes(): number {
    return this.#is.free - (this.#is.free % PAGE_BYTES);
  }

  #keepNote({ size, note }: StoredNote): void {
    const { notes } = this.#is;
    const at = notes.findIndex((each) => each.size === size);
    const [old] = at < 0 ? [] : notes.splice(at, 1);
    notes.push({ size, note: note.slice(), anchored: old?.anchored ?? false });
    const oldest = notes.length - PUBLISHED_NOTES_KEPT;
    this.#is.notes = notes.filter((each, i) => each.anchored || i >= oldest);
  }

  #refuseSmaller(what: string, size: number, least: number): void {
    this.#identity();
    if (safe(size) >= least && size <= this.#nextIndex()) return;
    throw refused(`${what} size ${size} is not between ${least} and the next index ${this.#nextIndex()}`);
  }

  #identity(): Identity {
    this.#check();
    if (this.#is.identity === null) throw refused("the database has no identity yet");
    return this.#is.identity;
  }

  #check(): void {
    if (this.#closed) throw refused("the database is closed");
  }
}

function refused(why: string): StateError {
  return new StateError(why, { outcome: "not_applied" });
}

function safe(value: number): number {
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new CairnError("unsafe_integer", { detail: String(value) });
}

function checkRow(row: Row): void {
  safe(row.first);
  safe(row.count);
  safe(row.first + row.count);
  if (row.count === 0) throw refused("the row has no entries");
  if (row.hashes.length !== row.count * HASH_BYTES) throw refused("the hashes do not fit the count");
  bundleOffsets(row.bytes, row.count);
}

function copyRow(row: Row): Row {
  return { first: row.first, count: row.count, hashes: row.hashes.slice(), bytes: row.bytes.slice() };
}
