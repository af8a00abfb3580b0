// Recovery: gets a log back from whatever still holds it. Its head is the largest note with our signature that anything
// knows; everything up to it must be found and verify. Beyond it, the database's rows come first, then bundles that agree
// with them. What cannot be placed is set aside or quarantined, never dropped (architecture, section 3, recover).
//
// Each step can be repeated: tiles are mended before the database says so, the database before the head.

import { randomBytes } from "node:crypto";
import { dirname } from "node:path";
import { bundleOffsets } from "../core/bundle.ts";
import { equalBytes, toHex } from "../core/bytes.ts";
import { CairnError, isCairnError } from "../core/errors.ts";
import { HASH_BYTES } from "../core/hash.ts";
import { RightEdge } from "../core/right-edge.ts";
import type { EdgeTile } from "../core/right-edge.ts";
import { type NoteSignature, parseNote, printNote } from "../core/note.ts";
import { entriesPath, tilePath } from "../core/tile-path.ts";
import { TILE_WIDTH } from "../core/tile.ts";
import type { Identity, Row, State } from "../state/state.ts";
import { removeFileDurable } from "../storage/durable.ts";
import type { ObjectStore, ObjectVersion } from "../storage/store.ts";
import { LOG_FORMAT, creatingPath, exists, keyIdsOf, readCreating } from "./creation.ts";
import { leafHashesOf } from "./edge.ts";
import { tablePath } from "./leaf-table-file.ts";
import { CHECKPOINT_KEY, HEAD_FORMAT, HEAD_KEY, OwnedHead, parseHead, printHead } from "./head.ts";
import type { HeadRecord } from "./head.ts";
import type { OwnNote } from "./judge.ts";
import { findInStore, release, takePlaces } from "./log.ts";
import { quarantineKey } from "./objects.ts";
import type { LogOptions, LogPlaces, LogWitnesses } from "./options.ts";
import { monitoredCheckpoint } from "../witness/client/exchange.ts";
import { readOwnCheckpoint } from "./publisher.ts";
import { placeEnd, tilePlace } from "./tile-place.ts";

const READS_AT_ONCE = 16;
/** Where a note was found that a witness shows. */
const WITNESS = "witness ";
const ROW_READ_BYTES = 8 * 1024 * 1024;
const SYNC_KEYS = 512;

/** Another copy of the log's public objects: its public address, or a mirror's. */
export interface Mirror {
  get(path: string): Promise<Uint8Array | null>;
}

export interface RecoverOptions extends Omit<LogOptions, "create" | "refuseContent"> {
  readonly mirror: Mirror | null;
  /** Rows that contradict the head are set aside instead of refusing. */
  readonly fromHead: boolean;
}

export interface Recovered {
  readonly size: number;
  readonly nextIndex: number;
  /** Where the head's note was found. */
  readonly headFrom: string;
  /** Objects written anew, and objects moved to state/quarantine/. */
  readonly mended: readonly string[];
  readonly quarantined: readonly string[];
  /** Entries that wait in the database to be added anew, and how many of them this run set aside. */
  readonly setAside: number;
  readonly newlySetAside: number;
}

interface Candidate extends OwnNote {
  /** The note with our own signature lines only: what `state/head` holds. */
  readonly own: Uint8Array;
  readonly from: string;
}

/** Recovers the log. Throws `inconsistent` where two signed heads contradict each other, `log_ended` where entries are gone. */
export async function recoverLog(options: RecoverOptions): Promise<Recovered> {
  await refuseAbsent(options);
  await findBeforeMaking(options);
  const held = await takePlaces({ ...options, create: true, makeFolders: true });
  try {
    return await new Recovery(options, held.patient, held.state).run();
  } finally {
    await release(held);
  }
}

/** Where nothing is left of a log, here or at the mirror, nothing is made: a volume may not be mounted. */
async function refuseAbsent(options: RecoverOptions): Promise<void> {
  const { places, mirror } = options;
  if (await exists(places.databasePath)) return;
  if ((await findInStore(options)) !== null) return;
  if (mirror !== null && (await mirror.get(CHECKPOINT_KEY)) !== null) return;
  throw new CairnError("log_absent", {
    detail: `there is no ${places.databasePath}, and nothing in its storage`,
  });
}

/**
 * Beside a database whose store has no folder, everything is found before one is made: what was on a volume that is not
 * mounted must not get another in its place.
 */
async function findBeforeMaking(options: RecoverOptions): Promise<void> {
  const { places } = options;
  if (places.storeLockPath === null || (await exists(dirname(places.storeLockPath)))) return;
  if (!(await exists(places.databasePath))) return;
  const inPart: LogPlaces = {
    ...places,
    storeLockPath: null,
    openStore: () => places.openStore("read"),
  };
  const held = await takePlaces({ ...options, places: inPart, create: true, makeFolders: false });
  try {
    await new Recovery(options, held.patient, held.state).find();
  } finally {
    await release(held);
  }
}

class Recovery {
  readonly #o: RecoverOptions;
  readonly #store: ObjectStore;
  readonly #state: State;
  readonly #mended: string[] = [];
  readonly #quarantined: string[] = [];
  readonly #unsynced: string[] = [];
  /** The head as it was found; null where there is none, or its note is not ours. */
  #head: { readonly record: HeadRecord; readonly version: ObjectVersion } | null = null;
  #owned: OwnedHead | null = null;

  constructor(options: RecoverOptions, store: ObjectStore, state: State) {
    this.#o = options;
    this.#store = store;
    this.#state = state;
  }

  /** Finds every entry under the head and changes nothing. Throws what `run` would. */
  async find(): Promise<void> {
    const { head, candidates, rows } = await this.#search();
    await this.#findAll(head, candidates, rows, false);
  }

  async run(): Promise<Recovered> {
    const { keys, hasher, places } = this.#o;
    await this.#store.probe();
    // The rows may change, and then it knows indices of entries that are no longer there and not those that came instead.
    await removeFileDurable(tablePath(places.databasePath));
    const { identity, head, candidates, rows } = await this.#search();
    const found = await this.#findAll(head, candidates, rows, true);
    let { nextIndex } = found;
    const { contradiction } = found;

    let newlySetAside = 0;
    if (contradiction !== null) {
      if (!this.#o.fromHead) {
        throw new CairnError("root_mismatch", {
          detail: `the database's entry ${contradiction} is not the one under the signed head of size ${head.size}`,
        });
      }
      newlySetAside = rows.end - contradiction;
      await this.#state.setAsideRows(contradiction, `contradicts the signed head of size ${head.size}`);
      nextIndex = head.size;
    }

    const emptyRoot = hasher.tree.empty();
    const begun = await readCreating(places.databasePath);
    const databaseId = identity?.databaseId ?? begun ?? randomBytes(16).toString("hex");
    if (identity === null) {
      const keyIds = keyIdsOf(keys);
      await this.#state.create(
        { format: LOG_FORMAT, databaseId, origin: keys.origin, keys: keyIds, pendingKeys: null },
        emptyRoot,
      );
    }
    const end = await this.#adopt(head.size, nextIndex, contradiction);
    await this.#quarantineBeyond(end);
    const published = await this.#published(candidates, head.size);
    await this.#state.resetHeads({
      integrated: { size: head.size, root: head.root },
      signed: { size: head.size, note: head.own },
      published: published === null ? null : { size: published.size, note: published.bytes },
      // Rows begin where their commit did, and what is synced ends with a bundle.
      syncedSize: floorToBundle(Math.min((await this.#state.snapshot()).firstRetained, head.size)),
    });
    await this.#writeHead(databaseId, head);
    await this.#mendCheckpoint(published);
    if (begun !== null) await removeFileDurable(creatingPath(places.databasePath));
    const aside = await this.#state.listSetAside();
    return {
      size: head.size,
      nextIndex: end,
      headFrom: head.from,
      mended: this.#mended,
      quarantined: this.#quarantined,
      setAside: aside.reduce((sum, row) => sum + row.count, 0),
      newlySetAside,
    };
  }

  /** Whose database it is, every note with our signature, and the largest of them. */
  async #search(): Promise<{
    identity: Identity | null;
    head: Candidate;
    candidates: readonly Candidate[];
    rows: RowSource;
  }> {
    const { keys, events } = this.#o;
    const identity = await this.#state.identity();
    if (identity !== null && (identity.origin !== keys.origin || identity.format > LOG_FORMAT)) {
      throw new CairnError("identity_mismatch", { detail: `the database is of ${identity.origin}` });
    }
    this.#head = await this.#readHead();
    const candidates = await this.#candidates(identity !== null);
    const head = candidates.reduce<Candidate | null>(
      (best, each) => (best === null || each.size > best.size ? each : best),
      null,
    );
    if (head === null)
      throw new CairnError("log_absent", { detail: "nothing holds a note that this key signed" });
    events.note("recovering", { size: head.size, from: head.from });
    return { identity, head, candidates, rows: await RowSource.open(this.#state, identity !== null) };
  }

  #ownLines(bytes: Uint8Array): Uint8Array {
    const { text, signatures } = parseNote(bytes);
    const isOurs = (line: NoteSignature): boolean =>
      this.#o.keys.verifiers.some(({ name, keyId }) => name === line.name && keyId === line.keyId);
    return printNote({ text, signatures: signatures.filter(isOurs) });
  }

  /** Every note that verifies under our keys, wherever it is. What does not verify is only told of. */
  async #candidates(hasDatabase: boolean): Promise<Candidate[]> {
    const candidates: Candidate[] = [];
    const offer = (from: string, bytes: Uint8Array | null | undefined): void => {
      if (bytes === null || bytes === undefined) return;
      try {
        candidates.push({
          from,
          bytes,
          own: this.#ownLines(bytes),
          ...readOwnCheckpoint(bytes, this.#o.keys.origin, this.#o.keys.verifiers),
        });
      } catch (error) {
        if (!isCairnError(error)) throw error;
        this.#o.events.trouble("not_our_note", from, error);
      }
    };
    if (hasDatabase) {
      const snapshot = await this.#state.snapshot();
      offer("database (signed)", snapshot.signed?.note);
      offer("database (published)", snapshot.published?.note);
    }
    offer(HEAD_KEY, this.#head === null ? null : Buffer.from(this.#head.record.note));
    offer(CHECKPOINT_KEY, (await this.#store.get(CHECKPOINT_KEY))?.bytes);
    for (const peer of this.#o.witnesses?.peers ?? []) {
      const { fetch } = this.#o.witnesses as LogWitnesses;
      const { sha256 } = this.#o.hasher.tree;
      const url = peer.monitorUrl ?? peer.url;
      offer(`${WITNESS}${peer.name}`, await monitoredCheckpoint(fetch, url, this.#o.keys.origin, sha256));
    }
    if (this.#o.mirror !== null) offer("mirror", await this.#o.mirror.get(CHECKPOINT_KEY));
    return candidates;
  }

  async #readHead(): Promise<{ record: HeadRecord; version: ObjectVersion } | null> {
    const object = await this.#store.get(HEAD_KEY);
    const record = object === null ? null : readHead(object.bytes);
    if (object === null || record === null) return null;
    if (record.origin !== this.#o.keys.origin) {
      throw new CairnError("identity_mismatch", {
        detail: `${HEAD_KEY} in ${this.#store.location} is of ${record.origin}`,
      });
    }
    return this.#isOurs(record.note) ? { record, version: object.version } : null;
  }

  /**
   * Takes over the very head that was found, before anything is changed: no lock keeps another machine from a bucket, and a
   * log that runs there stops at its next look. Where there is no head, or a damaged one, that stops it too.
   */
  async #takeHead(): Promise<void> {
    if (this.#head === null || this.#owned !== null) return;
    const { clock, events } = this.#o;
    this.#owned = await OwnedHead.take(
      {
        store: this.#store,
        clock,
        stop: new AbortController().signal,
        onTrouble: (what, key, error) => events.trouble(what, key, error),
      },
      this.#head,
      randomBytes(16).toString("hex"),
    );
    if (this.#owned === null) throw changedMeanwhile(HEAD_KEY);
  }

  #isOurs(note: string): boolean {
    try {
      readOwnCheckpoint(Buffer.from(note), this.#o.keys.origin, this.#o.keys.verifiers);
      return true;
    } catch (error) {
      if (!isCairnError(error)) throw error;
      return false;
    }
  }

  /**
   * Finds every entry up to the head, from storage, rows or the mirror, such that the roots at all signed sizes are met;
   * with `mend`, mends the full tiles on the way. Several orders of trust are tried, since a damaged copy shows only in the
   * root.
   */
  async #findAll(
    head: Candidate,
    candidates: readonly Candidate[],
    rows: RowSource,
    mend: boolean,
  ): Promise<{ nextIndex: number; contradiction: number | null }> {
    const orders: readonly (readonly Source[])[] = [
      ["store", "rows", "mirror"],
      ["rows", "store", "mirror"],
      ["mirror", "store", "rows"],
    ];
    let failure: CairnError | null = null;
    for (const order of orders) {
      const usable = order.filter((source) => source !== "mirror" || this.#o.mirror !== null);
      try {
        const contradiction = await this.#fold(head, candidates, rows, usable, false);
        if (mend) {
          // Only now is it certain what the right bytes are.
          await this.#takeHead();
          await this.#fold(head, candidates, rows, usable, true);
        }
        return { nextIndex: Math.max(head.size, contradiction === null ? rows.end : 0), contradiction };
      } catch (error) {
        if (!isCairnError(error, "log_ended") && !isCairnError(error, "inconsistent")) throw error;
        failure ??= error;
      }
    }
    throw failure ?? new CairnError("log_ended");
  }

  /** One pass over all entries. Answers the first index at which a row differs from what the head covers, or null. */
  async #fold(
    head: Candidate,
    candidates: readonly Candidate[],
    rows: RowSource,
    order: readonly Source[],
    mend: boolean,
  ): Promise<number | null> {
    const { hasher, events } = this.#o;
    const edge = new RightEdge(hasher);
    let contradiction: number | null = null;
    const full: EdgeTile[] = [];
    const sizes = [...new Set(candidates.map((each) => each.size))].sort((a, b) => a - b);
    const bundles = Math.ceil(head.size / TILE_WIDTH);
    this.#compare(candidates, 0, edge);
    for (let from = 0; from < bundles; from += READS_AT_ONCE) {
      const some = Array.from({ length: Math.min(READS_AT_ONCE, bundles - from) }, (_, i) => from + i);
      const found = await Promise.all(
        some.map((index) =>
          this.#bundle(index, Math.min(TILE_WIDTH, head.size - index * TILE_WIDTH), rows, order),
        ),
      );
      const right: { readonly key: string; readonly bytes: Uint8Array }[] = [];
      for (const [i, bundle] of found.entries()) {
        const index = from + i;
        const width = Math.min(TILE_WIDTH, head.size - index * TILE_WIDTH);
        const hashes = leafHashesOf(bundle, width, hasher);
        contradiction ??= await rows.firstDifference(index * TILE_WIDTH, hashes);
        for (let position = 0; position < width; ) {
          const next = sizes.find((size) => size > edge.size) ?? head.size;
          const count = Math.min(width - position, next - edge.size);
          edge.append(hashes, position * HASH_BYTES, count, (tile) => full.push(tile));
          position += count;
          this.#compare(candidates, edge.size, edge);
        }
        right.push({ key: entriesPath(index, width), bytes: bundle });
      }
      const tiles = full.splice(0).map(({ level, index, bytes }) => ({ key: tilePath(level, index), bytes }));
      if (mend) {
        // What points comes after what it points to.
        await Promise.all(right.map((object) => this.#mend(object.key, object.bytes)));
        await Promise.all(tiles.map((object) => this.#mend(object.key, object.bytes)));
      }
      if (from % (READS_AT_ONCE * 64) === 0) {
        events.note(mend ? "recover_mending" : "recover_verifying", { entries: edge.size, of: head.size });
      }
    }
    if (mend) {
      for (const tile of edge.partials())
        await this.#mend(tilePath(tile.level, tile.index, tile.width), tile.bytes);
      await this.#sync();
    }
    return contradiction;
  }

  #compare(candidates: readonly Candidate[], size: number, edge: RightEdge): void {
    for (const each of candidates) {
      if (each.size !== size) continue;
      const root = edge.root();
      if (equalBytes(root, each.root)) continue;
      throw new CairnError("inconsistent", {
        detail: `at size ${size} ${each.from} has ${toHex(each.root)}, the entries that were found give ${toHex(root)}`,
      });
    }
  }

  /** The framed entries of bundle `index`, `width` of them, from the first source that has them. */
  async #bundle(
    index: number,
    width: number,
    rows: RowSource,
    order: readonly Source[],
  ): Promise<Uint8Array> {
    for (const source of order) {
      const bundle =
        source === "store"
          ? await firstBundle(index, width, async (key) => (await this.#store.get(key))?.bytes ?? null)
          : source === "rows"
            ? await rows.bundle(index, width)
            : await firstBundle(index, width, async (key) => (await this.#o.mirror?.get(key)) ?? null);
      if (bundle !== null) return bundle;
    }
    throw new CairnError("log_ended", { detail: `nothing holds entries ${index * TILE_WIDTH} and on` });
  }

  /** Leaves an object that stands right; else puts what is there into quarantine and these bytes in its place. */
  async #mend(key: string, bytes: Uint8Array): Promise<void> {
    const there = await this.#store.get(key);
    if (there === null || !equalBytes(there.bytes, bytes)) {
      if (there !== null) await this.#quarantine(key, there.bytes);
      await this.#store.overwrite(key, bytes);
      this.#mended.push(key);
    }
    this.#unsynced.push(key);
    if (this.#unsynced.length >= SYNC_KEYS) await this.#sync();
  }

  async #sync(): Promise<void> {
    const keys = this.#unsynced.splice(0);
    if (!this.#store.durableOnWrite && keys.length > 0) await this.#store.sync(keys);
  }

  async #quarantine(key: string, bytes: Uint8Array): Promise<void> {
    await this.#store.createDurable(quarantineKey(this.#o.clock, key, bytes), bytes);
    this.#quarantined.push(key);
  }

  /**
   * Brings the database's rows up to `nextIndex` and beyond, from bundles: first up to the head, then whatever bundles
   * continue it without a gap. Answers the next index.
   */
  async #adopt(headSize: number, nextIndex: number, contradiction: number | null): Promise<number> {
    const snapshot = await this.#state.snapshot();
    const rows = await RowSource.open(this.#state, true);
    let next = snapshot.nextIndex;
    if (rows.first === rows.end && headSize > 0) {
      // A database without rows starts at the head's last bundle: the newest row is what says where the log ends.
      next = (Math.ceil(headSize / TILE_WIDTH) - 1) * TILE_WIDTH;
    }
    for (;;) {
      const index = Math.floor(next / TILE_WIDTH);
      const bundle = await this.#longestBundle(index, next % TILE_WIDTH, headSize, rows);
      if (bundle === null) break;
      const offsets = bundleOffsets(bundle);
      let width = offsets.length - 1;
      // Beyond the head, bundles of a writer whose rows contradicted it are not adopted.
      if (contradiction !== null) width = Math.min(width, headSize - index * TILE_WIDTH);
      if (width <= next % TILE_WIDTH) break;
      const start = offsets[next % TILE_WIDTH] as number;
      const bytes = bundle.slice(start, offsets[width]);
      const count = width - (next % TILE_WIDTH);
      const row: Row = {
        first: next,
        count,
        bytes,
        hashes: leafHashesOf(bytes, count, this.#o.hasher) as Uint8Array<ArrayBuffer>,
      };
      await this.#state.adoptRows([row]);
      next += count;
    }
    if (next < Math.max(headSize, nextIndex)) {
      throw new CairnError("log_ended", {
        detail: `entries from ${next} on are under the head and nowhere to be found`,
      });
    }
    return next;
  }

  /**
   * The bundle at `index` with the most entries, more than `have`, that holds what the head covers and what the rows say.
   * Those with more that do not are somebody else's, and put aside.
   */
  async #longestBundle(
    index: number,
    have: number,
    headSize: number,
    rows: RowSource,
  ): Promise<Uint8Array | null> {
    const start = index * TILE_WIDTH;
    const covered = Math.min(TILE_WIDTH, Math.max(0, headSize - start));
    const underHead =
      covered === 0 ? null : ((await this.#store.get(entriesPath(index, covered)))?.bytes ?? null);
    const widths: number[] = [];
    for await (const key of this.#store.list(`${entriesPath(index)}.p/`)) {
      widths.push(Number(key.slice(key.lastIndexOf("/") + 1)));
    }
    for (const width of [TILE_WIDTH, ...widths.sort((a, b) => b - a)]) {
      if (width <= have) break;
      const key = entriesPath(index, width);
      const there = await this.#store.get(key);
      if (there === null) continue;
      if (isBundle(there.bytes, width)) {
        const hashes = leafHashesOf(there.bytes, width, this.#o.hasher);
        const agrees = underHead === null || beginsAlike(there.bytes, underHead);
        if (agrees && (await rows.firstDifference(start, hashes)) === null) return there.bytes;
      }
      if (width <= covered) continue;
      await this.#quarantine(key, there.bytes);
      await this.#store.remove(key);
    }
    return null;
  }

  /** Tiles and bundles beyond the last entry belong to nobody now. */
  async #quarantineBeyond(end: number): Promise<void> {
    const beyond: string[] = [];
    for await (const key of this.#store.list("tile/")) {
      const place = tilePlace(key);
      if (place === null) continue;
      if (placeEnd(place) > end) beyond.push(key);
    }
    for (const key of beyond) {
      const there = await this.#store.get(key);
      if (there === null) continue;
      await this.#quarantine(key, there.bytes);
      await this.#store.remove(key);
    }
  }

  /** The largest note that was published, as far as anything here knows. */
  async #published(candidates: readonly Candidate[], headSize: number): Promise<Candidate | null> {
    const published = candidates.filter(
      (each) => each.from !== HEAD_KEY && each.from !== "database (signed)" && !each.from.startsWith(WITNESS),
    );
    return published.reduce<Candidate | null>(
      (best, each) => (each.size <= headSize && (best === null || each.size > best.size) ? each : best),
      null,
    );
  }

  async #writeHead(databaseId: string, head: Candidate): Promise<void> {
    const note = new TextDecoder().decode(head.own);
    const keyIds = keyIdsOf(this.#o.keys);
    if (this.#owned !== null) return this.#owned.amend({ database: databaseId, keyIds, note });
    const there = await this.#store.get(HEAD_KEY);
    const before = there === null ? null : readHead(there.bytes);
    const next = printHead({
      format: HEAD_FORMAT,
      database: databaseId,
      epoch: (before?.epoch ?? 0) + 1,
      holder: randomBytes(16).toString("hex"),
      origin: this.#o.keys.origin,
      keyIds,
      note,
      frozen: before?.frozen ?? false,
    });
    if (there !== null && before === null) await this.#quarantine(HEAD_KEY, there.bytes);
    const result =
      there === null
        ? await this.#store.createDurable(HEAD_KEY, next)
        : await this.#store.replace(HEAD_KEY, next, there.version);
    if (result.outcome === "refused") throw changedMeanwhile(HEAD_KEY);
  }

  async #mendCheckpoint(published: Candidate | null): Promise<void> {
    const there = await this.#store.get(CHECKPOINT_KEY);
    if (there !== null && published !== null && equalBytes(there.bytes, published.bytes)) return;
    if (there !== null) {
      let size = -1;
      try {
        ({ size } = readOwnCheckpoint(there.bytes, this.#o.keys.origin, this.#o.keys.verifiers));
      } catch (error) {
        if (!isCairnError(error)) throw error;
      }
      if (size >= (published?.size ?? 0)) return;
      if (size < 0) await this.#quarantine(CHECKPOINT_KEY, there.bytes);
      if (published === null) return this.#store.remove(CHECKPOINT_KEY);
    }
    if (published === null) return;
    const result =
      there === null
        ? await this.#store.createDurable(CHECKPOINT_KEY, published.bytes)
        : await this.#store.replace(CHECKPOINT_KEY, published.bytes, there.version);
    if (result.outcome === "refused") throw changedMeanwhile(CHECKPOINT_KEY);
    this.#mended.push(CHECKPOINT_KEY);
  }
}

function floorToBundle(size: number): number {
  return size - (size % TILE_WIDTH);
}

type Source = "store" | "rows" | "mirror";

/** The rows of the database as bundles, read in order. */
class RowSource {
  readonly #state: Pick<State, "readRows">;
  readonly first: number;
  readonly end: number;
  #rows: Row[] = [];

  private constructor(state: Pick<State, "readRows">, first: number, end: number) {
    this.#state = state;
    this.first = first;
    this.end = end;
  }

  static async open(state: State, hasDatabase: boolean): Promise<RowSource> {
    if (!hasDatabase) return new RowSource(state, 0, 0);
    const { firstRetained, nextIndex } = await state.snapshot();
    return new RowSource(state, firstRetained, nextIndex);
  }

  /** Entries [index * 256, + width) framed, or null where the rows do not hold all of them. */
  async bundle(index: number, width: number): Promise<Uint8Array | null> {
    const start = index * TILE_WIDTH;
    const end = start + width;
    if (start < this.first || end > this.end) return null;
    const parts: Uint8Array[] = [];
    for (let at = start; at < end; ) {
      const row = await this.#rowAt(at);
      const offsets = bundleOffsets(row.bytes, row.count);
      const to = Math.min(end, row.first + row.count);
      parts.push(row.bytes.subarray(offsets[at - row.first], offsets[to - row.first]));
      at = to;
    }
    return Buffer.concat(parts);
  }

  /** The first index from `start` on at which a row's leaf hash is not the one in `hashes`, or null. */
  async firstDifference(start: number, hashes: Uint8Array): Promise<number | null> {
    const end = Math.min(this.end, start + hashes.length / HASH_BYTES);
    for (let at = Math.max(start, this.first); at < end; ) {
      const row = await this.#rowAt(at);
      const to = Math.min(end, row.first + row.count);
      for (; at < to; at++) {
        const ours = row.hashes.subarray((at - row.first) * HASH_BYTES, (at - row.first + 1) * HASH_BYTES);
        const theirs = hashes.subarray((at - start) * HASH_BYTES, (at - start + 1) * HASH_BYTES);
        if (!equalBytes(ours, theirs)) return at;
      }
    }
    return null;
  }

  async #rowAt(index: number): Promise<Row> {
    const held = this.#rows.find((row) => index >= row.first && index < row.first + row.count);
    if (held !== undefined) return held;
    const rows = await this.#state.readRows(index, ROW_READ_BYTES);
    const row = rows[0];
    if (row === undefined || index < row.first || index >= row.first + row.count) {
      throw new CairnError("internal", { detail: `no row holds index ${index}` });
    }
    this.#rows = rows;
    return row;
  }
}

/** The bundle of exactly `width` entries at `index`, cut from a wider one where there is one. */
async function firstBundle(
  index: number,
  width: number,
  get: (key: string) => Promise<Uint8Array | null>,
): Promise<Uint8Array | null> {
  const keys = width === TILE_WIDTH ? [entriesPath(index)] : [entriesPath(index, width), entriesPath(index)];
  for (const key of keys) {
    const bytes = await get(key);
    if (bytes === null) continue;
    try {
      const offsets = bundleOffsets(bytes);
      if (offsets.length - 1 >= width) return bytes.slice(0, offsets[width]);
    } catch (error) {
      if (!isCairnError(error)) throw error;
    }
  }
  return null;
}

function changedMeanwhile(key: string): CairnError {
  return new CairnError("fenced", { detail: `${key} changed meanwhile` });
}

/** The record, or null where the bytes are no head. */
function readHead(bytes: Uint8Array): HeadRecord | null {
  try {
    return parseHead(bytes);
  } catch (error) {
    if (!isCairnError(error, "head_damaged")) throw error;
    return null;
  }
}

/** True where the shorter of two bundles is the beginning of the other. */
function beginsAlike(a: Uint8Array, b: Uint8Array): boolean {
  const length = Math.min(a.length, b.length);
  return equalBytes(a.subarray(0, length), b.subarray(0, length));
}

function isBundle(bytes: Uint8Array, width: number): boolean {
  try {
    bundleOffsets(bytes, width);
    return true;
  } catch (error) {
    if (!isCairnError(error)) throw error;
    return false;
  }
}
