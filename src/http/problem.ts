// Refusals as RFC 9457 problem details: which status each code of the catalogue has over HTTP, and the body that says
// so. A code without a status here never leaves the server: its reader gets `internal` and a request id instead.

import { STATUS_CODES } from "node:http";
import { CairnError, ERROR_SENTENCES, type ErrorCode, isCairnError } from "../core/errors.ts";

export const PROBLEM_TYPE = "application/problem+json";

const STATUS: { readonly [code in ErrorCode]?: number } = {
  entry_empty: 400,
  entry_too_large: 413,
  entry_schema: 422,
  reserved_shape: 422,
  batch_too_large: 413,
  bad_framing: 400,
  unsupported_encoding: 415,
  unsupported_type: 415,
  queue_full: 503,
  backlog_full: 503,
  storage_low: 503,
  store_unavailable: 503,
  rate_limited: 429,
  unauthorized: 401,
  proof_timeout: 504,
  starting: 503,
  draining: 503,
  frozen: 403,
  // The process stops on each of these three, and what became of the entry is for the next start to say: ask again.
  commit_unknown: 503,
  fenced: 503,
  sync_failed: 503,
  bad_path: 400,
  not_published: 404,
  not_published_yet: 404,
  object_missing: 503,
  checkpoint_not_kept: 404,
  bad_parameter: 400,
  not_found: 404,
  method_not_allowed: 405,
  bad_request: 400,
  request_timeout: 408,
  internal: 500,
};

/** Seconds, for the codes where a second is too soon or where the wait is known. A lost object takes an operator. */
const RETRY_AFTER_SECONDS: { readonly [code in ErrorCode]?: number } = {
  object_missing: 300,
  backlog_full: 5,
  store_unavailable: 5,
  storage_low: 30,
};
const RETRY_AFTER_DEFAULT_SECONDS = 1;

/** The HTTP status of a refusal with `code`. */
export function statusOf(code: ErrorCode): number {
  return STATUS[code] ?? 500;
}

/** Seconds after which asking again makes sense, or null where the status calls for no Retry-After. */
export function retryAfterOf(code: ErrorCode): number | null {
  const status = statusOf(code);
  if (status !== 503 && status !== 429) return null;
  return RETRY_AFTER_SECONDS[code] ?? RETRY_AFTER_DEFAULT_SECONDS;
}

/** The error that a client may see: `error` itself where its code has a status, else `internal` with it as cause. */
export function publicError(error: unknown): CairnError {
  if (isCairnError(error) && STATUS[error.code] !== undefined) return error;
  return new CairnError("internal", { cause: error });
}

/** What `detail` says for a code: the sentence, and what was wrong in this case. Nothing of a cause. */
export function detailOf(error: CairnError): string {
  return error.code === "internal" ? ERROR_SENTENCES.internal : error.message;
}

/** The JSON body. `type` is left out, which RFC 9457 reads as "about:blank": `code` is what clients match on. */
export function problemBody(error: CairnError, requestId: string): string {
  const status = statusOf(error.code);
  return JSON.stringify({
    title: STATUS_CODES[status],
    status,
    code: error.code,
    detail: detailOf(error),
    request_id: requestId,
    ...error.members,
  });
}
