// A log with a life: opened under its locks, judged before anything is written, mended, run, and closed so that the next
// start goes on. It puts the parts together and owns what they share: what is published, what waits, why it stopped.

import { randomBytes } from "node:crypto";
import { setMaxListeners } from "node:events";
import { basename, dirname } from "node:path";
import { CairnError, isCairnError } from "../core/errors.ts";
import { decodeUtf8 } from "../core/bytes.ts";
import { HASH_BYTES } from "../core/hash.ts";
import { printPolicy } from "../core/policy.ts";
import { consistencyProof, rootFromTiles } from "../core/tile-proof.ts";
import { tilePath } from "../core/tile-path.ts";
import { TILE_WIDTH } from "../core/tile.ts";
import { takeLock } from "../state/lock.ts";
import type { Lock } from "../state/lock.ts";
import type { Row, SetAsideRow, State } from "../state/state.ts";
import { makeFolderDurable, removeFileDurable, removeLeftovers } from "../storage/durable.ts";
import type { ObjectStore } from "../storage/store.ts";
import { hasDisjointQuorums } from "../witness/client/overlap.ts";
import { Quorum } from "../witness/client/quorum.ts";
import type {
  AddCallback,
  Log,
  LogStatus,
  ProofTicket,
  PublishedCheckpoint,
  ReadObject,
  Receipt,
} from "./api.ts";
import { Backlog } from "./backlog.ts";
import { type Clock, pause } from "./clock.ts";
import { Collector } from "./collector.ts";
import { createLog, creatingPath, exists, readCreating, surveyStore } from "./creation.ts";
import { fullTile } from "./edge.ts";
import type { Repair } from "./edge.ts";
import { fatalError } from "./fatal.ts";
import { HEAD_KEY, OwnedHead } from "./head.ts";
import { Integrator } from "./integrator.ts";
import { judge } from "./judge.ts";
import type { Judged } from "./judge.ts";
import { loadTable, saveTable, tablePath } from "./leaf-table-file.ts";
import { LeafTable, TABLE_KEY_BYTES } from "./leaf-table.ts";
import { mendNarrower } from "./narrower.ts";
import { ObjectWriter } from "./objects.ts";
import type { LogOptions, LogPlaces, LogWitnesses } from "./options.ts";
import { patientStore, START_PATIENCE_MS } from "./patient-store.ts";
import { Proofs } from "./proofs.ts";
import { Publisher, publishedCheckpoint } from "./publisher.ts";
import { Reader } from "./reader.ts";
import { Sequencer } from "./sequencer.ts";
import { LOG_RESERVE, SpaceWatch, giveUpBallast, layBallast } from "./space.ts";

/** How often the epoch is tried on a freshly judged head before a start gives up. */
const TAKE_ATTEMPTS = 3;
/** What a stop grants its last round. */
const LAST_ROUND_MS = 10_000;
const TILE_READS_AT_ONCE = 16;
/** Of the database's id, in entity tags. */
const ETAG_PREFIX_DIGITS = 12;
/** Rows hashed into the table in one read. */
const TABLE_ROWS_AT_ONCE = 256;
/** The table is saved when it has grown by this share of itself, and by this many entries, since the last time. */
const SAVE_GROWTH = 0.25;
const SAVE_ENTRIES = 200_000;
const SLICE_MS = 3;

/** Everything a log holds while it is open, in the order in which it was taken. */
interface Held {
  readonly locks: readonly Lock[];
  readonly store: ObjectStore;
  /** The same store, for what a start or a command asks of it: it waits for a while. */
  readonly patient: ObjectStore;
  readonly state: State;
}

/** What a freeze left. */
export interface Frozen {
  readonly size: number;
  /** Acknowledged entries that will never be published: from `size` on. */
  readonly abandoned: number;
}

/** A log as its own process has it: with what `recover` left to be added anew. */
export interface OwnedLog extends Log {
  setAside(): Promise<SetAsideRow[]>;
  /**
   * Ends writing for ever: everything acknowledged is published first, and then `state/head` says that the log is frozen.
   * With `now` what is not published yet is abandoned, and said. The log is only good for `close` afterwards.
   */
  freeze(options: { readonly now: boolean }): Promise<Frozen>;
  /** Forgets a run that was added anew; its acknowledgements are durable. */
  forgetSetAside(id: number): Promise<void>;
}

/**
 * Opens a log for writing: takes its locks, creates it where that was asked for, judges, probes the store and takes the
 * next epoch. Mending and the deduplication table go on afterwards (`writable`). Throws the refusal; then nothing is held.
 */
export async function openLog(options: LogOptions): Promise<OwnedLog> {
  const held = await takePlaces({ ...options, makeFolders: options.create && (await isAbsent(options)) });
  try {
    await createIfAsked(options, held);
    warnOfWhatCannotBeDetected(options);
    const { judged, head, stop } = await takeHead(options, held);
    return await RunningLog.start(options, held, judged, head, stop);
  } catch (error) {
    await release(held);
    throw error;
  }
}

/** True where nothing of a log stands. Throws `log_exists` where its tiles do, unless a creation was interrupted here. */
async function isAbsent(options: LogOptions): Promise<boolean> {
  const { places } = options;
  if (await exists(places.databasePath)) return false;
  const found = await findInStore(options);
  if (found === null || (await readCreating(places.databasePath)) !== null) return true;
  throw new CairnError("log_exists", {
    detail: `there is no ${places.databasePath}, and ${found} is here: see cairn recover`,
  });
}

type PlacesOptions = Pick<LogOptions, "places" | "clock" | "events">;

/**
 * Locks, store and database of a log; refuses where there is none and none is to be created. The folders are made only
 * with `makeFolders`: an absent one is a volume that is not mounted, unless the log is absent as a whole.
 */
export async function takePlaces(
  options: PlacesOptions & Pick<LogOptions, "create"> & { readonly makeFolders: boolean },
): Promise<Held> {
  const { places, create, makeFolders, clock } = options;
  if (!create && !(await exists(places.databasePath))) await refuseAbsent(options);
  const lockPaths = [
    `${places.databasePath}.lock`,
    ...(places.storeLockPath === null ? [] : [places.storeLockPath]),
  ];
  const locks: Lock[] = [];
  let store: ObjectStore | null = null;
  try {
    for (const path of lockPaths) {
      if (makeFolders) await makeFolderDurable(dirname(path));
      else if (path === places.storeLockPath && !(await exists(dirname(path))))
        await refuseWithoutStore(places);
      locks.push(await lockWithRoom(path, places, clock));
    }
    await removeLeftovers(dirname(places.databasePath), `${basename(places.databasePath)}.`);
    await giveUpBallast(places);
    store = await places.openStore("write");
    const state = await places.openState({ create });
    return { locks, store, patient: patient(store, options), state };
  } catch (error) {
    await store?.close();
    for (const lock of locks.reverse()) lock.release();
    throw error;
  }
}

/** Locks are small files: where not even they can be written the ballast goes, but never while another holds the lock. */
async function lockWithRoom(path: string, places: LogPlaces, clock: Clock): Promise<Lock> {
  const now = (): number => clock.now();
  try {
    return await takeLock(path, { now });
  } catch (error) {
    if (!isCairnError(error, "storage_low") || !(await giveUpBallast(places))) throw error;
    return takeLock(path, { now });
  }
}

async function refuseAbsent(options: PlacesOptions): Promise<never> {
  const { places } = options;
  const found = await findInStore(options);
  throw found === null
    ? new CairnError("log_absent", {
        detail: `there is no ${places.databasePath}, and nothing in its storage`,
      })
    : new CairnError("database_lost", { detail: `there is no ${places.databasePath}, and ${found} is here` });
}

/** Throws `head_damaged` where the database holds a log, whose folder is gone or lies on a volume that is not mounted. */
async function refuseWithoutStore(places: LogPlaces): Promise<void> {
  const state = await places.openState({ create: false });
  try {
    if ((await state.identity()) === null) return;
  } finally {
    await state.close();
  }
  const folder = dirname(places.storeLockPath as string);
  throw new CairnError("head_damaged", {
    detail: `the folder ${folder} does not exist: check first that its volume is mounted`,
  });
}

/** Something of a log that stands in its storage, with where it stands, or null. */
export async function findInStore(options: PlacesOptions): Promise<string | null> {
  const store = await options.places.openStore("read");
  try {
    const { head, rest } = await surveyStore(patient(store, options));
    const found = head !== null ? HEAD_KEY : rest;
    return found === null ? null : `${found} in ${store.location}`;
  } finally {
    await store.close();
  }
}

function patient(store: ObjectStore, { clock, events }: PlacesOptions): ObjectStore {
  return patientStore(store, {
    clock,
    patienceMs: START_PATIENCE_MS,
    onTrouble: (what, key, error) => events.trouble(what, key, error),
  });
}

export async function release(held: Held): Promise<void> {
  await held.state.close();
  await held.store.close();
  for (const lock of [...held.locks].reverse()) lock.release();
}

async function createIfAsked(options: LogOptions, { patient: store, state }: Held): Promise<void> {
  const identity = await state.identity();
  const path = options.places.databasePath;
  const begun = await readCreating(path);
  if (identity !== null) {
    if (begun === null) {
      if (options.create)
        options.events.trouble("log_create_set", "LOG_CREATE is set and the log exists: unset it");
      return;
    }
    if (begun !== identity.databaseId) {
      throw new CairnError("creation_unfinished", {
        detail: `${creatingPath(path)} holds another database's id`,
      });
    }
    // All but its last step was done.
    await removeFileDurable(creatingPath(path));
    return;
  }
  if (!options.create) {
    const { head, rest } = await surveyStore(store);
    if (begun !== null)
      throw new CairnError("creation_unfinished", { detail: "repeat it with LOG_CREATE=true" });
    const detail = `${state.location} holds no log`;
    throw new CairnError(head === null && rest === null ? "log_absent" : "database_lost", { detail });
  }
  await createLog(options, store, state);
  options.events.note("created", { origin: options.keys.origin });
}

/** What nobody can prevent here is at least said: a restored snapshot of everything looks like the log itself. */
function warnOfWhatCannotBeDetected({ witnesses, places, events }: LogOptions): void {
  if (witnesses === null) {
    if (places.storeLockPath === null) return;
    events.trouble(
      "no_witness",
      "tiles lie beside the database and no witness is configured: a restored snapshot of both cannot be detected",
    );
  } else if (hasDisjointQuorums(witnesses.policy) === true) {
    events.trouble(
      "disjoint_quorums",
      "two quorums of this policy need not meet: a restored snapshot of database and store together could sign twice",
    );
  }
}

interface Taken {
  readonly judged: Judged;
  readonly head: OwnedHead;
  /** Ends every wait for the store when the log closes. */
  readonly stop: AbortController;
}

/** Judges, probes the store, and takes the epoch on the very version that was judged. */
export async function takeHead(
  options: Pick<LogOptions, "keys" | "hasher" | "events" | "clock"> & { readonly anyKeys?: boolean },
  { store, patient, state }: Held,
): Promise<Taken> {
  const stop = new AbortController();
  for (let attempt = 0; attempt < TAKE_ATTEMPTS; attempt++) {
    const judged = await judge({ ...options, store: patient, state });
    if (attempt === 0) await patient.probe();
    const head = await OwnedHead.take(
      {
        store,
        clock: options.clock,
        stop: stop.signal,
        onTrouble: (what, key, error) => options.events.trouble(what, key, error),
      },
      judged.head,
      randomBytes(16).toString("hex"),
    );
    if (head !== null) return { judged, head, stop };
  }
  throw new CairnError("locked", {
    detail: `${HEAD_KEY} in ${store.location} is taken over and over by another process`,
  });
}

class RunningLog implements OwnedLog {
  readonly origin: string;
  readonly vkeys: readonly string[];
  readonly policyText: string | null;
  readonly failed: Promise<CairnError>;
  readonly writable: Promise<void>;

  readonly #o: LogOptions;
  readonly #held: Held;
  readonly #stop: AbortController;
  readonly #reader: Reader;
  readonly #writer: ObjectWriter;
  readonly #backlog: Backlog;
  readonly #integrator: Integrator;
  readonly #publisher: Publisher;
  readonly #collector: Collector;
  readonly #proofs: Proofs;
  readonly #space: SpaceWatch;
  readonly #quorum: Quorum | null;
  readonly #head: OwnedHead;
  readonly #databaseId: string;
  /** Null until the deduplication table is complete. */
  #sequencer: Sequencer | null = null;
  #table: LeafTable | null = null;
  #tableSaved = 0;
  #savingTable: Promise<void> | null = null;
  readonly #layingBallast: Promise<void>;
  /** Objects that end above this may still be damaged or missing: a start is mending them. */
  #trusted: number;
  readonly #mendEnd: number;
  #published: PublishedCheckpoint | null;
  /** Committed and unpublished, oldest first: where each commit ended, its bytes, and when it was. */
  readonly #unpublished: { readonly end: number; readonly bytes: number; readonly at: number }[] = [];
  #unpublishedBytes = 0;
  /** Ends the making of the deduplication table, which may be waiting for a store that is away. */
  readonly #fillStop = new AbortController();
  readonly #startedAt: number;
  #draining = false;
  /** `state/head` says so: read-only for ever. */
  readonly #frozen: boolean;
  #lowSpace = false;
  #failure: CairnError | null = null;
  #fail: (error: CairnError) => void = () => undefined;
  #closing: Promise<void> | null = null;
  /** The places are given back: nothing more can be read from the database. */
  #closed = false;

  static async start(
    options: LogOptions,
    held: Held,
    judged: Judged,
    head: OwnedHead,
    stop: AbortController,
  ): Promise<RunningLog> {
    const { state } = held;
    const { snapshot, signed, published } = judged;
    const identity = await state.identity();
    if (identity === null) throw new CairnError("database_lost", { detail: state.location });
    // What the head says beyond the database's own record is adopted: it was signed, and it equals ours.
    if (signed.size > snapshot.integrated.size) await state.recordIntegrated(signed);
    if (snapshot.signed === null || signed.size > snapshot.signed.size) {
      await state.recordSigned({ size: signed.size, note: signed.bytes });
    }
    if (published !== null && (snapshot.published === null || published.size > snapshot.published.size)) {
      await state.recordPublished({ size: published.size, note: published.bytes });
    }
    const sizes = await state.witnessSizes();
    const waiting = await state.bytesFrom(published?.size ?? 0);
    // Whatever waits for the store listens to one of the two.
    setMaxListeners(0, stop.signal);
    return new RunningLog(options, held, judged, head, stop, identity.databaseId, sizes, waiting);
  }

  private constructor(
    options: LogOptions,
    held: Held,
    judged: Judged,
    head: OwnedHead,
    stop: AbortController,
    databaseId: string,
    witnessSizes: ReadonlyMap<string, number>,
    unpublishedBytes: number,
  ) {
    const { keys, limits, clock, hasher, events } = options;
    const { store, state } = held;
    const { snapshot, signed, published, restored } = judged;
    this.origin = keys.origin;
    this.vkeys = keys.signers.map((signer) => signer.vkey);
    this.policyText = options.witnesses === null ? null : decodeUtf8(printPolicy(options.witnesses.policy));
    setMaxListeners(0, this.#fillStop.signal);
    this.#o = options;
    this.#held = held;
    this.#stop = stop;
    this.#head = head;
    this.#databaseId = databaseId;
    this.failed = new Promise((resolve) => {
      this.#fail = resolve;
    });
    this.#published =
      published === null
        ? null
        : publishedCheckpoint(published.bytes, published.size, published.root, clock.now());
    this.#trusted = Math.max(snapshot.firstRetained, snapshot.syncedSize);
    this.#mendEnd = snapshot.nextIndex;
    this.#frozen = judged.head.record.frozen;
    this.#startedAt = clock.monotonic();
    if (snapshot.nextIndex > (published?.size ?? 0)) {
      // What waited before this start goes on waiting: it counts towards the backlog, and its time from here.
      this.#unpublished.push({ end: snapshot.nextIndex, bytes: unpublishedBytes, at: clock.monotonic() });
      this.#unpublishedBytes = unpublishedBytes;
    }

    const onFatal = (error: CairnError): void => this.#die(error);
    const onTrouble = (what: string, key: string, error: unknown): void => events.trouble(what, key, error);
    this.#writer = new ObjectWriter({
      store,
      clock,
      requireOwnership: () => head.requireOwnership(),
      signedSize: () => this.#publisher.signedSize,
      onFatal,
      onTrouble,
    });
    this.#reader = new Reader({
      store,
      publishedSize: () => this.#published?.size ?? null,
      etagPrefix: databaseId.slice(0, ETAG_PREFIX_DIGITS),
      inFlight: (key) => this.#writer.inFlight(key),
      onLost: (key) => events.trouble("object_missing", key),
    });
    this.#backlog = new Backlog(state, snapshot.nextIndex, hasher);
    this.#backlog.resumeAt(snapshot.firstRetained);
    this.#integrator = new Integrator({
      backlog: this.#backlog,
      writer: this.#writer,
      hasher,
      edge: restored.edge,
      openBundle: restored.openBundle,
      onTile: (path, bytes) => this.#reader.keep(path, bytes),
      monotonic: () => clock.monotonic(),
      mendSizes: new Set([signed.size, published?.size ?? 0, Math.max(judged.checkpointSize, 0)]),
      mendEnd: snapshot.nextIndex,
      syncedSize: snapshot.syncedSize,
      signedBefore: signed,
      onFatal,
    });
    this.#quorum =
      options.witnesses === null ? null : this.#openQuorum(options.witnesses, head, witnessSizes);
    this.#publisher = new Publisher({
      cosigner: this.#quorum,
      origin: keys.origin,
      signers: keys.signers,
      verifiers: keys.verifiers,
      head,
      integrator: this.#integrator,
      state,
      store,
      clock,
      committed: () => this.#backlog.end,
      intervalMs: limits.checkpointIntervalMs,
      republishMs: limits.republishIntervalMs,
      published: judged.checkpointSize === published?.size ? this.#published : null,
      checkpointVersion: judged.checkpointVersion,
      onPublished: (checkpoint, timings) => {
        this.#onPublished(checkpoint);
        events.round(checkpoint.size, timings);
      },
      onFatal,
      onTrouble,
    });
    this.#collector = new Collector({
      store,
      state,
      integrator: this.#integrator,
      hasher,
      clock,
      syncedSize: snapshot.syncedSize,
      publishedSize: () => this.#publisher.published?.size ?? 0,
      onFatal,
      onTrouble,
    });
    this.#proofs = new Proofs({
      clock,
      hasher: hasher.tree,
      verifiers: keys.verifiers,
      timeoutMs: limits.proofTimeoutMs,
      published: () => this.#published,
      checkpointAt: (size) => this.checkpointAt(size),
      read: (level, index, width) => this.read("tile", level, index, width),
    });
    this.#space = new SpaceWatch({
      clock,
      places: options.places,
      freeInside: () => state.freeBytes(),
      onChange: (low) => this.#setLowSpace(low),
      onTrouble: (error) => events.trouble("space_unknown", options.places.databasePath, error),
    });
    for (const { key, bytes } of restored.repairs) {
      this.#writer.write({ key, bytes, end: snapshot.firstRetained, mode: "keep" });
    }
    if (!this.#frozen) this.#publisher.start();
    this.#space.start();
    this.#layingBallast = layBallast(options.places).catch((error: unknown) =>
      events.trouble("no_ballast", "", error),
    );
    void this.#mended(signed.size);
    this.writable = this.#prepare(snapshot.nextIndex).catch((error: unknown) => {
      if (!this.#isStopping() && this.#failure === null) this.#die(fatalError(error));
    });
  }

  published(): PublishedCheckpoint | null {
    return this.#published;
  }

  async checkpointAt(size: number): Promise<Uint8Array | null> {
    if (this.#published === null || size > this.#published.size) return null;
    if (this.#published.size === size) return this.#published.note;
    if (this.#closed) throw new CairnError("draining");
    return this.#held.state.publishedNote(size);
  }

  read(
    kind: "tile" | "entries",
    level: number,
    index: number,
    width: number,
  ): ReadObject | Promise<ReadObject> {
    if (this.#trusted !== Number.POSITIVE_INFINITY) {
      const end = (index * TILE_WIDTH + width) * TILE_WIDTH ** (kind === "tile" ? level : 0);
      if (end > this.#trusted && end <= (this.#published?.size ?? 0)) throw new CairnError("starting");
    }
    return this.#reader.read(kind, level, index, width);
  }

  proof(index: number, size?: number): Promise<Uint8Array> {
    return this.#proofs.proof(index, size);
  }

  checkAdmission(): void {
    const refusal = this.#refusal() ?? this.#sequencer?.refusal(0, 0) ?? null;
    if (refusal !== null) throw refusal;
  }

  add(entry: Uint8Array, done: AddCallback): void {
    const refusal = this.#refusal();
    if (refusal !== null) return done(refusal, null);
    (this.#sequencer as Sequencer).add(entry, done);
  }

  addBatch(entries: readonly Uint8Array[]): Promise<(Receipt | CairnError)[]> {
    const refusal = this.#refusal();
    if (refusal !== null) return Promise.reject(refusal);
    return (this.#sequencer as Sequencer).addBatch(entries);
  }

  reserveProof(): ProofTicket {
    return this.#proofs.reserve();
  }

  awaitProof(ticket: ProofTicket, receipt: Receipt): Promise<Uint8Array> {
    return this.#proofs.wait(ticket, receipt);
  }

  status(): LogStatus {
    const { clock, limits } = this.#o;
    const reasons: { code: string; detail: string }[] = [];
    const oldest = this.#unpublished[0];
    const lag = oldest === undefined ? 0 : clock.monotonic() - oldest.at;
    const waitsForFirstEntry = this.#publisher.waitsForFirstEntry;
    if (this.#failure !== null) reasons.push({ code: this.#failure.code, detail: this.#failure.message });
    if (this.#draining) reasons.push({ code: "draining", detail: "the process is stopping" });
    else if (this.#sequencer === null) {
      reasons.push({ code: "starting", detail: "the deduplication table is not complete" });
    } else if (this.#trusted !== Number.POSITIVE_INFINITY) {
      reasons.push({ code: "starting", detail: "the newest tiles are being written anew" });
    }
    if (this.#lowSpace)
      reasons.push({ code: "storage_low", detail: `less than ${LOG_RESERVE} bytes are free` });
    if (waitsForFirstEntry) {
      reasons.push({
        code: "waiting_for_first_entry",
        detail: "the witnesses do not cosign the empty log",
      });
    }
    const why = this.#whyLate();
    const unborn = this.#published === null && !this.#frozen && !waitsForFirstEntry && oldest === undefined;
    const waited = clock.monotonic() - this.#startedAt;
    if (unborn && waited > limits.readyMaxLagMs) {
      reasons.push({
        code: "publication_late",
        detail: `the first checkpoint waits for ${Math.round(waited / 1000)} s: ${why}`,
      });
    }
    // What a freeze abandoned waits for nothing.
    if (lag > limits.readyMaxLagMs && !this.#frozen) {
      reasons.push({
        code: "publication_late",
        detail: `entries wait for ${Math.round(lag / 1000)} s: ${why}`,
      });
    }
    const [lost, ...others] = this.#reader.lost;
    if (lost !== undefined) {
      const more = others.length === 0 ? "" : ` and ${others.length} more objects`;
      reasons.push({
        code: "object_missing",
        detail: `the storage has lost ${lost}${more}: run cairn recover, with --from another copy`,
      });
    }
    const age = this.#published === null ? null : Math.max(0, clock.now() - this.#published.publishedAt);
    // An idle log too: readers who ask for a fresh checkpoint, and cosignatures of today, get neither.
    const freshMs = Math.max(limits.republishIntervalMs, limits.checkpointIntervalMs) + limits.readyMaxLagMs;
    if (age !== null && age > freshMs && !this.#frozen) {
      reasons.push({ code: "checkpoint_old", detail: `it is ${Math.round(age / 1000)} s old: ${why}` });
    }
    return {
      ready: reasons.every(({ code }) => code === "waiting_for_first_entry"),
      integratedSize: this.#publisher.signedSize,
      nextIndex: this.#backlog.end,
      publishedSize: this.#published?.size ?? null,
      checkpointAgeSeconds: age === null ? null : Math.floor(age / 1000),
      queuedEntries: this.#sequencer?.waitingEntries ?? 0,
      backlogBytes: this.#unpublishedBytes,
      reasons,
      witnesses: this.#quorum?.status() ?? [],
    };
  }

  #whyLate(): string {
    const { trouble } = this.#publisher;
    if (trouble !== null) return trouble;
    const reasons = (this.#quorum?.status() ?? []).flatMap(({ name, state, lastError }) => {
      if (state === "claims_larger") return [`witness ${name} claims a larger log`];
      return state === "failing" ? [`witness ${name} fails (${lastError})`] : [];
    });
    return reasons.length === 0 ? "integration or publication does not keep up" : reasons.join(", ");
  }

  setAside(): Promise<SetAsideRow[]> {
    return this.#held.state.listSetAside();
  }

  forgetSetAside(id: number): Promise<void> {
    return this.#held.state.removeSetAside([id]);
  }

  async freeze({ now }: { readonly now: boolean }): Promise<Frozen> {
    this.drain();
    await this.writable;
    await this.#sequencer?.idle();
    while (
      !now &&
      !this.#frozen &&
      this.#failure === null &&
      (this.#published?.size ?? -1) < this.#backlog.end
    ) {
      await this.#publisher.finish();
    }
    await this.#publisher.close();
    if (this.#failure !== null) throw this.#failure;
    if (!this.#frozen) await this.#head.amend({ frozen: true });
    const size = this.#published?.size ?? 0;
    return { size, abandoned: this.#backlog.end - size };
  }

  drain(): void {
    this.#draining = true;
    this.#fillStop.abort();
    this.#sequencer?.refuse(new CairnError("draining"));
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  #refusal(): CairnError | null {
    if (this.#failure !== null) return new CairnError("store_unavailable", { cause: this.#failure });
    if (this.#frozen) return new CairnError("frozen");
    if (this.#draining) return new CairnError("draining");
    if (this.#sequencer === null) return new CairnError("starting");
    if (this.#lowSpace) return new CairnError("storage_low");
    if (this.#unpublishedBytes >= this.#o.limits.backlogMaxBytes) return new CairnError("backlog_full");
    return null;
  }

  #openQuorum(witnesses: LogWitnesses, head: OwnedHead, sizes: ReadonlyMap<string, number>): Quorum {
    const { clock, hasher, keys, events } = this.#o;
    const { tree } = hasher;
    return new Quorum({
      ...witnesses,
      origin: keys.origin,
      clock,
      sha256: tree.sha256,
      logVerifiers: keys.verifiers,
      sizes,
      remember: (name, size) => this.#held.state.rememberWitness(name, size),
      // Asked for the size of a round, all of whose objects are stored.
      consistencyProof: (from, to) =>
        consistencyProof(from, to, (level, index, width) => this.#reader.at(to, level, index, width), tree),
      rootAt: async (size) => {
        const signed = this.#publisher.signedSize;
        if (size > signed) throw new CairnError("not_published");
        return rootFromTiles(
          size,
          (level, index, width) => this.#reader.at(signed, level, index, width),
          tree,
        );
      },
      requireOwnership: () => head.requireOwnership(),
      onTrouble: (what, detail) => events.trouble(what, detail),
    });
  }

  /** The deduplication table: the saved one and what came after, or all of it from level-0 tiles and rows. */
  async #prepare(nextIndex: number): Promise<void> {
    const { events, places, clock } = this.#o;
    const began = clock.monotonic();
    const path = tablePath(places.databasePath);
    const saved = await loadTable(path, this.#databaseId, nextIndex);
    // One that cannot be used now must never be used: of another history, it would fit again once this one is as long,
    // and hide what came instead.
    if (saved === null) await removeFileDurable(path);
    const table = saved?.table ?? new LeafTable(randomBytes(TABLE_KEY_BYTES));
    const from = saved?.covered ?? 0;
    await this.#fill(table, from, nextIndex);
    if (this.#isStopping()) return;
    this.#table = table;
    this.#tableSaved = from;
    this.#sequencer = new Sequencer({
      state: this.#held.state,
      table,
      hasher: this.#o.hasher,
      clock,
      nextIndex,
      maxGroupEntries: this.#o.limits.batchMaxEntries,
      maxGroupAgeMs: this.#o.limits.batchMaxAgeMs,
      leafInMemory: (index) => this.#leafInMemory(index),
      readLeaf: (index) => this.#readLeaf(index),
      refuseContent: this.#o.refuseContent,
      onCommitted: (row) => this.#onCommitted(row),
      onMeasured: (entries, duplicates, ms) => events.commit(entries, duplicates, ms),
      onDuplicate: () => events.duplicate(),
      onNoSpace: () => this.#space.noSpace(),
      onFatal: (error) => this.#die(error),
    });
    const ms = Math.round(clock.monotonic() - began);
    events.note("writable", { entries: nextIndex, read_from: from, ms });
  }

  async #fillFromTiles(table: LeafTable, from: number, end: number): Promise<void> {
    const fingerprint = { high: 0, low: 0 };
    const repairs: Repair[] = [];
    const { clock, events } = this.#o;
    // There is nothing else to do meanwhile, so it waits as long as the store is away.
    const store = patientStore(this.#held.store, {
      clock,
      patienceMs: Number.POSITIVE_INFINITY,
      stop: this.#fillStop.signal,
      onTrouble: (what, key, error) => events.trouble(what, key, error),
    });
    const last = Math.ceil(end / TILE_WIDTH);
    for (let tile = Math.floor(from / TILE_WIDTH); tile < last; tile += TILE_READS_AT_ONCE) {
      if (this.#isStopping()) return;
      const some = Array.from({ length: Math.min(TILE_READS_AT_ONCE, last - tile) }, (_, i) => tile + i);
      const tiles = await Promise.all(
        some.map((index) => fullTile(store, this.#o.hasher, 0, index, repairs)),
      );
      for (const [i, bytes] of tiles.entries()) {
        for (let position = 0; position < TILE_WIDTH; position++) {
          const index = (tile + i) * TILE_WIDTH + position;
          if (index < from || index >= end) continue;
          table.fingerprint(bytes, position * HASH_BYTES, fingerprint);
          table.insert(fingerprint, index);
        }
      }
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    for (const { key, bytes } of repairs) this.#writer.write({ key, bytes, end: 0, mode: "keep" });
  }

  /** From rows where the database has them, else from tiles; rows may be collected while this goes on. */
  async #fill(table: LeafTable, from: number, end: number): Promise<void> {
    const fingerprint = { high: 0, low: 0 };
    for (let next = from; next < end; ) {
      if (this.#isStopping()) return;
      const rows = await this.#held.state.readHashes(next, TABLE_ROWS_AT_ONCE);
      const first = rows[0]?.first;
      if (first === undefined) throw new CairnError("internal", { detail: `no row holds index ${next}` });
      if (first > next) {
        await this.#fillFromTiles(table, next, Math.min(first, end));
        next = first;
        continue;
      }
      let sliceEnd = this.#o.clock.monotonic() + SLICE_MS;
      for (const row of rows) {
        for (let position = Math.max(0, next - row.first); position < row.count; position++) {
          table.fingerprint(row.hashes, position * HASH_BYTES, fingerprint);
          table.insert(fingerprint, row.first + position);
        }
        next = row.first + row.count;
        if (this.#o.clock.monotonic() < sliceEnd) continue;
        await new Promise<void>((resolve) => setImmediate(resolve));
        sliceEnd = this.#o.clock.monotonic() + SLICE_MS;
      }
    }
  }

  #isStopping(): boolean {
    return this.#draining || this.#stop.signal.aborted;
  }

  /** Reads are held back from what a power loss may have taken until it is written anew. */
  async #mended(signedSize: number): Promise<void> {
    try {
      while (this.#integrator.size < this.#mendEnd) {
        this.#integrator.advance();
        await pause(this.#o.clock, 5, this.#stop.signal);
        if (this.#stop.signal.aborted) return;
      }
      await this.#writer.idle();
      this.#trusted = Number.POSITIVE_INFINITY;
    } catch {
      // The writer has stopped, and with it the log.
      return;
    }
    const { store } = this.#held;
    if (store.durableOnWrite) return;
    try {
      await mendNarrower(store, signedSize, (object) => this.#writer.write(object));
    } catch (error) {
      // Nothing that this log serves comes from them.
      if (!this.#stop.signal.aborted) this.#o.events.trouble("partials_not_mended", store.location, error);
    }
  }

  #leafInMemory(index: number): Uint8Array | null {
    const held = this.#backlog.leafHash(index) ?? this.#integrator.leafHash(index);
    if (held !== null) return held;
    const tile = this.#reader.atHand(tilePath(0, Math.floor(index / TILE_WIDTH)));
    const at = (index % TILE_WIDTH) * HASH_BYTES;
    return tile === null ? null : tile.subarray(at, at + HASH_BYTES);
  }

  async #readLeaf(index: number): Promise<Uint8Array> {
    if (index >= this.#integrator.size - (this.#integrator.size % TILE_WIDTH)) {
      const [row] = await this.#held.state.readHashes(index, 1);
      if (row !== undefined && index >= row.first) {
        return row.hashes.subarray((index - row.first) * HASH_BYTES, (index - row.first + 1) * HASH_BYTES);
      }
    }
    const tile = await this.#reader.full("tile", 0, Math.floor(index / TILE_WIDTH));
    return tile.subarray((index % TILE_WIDTH) * HASH_BYTES, (index % TILE_WIDTH) * HASH_BYTES + HASH_BYTES);
  }

  #onCommitted(row: Row): void {
    this.#backlog.push(row);
    this.#unpublished.push({
      end: row.first + row.count,
      bytes: row.bytes.length,
      at: this.#o.clock.monotonic(),
    });
    this.#unpublishedBytes += row.bytes.length;
    this.#integrator.advance();
    this.#publisher.wake();
    this.#saveTableIfGrown();
  }

  #onPublished(checkpoint: PublishedCheckpoint): void {
    this.#published = checkpoint;
    let dropped = 0;
    for (const { end, bytes } of this.#unpublished) {
      if (end > checkpoint.size) break;
      this.#unpublishedBytes -= bytes;
      dropped++;
    }
    this.#unpublished.splice(0, dropped);
    this.#proofs.wake();
    this.#collector.wake();
  }

  #saveTableIfGrown(): void {
    const next = this.#backlog.end;
    const grown = next - this.#tableSaved;
    if (this.#savingTable !== null || grown < SAVE_ENTRIES || grown < this.#tableSaved * SAVE_GROWTH) return;
    this.#savingTable = this.#saveTable(next).finally(() => {
      this.#savingTable = null;
    });
  }

  async #saveTable(covered: number): Promise<void> {
    if (this.#table === null) return;
    try {
      await saveTable(tablePath(this.#o.places.databasePath), this.#table, this.#databaseId, covered);
      this.#tableSaved = covered;
    } catch (error) {
      // It is only a shortcut for the next start.
      this.#o.events.trouble("table_not_saved", tablePath(this.#o.places.databasePath), error);
      this.#tableSaved = covered;
    }
  }

  #setLowSpace(low: boolean): void {
    this.#lowSpace = low;
    if (low)
      this.#o.events.trouble("storage_low", `less than ${LOG_RESERVE} bytes are free: writes are refused`);
    else this.#o.events.note("storage_recovered", {});
  }

  /** The process cannot go on: everything that waits is settled, nothing more is written. */
  #die(error: CairnError): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    this.#sequencer?.abort(new CairnError("store_unavailable", { cause: error }));
    this.#integrator.stop(error);
    this.#writer.stop(error);
    // A round would find the integrator stopped, end, and begin again at once.
    this.#publisher.stop();
    this.#collector.stop();
    this.#proofs.close();
    this.#stop.abort();
    this.#fillStop.abort();
    this.#o.events.trouble("stopped", error.message, error);
    this.#fail(error);
  }

  async #close(): Promise<void> {
    this.drain();
    await this.writable;
    await this.#sequencer?.idle();
    if (this.#failure === null && !this.#frozen) {
      const late = new AbortController();
      await Promise.race([this.#publisher.finish(), pause(this.#o.clock, LAST_ROUND_MS, late.signal)]);
      late.abort();
      await this.#proofs.settled();
    }
    this.#proofs.close();
    this.#space.stop();
    this.#stop.abort();
    const reason = this.#failure ?? new CairnError("draining");
    this.#integrator.stop(reason);
    this.#writer.stop(reason);
    await this.#publisher.close();
    await this.#collector.close();
    await this.#savingTable;
    await this.#layingBallast;
    if (this.#failure === null && this.#backlog.end > this.#tableSaved)
      await this.#saveTable(this.#backlog.end);
    this.#closed = true;
    await release(this.#held);
  }
}
