// Gathering cosignatures for a log's checkpoint (C2SP tlog-witness, tlog-policy). All witnesses are asked in parallel, a
// failing one less and less often, and one that is dead, slow or lying costs its own vote and nothing else. A witness's
// larger size is a claim; only our own signature on a head that we do not know is proof, and it stops the log.

import { encodeUtf8 } from "../../core/bytes.ts";
import { parseCheckpoint } from "../../core/checkpoint.ts";
import { CairnError, isCairnError } from "../../core/errors.ts";
import type { Hash, Sha256 } from "../../core/hash.ts";
import { openNote, parseNote, printNote } from "../../core/note.ts";
import type { Note, NoteSignature, NoteVerifier } from "../../core/note.ts";
import { policySatisfied } from "../../core/policy.ts";
import type { Policy } from "../../core/policy.ts";
import {
  type Answer,
  addCheckpoint,
  type Fetch,
  monitoredCheckpoint,
  WITNESS_TIMEOUT_MS,
} from "./exchange.ts";

const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 30_000;
/** 409s answered with a fresh proof in one exchange, before the witness counts as failing. */
const SIZES_PER_EXCHANGE = 3;
/** No access, an unknown key, an unknown log, too slow, too often. */
const NOT_OF_THE_NOTE: ReadonlySet<number> = new Set([401, 403, 404, 408, 429]);

export interface QuorumClock {
  now(): number;
  after(ms: number, run: () => void): () => void;
}

/** A witness of the policy, as this log asks it. */
export interface WitnessPeer {
  /** Its name in the policy. */
  readonly name: string;
  /** Submission prefix. */
  readonly url: string;
  /** Where its newest checkpoint is read; null: the submission prefix. */
  readonly monitorUrl: string | null;
  readonly verifier: NoteVerifier;
}

export interface QuorumOptions {
  readonly origin: string;
  readonly policy: Policy;
  readonly peers: readonly WitnessPeer[];
  /** Names of witnesses that get no vote and are not asked (WITNESS_IGNORE). */
  readonly ignored: ReadonlySet<string>;
  /** How long to wait for further cosignatures once the policy is met, in milliseconds. */
  readonly surplusWaitMs: number;
  readonly fetch: Fetch;
  readonly clock: QuorumClock;
  readonly sha256: Sha256;
  readonly logVerifiers: readonly NoteVerifier[];
  /** Sizes that witnesses were known to have cosigned, by name. */
  readonly sizes: ReadonlyMap<string, number>;
  /** Remembers a size; a failure to do so only costs a 409 later. */
  readonly remember: (name: string, size: number) => Promise<void>;
  /** The consistency proof between two of our sizes, both published or about to be. */
  readonly consistencyProof: (from: number, to: number) => Promise<Hash[]>;
  /** Our root at a size at or below the newest signed one. */
  readonly rootAt: (size: number) => Promise<Uint8Array>;
  /** Re-reads `state/head`; rejects where this process no longer owns it. */
  readonly requireOwnership: () => Promise<void>;
  readonly onTrouble: (what: string, detail: string) => void;
}

export interface PeerStatus {
  readonly name: string;
  readonly state: "ok" | "failing" | "claims_larger" | "ignored";
  readonly size: number | null;
  /** ISO 8601. */
  readonly lastSuccess: string | null;
  readonly lastError: string | null;
}

interface Target {
  readonly note: Uint8Array;
  readonly text: Uint8Array;
  readonly size: number;
}

interface Peer extends WitnessPeer {
  size: number | null;
  failures: number;
  notBefore: number;
  lastSuccess: number | null;
  lastError: string | null;
  claims: boolean;
  /** Whether it has answered the first question of this start without a claim. */
  answered: boolean;
  /** Whether its newest answer to a note of size 0 was that it does not cosign an empty tree. */
  refusesEmpty: boolean;
  /** The exchange under way, if any: a witness is asked one thing at a time. */
  busy: Promise<void> | null;
}

export class Quorum {
  readonly #o: QuorumOptions;
  readonly #peers: Peer[];
  readonly #stop = new AbortController();
  /** Proof that another head with our signature exists: nothing is gathered after it. */
  #proof: CairnError | null = null;

  constructor(options: QuorumOptions) {
    this.#o = options;
    this.#peers = options.peers.map((peer) => ({
      ...peer,
      size: options.sizes.get(peer.name) ?? null,
      failures: 0,
      notBefore: 0,
      lastSuccess: null,
      lastError: null,
      claims: false,
      answered: false,
      refusesEmpty: false,
      busy: null,
    }));
    const votes = new Set(
      options.policy.witnesses.map(({ name }) => name).filter((n) => !options.ignored.has(n)),
    );
    if (!policySatisfied(options.policy, votes)) {
      throw new CairnError("bad_config", {
        detail:
          "without the witnesses in WITNESS_IGNORE the policy can never be met: change WITNESS_QUORUM or WITNESS_POLICY",
      });
    }
  }

  /** For /ready. */
  status(): PeerStatus[] {
    return this.#peers.map((peer) => ({
      name: peer.name,
      state: this.#o.ignored.has(peer.name)
        ? "ignored"
        : peer.claims
          ? "claims_larger"
          : peer.failures > 0
            ? "failing"
            : "ok",
      size: peer.size,
      lastSuccess: peer.lastSuccess === null ? null : new Date(peer.lastSuccess).toISOString(),
      lastError: peer.lastError,
    }));
  }

  /** True where so many witnesses refuse an empty tree that the others cannot meet the policy; silence is no refusal. */
  get refusesEmpty(): boolean {
    const others = this.#voters().filter((peer) => !peer.refusesEmpty);
    return !policySatisfied(this.#o.policy, new Set(others.map(({ name }) => name)));
  }

  /**
   * Asks every witness, with old size 0, about the newest stored note before this process signs anything. Resolves when
   * each has answered or had its time, and those that answered without a claim meet every set that satisfies the policy,
   * so that the others alone cannot. Rejects with proof of a head that we do not know.
   */
  async settle(note: Uint8Array, size: number): Promise<void> {
    const target = targetOf(note, size);
    const asked = this.#voters();
    await Promise.all(asked.map((peer) => this.#exchange(peer, target, 0)));
    for (;;) {
      if (this.#proof !== null) throw this.#proof;
      if (this.#stop.signal.aborted) throw new CairnError("draining");
      const silent = asked.filter((peer) => !peer.answered || peer.claims);
      if (!policySatisfied(this.#o.policy, new Set(silent.map(({ name }) => name)))) return;
      const until = Math.min(...silent.map((peer) => peer.notBefore));
      await this.#pause(Math.max(50, until - this.#o.clock.now()));
      const due = silent.filter((peer) => peer.notBefore <= this.#o.clock.now());
      await Promise.all(due.map((peer) => this.#exchange(peer, target, 0)));
    }
  }

  /**
   * Cosignatures on a note of ours until the policy is met; answers the note with their lines. Keeps asking while it is
   * not met. Rejects with proof as `settle`, and with `draining` when `abandon` or `close` ends it.
   */
  async gather(note: Uint8Array, size: number, abandon?: AbortSignal): Promise<Uint8Array> {
    const target = targetOf(note, size);
    const lines = new Map<string, NoteSignature>();
    const isOver = (): boolean =>
      this.#stop.signal.aborted || abandon?.aborted === true || this.#proof !== null;
    let finished = false;
    await new Promise<void>((resolve) => {
      let cancelWait = (): void => undefined;
      const finish = (): void => {
        finished = true;
        cancelWait();
        // The signals outlive the round, and hold what they have to call.
        this.#stop.signal.removeEventListener("abort", finish);
        abandon?.removeEventListener("abort", finish);
        resolve();
      };
      let waiting = false;
      const met = (): void => {
        if (!policySatisfied(this.#o.policy, new Set(lines.keys()))) return;
        if (this.#o.surplusWaitMs === 0 || lines.size === this.#voters().length) finish();
        else if (!waiting) cancelWait = this.#o.clock.after(this.#o.surplusWaitMs, finish);
        waiting = true;
      };
      this.#stop.signal.addEventListener("abort", finish, { once: true });
      abandon?.addEventListener("abort", finish, { once: true });
      met();
      for (const peer of this.#voters())
        void this.#court(peer, target, lines, met, () => finished || isOver(), finish);
    });
    if (this.#proof !== null) throw this.#proof;
    if (!policySatisfied(this.#o.policy, new Set(lines.keys()))) throw new CairnError("draining");
    const own = parseNote(note);
    return printNote({ text: own.text, signatures: [...own.signatures, ...this.#inOrder(lines)] });
  }

  close(): void {
    this.#stop.abort();
  }

  /** Asks one witness until it cosigns or the gathering is over. */
  async #court(
    peer: Peer,
    target: Target,
    lines: Map<string, NoteSignature>,
    met: () => void,
    isOver: () => boolean,
    finish: () => void,
  ): Promise<void> {
    while (!isOver()) {
      const wait = peer.notBefore - this.#o.clock.now();
      if (wait > 0) {
        await this.#pause(wait);
        continue;
      }
      const signature = await this.#exchange(peer, target, peer.size ?? 0);
      if (this.#proof !== null) return finish();
      if (signature === null) continue;
      lines.set(peer.name, signature);
      if (!isOver()) met();
      return;
    }
  }

  /** One exchange at a time with each witness; with the fresh proofs that its 409s ask for. Never rejects. */
  async #exchange(peer: Peer, target: Target, oldSize: number): Promise<NoteSignature | null> {
    while (peer.busy !== null) await peer.busy;
    let end = (): void => undefined;
    peer.busy = new Promise((resolve) => {
      end = resolve;
    });
    try {
      return await this.#talk(peer, target, oldSize);
    } catch (error) {
      this.#failed(peer, error instanceof Error ? error.message : String(error));
      return null;
    } finally {
      peer.busy = null;
      end();
    }
  }

  async #talk(peer: Peer, target: Target, oldSize: number): Promise<NoteSignature | null> {
    // What we remember can be ahead of a note that is republished after a restore; the witness will say.
    let old = oldSize > target.size ? 0 : oldSize;
    for (let round = 0; round < SIZES_PER_EXCHANGE; round++) {
      const proof = old === 0 || old === target.size ? [] : await this.#o.consistencyProof(old, target.size);
      const request = { oldSize: old, proof, note: target.note };
      const answer: Answer = await addCheckpoint(
        this.#o.fetch,
        peer.url,
        request,
        [peer.verifier],
        target.text,
      );
      if (answer.kind === "cosigned") {
        this.#succeeded(peer, target.size);
        return answer.signatures[0] ?? null;
      }
      if (answer.kind === "size") {
        if (answer.size > BigInt(target.size)) {
          await this.#claimed(
            peer,
            `it says to have cosigned size ${answer.size}, and ours is ${target.size}`,
          );
          return null;
        }
        const size = Number(answer.size);
        if (size === old) return this.#failed(peer, `409 with the size ${size} that was sent`);
        old = size;
        peer.size = size;
        continue;
      }
      if (answer.kind === "inconsistent" && old > 0 && target.size > 0) {
        await this.#claimed(peer, `it refuses our proof from ${old} to ${target.size}: ${answer.reason}`);
        return null;
      }
      if (target.size === 0) {
        // Any answer to a note of size 0 says that it has nothing of ours that is larger.
        if (answer.kind !== "unreachable") peer.answered = true;
        peer.refusesEmpty =
          answer.kind === "inconsistent" || (answer.kind === "refused" && isOfTheNote(answer.status));
      }
      return this.#failed(peer, answer.reason);
    }
    return this.#failed(peer, "409 over and over");
  }

  #succeeded(peer: Peer, size: number): void {
    peer.failures = 0;
    peer.notBefore = 0;
    peer.lastSuccess = this.#o.clock.now();
    peer.lastError = null;
    peer.answered = true;
    peer.refusesEmpty = false;
    peer.claims = false;
    if (peer.size === size) return;
    peer.size = size;
    this.#o.remember(peer.name, size).catch((error: unknown) => {
      this.#o.onTrouble("witness_size_not_kept", `${peer.name}: ${String(error)}`);
    });
  }

  #failed(peer: Peer, reason: string): null {
    peer.failures++;
    peer.lastError = reason;
    peer.notBefore = this.#o.clock.now() + Math.min(FIRST_RETRY_MS * 2 ** (peer.failures - 1), MAX_RETRY_MS);
    if (peer.failures === 1) this.#o.onTrouble("witness_failing", `${peer.name}: ${reason}`);
    return null;
  }

  /** Weighs a claim: only our own signature on a larger or inconsistent head is proof. */
  async #claimed(peer: Peer, claim: string): Promise<void> {
    await this.#o.requireOwnership().catch((error: unknown) => {
      if (isCairnError(error, "fenced")) this.#proof = error;
      throw error;
    });
    const shown = await monitoredCheckpoint(
      this.#o.fetch,
      peer.monitorUrl ?? peer.url,
      this.#o.origin,
      this.#o.sha256,
    );
    const proof = shown === null ? null : await this.#weigh(shown);
    if (proof !== null) {
      this.#proof = new CairnError("overtaken", { detail: `witness ${peer.name} shows ${proof}` });
      return;
    }
    const isNew = !peer.claims;
    peer.claims = true;
    this.#failed(peer, claim);
    if (isNew)
      this.#o.onTrouble("witness_claims_larger", `${peer.name}: ${claim}, without our signature on it`);
  }

  /** What a checkpoint proves against us, in words, or null. */
  async #weigh(shown: Uint8Array): Promise<string | null> {
    let note: Note;
    try {
      note = parseNote(shown);
      openNote(note, this.#o.logVerifiers);
    } catch (error) {
      if (!isCairnError(error)) throw error;
      return null;
    }
    const { origin, size, root } = parseCheckpoint(note.text);
    if (origin !== this.#o.origin) return null;
    let ours: Uint8Array;
    try {
      ours = size > BigInt(Number.MAX_SAFE_INTEGER) ? new Uint8Array(0) : await this.#o.rootAt(Number(size));
    } catch (error) {
      if (!isCairnError(error, "not_published")) throw error;
      return `a head of size ${size} with our signature, larger than any that we signed`;
    }
    const same = ours.length === root.length && ours.every((byte, i) => byte === root[i]);
    return same ? null : `another root at size ${size} with our signature`;
  }

  #voters(): Peer[] {
    return this.#peers.filter((peer) => !this.#o.ignored.has(peer.name));
  }

  #inOrder(lines: ReadonlyMap<string, NoteSignature>): NoteSignature[] {
    return this.#peers.flatMap((peer) => lines.get(peer.name) ?? []);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.#stop.signal.aborted) return resolve();
      const finish = (): void => {
        cancel();
        this.#stop.signal.removeEventListener("abort", finish);
        resolve();
      };
      const cancel = this.#o.clock.after(Math.min(ms, WITNESS_TIMEOUT_MS), finish);
      this.#stop.signal.addEventListener("abort", finish);
    });
  }
}

/** Whether a refusal is about what was sent, and not about who sent it, when, or which log it is of. */
function isOfTheNote(status: number): boolean {
  return status >= 400 && status < 500 && !NOT_OF_THE_NOTE.has(status);
}

function targetOf(note: Uint8Array, size: number): Target {
  return { note, text: encodeUtf8(parseNote(note).text), size };
}
