// A witness: takes the body of a request, answers with a status and a text. It signs nothing that contradicts what it signed
// before: an answer leaves only after the checkpoint is recorded durably in place of exactly the one it was judged against.
// C2SP tlog-witness.

import { encodeUtf8 } from "../../core/bytes.ts";
import type { SignaturePrimitives } from "../../core/cosignature.ts";
import { CairnError } from "../../core/errors.ts";
import type { TreeHasher } from "../../core/hash.ts";
import { checkSignatures, type NoteSignature, printSignatureLine } from "../../core/note.ts";
import type { PrivateKey } from "../../core/note-key.ts";
import { StateError } from "../../state/state.ts";
import type { CosignedCheckpoint, WitnessState } from "../../state/witness-state.ts";
import { judgeGrowth, judgeSubtree, verifySignatures } from "./decision.ts";
import { createWitnessKeys, type WitnessKeys } from "./keys.ts";
import type { KnownLogs } from "./logs.ts";
import { Refusal } from "./refusal.ts";
import { type AddCheckpointRequest, parseAddCheckpoint, parseSignSubtree } from "./request.ts";

/** What happens, for the operator's own log. */
export interface WitnessEvents {
  /**
   * A checkpoint with a valid signature of its log was refused as inconsistent: perhaps a proof that the log misbehaves,
   * and perhaps only a client's mistake. `note` holds nothing that the log did not sign.
   */
  inconsistent(origin: string, reason: string, note: string): void;
  /** The state could not be written. */
  failed(error: Error): void;
}

export interface WitnessOptions {
  readonly keys: readonly PrivateKey[];
  readonly logs: KnownLogs;
  readonly state: WitnessState;
  readonly primitives: SignaturePrimitives;
  readonly hasher: TreeHasher;
  /** POSIX seconds. */
  readonly now: () => number;
  readonly events: WitnessEvents;
}

/** What a request is answered with; lines of text, or a refusal. */
export type Answer = { readonly origin: string; readonly lines: string } | Refusal;

/** Asked once a request's signature is verified, so that nobody uses up another's share: false refuses it with 429. */
export type Admit = (origin: string) => boolean;

export class Witness {
  readonly keys: WitnessKeys;
  /** Resolves, and never rejects, once the state can no longer be relied on: the process has to stop. */
  readonly failed: Promise<CairnError>;
  readonly #options: WitnessOptions;
  /** What the database holds for logs that have asked: nobody else writes it, and it compares for itself all the same. */
  readonly #newest = new Map<string, CosignedCheckpoint>();
  #fail: (error: CairnError) => void = () => {};
  #failure: CairnError | null = null;

  /** Throws `bad_config` for keys that do not go together. */
  constructor(options: WitnessOptions) {
    this.#options = options;
    this.keys = createWitnessKeys(options.keys, options.primitives, options.now);
    this.failed = new Promise((resolve) => {
      this.#fail = resolve;
    });
  }

  /** The body of add-checkpoint. On success `lines` are the cosignatures, and the checkpoint is recorded. */
  addCheckpoint(body: Uint8Array, admit: Admit = () => true): Answer {
    if (this.#failure !== null) return stopping();
    const request = parseAddCheckpoint(body);
    if (request instanceof Refusal) return request;
    const { logs, state, hasher, events } = this.#options;
    const { origin, size, root } = request.checkpoint;
    const verified = verifySignatures(request, logs.trusted(origin));
    if (verified instanceof Refusal) return verified;
    if (!admit(origin)) return tooMany();

    // Nothing between here and the answer gives way to another request; the database compares once more in any case.
    const before = this.#newest.get(origin) ?? state.cosigned(origin);
    const refusal = judgeGrowth(request, before, hasher);
    if (refusal !== null) {
      if (refusal.status === 422) {
        const signed = `${request.note.text}\n${printLines(verified)}`;
        events.inconsistent(origin, refusal.reason, signed);
      }
      return refusal;
    }
    const cosignatures = this.keys.cosign(request.note.text, origin);
    if (cosignatures.length === 0) return unstateable();
    const lines = printLines(cosignatures);
    const note = encodeUtf8(`${request.note.text}\n${printLines(verified)}${lines}`);
    try {
      const originHash = hasher.sha256(encodeUtf8(origin));
      if (!state.advance(origin, originHash, before, { size, root, note })) return this.#overtaken(request);
    } catch (error) {
      return this.#unwritten(error);
    }
    this.#newest.set(origin, { size, root });
    return { origin, lines };
  }

  /** The body of sign-subtree. */
  signSubtree(body: Uint8Array, admit: Admit = () => true): Answer {
    if (this.#failure !== null) return stopping();
    const request = parseSignSubtree(body);
    if (request instanceof Refusal) return request;
    const { logs, hasher } = this.#options;
    const { origin } = request.checkpoint;
    if (logs.trusted(origin) === null) {
      return new Refusal(404, "this witness does not know the log of that origin");
    }
    const own = this.#ownCosignatures(request.note);
    if (own.length === 0)
      return new Refusal(403, "no cosignature of this witness on the checkpoint verifies");
    if (!admit(origin)) return tooMany();
    const refusal = judgeSubtree(request, hasher);
    if (refusal !== null) return refusal;
    const { start, end, hash } = request;
    const signatures = this.keys.signSubtree({ origin, start, end, hash }, own);
    return signatures.length === 0 ? unstateable() : { origin, lines: printLines(signatures) };
  }

  /** The newest cosigned checkpoint by the SHA-256 of its origin, with the log's signatures and ours; null: there is none. */
  checkpoint(originHash: Uint8Array): Uint8Array | null {
    return this.#options.state.note(originHash);
  }

  #ownCosignatures(note: Parameters<typeof checkSignatures>[0]): readonly NoteSignature[] {
    try {
      return checkSignatures(note, this.keys.verifiers).verified;
    } catch (error) {
      if (error instanceof CairnError && error.code === "bad_signature") return [];
      throw error;
    }
  }

  /** Another process advanced the origin in between: its size is the answer, as if it had been there first. */
  #overtaken(request: AddCheckpointRequest): Refusal {
    const { origin } = request.checkpoint;
    this.#newest.delete(origin);
    const now = this.#options.state.cosigned(origin);
    return new Refusal(409, String(now?.size ?? 0n));
  }

  #unwritten(error: unknown): Refusal {
    if (!(error instanceof StateError)) throw error;
    this.#options.events.failed(error);
    if (error.outcome === "not_applied") {
      return new Refusal(503, "the checkpoint could not be recorded; try again later");
    }
    this.#failure = new CairnError("commit_unknown", { detail: error.message, cause: error });
    this.#fail(this.#failure);
    return stopping();
  }
}

function stopping(): Refusal {
  return new Refusal(503, "the witness is stopping");
}

function tooMany(): Refusal {
  return new Refusal(429, "too many requests for this origin; try again later");
}

function unstateable(): Refusal {
  return new Refusal(400, "the origin is longer than this witness's cosignatures can state");
}

function printLines(signatures: readonly NoteSignature[]): string {
  return signatures.map(printSignatureLine).join("");
}
