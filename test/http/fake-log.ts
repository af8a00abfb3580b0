// A log without storage for the tests of http/: it keeps entries in an array, publishes when told to, answers when told
// to, and refuses with what it is told to refuse with. Invariants sit here: an add after `drain` or without a check of
// admission is an error of the caller, and it remembers every entry it was given.

import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { ENTRY_MAX_BYTES, encodeBundle } from "../../src/core/bundle.ts";
import { CairnError } from "../../src/core/errors.ts";
import { asHash, type Hash } from "../../src/core/hash.ts";
import { TILE_WIDTH, tileEnd } from "../../src/core/tile.ts";
import type {
  AddCallback,
  Log,
  LogStatus,
  ProofTicket,
  PublishedCheckpoint,
  ReadObject,
  Receipt,
} from "../../src/log/api.ts";

/** How many proofs may be waited for at the same time; small, so that a test can fill it. */
export const FAKE_PROOF_PLACES = 2;

export class FakeLog implements Log {
  readonly origin = "example.com/fake";
  readonly vkeys = ["example.com/fake+00000000+AAAA"];
  policyText: string | null = null;
  readonly writable = Promise.resolve();
  readonly failed = new Promise<CairnError>(() => {});

  readonly entries: Buffer[] = [];
  readonly kept = new Map<number, Uint8Array>();
  /** What `checkAdmission` throws. */
  refusal: CairnError | null = null;
  /** What an entry is refused with, by its text. */
  readonly refusedEntries = new Map<string, CairnError>();
  /** When false, adds wait for `releaseAdds`. */
  answersAtOnce = true;
  /** When false, reads come as promises. */
  cached = true;
  proofError: CairnError | null = null;
  proofsWaiting = 0;
  readFailure: Error | null = null;
  statusNow: LogStatus = {
    ready: true,
    integratedSize: 0,
    nextIndex: 0,
    publishedSize: null,
    checkpointAgeSeconds: null,
    queuedEntries: 0,
    backlogBytes: 0,
    reasons: [],
    witnesses: [],
  };
  #published: PublishedCheckpoint | null = null;
  readonly #held: (() => void)[] = [];

  get heldAdds(): number {
    return this.#held.length;
  }

  /** Answers every held add. */
  releaseAdds(): void {
    for (const answer of this.#held.splice(0)) answer();
  }

  /** Publishes what was added so far, or a size of a test's choice. */
  publish(size = this.entries.length): void {
    const note = Buffer.from(`${this.origin}\n${size}\n\n— fake signature\n`);
    this.kept.set(size, note);
    this.#published = { size, root: leafHash(note), note, etag: `"c${size}"`, publishedAt: 0 };
  }

  published(): PublishedCheckpoint | null {
    return this.#published;
  }

  async checkpointAt(size: number): Promise<Uint8Array | null> {
    return this.kept.get(size) ?? null;
  }

  read(
    kind: "tile" | "entries",
    level: number,
    index: number,
    width: number,
  ): ReadObject | Promise<ReadObject> {
    if (tileEnd(level, index, width) > (this.#published?.size ?? 0)) {
      throw new CairnError("not_published", { members: { published_size: this.#published?.size ?? 0 } });
    }
    if (this.readFailure !== null) throw this.readFailure;
    const first = index * TILE_WIDTH;
    const entries = this.entries.slice(first, first + width);
    const etag = `"${kind}-${level}-${index}-${width}"`;
    const bytes = kind === "entries" ? encodeBundle(entries) : Buffer.concat(entries.map(leafHash));
    const object: ReadObject =
      kind === "entries" ? { bytes, etag, gzip: async () => gzipSync(bytes) } : { bytes, etag };
    return this.cached ? object : Promise.resolve(object);
  }

  async proof(index: number, size?: number): Promise<Uint8Array> {
    const published = this.#published?.size ?? 0;
    if (size !== undefined && !this.kept.has(size)) throw new CairnError("checkpoint_not_kept");
    if (index >= published) throw new CairnError("not_published", { members: { published_size: published } });
    return Buffer.from(`fake proof of ${index} in ${size ?? published}\n`);
  }

  checkAdmission(): void {
    if (this.refusal !== null) throw this.refusal;
  }

  add(entry: Uint8Array, done: AddCallback): void {
    const outcome = this.#append(entry);
    const answer = () => {
      if (outcome instanceof CairnError) done(outcome, null);
      else done(null, outcome);
    };
    if (this.answersAtOnce) answer();
    else this.#held.push(answer);
  }

  async addBatch(entries: readonly Uint8Array[]): Promise<(Receipt | CairnError)[]> {
    this.checkAdmission();
    return entries.map((entry) => this.#append(entry));
  }

  #append(entry: Uint8Array): Receipt | CairnError {
    if (this.refusal !== null) return this.refusal;
    if (entry.length === 0) return new CairnError("entry_empty");
    if (entry.length > ENTRY_MAX_BYTES) return new CairnError("entry_too_large");
    const bytes = Buffer.from(entry);
    const refused = this.refusedEntries.get(bytes.toString());
    if (refused !== undefined) return refused;
    const known = this.entries.findIndex((other) => other.equals(bytes));
    if (known !== -1) return { index: known, leafHash: leafHash(bytes), duplicate: true };
    this.entries.push(bytes);
    return { index: this.entries.length - 1, leafHash: leafHash(bytes), duplicate: false };
  }

  reserveProof(): ProofTicket {
    if (this.proofsWaiting >= FAKE_PROOF_PLACES) throw new CairnError("queue_full");
    this.proofsWaiting++;
    let held = true;
    return {
      release: () => {
        if (held) this.proofsWaiting--;
        held = false;
      },
    };
  }

  async awaitProof(ticket: ProofTicket, receipt: Receipt): Promise<Uint8Array> {
    ticket.release();
    if (this.proofError !== null) throw this.proofError;
    return Buffer.from(`fake proof of ${receipt.index}\n`);
  }

  status(): LogStatus {
    return this.statusNow;
  }

  drain(): void {
    this.refusal = new CairnError("draining");
  }

  async close(): Promise<void> {
    this.drain();
    this.releaseAdds();
  }
}

/** The RFC 6962 leaf hash. */
export function leafHash(entry: Uint8Array): Hash {
  return asHash(createHash("sha256").update(Uint8Array.of(0)).update(entry).digest());
}
