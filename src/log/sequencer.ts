// Sequencing, which is the acknowledgement: entries gather in a group while the database commits the one before, and
// each group becomes one durable row. Nothing is acknowledged before its row is; nothing is in the deduplication table
// before its row is. A commit whose outcome is unknown ends the process (architecture, section 2, step 2).

import type { BulkHasher } from "../core/bulk-hasher.ts";
import { CairnError, isCairnError } from "../core/errors.ts";
import { HASH_BYTES, asHash } from "../core/hash.ts";
import type { Hash } from "../core/hash.ts";
import { StateError } from "../state/state.ts";
import type { Row, State } from "../state/state.ts";
import type { AddCallback, Receipt } from "./api.ts";
import { sameLeaf } from "./backlog.ts";
import { pause } from "./clock.ts";
import type { Clock } from "./clock.ts";
import type { Fingerprint, LeafTable } from "./leaf-table.ts";

/** What may wait for a commit, the one under way included. */
export const QUEUE_MAX_BYTES = 64 * 1024 * 1024;
export const QUEUE_MAX_ENTRIES = 200_000;
/** A group's bytes, unless one batch alone is larger. */
const GROUP_MAX_BYTES = 8 * 1024 * 1024;
export const ENTRY_MAX_BYTES = 65_535;
/** How long a hit may wait for the store before its request is answered with `store_unavailable`. */
const CONFIRM_TIMEOUT_MS = 5000;
const LENGTH_BYTES = 2;
const FIRST_GROUP_BYTES = 16 * 1024;
/** Positions in a group fit in this many; a pending reference is group number times this plus position. */
const POSITIONS = 2 ** 18;

export interface SequencerOptions {
  readonly state: Pick<State, "commit">;
  readonly table: LeafTable;
  readonly hasher: BulkHasher;
  readonly clock: Clock;
  readonly nextIndex: number;
  /** Entries in a group, unless one batch alone has more. */
  readonly maxGroupEntries: number;
  /** How long a commit may be held so that more can gather. 0: never. */
  readonly maxGroupAgeMs: number;
  /** The leaf hash at an index below the next one, at once where memory has it, else null. */
  readonly leafInMemory: (index: number) => Uint8Array | null;
  /** The same from the database or the store; may reject or never answer. */
  readonly readLeaf: (index: number) => Promise<Uint8Array>;
  /** The profile's refusal of an entry's content, or null. */
  readonly refuseContent: (entry: Uint8Array) => CairnError | null;
  /** Called for every committed row, in order, before its entries are acknowledged. */
  readonly onCommitted: (row: Row) => void;
  /** A commit's entries, how many more waited for the same bytes, and its milliseconds. */
  readonly onMeasured: (entries: number, duplicates: number, ms: number) => void;
  /** An entry stood in the log already. */
  readonly onDuplicate: () => void;
  /** A commit was refused for want of room: nothing was applied, and admission should stop until there is some. */
  readonly onNoSpace: () => void;
  /** The process cannot go on. */
  readonly onFatal: (error: CairnError) => void;
}

/** Who is told about an entry's outcome. */
interface Sink {
  settle(slot: number, error: CairnError | null, receipt: Receipt | null): void;
}

interface Group {
  readonly number: number;
  count: number;
  bytes: Buffer;
  used: number;
  hashes: Buffer;
  readonly since: number;
  // One element a waiter, and more than one waiter for a position where duplicates met in the group.
  readonly sinks: Sink[];
  readonly slots: number[];
  readonly positions: number[];
  readonly duplicates: boolean[];
}

/** An entry that left the groups to have a hit confirmed. */
interface Confirmation {
  readonly sink: Sink;
  readonly slot: number;
  readonly timeout: AbortController;
}

/** An acknowledgement that copies its leaf hash only when somebody asks. */
class GroupReceipt implements Receipt {
  readonly index: number;
  readonly duplicate: boolean;
  readonly #hashes: Uint8Array;
  readonly #position: number;

  constructor(index: number, duplicate: boolean, hashes: Uint8Array, position: number) {
    this.index = index;
    this.duplicate = duplicate;
    this.#hashes = hashes;
    this.#position = position;
  }

  get leafHash(): Hash {
    const at = this.#position * HASH_BYTES;
    return asHash(new Uint8Array(this.#hashes.subarray(at, at + HASH_BYTES)));
  }
}

export class Sequencer {
  readonly #o: SequencerOptions;
  #nextIndex: number;
  /** Groups not yet committed, oldest first; the last one gathers. */
  readonly #groups: Group[] = [];
  #groupNumber = 0;
  #committing = false;
  #pumpScheduled = false;
  /** Ends the hold of a group that waits for more entries; null where none does. */
  #cancelHold: (() => void) | null = null;
  #waitingBytes = 0;
  /** Everybody who waits for a commit, those who wait for the same entry included. */
  #waitingEntries = 0;
  readonly #confirming = new Set<Confirmation>();
  /** From a fingerprint as a number to where its entry waits: group number times POSITIONS plus position. */
  readonly #pending = new Map<number, number | number[]>();
  readonly #fingerprint: Fingerprint = { high: 0, low: 0 };
  #refusal: CairnError | null = null;
  #dead = false;
  readonly #idleWaiters: (() => void)[] = [];

  constructor(options: SequencerOptions) {
    this.#o = options;
    this.#nextIndex = options.nextIndex;
  }

  /** One past the newest acknowledged entry. */
  get nextIndex(): number {
    return this.#nextIndex;
  }

  get waitingEntries(): number {
    return this.#waitingEntries;
  }

  /** What would refuse a write of that many bytes and entries now. */
  refusal(bytes: number, entries: number): CairnError | null {
    if (this.#refusal !== null) return this.#refusal;
    if (
      this.#waitingBytes + bytes > QUEUE_MAX_BYTES ||
      this.#waitingEntries + this.#confirming.size + entries > QUEUE_MAX_ENTRIES
    ) {
      return new CairnError("queue_full");
    }
    return null;
  }

  /** Copies the entry before it returns; `done` is called once, at once for what is refused or already stands. */
  add(entry: Uint8Array, done: AddCallback): void {
    const refusal = this.refusal(entry.length + LENGTH_BYTES, 1) ?? this.#refuseEntry(entry);
    if (refusal !== null) return done(refusal, null);
    this.#enter(entry, { settle: (_slot, error, receipt) => done(error, receipt) }, 0, false);
  }

  /** Outcomes in order. Rejects where the whole batch is refused before anything was sequenced. */
  addBatch(entries: readonly Uint8Array[]): Promise<(Receipt | CairnError)[]> {
    let bytes = 0;
    for (const entry of entries) bytes += entry.length + LENGTH_BYTES;
    const refusal = this.refusal(bytes, entries.length);
    if (refusal !== null) return Promise.reject(refusal);
    return new Promise((resolve) => {
      const outcomes = new Array<Receipt | CairnError>(entries.length);
      let left = entries.length;
      if (left === 0) return resolve(outcomes);
      const sink: Sink = {
        settle(slot, error, receipt) {
          outcomes[slot] = error ?? (receipt as Receipt);
          if (--left === 0) resolve(outcomes);
        },
      };
      this.#makeRoomForBatch(entries.length, bytes);
      for (let slot = 0; slot < entries.length; slot++) {
        const entry = entries[slot] as Uint8Array;
        const refused = this.#refuseEntry(entry);
        if (refused !== null) sink.settle(slot, refused, null);
        else this.#enter(entry, sink, slot, true);
      }
    });
  }

  /** From now on writes are refused with `error`; null takes that back. */
  refuse(error: CairnError | null): void {
    this.#refusal = error;
    // Nothing more gathers, so nothing is held.
    if (error !== null) this.#schedulePump();
  }

  /** Resolves when nothing waits and no commit is under way. */
  idle(): Promise<void> {
    if (this.#dead || this.#isIdle()) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  /** Settles everything with `error`; nothing is committed afterwards. */
  abort(error: CairnError): void {
    this.#dead = true;
    this.#refusal = error;
    this.#cancelHold?.();
    this.#cancelHold = null;
    const confirming = [...this.#confirming];
    this.#confirming.clear();
    for (const group of this.#groups.splice(0)) this.#fail(group, error);
    for (const { sink, slot, timeout } of confirming) {
      timeout.abort();
      sink.settle(slot, error, null);
    }
    this.#settleIdle();
  }

  #refuseEntry(entry: Uint8Array): CairnError | null {
    if (entry.length === 0) return new CairnError("entry_empty");
    if (entry.length > ENTRY_MAX_BYTES)
      return new CairnError("entry_too_large", { detail: `${entry.length} bytes` });
    return this.#o.refuseContent(entry);
  }

  /** Puts an entry into the gathering group, or beside the same bytes where they wait or stand already. */
  #enter(entry: Uint8Array, sink: Sink, slot: number, inBatch: boolean, refuted?: ReadonlySet<number>): void {
    const group = this.#gathering(entry.length, inBatch);
    const { position } = writeEntry(group, entry, this.#o.hasher);
    const offset = position * HASH_BYTES;
    const fingerprint = this.#fingerprint;
    this.#o.table.fingerprint(group.hashes, offset, fingerprint);
    const key = pendingKey(fingerprint);

    const waiting = this.#findPending(key, group.hashes, offset);
    if (waiting !== null) {
      waiting.group.sinks.push(sink);
      waiting.group.slots.push(slot);
      waiting.group.positions.push(waiting.position);
      waiting.group.duplicates.push(true);
      this.#waitingEntries++;
      return;
    }

    for (let skip = 0; ; skip++) {
      const index = this.#o.table.find(fingerprint, skip);
      if (index < 0) break;
      if (refuted?.has(index) === true || index >= this.#nextIndex) continue;
      const leaf = this.#o.leafInMemory(index);
      if (leaf === null) {
        const hash = group.hashes.subarray(offset, offset + HASH_BYTES);
        this.#confirm(new Uint8Array(entry), new Uint8Array(hash), index, sink, slot, refuted);
        return;
      }
      if (sameLeaf(group.hashes, offset, leaf)) {
        this.#o.onDuplicate();
        // Not through the group: it stands already, durably, so there is nothing to wait for.
        sink.settle(slot, null, new GroupReceipt(index, true, new Uint8Array(leaf), 0));
        return;
      }
    }

    group.count++;
    group.used += LENGTH_BYTES + entry.length;
    this.#waitingBytes += LENGTH_BYTES + entry.length;
    this.#waitingEntries++;
    group.sinks.push(sink);
    group.slots.push(slot);
    group.positions.push(position);
    group.duplicates.push(false);
    this.#addPending(key, group.number * POSITIONS + position);
    this.#schedulePump();
  }

  /** A hit that only a read can confirm: the entry leaves the group, so that no commit waits for the store. */
  #confirm(
    entry: Uint8Array,
    hash: Uint8Array,
    index: number,
    sink: Sink,
    slot: number,
    refuted: ReadonlySet<number> | undefined,
  ): void {
    const timeout = new AbortController();
    const confirmation: Confirmation = { sink, slot, timeout };
    this.#confirming.add(confirmation);
    const late = pause(this.#o.clock, CONFIRM_TIMEOUT_MS, timeout.signal).then(() => {
      throw new CairnError("store_unavailable");
    });
    // Where it is no longer among those being confirmed, it was settled when the process stopped.
    Promise.race([this.#o.readLeaf(index), late])
      .then(
        (leaf) => {
          if (!this.#confirming.delete(confirmation)) return;
          if (sameLeaf(leaf, 0, hash)) {
            this.#o.onDuplicate();
            return sink.settle(slot, null, new GroupReceipt(index, true, hash, 0));
          }
          // Another entry with the same fingerprint: this one is new, or waits somewhere by now.
          this.#enter(entry, sink, slot, false, new Set([...(refuted ?? []), index]));
        },
        (error: unknown) => {
          if (!this.#confirming.delete(confirmation)) return;
          sink.settle(slot, new CairnError("store_unavailable", { cause: error }), null);
        },
      )
      .finally(() => {
        timeout.abort();
        this.#settleIdle();
      });
    late.catch(() => undefined);
  }

  #findPending(key: number, hashes: Uint8Array, offset: number): { group: Group; position: number } | null {
    const found = this.#pending.get(key);
    if (found === undefined) return null;
    for (const reference of typeof found === "number" ? [found] : found) {
      const number = Math.floor(reference / POSITIONS);
      const position = reference % POSITIONS;
      const group = this.#groups.find((each) => each.number === number);
      if (group === undefined) continue;
      const leaf = group.hashes.subarray(position * HASH_BYTES, (position + 1) * HASH_BYTES);
      if (sameLeaf(hashes, offset, leaf)) return { group, position };
    }
    return null;
  }

  #addPending(key: number, reference: number): void {
    const found = this.#pending.get(key);
    if (found === undefined) this.#pending.set(key, reference);
    else this.#pending.set(key, typeof found === "number" ? [found, reference] : [...found, reference]);
  }

  /** The group that the next entry goes into. */
  #gathering(bytes: number, inBatch: boolean): Group {
    const last = this.#groups[this.#groups.length - 1];
    const open = last !== undefined && !(this.#committing && this.#groups.length === 1);
    if (open && (inBatch || this.#fits(last, 1, bytes + LENGTH_BYTES))) return last;
    return this.#openGroup(bytes + LENGTH_BYTES, 1);
  }

  /** A batch goes into one group, a larger one into a group of its own. */
  #makeRoomForBatch(entries: number, bytes: number): void {
    const last = this.#groups[this.#groups.length - 1];
    const open = last !== undefined && !(this.#committing && this.#groups.length === 1);
    // An empty group takes any batch: passed over, it would stand before every later one and never be committed.
    if (open && (last.count === 0 || this.#fits(last, entries, bytes))) {
      reserve(last, entries, bytes);
      return;
    }
    this.#openGroup(bytes, entries);
  }

  #fits(group: Group, entries: number, bytes: number): boolean {
    return (
      group.count + entries <= this.#o.maxGroupEntries &&
      group.count + entries < POSITIONS &&
      group.used + bytes <= GROUP_MAX_BYTES
    );
  }

  #openGroup(bytes: number, entries: number): Group {
    const group: Group = {
      number: this.#groupNumber++,
      count: 0,
      bytes: newBuffer(Math.max(FIRST_GROUP_BYTES, bytes)),
      used: 0,
      hashes: newBuffer(Math.max(64, entries) * HASH_BYTES),
      since: this.#o.clock.monotonic(),
      sinks: [],
      slots: [],
      positions: [],
      duplicates: [],
    };
    this.#groups.push(group);
    return group;
  }

  #schedulePump(): void {
    if (this.#committing || this.#pumpScheduled || this.#dead) return;
    if (this.#cancelHold !== null) {
      if (this.#mayHold()) return;
      this.#cancelHold();
      this.#cancelHold = null;
    }
    this.#pumpScheduled = true;
    // After everything that this turn of the event loop has read from its sockets.
    setImmediate(() => {
      this.#pumpScheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    if (this.#committing || this.#dead) return;
    const group = this.#groups[0];
    if (group === undefined || group.count === 0) return;
    const held = this.#o.maxGroupAgeMs - (this.#o.clock.monotonic() - group.since);
    if (held > 0 && this.#mayHold()) {
      this.#cancelHold ??= this.#o.clock.after(held, () => {
        this.#cancelHold = null;
        this.#pump();
      });
      return;
    }
    this.#committing = true;
    const row: Row = {
      first: this.#nextIndex,
      count: group.count,
      hashes: new Uint8Array(group.hashes.buffer as ArrayBuffer, 0, group.count * HASH_BYTES),
      bytes: new Uint8Array(group.bytes.buffer as ArrayBuffer, 0, group.used),
    };
    // The hashes stay readable here while the database has the row: duplicates of its entries are compared with them.
    group.hashes = Buffer.from(group.hashes);
    const began = this.#o.clock.monotonic();
    this.#o.state.commit(row).then(
      (committed) => {
        const ms = this.#o.clock.monotonic() - began;
        this.#o.onMeasured(group.count, group.sinks.length - group.count, ms);
        this.#committed(group, committed);
      },
      (error: unknown) => this.#refused(group, error),
    );
  }

  /** Whether the oldest group could still take more entries. */
  #mayHold(): boolean {
    const group = this.#groups[0];
    return (
      this.#groups.length === 1 &&
      group !== undefined &&
      group.count < this.#o.maxGroupEntries &&
      this.#refusal === null
    );
  }

  #committed(group: Group, row: Row): void {
    if (this.#dead) return;
    this.#committing = false;
    this.#groups.shift();
    this.#nextIndex = row.first + row.count;
    // The table knows the row before another entry is looked up: nothing else runs in between.
    this.#leave(group, row.first);
    // The disk works on the next group while this one's requests are answered.
    this.#pump();
    this.#o.onCommitted(row);
    for (let i = 0; i < group.sinks.length; i++) {
      const position = group.positions[i] as number;
      const receipt = new GroupReceipt(
        row.first + position,
        group.duplicates[i] as boolean,
        group.hashes,
        position,
      );
      (group.sinks[i] as Sink).settle(group.slots[i] as number, null, receipt);
    }
    this.#settleIdle();
  }

  #refused(group: Group, error: unknown): void {
    if (this.#dead) return;
    if (error instanceof StateError && error.outcome === "not_applied" && (error.noSpace || error.busy)) {
      this.#committing = false;
      this.#groups.shift();
      this.#leave(group, null);
      this.#fail(
        group,
        new CairnError(error.noSpace ? "storage_low" : "store_unavailable", { cause: error }),
      );
      if (error.noSpace) this.#o.onNoSpace();
      this.#pump();
      this.#settleIdle();
      return;
    }
    const fatal = isCairnError(error, "sync_failed")
      ? error
      : new CairnError("commit_unknown", { cause: error });
    this.abort(new CairnError("store_unavailable", { cause: error }));
    this.#o.onFatal(fatal);
  }

  /** The group's entries are no longer pending; with `first`, they are in the table. */
  #leave(group: Group, first: number | null): void {
    const fingerprint = this.#fingerprint;
    for (let position = 0; position < group.count; position++) {
      this.#o.table.fingerprint(group.hashes, position * HASH_BYTES, fingerprint);
      if (first !== null) this.#o.table.insert(fingerprint, first + position);
      const key = pendingKey(fingerprint);
      const found = this.#pending.get(key);
      if (typeof found === "number") this.#pending.delete(key);
      else if (found !== undefined) {
        const rest = found.filter((reference) => Math.floor(reference / POSITIONS) !== group.number);
        if (rest.length === 0) this.#pending.delete(key);
        else this.#pending.set(key, rest);
      }
    }
    this.#waitingBytes -= group.used;
    this.#waitingEntries -= group.sinks.length;
  }

  #fail(group: Group, error: CairnError): void {
    for (let i = 0; i < group.sinks.length; i++) {
      (group.sinks[i] as Sink).settle(group.slots[i] as number, error, null);
    }
  }

  #isIdle(): boolean {
    return !this.#committing && this.#confirming.size === 0 && this.#waitingEntries === 0;
  }

  #settleIdle(): void {
    if (!this.#dead && !this.#isIdle()) return;
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }
}

function writeEntry(group: Group, entry: Uint8Array, hasher: BulkHasher): { position: number } {
  reserve(group, 1, LENGTH_BYTES + entry.length);
  const { bytes, used } = group;
  bytes[used] = entry.length >>> 8;
  bytes[used + 1] = entry.length & 0xff;
  bytes.set(entry, used + LENGTH_BYTES);
  const position = group.count;
  hasher.leafInto(
    bytes,
    used + LENGTH_BYTES,
    used + LENGTH_BYTES + entry.length,
    group.hashes,
    position * HASH_BYTES,
  );
  return { position };
}

function reserve(group: Group, entries: number, bytes: number): void {
  if (group.used + bytes > group.bytes.length) {
    const larger = newBuffer(Math.max(group.used + bytes, group.bytes.length * 2));
    larger.set(group.bytes.subarray(0, group.used));
    group.bytes = larger;
  }
  const hashBytes = (group.count + entries) * HASH_BYTES;
  if (hashBytes > group.hashes.length) {
    const larger = newBuffer(Math.max(hashBytes, group.hashes.length * 2));
    larger.set(group.hashes.subarray(0, group.count * HASH_BYTES));
    group.hashes = larger;
  }
}

/** A buffer with an ArrayBuffer of its own, which can be handed to the database's thread. */
function newBuffer(bytes: number): Buffer {
  return Buffer.from(new ArrayBuffer(bytes));
}

/** 53 bits of the fingerprint: a number that a Map takes as it is. */
function pendingKey(fingerprint: Fingerprint): number {
  return (fingerprint.high & 0x1fffff) * 2 ** 32 + fingerprint.low;
}
