// Rounds: fix a size, have everything below it stored, record the head, sign it through `state/head`, publish it. In that
// order and no other: a head is recorded before it is signed, signed before it leaves the process, and its tiles are
// readable before it is (architecture, section 2, steps 3 to 6).

import { createHash } from "node:crypto";
import { equalBytes } from "../core/bytes.ts";
import { parseCheckpoint, printCheckpoint, toSafeSize } from "../core/checkpoint.ts";
import { CairnError, isCairnError } from "../core/errors.ts";
import type { Hash } from "../core/hash.ts";
import { openNote, parseNote, printNote, signNote } from "../core/note.ts";
import type { NoteSigner, NoteVerifier } from "../core/note.ts";
import { StateError } from "../state/state.ts";
import type { State } from "../state/state.ts";
import { StoreError } from "../storage/store.ts";
import type { ObjectStore, ObjectVersion } from "../storage/store.ts";
import type { PublishedCheckpoint } from "./api.ts";
import { fatalError } from "./fatal.ts";
import { pause } from "./clock.ts";
import type { Clock } from "./clock.ts";
import { CHECKPOINT_KEY } from "./head.ts";
import type { OwnedHead } from "./head.ts";
import type { Integrator } from "./integrator.ts";
import { FIRST_RETRY_MS, MAX_RETRY_MS } from "./objects.ts";

const ETAG_HEX = 32;

/** Reads a note as a checkpoint of ours. Throws what core throws for anything else. */
export function readOwnCheckpoint(
  bytes: Uint8Array,
  origin: string,
  verifiers: readonly NoteVerifier[],
): { readonly size: number; readonly root: Hash } {
  const note = parseNote(bytes);
  openNote(note, verifiers);
  const checkpoint = parseCheckpoint(note.text);
  if (checkpoint.origin !== origin)
    throw new CairnError("wrong_origin", { detail: `it is of ${checkpoint.origin}` });
  return { size: toSafeSize(checkpoint.size), root: checkpoint.root };
}

export function publishedCheckpoint(
  note: Uint8Array,
  size: number,
  root: Hash,
  publishedAt: number,
): PublishedCheckpoint {
  const etag = `"${createHash("sha256").update(note).digest("hex").slice(0, ETAG_HEX)}"`;
  return { size, root, note, etag, publishedAt };
}

export interface PublisherOptions {
  readonly origin: string;
  readonly signers: readonly NoteSigner[];
  readonly verifiers: readonly NoteVerifier[];
  readonly head: OwnedHead;
  /** Null where the policy asks for no witness and none is configured. */
  readonly cosigner: Cosigner | null;
  readonly integrator: Integrator;
  readonly state: Pick<State, "recordIntegrated" | "recordSigned" | "recordPublished">;
  readonly store: ObjectStore;
  readonly clock: Clock;
  /** One past the newest acknowledged entry. */
  readonly committed: () => number;
  /** Milliseconds between publications. */
  readonly intervalMs: number;
  /** Milliseconds after which an idle log publishes again. */
  readonly republishMs: number;
  /** What was published when this process started, or null. */
  readonly published: PublishedCheckpoint | null;
  readonly checkpointVersion: ObjectVersion | null;
  readonly onPublished: (checkpoint: PublishedCheckpoint, timings: RoundTimings) => void;
  readonly onFatal: (error: CairnError) => void;
  readonly onTrouble: (what: string, key: string, error: unknown) => void;
}

/** The witnesses, as a round needs them (witness/client/quorum.ts). */
export interface Cosigner {
  settle(note: Uint8Array, size: number): Promise<void>;
  gather(note: Uint8Array, size: number, abandon: AbortSignal): Promise<Uint8Array>;
  /** Whether the policy cannot be met for an empty tree, since witnesses refuse to cosign one. */
  readonly refusesEmpty: boolean;
  close(): void;
}

/** Milliseconds of a round's parts. */
export interface RoundTimings {
  readonly integrateMs: number;
  readonly signMs: number;
  readonly witnessMs: number;
  readonly publishMs: number;
}

export class Publisher {
  readonly #o: PublisherOptions;
  readonly #stop = new AbortController();
  #published: PublishedCheckpoint | null;
  #checkpointVersion: ObjectVersion | null;
  #lastSigned: { size: number; root: Uint8Array };
  /** Monotonic time of the last publication; null: none yet, or before this process. */
  #lastAt: number | null = null;
  #cancelTimer: (() => void) | null = null;
  #round: Promise<void> | null = null;
  #started = false;
  /** Whether the witnesses have been asked about the stored note, as the first signature of a process demands. */
  #settled = false;
  /** Ends the gathering for an empty tree, which some witnesses refuse, when the first entry is there. */
  #emptyRound: AbortController | null = null;
  /** A round that goes wrong and is being tried again; null when the last one went through. */
  #trouble: string | null = null;

  constructor(options: PublisherOptions) {
    this.#o = options;
    this.#published = options.published;
    this.#checkpointVersion = options.checkpointVersion;
    const record = new TextEncoder().encode(options.head.record.note);
    this.#lastSigned = readOwnCheckpoint(record, options.origin, options.verifiers);
  }

  get published(): PublishedCheckpoint | null {
    return this.#published;
  }

  get signedSize(): number {
    return this.#lastSigned.size;
  }

  /** Why the newest round has not gone through yet, or null. */
  get trouble(): string | null {
    return this.#trouble;
  }

  /** True while the witnesses refuse to cosign the empty tree and there is no entry yet. */
  get waitsForFirstEntry(): boolean {
    if (this.#emptyRound === null || this.#published !== null || this.#o.committed() > 0) return false;
    return this.#o.cosigner?.refusesEmpty === true;
  }

  start(): void {
    this.#started = true;
    this.wake();
  }

  /** Something was committed: a round is due at once, or when the interval has passed. */
  wake(): void {
    if (this.#emptyRound !== null && this.#o.committed() > 0) this.#emptyRound.abort();
    if (!this.#started || this.#round !== null || this.#stop.signal.aborted) return;
    const size = this.#o.committed();
    const behind = this.#published === null || size > this.#published.size;
    const interval = behind ? this.#o.intervalMs : this.#o.republishMs;
    const since = this.#lastAt === null ? interval : this.#o.clock.monotonic() - this.#lastAt;
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    if (since < interval) {
      this.#cancelTimer = this.#o.clock.after(interval - since, () => {
        this.#cancelTimer = null;
        this.wake();
      });
      return;
    }
    this.#run();
  }

  /** One last round for what is committed, begun at once; resolves when it has gone through or cannot. */
  async finish(): Promise<void> {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    await this.#round;
    if (this.#stop.signal.aborted) return;
    if (this.#published !== null && this.#published.size >= this.#o.committed()) return;
    this.#run();
    await this.#round;
  }

  /** Begins nothing more and waits for nothing more; the next start goes on. */
  stop(): void {
    this.#stop.abort();
    this.#o.cosigner?.close();
    this.#cancelTimer?.();
    this.#cancelTimer = null;
  }

  /** Stops, and resolves when nothing is under way. */
  async close(): Promise<void> {
    this.stop();
    await this.#round;
  }

  #run(): void {
    if (this.#round !== null) return;
    this.#round = this.#once()
      .catch((error: unknown) => {
        if (this.#stop.signal.aborted || isCairnError(error, "draining")) return;
        this.#stop.abort();
        this.#o.onFatal(fatalError(error));
      })
      .finally(() => {
        this.#round = null;
        this.wake();
      });
  }

  async #once(): Promise<void> {
    const began = this.#o.clock.monotonic();
    // Before the first partial object of the round: an overtaken writer must not leave bytes behind.
    await this.#o.head.requireOwnership();
    const cut = await this.#o.integrator.cutAt(this.#o.committed());
    const integrated = this.#o.clock.monotonic();

    const note = await this.#sign(cut.size, cut.root);
    const signed = this.#o.clock.monotonic();

    const cosigned = await this.#cosign(note, cut.size);
    const witnessed = this.#o.clock.monotonic();

    await this.#record(() => this.#o.state.recordPublished({ size: cut.size, note: cosigned }));
    await this.#o.head.requireOwnership();
    await this.#replaceCheckpoint(cosigned, cut.size);
    this.#lastAt = this.#o.clock.monotonic();
    this.#trouble = null;
    this.#published = publishedCheckpoint(cosigned, cut.size, cut.root, this.#o.clock.now());
    this.#o.onPublished(this.#published, {
      integrateMs: integrated - began,
      signMs: signed - integrated,
      witnessMs: witnessed - signed,
      publishMs: this.#lastAt - witnessed,
    });
  }

  /** The signed note of that head: the stored one where it is of this size, else a new one through `state/head`. */
  async #sign(size: number, root: Hash): Promise<Uint8Array> {
    const last = this.#lastSigned;
    if (size < last.size) throw new CairnError("internal", { detail: `head ${size} after ${last.size}` });
    if (size === last.size) {
      if (!equalBytes(root, last.root)) throw new CairnError("root_mismatch", { detail: `at size ${size}` });
      return new TextEncoder().encode(this.#o.head.record.note);
    }
    if (this.#o.cosigner !== null && !this.#settled) {
      await this.#o.cosigner.settle(new TextEncoder().encode(this.#o.head.record.note), last.size);
      this.#settled = true;
    }
    await this.#record(() => this.#o.state.recordIntegrated({ size, root }));
    const text = printCheckpoint({ origin: this.#o.origin, size: BigInt(size), root, extensions: [] });
    const note = printNote(signNote(text, this.#o.signers));
    await this.#o.head.advance(new TextDecoder().decode(note));
    this.#lastSigned = { size, root };
    await this.#record(() => this.#o.state.recordSigned({ size, note }));
    return note;
  }

  /** The note with the cosignatures that the policy asks for. */
  async #cosign(note: Uint8Array, size: number): Promise<Uint8Array> {
    if (this.#o.cosigner === null) return note;
    const abandon = new AbortController();
    this.#emptyRound = size === 0 ? abandon : null;
    try {
      return await this.#o.cosigner.gather(note, size, abandon.signal);
    } finally {
      this.#emptyRound = null;
    }
  }

  /** Replaces `checkpoint`, never by a smaller size, and waits until the outcome is certain. */
  async #replaceCheckpoint(note: Uint8Array, size: number): Promise<void> {
    if (this.#published !== null && equalBytes(this.#published.note, note)) return;
    const { store } = this.#o;
    for (let wait = FIRST_RETRY_MS; ; wait = Math.min(wait * 2, MAX_RETRY_MS)) {
      try {
        const result =
          this.#checkpointVersion === null
            ? await store.createDurable(CHECKPOINT_KEY, note)
            : await store.replace(CHECKPOINT_KEY, note, this.#checkpointVersion);
        if (result.outcome === "written") {
          this.#checkpointVersion = result.version;
          return;
        }
        const there = await store.get(CHECKPOINT_KEY);
        if (there !== null && equalBytes(there.bytes, note)) {
          this.#checkpointVersion = there.version;
          return;
        }
        // Not what we left there. As the owner we go on from what it is, unless it is ahead of us.
        await this.#o.head.requireOwnership();
        if (there !== null && this.#sizeOf(there.bytes) > size) throw new CairnError("fenced");
        this.#checkpointVersion = there?.version ?? null;
        this.#o.onTrouble(
          "checkpoint_replaced",
          CHECKPOINT_KEY,
          new Error("the published checkpoint had changed"),
        );
      } catch (error) {
        if (!(error instanceof StoreError) || !error.retryable) throw error;
        this.#trouble = `the checkpoint cannot be written: ${error.message}`;
        this.#o.onTrouble("checkpoint_retried", CHECKPOINT_KEY, error);
      }
      await pause(this.#o.clock, wait, this.#stop.signal);
      if (this.#stop.signal.aborted) throw new CairnError("draining");
    }
  }

  #sizeOf(note: Uint8Array): number {
    try {
      return readOwnCheckpoint(note, this.#o.origin, this.#o.verifiers).size;
    } catch {
      // What is not ours says nothing about sizes.
      return -1;
    }
  }

  /** A small write to the database; without room it is tried again, since collection makes some. */
  async #record(write: () => Promise<void>): Promise<void> {
    for (let wait = FIRST_RETRY_MS; ; wait = Math.min(wait * 2, MAX_RETRY_MS)) {
      try {
        return await write();
      } catch (error) {
        if (!(error instanceof StateError) || error.outcome !== "not_applied") throw error;
        if (!error.noSpace && !error.busy) throw error;
        this.#trouble = `the database cannot record a head: ${error.message}`;
        this.#o.onTrouble("record_retried", "database", error);
      }
      await pause(this.#o.clock, wait, this.#stop.signal);
      if (this.#stop.signal.aborted) throw new CairnError("draining");
    }
  }
}
