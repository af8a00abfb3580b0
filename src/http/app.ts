// The log's HTTP edge: a Fastify app over a `Log`, all configuration handed in as values. Most routes take the raw
// response (`reply.hijack`), so that nothing stands between the log and the socket that a route does not need.

import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  ServerResponse,
} from "node:http";
import type { Socket } from "node:net";
import fastify, { type FastifyInstance } from "fastify";
import { CairnError } from "../core/errors.ts";
import type { Log } from "../log/api.ts";
import { addRoute } from "./add.ts";
import { addBatchRoute } from "./add-batch.ts";
import { type KeyChecker, WriteAccess } from "./auth.ts";
import { checkpointRoutes } from "./checkpoint.ts";
import { clientAddress } from "./client-address.ts";
import { clientErrorHandler, refuseConnect, type SocketRefusals } from "./client-errors.ts";
import {
  CLOSE_GRACE_MS,
  CONNECTIONS_CHECKING_INTERVAL_MS,
  HEADERS_TIMEOUT_MS,
  KEEP_ALIVE_TIMEOUT_MS,
  LINGER_MAX_BYTES,
  LINGER_MAX_MS,
  REQUEST_TIMEOUT_MS,
} from "./limits.ts";
import { metricsRoute, type ServerMetrics } from "./metrics.ts";
import { openApiRoutes } from "./openapi.ts";
import { proofRoute } from "./proof.ts";
import { type RateLimit, rateLimitHook } from "./rate-limit.ts";
import { createRefuse, type HttpLogger, type Refuse, requestIds } from "./refuse.ts";
import { statusRoutes } from "./status.ts";
import { tileRoutes } from "./tiles.ts";
import { answerUnmatched, undecodable } from "./unmatched.ts";

/** Milliseconds; the defaults are those of limits.ts. */
export interface HttpTimes {
  readonly headersTimeout: number;
  readonly requestTimeout: number;
  /** How often the two above are checked. */
  readonly checkingInterval: number;
  /** How long a refused client may go on sending. */
  readonly linger: number;
  /** How long closing waits for requests in flight. */
  readonly closeGrace: number;
}

const DEFAULT_TIMES: HttpTimes = {
  headersTimeout: HEADERS_TIMEOUT_MS,
  requestTimeout: REQUEST_TIMEOUT_MS,
  checkingInterval: CONNECTIONS_CHECKING_INTERVAL_MS,
  linger: LINGER_MAX_MS,
  closeGrace: CLOSE_GRACE_MS,
};

export interface AppOptions {
  /** May still be starting: its own refusals (`starting`, `draining`, …) are passed on. */
  readonly log: Log;
  /** Who may write: `publicWrites`, `staticKey(key)` or `namedKeys(keys)` of auth.ts. */
  readonly keys: KeyChecker;
  /** For each key or address on the write routes; null: none. */
  readonly rateLimit: RateLimit | null;
  /** The header in which a trusted proxy gives the client's address; null: nobody is trusted, the peer counts. */
  readonly clientAddressHeader: string | null;
  /** For `/log.json`. */
  readonly descriptor: string | null;
  /** Served at /metrics, and told of refusals; null: neither. */
  readonly metrics: ServerMetrics | null;
  /** A pino logger, or null. Faults are errors, refusals are at debug, answers are not logged. */
  readonly logger: HttpLogger | null;
  /** Aborted when the log drains: from then on every answer closes its connection. */
  readonly stopping: AbortSignal;
  readonly times?: Partial<HttpTimes>;
}

/**
 * The app, not yet listening. Its owner closes it after the log has settled its requests: `close` closes idle connections
 * and waits for the others, up to the grace time; until then new ones are taken, to be told that the log is draining.
 */
export async function createApp(options: AppOptions): Promise<FastifyInstance> {
  const { log, keys, logger, metrics, stopping } = options;
  const times = { ...DEFAULT_TIMES, ...options.times };
  const closing = new WeakSet<Socket>();
  const nextId = requestIds();
  const count = (code: string): void => metrics?.refused(code);
  const linger = { maxBytes: LINGER_MAX_BYTES, maxMs: times.linger };
  const refuse = createRefuse(logger, linger, nextId, count, closing, stopping);
  const onSocket: SocketRefusals = { logger, lingerMs: times.linger, nextId, count };

  const app = fastify({
    // A logger here would cost each request a child of it and two listeners; refusals are logged where they are made.
    logger: false,
    serverFactory: (handler) => listener(handler, times, refuse, onSocket, closing, stopping),
    clientErrorHandler: clientErrorHandler(onSocket),
    // While closing, requests on open connections still get their routes' answers: reads, and `draining` for writes.
    return503OnClosing: false,
    // Closing keeps a time of its own.
    pluginTimeout: 0,
    // Long digits are numbers beyond the log, not addresses that do not exist.
    routerOptions: { maxParamLength: 16_384 },
    // Drawn only for refusals, by `refuse`.
    genReqId: () => "",
    frameworkErrors: (_error, request, reply) => {
      reply.hijack();
      refuse(request.raw, reply.raw, undecodable(request.raw.url ?? ""));
    },
  });
  readBodiesRaw(app);

  app.setErrorHandler((error, request, reply) => {
    reply.hijack();
    const retryAfter = reply.getHeader("retry-after");
    const headers = retryAfter === undefined ? [] : ["Retry-After", String(retryAfter)];
    refuse(request.raw, reply.raw, error, headers);
  });
  answerUnmatched(app, refuse);

  const access = new WriteAccess(keys, clientAddress(options.clientAddressHeader));
  const rate = await rateLimitHook(app, options.rateLimit, keys, access);
  addRoute(app, log, access, rate, refuse);
  addBatchRoute(app, log, access, rate, refuse, count);
  tileRoutes(app, log, refuse);
  checkpointRoutes(app, log, refuse);
  proofRoute(app, log, refuse);
  statusRoutes(
    app,
    log,
    {
      rateLimit: options.rateLimit,
      descriptor: options.descriptor,
      headersTimeoutMs: times.headersTimeout,
      requestTimeoutMs: times.requestTimeout,
    },
    refuse,
  );

  openApiRoutes(app);
  if (metrics !== null) {
    metrics.watch(log);
    metricsRoute(app, metrics);
  }

  closeInTime(app, times.closeGrace);
  return app;
}

function listener(
  handler: RequestListener,
  times: HttpTimes,
  refuse: Refuse,
  onSocket: SocketRefusals,
  closing: WeakSet<Socket>,
  stopping: AbortSignal,
): Server {
  const server = createServer(
    {
      headersTimeout: times.headersTimeout,
      requestTimeout: times.requestTimeout,
      connectionsCheckingInterval: times.checkingInterval,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      // Node's own refusal has no body; the check (RFC 9112, section 3.2) is made below.
      requireHostHeader: false,
      ServerResponse: responseOf(stopping),
    },
    (raw, res) => {
      if (closing.has(raw.socket)) {
        raw.resume();
        return;
      }
      const fault = hostFault(raw);
      if (fault === null) handler(raw, res);
      else refuse(raw, res, new CairnError("bad_request", { detail: fault }), CLOSE);
    },
  );
  // `100 Continue` is sent when a route begins to read the body, so that a refusal can spare the client sending it.
  // Other expectations are ignored, as RFC 9110, section 10.1.1 allows.
  server.on("checkContinue", (request, response) => server.emit("request", request, response));
  server.on("checkExpectation", (request, response) => server.emit("request", request, response));
  server.on("connect", refuseConnect(onSocket));
  return server;
}

/** A response that, whichever route gives it, closes its connection once the log drains. */
function responseOf(stopping: AbortSignal): typeof ServerResponse {
  return class<Request extends IncomingMessage = IncomingMessage> extends ServerResponse<Request> {
    override writeHead(...args: unknown[]): this {
      if (stopping.aborted) this.shouldKeepAlive = false;
      return super.writeHead(...(args as [number]));
    }
  };
}

const CLOSE = ["Connection", "close"];

/** The characters of a host and a port (RFC 3986, section 3.2); nothing at all is allowed too. */
const HOST = /^[A-Za-z0-9._~%!$&'()*+,;=:[\]-]*$/;

/** What is wrong with a request's Host header (RFC 9112, section 3.2), or null. Node keeps the first of several. */
function hostFault({ headers, rawHeaders, httpVersionMinor }: IncomingMessage): string | null {
  const { host } = headers;
  if (host === undefined) return httpVersionMinor === 0 ? null : "no Host header";
  if (!HOST.test(host)) return "a Host header that is no host";
  let found = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    if (name.length === 4 && name.toLowerCase() === "host") found++;
  }
  return found === 1 ? null : "more than one Host header";
}

/** Takes Fastify's body parsing out for every method: it answers 415 to content types that it cannot parse. */
function readBodiesRaw(app: FastifyInstance): void {
  for (const method of app.supportedMethods) app.addHttpMethod(method, { overrideExisting: true });
}

/**
 * Sees to it that `app.close()` ends: keep-alive connections and clients that never finish would hold it for ever. The
 * listener is closed when the requests that were under way have their answers: until then whoever comes is told why.
 */
function closeInTime(app: FastifyInstance, graceMs: number): void {
  const { server } = app;
  const open = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
  });
  let cut: NodeJS.Timeout | undefined;
  app.addHook("preClose", (done) => {
    // Connections whose last answer is under way, and says keep-alive, become idle only later: from then on they have this
    // long (0 would be for ever), and Node adds 1 s.
    server.keepAliveTimeout = 1;
    server.closeIdleConnections();
    // Again and again, for one that came between the cut and the listener's end.
    cut = setInterval(() => {
      for (const socket of open) socket.destroy();
    }, graceMs);
    const pending = new Set(open);
    if (pending.size === 0) done();
    for (const socket of pending) {
      socket.once("close", () => {
        if (pending.delete(socket) && pending.size === 0) done();
      });
    }
  });
  app.addHook("onClose", (_app, done) => {
    clearInterval(cut);
    done();
  });
}
