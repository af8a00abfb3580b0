// Refusing a request so that the refusal arrives. The body of a refused request is often still on its way, and closing
// a socket with unread bytes resets it, which can destroy the answer in the peer's hands: so the answer is written at
// once, the rest is read and dropped within bounds, and only then the connection closes (a lingering close).

import { randomBytes } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { LINGER_KEEP_ALIVE_MAX_BYTES } from "./limits.ts";
import { PROBLEM_TYPE, problemBody, publicError, retryAfterOf, statusOf } from "./problem.ts";
import { CORS } from "./send.ts";

/** What of a logger these routes use; pino's has it. */
export interface HttpLogger {
  debug(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Answers a request with an error of the catalogue; anything else becomes `internal` and goes to the log. */
export type Refuse = (
  raw: IncomingMessage,
  res: ServerResponse,
  error: unknown,
  /** Further headers, names and values in turn. */
  headers?: readonly string[],
) => void;

export interface LingerLimits {
  readonly maxBytes: number;
  readonly maxMs: number;
}

/** Request ids for refusals, which alone have one: a random beginning that is this server's, and a count. */
export function requestIds(): () => string {
  const prefix = randomBytes(6).toString("hex");
  let requests = 0;
  return () => `${prefix}-${(++requests).toString(36)}`;
}

/**
 * A `Refuse`. It puts into `closing` each connection of which it has said that it closes: a request that still comes there
 * would get no answer, so it must have no effect (RFC 9112, section 9.6).
 */
export function createRefuse(
  logger: HttpLogger | null,
  linger: LingerLimits,
  nextId: () => string,
  count: (code: string) => void,
  closing: WeakSet<Socket>,
  stopping: AbortSignal,
): Refuse {
  return (raw, res, cause, headers = []) => {
    const error = publicError(cause);
    const status = statusOf(error.code);
    const requestId = nextId();
    count(error.code);
    logRefusal(logger, raw, status, requestId, error);
    if (res.destroyed) return;
    if (res.headersSent) {
      // Half an answer is on the wire: only a cut connection says that it is not the whole.
      res.destroy();
      return;
    }

    const body = Buffer.from(problemBody(error, requestId));
    const all = ["Content-Type", PROBLEM_TYPE, "Cache-Control", "no-store"];
    all.push("Content-Length", String(body.length), ...CORS, "Access-Control-Expose-Headers", "Retry-After");
    if (error.code === "unauthorized") all.push("WWW-Authenticate", "Bearer");
    const retryAfter = retryAfterOf(error.code);
    if (retryAfter !== null && !headers.includes("Retry-After")) all.push("Retry-After", String(retryAfter));
    all.push(...headers);

    if (stopping.aborted) res.shouldKeepAlive = false;
    const left = bodyLeft(raw);
    const closes = headers.includes("Connection") || willClose(raw, res);
    const lingers = left > LINGER_KEEP_ALIVE_MAX_BYTES || (left > 0 && closes);
    if (lingers || closes) closing.add(raw.socket);
    if (lingers) {
      if (!headers.includes("Connection")) all.push("Connection", "close");
      res.writeHead(status, all);
      res.write(body);
      endAfterBody(raw, res, linger);
    } else {
      res.writeHead(status, all);
      res.end(body);
      // Node drops what is left of a body that nobody began to read; of one that was begun, we do.
      raw.resume();
    }
  };
}

/** Bytes of the body that may still come: 0 where it was read to its end, infinite where its length is not declared. */
function bodyLeft(raw: IncomingMessage): number {
  if (raw.complete) return 0;
  if (raw.headers["transfer-encoding"] !== undefined) return Number.POSITIVE_INFINITY;
  return Number(raw.headers["content-length"] ?? 0);
}

/** True where the connection closes after this answer anyway; without a 100 Continue the body may never come. */
function willClose(raw: IncomingMessage, res: ServerResponse): boolean {
  return !res.shouldKeepAlive || res.hasHeader("Connection") || raw.headers.expect !== undefined;
}

/** Ends `res`, and with it the connection, when the body has come or a limit is met. */
function endAfterBody(raw: IncomingMessage, res: ServerResponse, limits: LingerLimits): void {
  let dropped = 0;
  const finish = () => {
    clearTimeout(timer);
    res.end();
  };
  const timer = setTimeout(finish, limits.maxMs);
  timer.unref();
  raw.on("data", (chunk: Buffer) => {
    dropped += chunk.length;
    if (dropped > limits.maxBytes) finish();
  });
  raw.once("end", finish);
  raw.once("close", finish);
  raw.resume();
}

function logRefusal(
  logger: HttpLogger | null,
  raw: IncomingMessage,
  status: number,
  requestId: string,
  error: Error & { readonly code: string },
): void {
  if (logger === null) return;
  // Without its query, in which somebody may have sent a key.
  const path = raw.url?.split("?", 1)[0];
  const fields = { requestId, method: raw.method, path, status, code: error.code };
  if (status === 500) logger.error({ ...fields, err: error.cause ?? error }, "request failed");
  else logger.debug(fields, "request refused");
}
