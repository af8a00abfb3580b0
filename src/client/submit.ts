// Submitting entries to a log: one by one, in batches, or with a wait for the proof. Every request may be repeated, since a
// log answers bytes that it has already with the index they have. What it acknowledges is compared with what was sent.

import { encodeBase64 } from "../core/base64.ts";
import { ENTRY_FRAME_BYTES, encodeBundle } from "../core/bundle.ts";
import { CairnError } from "../core/errors.ts";
import type { Hash, TreeHasher } from "../core/hash.ts";
import { TLOG_PROOF_MAX_BYTES } from "../core/tlog-proof.ts";
import {
  type Answer,
  DEFAULT_TIMEOUT_MS,
  isErrorCode,
  isRecord,
  parseJson,
  requester,
  type RequestOptions,
} from "./request.ts";

/** The largest batch that a log accepts in one request. */
export const BATCH_MAX_BYTES = 8 * 1024 * 1024;
export const BATCH_MAX_ENTRIES = 10_000;

const RECEIPT_MAX_BYTES = 64 * 1024;
const BATCH_ANSWER_MAX_BYTES = 8 * 1024 * 1024;

export interface SubmitterOptions extends RequestOptions {
  readonly hasher: TreeHasher;
  /** Sent as `Authorization: Bearer`; without it the log must take public writes. */
  readonly apiKey?: string;
}

export interface Receipt {
  readonly index: number;
  readonly leafHash: Hash;
  /** True where the log had these bytes already. */
  readonly duplicate: boolean;
}

/** All methods throw what the log refuses with, `unreachable`, and `unexpected_answer` for an answer that is not a log's. */
export interface Submitter {
  readonly url: string;
  /** Durable in the log's database when it returns; public once a checkpoint covers the index. */
  add(entry: Uint8Array): Promise<Receipt>;
  /** The tlog-proof text of an entry, once a checkpoint covers it. Not verified: that takes the caller's policy. */
  addWithProof(entry: Uint8Array): Promise<Uint8Array>;
  /**
   * Each entry's own outcome, in order. Throws `batch_too_large` over the limits above, `bad_framing` for no entry,
   * `entry_too_large` for an entry that the framing cannot carry.
   */
  addBatch(entries: readonly Uint8Array[]): Promise<(Receipt | CairnError)[]>;
  /** The tlog-proof text for an index, in the newest checkpoint or the kept one of size `size`. Not verified. */
  proof(index: number, size?: number): Promise<Uint8Array>;
}

export function submitter(options: SubmitterOptions): Submitter {
  const { hasher, apiKey } = options;
  // A log holds a request for a proof for up to half a minute before it answers that there is none yet.
  const http = requester({ ...options, timeoutMs: options.timeoutMs ?? 2 * DEFAULT_TIMEOUT_MS });
  const authorization: Record<string, string> =
    apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };

  async function post(path: string, type: string, body: Uint8Array, accept: string, maxBytes: number) {
    const headers = { "content-type": type, accept, ...authorization };
    return await http.request(path, { method: "POST", headers, body, maxBytes });
  }

  function receipt(value: unknown, entry: Uint8Array, where: string): Receipt {
    if (isRecord(value) && typeof value.leafHash === "string" && typeof value.duplicate === "boolean") {
      const { index, duplicate } = value;
      if (typeof index === "number" && Number.isSafeInteger(index) && index >= 0) {
        const leafHash = hasher.leaf(entry);
        if (value.leafHash === encodeBase64(leafHash)) return { index, leafHash, duplicate };
        throw unexpected(where, "it acknowledges another entry than the one sent");
      }
    }
    throw unexpected(where, "not a receipt");
  }

  return {
    url: http.url,
    async add(entry) {
      const answer = await post("add", OCTETS, entry, JSON_TYPE, RECEIPT_MAX_BYTES);
      return receipt(jsonOf(answer), entry, `${http.url}/add`);
    },
    async addWithProof(entry) {
      const path = "add?proof=true";
      return (await post(path, OCTETS, entry, "text/plain", TLOG_PROOF_MAX_BYTES)).bytes;
    },
    async addBatch(entries) {
      if (entries.length === 0) throw new CairnError("bad_framing", { detail: "no entry" });
      const body = encodeBundle(entries);
      if (body.length > BATCH_MAX_BYTES || entries.length > BATCH_MAX_ENTRIES) {
        throw new CairnError("batch_too_large", {
          detail: `${entries.length} entries, ${body.length} bytes`,
        });
      }
      const where = `${http.url}/add-batch`;
      const answer = jsonOf(await post("add-batch", OCTETS, body, JSON_TYPE, BATCH_ANSWER_MAX_BYTES));
      const results = isRecord(answer) ? answer.results : undefined;
      if (!Array.isArray(results) || results.length !== entries.length) {
        throw unexpected(where, "not one result for each entry");
      }
      return entries.map((entry, i): Receipt | CairnError => {
        const result: unknown = results[i];
        const error = isRecord(result) ? result.error : undefined;
        return isRecord(error) ? entryError(error, where) : receipt(result, entry, where);
      });
    },
    async proof(index, size) {
      const query = size === undefined ? "" : `?size=${size}`;
      return (await http.request(`proof/${index}${query}`, { maxBytes: TLOG_PROOF_MAX_BYTES })).bytes;
    },
  };
}

/** Groups entries, each of at most 65,535 bytes, into the largest batches that a log accepts. */
export async function* batches(
  entries: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Uint8Array[]> {
  let batch: Uint8Array[] = [];
  let bytes = 0;
  for await (const entry of entries) {
    const framed = ENTRY_FRAME_BYTES + entry.length;
    if (batch.length === BATCH_MAX_ENTRIES || (batch.length > 0 && bytes + framed > BATCH_MAX_BYTES)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(entry);
    bytes += framed;
  }
  if (batch.length > 0) yield batch;
}

const OCTETS = "application/octet-stream";
const JSON_TYPE = "application/json";

function jsonOf(answer: Answer): unknown {
  return parseJson(answer.bytes);
}

function entryError(error: Record<string, unknown>, where: string): CairnError {
  if (!isErrorCode(error.code)) return unexpected(where, "an error without a known code");
  return new CairnError(error.code, typeof error.detail === "string" ? { detail: error.detail } : {});
}

function unexpected(where: string, what: string): CairnError {
  return new CairnError("unexpected_answer", { detail: `${where}: ${what}` });
}
