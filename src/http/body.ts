// Reading a request's body, raw. Fastify's own parsers refuse content types that they cannot parse and close the
// connection on a long body before its sender has read why; here any content type gets in and `refuse` sees to the rest.

import type { IncomingMessage, ServerResponse } from "node:http";
import { CairnError, type ErrorCode } from "../core/errors.ts";
import type { ReceiveBudget } from "./receive-budget.ts";

export interface BodyRules {
  readonly maxBytes: number;
  /** The refusal of a longer body. */
  readonly tooLarge: ErrorCode;
  /** Pays for a body that comes in pieces. */
  readonly budget: ReceiveBudget;
}

/** The first size of the buffer that a body in pieces is gathered in; it doubles as they come. */
const FIRST_CAPACITY = 64 * 1024;

/**
 * Throws what the headers alone refuse: `unsupported_encoding`, a `Content-Length` beyond `maxBytes`, and a transfer
 * coding other than `chunked` (whose bytes would be logged compressed).
 */
export function checkBodyHeaders(raw: IncomingMessage, rules: BodyRules): void {
  const headers = raw.headers;
  if (headers["content-encoding"] !== undefined) throw new CairnError("unsupported_encoding");
  const coding = headers["transfer-encoding"];
  if (coding !== undefined && coding.toLowerCase() !== "chunked") {
    throw new CairnError("bad_request", { detail: "the only transfer coding is chunked" });
  }
  const length = declaredLength(raw);
  if (length !== null && length > rules.maxBytes) throw new CairnError(rules.tooLarge);
}

/**
 * Calls `done` once with the whole body, or with a refusal: too large, or `queue_full` where the budget has no room. A
 * body that is cut short is never given: then `done` is not called at all, since nobody is left to answer.
 */
export function readBody(
  raw: IncomingMessage,
  res: ServerResponse,
  rules: BodyRules,
  client: () => string,
  done: (error: CairnError | null, body: Uint8Array) => void,
): void {
  const declared = declaredLength(raw);
  let whole: Uint8Array | null = null;
  let pieces: Pieces | null = null;

  const stop = () => {
    raw.off("data", onData);
    raw.off("end", onEnd);
  };
  const onData = (chunk: Buffer) => {
    if (chunk.length === declared) {
      whole = chunk;
      return;
    }
    if (pieces === null) {
      pieces = new Pieces(rules, declared, client());
      raw.once("close", () => pieces?.release());
    }
    const error = pieces.push(chunk);
    if (error === null) return;
    stop();
    pieces.release();
    pieces = null;
    done(error, NO_BYTES);
  };
  const onEnd = () => {
    if (pieces === null) {
      done(null, whole ?? NO_BYTES);
      return;
    }
    // From here on the log's own bounds count these bytes.
    const body = pieces.bytes();
    pieces.release();
    pieces = null;
    done(null, body);
  };
  raw.on("data", onData);
  raw.on("end", onEnd);
  // A client that waits to be asked for its body (RFC 9110, section 10.1.1) has passed every check by now.
  if (raw.headers.expect?.toLowerCase() === "100-continue") res.writeContinue();
}

const NO_BYTES = new Uint8Array(0);

function declaredLength(raw: IncomingMessage): number | null {
  const length = raw.headers["content-length"];
  return length === undefined ? null : Number(length);
}

/**
 * A body that comes in pieces, copied together as they come: a list of them would hold a buffer of its own for each,
 * and a sender of one-byte chunks would make hundreds of bytes out of every one.
 */
class Pieces {
  readonly #rules: BodyRules;
  readonly #client: string;
  readonly #limit: number;
  #buffer: Uint8Array = NO_BYTES;
  #length = 0;
  #taken = 0;

  constructor(rules: BodyRules, declared: number | null, client: string) {
    this.#rules = rules;
    this.#client = client;
    this.#limit = declared ?? rules.maxBytes;
  }

  push(chunk: Uint8Array): CairnError | null {
    const length = this.#length + chunk.length;
    if (length > this.#limit) return new CairnError(this.#rules.tooLarge);
    if (length > this.#buffer.length && !this.#grow(length)) {
      return new CairnError("queue_full", { detail: "too many bodies are being received" });
    }
    this.#buffer.set(chunk, this.#length);
    this.#length = length;
    return null;
  }

  #grow(atLeast: number): boolean {
    const capacity = Math.min(this.#limit, Math.max(atLeast, 2 * this.#buffer.length, FIRST_CAPACITY));
    const more = capacity - this.#buffer.length;
    if (!this.#rules.budget.take(this.#client, more)) return false;
    this.#taken += more;
    // Of its own memory, never of the shared pool, and only bytes written here are ever given out.
    const buffer = Buffer.allocUnsafeSlow(capacity);
    buffer.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = buffer;
    return true;
  }

  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  /** Gives the budget back; the bytes stay readable. Idempotent. */
  release(): void {
    this.#rules.budget.give(this.#client, this.#taken);
    this.#taken = 0;
  }
}
