// Receipts: tlog-proof texts from tiles, and the waiters for one whose entry is not published yet. What is given was
// verified here first: the signatures once a checkpoint, the inclusion for each (architecture, section 2, step 7).

import { parseCheckpoint, toSafeSize } from "../core/checkpoint.ts";
import { CairnError, isCairnError } from "../core/errors.ts";
import type { Hash, TreeHasher } from "../core/hash.ts";
import { verifyInclusion } from "../core/merkle.ts";
import { openNote, parseNote } from "../core/note.ts";
import type { Note, NoteVerifier } from "../core/note.ts";
import { inclusionProof } from "../core/tile-proof.ts";
import { printTlogProof } from "../core/tlog-proof.ts";
import type { ProofTicket, PublishedCheckpoint, ReadObject, Receipt } from "./api.ts";
import type { Clock } from "./clock.ts";
import { TileNodes } from "./tile-nodes.ts";

/** Requests that may wait for a proof. */
export const PROOF_WAITERS_MAX = 10_000;
/** Time a slice of proofs may take before other requests get a turn. */
const SLICE_MS = 3;

export interface ProofsOptions {
  readonly clock: Clock;
  readonly hasher: TreeHasher;
  readonly verifiers: readonly NoteVerifier[];
  readonly timeoutMs: number;
  readonly published: () => PublishedCheckpoint | null;
  readonly checkpointAt: (size: number) => Promise<Uint8Array | null>;
  readonly read: (level: number, index: number, width: number) => ReadObject | Promise<ReadObject>;
}

interface Waiter {
  readonly receipt: Receipt;
  readonly resolve: (proof: Uint8Array) => void;
  readonly reject: (error: CairnError) => void;
  readonly cancelTimer: () => void;
}

interface OpenCheckpoint {
  readonly note: Note;
  readonly size: number;
  readonly root: Hash;
}

export class Proofs {
  readonly #o: ProofsOptions;
  #tickets = 0;
  readonly #waiters = new Set<Waiter>();
  #serving: Promise<void> | null = null;
  #closed = false;
  readonly #nodes: TileNodes;
  /** The newest checkpoint, parsed, its signatures verified. */
  #opened: { readonly bytes: Uint8Array; readonly checkpoint: OpenCheckpoint } | null = null;

  constructor(options: ProofsOptions) {
    this.#o = options;
    this.#nodes = new TileNodes(options.hasher);
  }

  /** See LogRead.proof. */
  async proof(index: number, size?: number): Promise<Uint8Array> {
    const published = this.#o.published();
    if (size !== undefined && size !== published?.size) {
      const note = size > (published?.size ?? 0) ? null : await this.#o.checkpointAt(size);
      if (note === null) throw new CairnError("checkpoint_not_kept");
      return this.#print(index, this.#open(note));
    }
    if (published === null || index >= published.size) {
      throw new CairnError("not_published", { members: { published_size: published?.size ?? 0 } });
    }
    return this.#print(index, this.#open(published.note));
  }

  /** See LogAppend.reserveProof. */
  reserve(): ProofTicket {
    if (this.#tickets >= PROOF_WAITERS_MAX) throw new CairnError("queue_full");
    this.#tickets++;
    let isHeld = true;
    return {
      release: () => {
        if (isHeld) this.#tickets--;
        isHeld = false;
      },
    };
  }

  /** See LogAppend.awaitProof. */
  wait(ticket: ProofTicket, receipt: Receipt): Promise<Uint8Array> {
    if (this.#closed) {
      ticket.release();
      return Promise.reject(timedOut(receipt));
    }
    return new Promise<Uint8Array>((resolve, reject) => {
      const waiter: Waiter = {
        receipt,
        resolve,
        reject,
        cancelTimer: this.#o.clock.after(this.#o.timeoutMs, () => {
          this.#waiters.delete(waiter);
          reject(timedOut(receipt));
        }),
      };
      this.#waiters.add(waiter);
      this.#serve();
    }).finally(() => ticket.release());
  }

  /** A checkpoint was published: proofs that it makes possible are given, in slices. */
  wake(): void {
    this.#serve();
  }

  /** Resolves when the proofs that the newest checkpoint makes possible have been given. */
  async settled(): Promise<void> {
    while (this.#serving !== null) await this.#serving;
  }

  /** Nothing more will be published here: the waiters are told that asking again is safe. */
  close(): void {
    this.#closed = true;
    for (const waiter of this.#waiters) {
      waiter.cancelTimer();
      waiter.reject(timedOut(waiter.receipt));
    }
    this.#waiters.clear();
  }

  #serve(): void {
    if (this.#serving !== null || this.#waiters.size === 0) return;
    this.#serving = this.#serveAll().finally(() => {
      this.#serving = null;
      // Whoever came while the last slice was under way.
      const size = this.#o.published()?.size ?? 0;
      for (const { receipt } of this.#waiters) if (receipt.index < size) return this.#serve();
    });
  }

  async #serveAll(): Promise<void> {
    let sliceEnd = this.#o.clock.monotonic() + SLICE_MS;
    for (const waiter of [...this.#waiters]) {
      const published = this.#o.published();
      if (published === null || waiter.receipt.index >= published.size || !this.#waiters.has(waiter))
        continue;
      this.#waiters.delete(waiter);
      // Its timer runs on: the tiles may have to come from a store that takes its time.
      try {
        const { index, leafHash } = waiter.receipt;
        waiter.resolve(await this.#print(index, this.#open(published.note), leafHash));
      } catch (error) {
        waiter.reject(isCairnError(error) ? error : new CairnError("internal", { cause: error }));
      }
      waiter.cancelTimer();
      if (this.#o.clock.monotonic() > sliceEnd) {
        await new Promise<void>((resolve) => setImmediate(resolve));
        sliceEnd = this.#o.clock.monotonic() + SLICE_MS;
      }
    }
  }

  /** With `leafHash`, the proof is verified against it before it is given. */
  async #print(index: number, checkpoint: OpenCheckpoint, leafHash?: Hash): Promise<Uint8Array> {
    const { note, size, root } = checkpoint;
    const read = async (level: number, tile: number, width: number): Promise<Uint8Array> =>
      (await this.#o.read(level, tile, width)).bytes;
    const path = await inclusionProof(index, size, read, this.#o.hasher, (tile, from, to) =>
      this.#nodes.root(tile, from, to),
    );
    if (
      leafHash !== undefined &&
      !verifyInclusion({ leafHash, index, size, proof: path, root }, this.#o.hasher)
    ) {
      throw new CairnError("internal", { detail: `the proof of ${index} at ${size} does not verify` });
    }
    return printTlogProof({ extra: null, index, path, checkpoint: note });
  }

  #open(bytes: Uint8Array): OpenCheckpoint {
    if (this.#opened !== null && this.#opened.bytes === bytes) return this.#opened.checkpoint;
    const note = parseNote(bytes);
    openNote(note, this.#o.verifiers);
    const { size, root } = parseCheckpoint(note.text);
    const checkpoint = { note, size: toSafeSize(size), root };
    this.#opened = { bytes, checkpoint };
    return checkpoint;
  }
}

function timedOut(receipt: Receipt): CairnError {
  return new CairnError("proof_timeout", { members: { index: receipt.index, retry: "safe" } });
}
