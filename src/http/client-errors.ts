// Bytes that are no request, and requests that never end: answered on the bare socket, since no request object exists.
// Node's parser is strict (a request with two lengths, a bad chunk, a folded header never reaches a route); this file
// only sees to it that the peer can read why.

import { type IncomingMessage, STATUS_CODES, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { CairnError } from "../core/errors.ts";
import { PROBLEM_TYPE, problemBody, statusOf } from "./problem.ts";
import type { HttpLogger } from "./refuse.ts";

/** What refusals on a bare socket share with those on a response. */
export interface SocketRefusals {
  readonly logger: HttpLogger | null;
  /** How long a peer may go on sending. */
  readonly lingerMs: number;
  readonly nextId: () => string;
  readonly count: (code: string) => void;
}

/** The handler for a server's `clientError` event. Half-closes after the answer and cuts after `lingerMs`. */
export function clientErrorHandler(
  refusals: SocketRefusals,
): (error: NodeJS.ErrnoException, socket: Socket) => void {
  const answered = new WeakSet<Socket>();
  return (error, socket) => {
    // The parser reports each further piece of a stream that it has given up.
    if (answered.has(socket)) return;
    answered.add(socket);
    if (socket.destroyed || !socket.writable || error.code === "ECONNRESET") {
      socket.destroy();
      return;
    }
    const problem = problemOf(error);
    afterPendingAnswers(socket, (answering) => {
      // The answer that is under way was counted where it was made.
      const answer = answering ? "" : refused(problem, refusals, { parser: error.code }, []);
      endAndCut(socket, answer, refusals.lingerMs);
    });
  };
}

/** The handler for a server's `connect` event: there is no tunnel here. */
export function refuseConnect(refusals: SocketRefusals): (request: IncomingMessage, socket: Duplex) => void {
  const refusal = new CairnError("method_not_allowed");
  return ({ method }, socket) => {
    socket.on("error", () => socket.destroy());
    socket.resume();
    const answer = refused(refusal, refusals, { method }, ["Allow: GET, HEAD, POST, OPTIONS"]);
    endAndCut(socket, answer, refusals.lingerMs);
  };
}

/** Counts and logs a refusal; the bytes of its answer. */
function refused(
  problem: CairnError,
  { logger, nextId, count }: SocketRefusals,
  fields: object,
  headers: readonly string[],
): string {
  const requestId = nextId();
  count(problem.code);
  logger?.debug(
    { requestId, ...fields, status: statusOf(problem.code), code: problem.code },
    "request refused",
  );
  return rawAnswer(problem, requestId, headers);
}

/** Ends our side with `answer`, and the connection when the peer ends its own or the time for that is up. */
function endAndCut(socket: Duplex, answer: string, lingerMs: number): void {
  socket.end(answer);
  const timer = setTimeout(() => socket.destroy(), lingerMs);
  timer.unref();
  socket.once("close", () => clearTimeout(timer));
}

function problemOf(error: NodeJS.ErrnoException): CairnError {
  if (error.code === "ERR_HTTP_REQUEST_TIMEOUT") return new CairnError("request_timeout");
  return new CairnError("bad_request", error.code === undefined ? {} : { detail: error.code });
}

/**
 * Calls `then` when every earlier request on the connection, complete and perhaps already committed, has its answer:
 * else the refusal of what follows would be read as theirs. `answering` is true where an answer to the broken request
 * itself is under way.
 */
function afterPendingAnswers(socket: Socket, then: (answering: boolean) => void): void {
  if (socket.destroyed) return;
  // Node keeps the response that is next on the wire here, and decides by it too when nobody listens for clientError.
  const next = (socket as Socket & { _httpMessage?: ServerResponse | null })._httpMessage;
  if (next?.req.complete) {
    next.once("close", () => afterPendingAnswers(socket, then));
    return;
  }
  then(next?.headersSent ?? false);
}

function rawAnswer(problem: CairnError, requestId: string, headers: readonly string[]): string {
  const status = statusOf(problem.code);
  const body = problemBody(problem, requestId);
  return [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    `Date: ${new Date().toUTCString()}`,
    `Content-Type: ${PROBLEM_TYPE}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    "Cache-Control: no-store",
    "Access-Control-Allow-Origin: *",
    ...headers,
    "Connection: close",
    "",
    body,
  ].join("\r\n");
}
