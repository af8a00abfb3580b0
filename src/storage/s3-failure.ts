// What a failed request to an S3-compatible store means: whether anything was applied, whether asking again can help, and
// in which words its operator is told. Only an answer that says so is taken for absence or for a refused condition; what
// came back without an answer, late, or as a 5xx leaves the outcome open.

import type { StoreErrorOutcome } from "./store.ts";

/**
 * `absent`: there is no such object. `condition`: the condition did not hold. `conflict`: another write to the key is under
 * way and this one was not applied. `no_bucket`, `refused` (credentials, rights, region, an address that is no such store)
 * and `unsupported` are for the operator to mend. `passing`: asking again can help.
 */
export type FailureKind =
  | "absent"
  | "condition"
  | "conflict"
  | "no_bucket"
  | "refused"
  | "unsupported"
  | "passing";

export interface S3Failure {
  readonly kind: FailureKind;
  readonly outcome: StoreErrorOutcome;
  /** What the store, or the way to it, said; no secret stands in it. */
  readonly words: string;
}

/** Answers that name the bucket's absence, whatever their status. */
const NO_BUCKET = "NoSuchBucket";
const ABSENT = "NoSuchKey";

/** Refusals that pass by themselves: the client corrects its clock, renews its credentials, or sends the body again. */
const PASSING_REFUSALS: ReadonlySet<string> = new Set([
  "RequestTimeTooSkewed",
  "RequestExpired",
  "ExpiredToken",
  "ExpiredTokenException",
  "RequestTimeout",
  "RequestTimeoutException",
  "IncompleteBody",
  "BadDigest",
  "XAmzContentSHA256Mismatch",
  "SlowDown",
  "Throttling",
  "ThrottlingException",
  "TooManyRequests",
]);

/** Where no connection came about, nothing was sent. */
const NOT_CONNECTED: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ENOTFOUND: "its name has no address",
  EAI_AGAIN: "its name cannot be looked up now",
  EHOSTUNREACH: "there is no way to it",
  ENETUNREACH: "there is no way to it",
  EADDRNOTAVAIL: "there is no way to it",
};

interface Thrown {
  readonly name?: string;
  readonly code?: unknown;
  readonly message?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
  readonly $response?: { readonly statusCode?: number };
}

/** Reads what the S3 client threw. `givenUp`: we ended the request, after its time as a rule. */
export function readFailure(error: unknown, givenUp: boolean): S3Failure {
  const thrown = (typeof error === "object" && error !== null ? error : {}) as Thrown;
  const name = thrown.name ?? "";
  const status = thrown.$metadata?.httpStatusCode ?? thrown.$response?.statusCode;
  if (givenUp) return passing("unknown", "it did not answer in time");
  if (status === undefined) return readUnanswered(thrown, name);

  const said = `it answered ${status}${name === "" || name === "Error" ? "" : ` ${name}`}`;
  if (name === NO_BUCKET) {
    return { kind: "no_bucket", outcome: "not_applied", words: "there is no such bucket" };
  }
  if (status === 404 && name === ABSENT) return { kind: "absent", outcome: "not_applied", words: said };
  if (status === 412) return { kind: "condition", outcome: "not_applied", words: said };
  if (status === 409) return { kind: "conflict", outcome: "not_applied", words: said };
  if (status === 501) return { kind: "unsupported", outcome: "not_applied", words: said };
  if (status >= 500 || status < 300) return passing("unknown", said);
  if (status === 408 || status === 429 || PASSING_REFUSALS.has(name)) return passing("not_applied", said);
  return { kind: "refused", outcome: "not_applied", words: said };
}

function readUnanswered(thrown: Thrown, name: string): S3Failure {
  const code = typeof thrown.code === "string" ? thrown.code : "";
  const notConnected = NOT_CONNECTED[code];
  if (notConnected !== undefined) return passing("not_applied", `${notConnected} (${code})`);
  // The client's own words for a connection that did not come about in time.
  if (name === "TimeoutError" && thrown.message?.includes("did not establish a connection") === true) {
    return passing("not_applied", "no connection in time");
  }
  if (name === "CredentialsProviderError" || name === "TokenProviderError") {
    return { kind: "refused", outcome: "not_applied", words: "no credentials were found for it" };
  }
  if (
    code.startsWith("ERR_TLS_") ||
    code.startsWith("CERT_") ||
    code.includes("_CERT") ||
    code === "EPROTO"
  ) {
    return {
      kind: "refused",
      outcome: "not_applied",
      words: `its certificate or TLS does not fit (${code})`,
    };
  }
  if (code !== "") return passing("unknown", `the connection broke (${code})`);
  // The client refused by itself, before anything was sent: no region, a malformed address.
  const words = thrown.message?.split("\n")[0] ?? "the request could not be made";
  return { kind: "refused", outcome: "not_applied", words };
}

function passing(outcome: StoreErrorOutcome, words: string): S3Failure {
  return { kind: "passing", outcome, words };
}
