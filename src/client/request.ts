// HTTP requests to a log, over the fetch of whatever this runs in: answers bounded in bytes, a time limit for each try, and
// retries that honour Retry-After. 404 is an answer and never retried. What a log refuses arrives as the error it named.

import { decodeUtf8 } from "../core/bytes.ts";
import { CairnError, ERROR_SENTENCES, type ErrorCode } from "../core/errors.ts";

/** The part of the global `fetch` that is used. */
export type Fetch = (url: string, init?: RequestInit) => Promise<Response>;

export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  sleep(milliseconds: number): Promise<void>;
}

export interface RetryPolicy {
  /** Tries in all, at least 1. */
  readonly attempts: number;
  /** The wait after the first failure; it doubles after each further one. */
  readonly firstDelayMs: number;
  /** The longest wait, also where Retry-After asks for more: then the answer is given up at once. */
  readonly maxDelayMs: number;
}

export const DEFAULT_RETRY: RetryPolicy = { attempts: 5, firstDelayMs: 500, maxDelayMs: 60_000 };

/** For one try, from the request to the last byte of the answer. */
export const DEFAULT_TIMEOUT_MS = 60_000;

export interface RequestOptions {
  /** The log's URL prefix, http or https; a path is kept, a final slash is not needed. */
  readonly url: string;
  readonly fetch?: Fetch;
  readonly clock?: Clock;
  readonly retry?: Partial<RetryPolicy>;
  readonly timeoutMs?: number;
}

interface Request {
  readonly method?: "GET" | "POST";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** An answer of more bytes is refused before it is held. */
  readonly maxBytes: number;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Uint8Array;
}

export interface Requester {
  /** The prefix without a final slash. */
  readonly url: string;
  /**
   * The answer of status 200. Any other is thrown as the catalogue's code that the log named, else as
   * `unexpected_answer`; no answer at all as `unreachable`. `path` is relative to the prefix, without a leading slash.
   */
  request(path: string, request: Request): Promise<Answer>;
  /** As `request` with GET, null for 404. */
  find(path: string, request: Request): Promise<Uint8Array | null>;
}

/** Answers that say "later" or come from a proxy that lost its server. Every request here may be repeated safely. */
const RETRIED_STATUSES: readonly number[] = [429, 502, 503, 504];

/** Enough of a problem+json body, or of a proxy's page, to name the reason. */
const ERROR_MAX_BYTES = 64 * 1024;

const systemClock: Clock = {
  now: () => Date.now(),
  sleep: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
};

/** Throws `bad_url` where `options.url` is not an http or https address without query, fragment and credentials. */
export function requester(options: RequestOptions): Requester {
  const url = parsePrefix(options.url);
  const fetch: Fetch = options.fetch ?? ((address, init) => globalThis.fetch(address, init));
  const clock = options.clock ?? systemClock;
  const retry: RetryPolicy = { ...DEFAULT_RETRY, ...options.retry };
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;

  async function once(address: string, request: Request): Promise<Answer> {
    const { method = "GET", headers = {}, body, maxBytes } = request;
    const init: RequestInit = {
      method,
      headers,
      // A redirected POST could become a GET, or carry the entry and the key to somewhere else.
      redirect: method === "GET" ? "follow" : "error",
      signal: AbortSignal.timeout(timeoutMs),
    };
    if (body !== undefined) init.body = body as Uint8Array<ArrayBuffer>;
    try {
      const response = await fetch(address, init);
      const ok = response.status === 200;
      const bytes = await readBody(response, ok ? maxBytes : ERROR_MAX_BYTES, ok, address);
      return { status: response.status, headers: response.headers, bytes };
    } catch (cause) {
      if (cause instanceof CairnError) throw cause;
      throw new CairnError("unreachable", { detail: `${address}: ${reasonOf(cause)}`, cause });
    }
  }

  async function ask(path: string, request: Request): Promise<Answer> {
    const address = `${url}/${path}`;
    for (let attempt = 1; ; attempt++) {
      let wait = Math.min(retry.firstDelayMs * 2 ** (attempt - 1), retry.maxDelayMs);
      let answer: Answer | null = null;
      let failure: CairnError;
      try {
        answer = await once(address, request);
        if (!RETRIED_STATUSES.includes(answer.status)) return answer;
        failure = refusal(answer, address);
        const asked = retryAfterMs(answer.headers.get("retry-after"), clock.now());
        if (asked !== null && asked > retry.maxDelayMs) throw failure;
        wait = asked ?? wait;
      } catch (error) {
        if (answer !== null || !(error instanceof CairnError) || error.code !== "unreachable") throw error;
        failure = error;
      }
      if (attempt >= retry.attempts) throw failure;
      await clock.sleep(wait);
    }
  }

  return {
    url,
    async request(path, request) {
      const answer = await ask(path, request);
      if (answer.status !== 200) throw refusal(answer, `${url}/${path}`);
      return answer;
    },
    async find(path, request) {
      const answer = await ask(path, request);
      if (answer.status === 404) return null;
      if (answer.status !== 200) throw refusal(answer, `${url}/${path}`);
      return answer.bytes;
    },
  };
}

function parsePrefix(text: string): string {
  let url: URL;
  try {
    url = new URL(text);
  } catch (cause) {
    throw new CairnError("bad_url", { detail: text, cause });
  }
  const plain = url.search === "" && url.hash === "" && url.username === "" && url.password === "";
  if ((url.protocol !== "http:" && url.protocol !== "https:") || !plain) {
    // Not quoted: what is in front of an @ may be a password.
    throw new CairnError("bad_url", { detail: "http or https, without credentials, query and fragment" });
  }
  return url.href.replace(/\/+$/, "");
}

/** The whole body; `exact` refuses more than `maxBytes`, otherwise the rest is dropped. */
async function readBody(
  response: Response,
  maxBytes: number,
  exact: boolean,
  address: string,
): Promise<Uint8Array> {
  if (response.body === null) return new Uint8Array(0);
  const reader = response.body.getReader();
  const parts: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > maxBytes) {
      await reader.cancel();
      if (exact) {
        throw new CairnError("unexpected_answer", { detail: `${address}: over ${maxBytes} bytes` });
      }
      break;
    }
    parts.push(value);
  }
  const body = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    body.set(part, offset);
    offset += part.length;
  }
  return body;
}

/** The error that an answer stands for: the code of its problem+json where the catalogue has it. */
function refusal(answer: Answer, address: string): CairnError {
  const problem = parseJson(answer.bytes);
  if (isRecord(problem) && isErrorCode(problem.code)) {
    const members: Record<string, string | number> = {};
    for (const name of ["index", "retry", "published_size"]) {
      const value = problem[name];
      if (typeof value === "string" || typeof value === "number") members[name] = value;
    }
    const detail =
      typeof problem.detail === "string"
        ? withoutSentence(problem.detail, problem.code)
        : `${answer.status} from ${address}`;
    return new CairnError(problem.code, { ...(detail === "" ? {} : { detail }), members });
  }
  return new CairnError("unexpected_answer", { detail: `status ${answer.status} from ${address}` });
}

/** A log's detail begins with the code's sentence, as an error here does again: what is left is what it adds. */
function withoutSentence(detail: string, code: ErrorCode): string {
  const sentence = ERROR_SENTENCES[code];
  if (!detail.startsWith(sentence)) return detail;
  const rest = detail.slice(sentence.length).trim();
  return /^\(.*\)$/s.test(rest) ? rest.slice(1, -1) : rest;
}

/** Milliseconds that a Retry-After header asks for (RFC 9110, 10.2.3: seconds or a date), or null without a valid one. */
export function retryAfterMs(header: string | null, now: number): number | null {
  if (header === null) return null;
  if (/^[0-9]{1,10}$/.test(header)) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? null : Math.max(0, date - now);
}

/** What JSON bytes hold, or undefined where they are not JSON. */
export function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(decodeUtf8(bytes));
  } catch {
    return undefined;
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === "string" && Object.hasOwn(ERROR_SENTENCES, value);
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // Node's fetch says "fetch failed" and keeps the reason (ECONNREFUSED, a certificate) as the cause.
  const { cause } = error;
  if (cause instanceof Error) return "code" in cause ? String(cause.code) : cause.message;
  return error.name === "TimeoutError" ? "no answer in time" : error.message;
}
