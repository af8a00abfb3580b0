// The witness over HTTP, on plain node:http: few routes, text bodies, and nothing between a request and its answer that is not
// needed, since a log waits for every one. C2SP tlog-witness; /health, /metrics and /about are our own.

import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from "node:http";
import type { Socket } from "node:net";
import { encodeUtf8, fromHex } from "../../core/bytes.ts";
import {
  BODY_MAX_BYTES,
  CLOSE_GRACE_MS,
  CONNECTIONS_CHECKING_INTERVAL_MS,
  HEADERS_TIMEOUT_MS,
  KEEP_ALIVE_TIMEOUT_MS,
  LINGER_MAX_BYTES,
  LINGER_MAX_MS,
  MAX_CONNECTIONS,
  REQUEST_TIMEOUT_MS,
} from "./limits.ts";
import type { Gauges, WitnessMetrics } from "./metrics.ts";
import { type RateLimit, RateLimiter } from "./rate-limit.ts";
import { Refusal } from "./refusal.ts";
import type { Answer, Witness } from "./witness.ts";

export interface WitnessServerOptions {
  readonly witness: Witness;
  readonly metrics: WitnessMetrics;
  readonly gauges: () => Gauges;
  /** The text of /about, or null: there is no such page. */
  readonly about: string | null;
  /** For each client address, counted before a body is read; null: none. */
  readonly addressLimit: RateLimit | null;
  /** For each origin, counted once the log's signature is verified; null: none. */
  readonly originLimit: RateLimit | null;
  /** The address that requests are counted by. */
  readonly clientAddress: (request: IncomingMessage) => string;
  /** Milliseconds that never go backwards. */
  readonly monotonic: () => number;
  /** A fault of ours; its sender gets 500. */
  readonly onError: (error: unknown) => void;
}

export interface WitnessServer {
  /** Resolves with the port, once connections are taken. Port 0 lets the system choose. */
  listen(host: string, port: number): Promise<number>;
  /** Takes no more connections, answers what was received, and resolves when every connection is closed. */
  close(): Promise<void>;
}

type Headers = readonly string[];

interface Reply {
  readonly status: number;
  readonly type: string;
  readonly body: Uint8Array;
  readonly headers?: Headers;
}

const TEXT = "text/plain; charset=utf-8";
/** "The response MUST have a `Content-Type` of `text/x.tlog.size`": no parameter. */
const SIZE = "text/x.tlog.size";
const METRICS = "text/plain; version=0.0.4; charset=utf-8";
const MONITORING_PATH = /^\/([0-9a-f]{64})\/checkpoint$/;
const NO_BYTES = new Uint8Array(0);

export function createWitnessServer(options: WitnessServerOptions): WitnessServer {
  const { witness, metrics, monotonic } = options;
  const addresses = options.addressLimit && new RateLimiter(options.addressLimit, monotonic);
  const origins = options.originLimit && new RateLimiter(options.originLimit, monotonic);
  const admit = (origin: string) => origins === null || origins.take(origin);
  let closing = false;

  const server: Server = createServer({
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    connectionsCheckingInterval: CONNECTIONS_CHECKING_INTERVAL_MS,
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.on("request", (request, response) => handle(request, response));
  // A client that waits to be asked for its body (RFC 9110, section 10.1.1) is asked only where the body will be read.
  server.on("checkContinue", (request, response) => handle(request, response));
  const refused = new WeakSet<Socket>();
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    // The parser reports each further piece of a stream that it has given up.
    if (refused.has(socket)) return;
    refused.add(socket);
    refuseUnreadable(error, socket);
  });

  function handle(request: IncomingMessage, response: ServerResponse): void {
    const path = pathOf(request.url ?? "");
    if (path === "/add-checkpoint") {
      post("add-checkpoint", request, response, (body) => {
        const begun = monotonic();
        const answer = witness.addCheckpoint(body, admit);
        metrics.took((monotonic() - begun) / 1000);
        return answer;
      });
    } else if (path === "/sign-subtree" && witness.keys.signsSubtrees) {
      post("sign-subtree", request, response, (body) => witness.signSubtree(body, admit));
    } else {
      const route = readable(path);
      if (route === null) send("unknown", request, response, plain(404, "there is nothing at this address"));
      else if (request.method !== "GET" && request.method !== "HEAD") {
        send(route.name, request, response, notAllowed("GET, HEAD"));
      } else send(route.name, request, response, safely(route.read));
    }
  }

  function post(
    route: string,
    request: IncomingMessage,
    response: ServerResponse,
    answer: (body: Uint8Array) => Answer,
  ): void {
    if (request.method !== "POST") {
      send(route, request, response, notAllowed("POST"));
      return;
    }
    if (addresses !== null && !addresses.take(options.clientAddress(request))) {
      send(route, request, response, tooMany("too many requests from this address", addresses));
      return;
    }
    readBody(request, response, (body) => {
      if (body === null)
        send(route, request, response, plain(413, `the body is over ${BODY_MAX_BYTES} bytes`));
      else
        send(
          route,
          request,
          response,
          safely(() => answered(answer(body))),
        );
    });
  }

  function answered(answer: Answer): Reply {
    if (!(answer instanceof Refusal)) return { status: 200, type: TEXT, body: encodeUtf8(answer.lines) };
    const { status, reason } = answer;
    if (status === 409) return { status, type: SIZE, body: encodeUtf8(`${reason}\n`) };
    if (status === 429 && origins !== null) return tooMany(reason, origins);
    return plain(status, reason);
  }

  function readable(path: string): { name: string; read: () => Reply } | null {
    if (path === "/health") return { name: "health", read: () => plain(200, "ok") };
    if (path === "/metrics") {
      const body = () => encodeUtf8(metrics.text(options.gauges()));
      return {
        name: "metrics",
        read: () => ({ status: 200, type: METRICS, body: body(), headers: NO_STORE }),
      };
    }
    const { about } = options;
    if (path === "/about" && about !== null) {
      return { name: "about", read: () => ({ status: 200, type: TEXT, body: encodeUtf8(about) }) };
    }
    const hash = MONITORING_PATH.exec(path)?.[1];
    return hash === undefined ? null : { name: "checkpoint", read: () => checkpoint(hash) };
  }

  function checkpoint(hash: string): Reply {
    const note = witness.checkpoint(fromHex(hash));
    if (note === null) return plain(404, "no checkpoint of that log was ever cosigned here");
    // Always the newest: whoever puts a cache before this decides how old an answer may be.
    return { status: 200, type: TEXT, body: note, headers: ["Cache-Control", "no-cache"] };
  }

  function safely(reply: () => Reply): Reply {
    try {
      return reply();
    } catch (error) {
      options.onError(error);
      return plain(500, "the witness met a fault of its own");
    }
  }

  function send(route: string, request: IncomingMessage, response: ServerResponse, reply: Reply): void {
    metrics.answered(route, reply.status);
    const headers = ["Content-Type", reply.type, "Content-Length", String(reply.body.length), ...CORS];
    if (reply.status >= 400) headers.push(...NO_STORE);
    if (reply.headers !== undefined) headers.push(...reply.headers);
    if (closing) headers.push("Connection", "close");
    response.writeHead(reply.status, headers);
    response.end(reply.body);
    if (hasBody(request) && !request.complete) discardRest(request);
  }

  return {
    listen(host, port) {
      return new Promise((resolve, reject) => {
        server.once("error", reject);
        server.listen({ host, port }, () => {
          server.off("error", reject);
          const address = server.address();
          resolve(typeof address === "object" && address !== null ? address.port : port);
        });
      });
    },
    close() {
      closing = true;
      return new Promise((resolve) => {
        const cut = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS);
        server.close(() => {
          clearTimeout(cut);
          resolve();
        });
        server.closeIdleConnections();
      });
    },
  };
}

/** Anyone may read a witness, a page in a browser too. */
const CORS: Headers = ["Access-Control-Allow-Origin", "*"];
const NO_STORE: Headers = ["Cache-Control", "no-store"];

function plain(status: number, line: string): Reply {
  return { status, type: TEXT, body: encodeUtf8(`${line}\n`) };
}

function notAllowed(allow: string): Reply {
  return { ...plain(405, `this address answers ${allow}`), headers: ["Allow", allow] };
}

function tooMany(reason: string, limiter: RateLimiter): Reply {
  return { ...plain(429, reason), headers: ["Retry-After", String(limiter.retryAfter)] };
}

function pathOf(url: string): string {
  const end = url.indexOf("?");
  return end < 0 ? url : url.slice(0, end);
}

/**
 * Calls `done` once with the whole body, or with null as soon as it is known to be too long. A body that is cut short is
 * never given: nobody is left to answer.
 */
function readBody(
  request: IncomingMessage,
  response: ServerResponse,
  done: (body: Uint8Array | null) => void,
): void {
  const declared = request.headers["content-length"];
  if (declared !== undefined && Number(declared) > BODY_MAX_BYTES) {
    done(null);
    return;
  }
  const chunks: Uint8Array[] = [];
  let length = 0;
  const onData = (chunk: Uint8Array) => {
    length += chunk.length;
    chunks.push(chunk);
    if (length <= BODY_MAX_BYTES) return;
    request.off("data", onData);
    request.off("end", onEnd);
    chunks.length = 0;
    done(null);
  };
  const onEnd = () => done(chunks.length === 1 ? (chunks[0] as Uint8Array) : join(chunks, length));
  request.on("data", onData);
  request.on("end", onEnd);
  if (request.headers.expect !== undefined) response.writeContinue();
}

function join(chunks: readonly Uint8Array[], length: number): Uint8Array {
  if (length === 0) return NO_BYTES;
  const body = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    body.set(chunk, offset);
    offset += chunk.length;
  }
  return body;
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers["content-length"] !== undefined || headers["transfer-encoding"] !== undefined;
}

/** Reads on and drops what comes, within bounds, so that the sender gets its answer before the connection ends. */
function discardRest(request: IncomingMessage): void {
  let dropped = 0;
  const cut = setTimeout(() => request.destroy(), LINGER_MAX_MS);
  cut.unref();
  request.on("data", (chunk: Uint8Array) => {
    dropped += chunk.length;
    if (dropped > LINGER_MAX_BYTES) request.destroy();
  });
  request.on("error", () => {});
  request.once("close", () => clearTimeout(cut));
}

/** Bytes that are no request, and requests that never end: answered on the bare socket, since no request object exists. */
function refuseUnreadable(error: NodeJS.ErrnoException, socket: Socket): void {
  if (socket.destroyed || !socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const status = error.code === "ERR_HTTP_REQUEST_TIMEOUT" ? 408 : 400;
  const body =
    status === 408 ? "the request took too long to arrive\n" : "the request could not be read as HTTP\n";
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    `Content-Type: ${TEXT}`,
    `Content-Length: ${body.length}`,
    "Cache-Control: no-store",
    "Connection: close",
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`);
  socket.on("error", () => {});
  const cut = setTimeout(() => socket.destroy(), LINGER_MAX_MS);
  cut.unref();
  socket.once("close", () => clearTimeout(cut));
}
