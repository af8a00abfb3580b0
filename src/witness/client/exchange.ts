// One exchange with a witness: add-checkpoint, and the monitoring read (C2SP tlog-witness). Whatever the witness sends, or
// does not, costs its own vote and nothing else: answers are bounded in bytes and time and are never trusted unverified.

import { concatBytes, decodeUtf8, encodeUtf8, toHex } from "../../core/bytes.ts";
import { encodeBase64 } from "../../core/base64.ts";
import { parseDecimal } from "../../core/checkpoint.ts";
import { cosignatureTime } from "../../core/cosignature.ts";
import { isCairnError } from "../../core/errors.ts";
import type { Hash, Sha256 } from "../../core/hash.ts";
import { parseSignatureLines } from "../../core/note.ts";
import type { NoteSignature, NoteVerifier } from "../../core/note.ts";

/** For one request, from the first byte sent to the last received. */
export const WITNESS_TIMEOUT_MS = 5000;
/** The most that an answer may have: sixteen post-quantum signature lines fit. */
const ANSWER_MAX_BYTES = 128 * 1024;
/** The most of a refusal's text that is kept for the operator. */
const REASON_MAX_CHARACTERS = 200;

export type Fetch = (url: string, init?: RequestInit) => Promise<Response>;

export type Answer =
  | { readonly kind: "cosigned"; readonly signatures: readonly NoteSignature[] }
  /** 409: the size that the witness says to have cosigned last. */
  | { readonly kind: "size"; readonly size: bigint }
  /** 422: the proof, or the root, does not fit what the witness has. */
  | { readonly kind: "inconsistent"; readonly reason: string }
  /** It answered, and the answer is neither of these. */
  | { readonly kind: "refused"; readonly status: number; readonly reason: string }
  /** No whole answer came. */
  | { readonly kind: "unreachable"; readonly reason: string };

/** Sends one add-checkpoint request. Never rejects. `note` carries the log's own signature lines only. */
export async function addCheckpoint(
  fetch: Fetch,
  url: string,
  request: { readonly oldSize: number; readonly proof: readonly Hash[]; readonly note: Uint8Array },
  verifiers: readonly NoteVerifier[],
  text: Uint8Array,
): Promise<Answer> {
  const head = [`old ${request.oldSize}`, ...request.proof.map((hash) => encodeBase64(hash)), "", ""].join(
    "\n",
  );
  let status: number;
  let bytes: Uint8Array;
  try {
    const response = await fetch(`${trimmed(url)}/add-checkpoint`, {
      method: "POST",
      headers: { "Content-Type": "text/plain; charset=utf-8", "Accept-Encoding": "identity" },
      body: concatBytes(encodeUtf8(head), request.note) as Uint8Array<ArrayBuffer>,
      redirect: "error",
      signal: AbortSignal.timeout(WITNESS_TIMEOUT_MS),
    });
    status = response.status;
    bytes = await readBounded(response);
  } catch (error) {
    return { kind: "unreachable", reason: reasonOf(error) };
  }
  const said = `${status} ${printable(bytes)}`.trim();
  if (status === 409) {
    const size = parseDecimal(textOf(bytes)?.replace(/\n$/, "") ?? "");
    return size === null ? { kind: "refused", status, reason: said } : { kind: "size", size };
  }
  if (status === 422) return { kind: "inconsistent", reason: said };
  if (status !== 200) return { kind: "refused", status, reason: said };
  return readCosignatures(bytes, verifiers, text);
}

/** The lines that one of the pinned keys made over `text`, with a time; foreign and forged ones are dropped. */
function readCosignatures(bytes: Uint8Array, verifiers: readonly NoteVerifier[], text: Uint8Array): Answer {
  let lines: readonly NoteSignature[];
  try {
    lines = parseSignatureLines(decodeUtf8(bytes));
  } catch (error) {
    if (!isCairnError(error)) throw error;
    return { kind: "refused", status: 200, reason: `200, and no signature lines: ${error.message}` };
  }
  const signatures = lines.filter((line) =>
    verifiers.some(
      (verifier) =>
        verifier.name === line.name &&
        verifier.keyId === line.keyId &&
        verifier.verify(text, line.signature) &&
        cosignatureTime(line.signature) > 0n,
    ),
  );
  if (signatures.length > 0) return { kind: "cosigned", signatures: signatures.slice(0, 1) };
  return { kind: "refused", status: 200, reason: "200, and no valid cosignature by the pinned key" };
}

/** The newest checkpoint that a witness shows for an origin, or null where it shows none that can be read. Never rejects. */
export async function monitoredCheckpoint(
  fetch: Fetch,
  url: string,
  origin: string,
  sha256: Sha256,
): Promise<Uint8Array | null> {
  try {
    const response = await fetch(`${trimmed(url)}/${toHex(sha256(encodeUtf8(origin)))}/checkpoint`, {
      headers: { "Accept-Encoding": "identity" },
      redirect: "error",
      signal: AbortSignal.timeout(WITNESS_TIMEOUT_MS),
    });
    const bytes = await readBounded(response);
    return response.status === 200 ? bytes : null;
  } catch {
    return null;
  }
}

async function readBounded(response: Response): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  const reader = response.body?.getReader();
  if (reader === undefined) return new Uint8Array(0);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return concatBytes(...parts);
    length += value.length;
    if (length > ANSWER_MAX_BYTES) {
      await reader.cancel();
      throw new Error(`the answer is over ${ANSWER_MAX_BYTES} bytes`);
    }
    parts.push(value);
  }
}

function textOf(bytes: Uint8Array): string | null {
  try {
    return decodeUtf8(bytes);
  } catch (error) {
    if (!isCairnError(error)) throw error;
    return null;
  }
}

/** What a witness said, safe for a log line. */
function printable(bytes: Uint8Array): string {
  const text = textOf(bytes.subarray(0, REASON_MAX_CHARACTERS)) ?? "(not text)";
  return text.replace(/[^\u0020-\u007e]+/g, " ").trim();
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === "TimeoutError") return `no answer within ${WITNESS_TIMEOUT_MS} ms`;
  const { cause } = error;
  return cause instanceof Error ? `${error.message}: ${cause.message}` : error.message;
}

function trimmed(url: string): string {
  return url.replace(/\/+$/, "");
}
