// A running app over a fake log, and a bare socket that says exactly what a test wants and hears exactly what comes back.

import { type AddressInfo, connect, type Socket } from "node:net";
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from "fastify";
import { afterEach, expect } from "vitest";
import type { ErrorCode } from "../../src/core/errors.ts";
import { type AppOptions, createApp } from "../../src/http/app.ts";
import { publicWrites } from "../../src/http/auth.ts";
import { statusOf } from "../../src/http/problem.ts";
import { FakeLog } from "./fake-log.ts";

const open: { close(): unknown }[] = [];

afterEach(async () => {
  for (const thing of open.splice(0).reverse()) await thing.close();
});

export interface Harness {
  readonly log: FakeLog;
  readonly app: FastifyInstance;
  inject(options: InjectOptions): Promise<LightMyRequestResponse>;
  post(url: string, payload: string | Uint8Array, headers?: object): Promise<LightMyRequestResponse>;
  get(url: string, headers?: object): Promise<LightMyRequestResponse>;
}

/** An app that is closed after the test. Public writes and no rate limit, unless `options` say otherwise. */
export async function startApp(options: Partial<AppOptions> = {}): Promise<Harness> {
  const log = new FakeLog();
  const app = await createApp({
    log,
    keys: publicWrites,
    rateLimit: null,
    clientAddressHeader: null,
    descriptor: null,
    metrics: null,
    logger: null,
    stopping: new AbortController().signal,
    ...options,
  });
  open.push(app);
  const inject = (request: InjectOptions) => app.inject(request);
  return {
    log,
    app,
    inject,
    post: (url, payload, headers = {}) =>
      inject({ method: "POST", url, payload: Buffer.from(payload as Uint8Array), headers: { ...headers } }),
    get: (url, headers = {}) => inject({ method: "GET", url, headers: { ...headers } }),
  };
}

/** As `startApp`, listening on a port of the loopback that the system chose. */
export async function startServer(options: Partial<AppOptions> = {}): Promise<Harness & { dial(): Dialled }> {
  const harness = await startApp({ times: { closeGrace: 100 }, ...options });
  await harness.app.listen({ host: "127.0.0.1", port: 0 });
  const { port } = harness.app.server.address() as AddressInfo;
  return { ...harness, dial: () => new Dialled(port) };
}

/** One answer as it came over the wire. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** A connection of its own. Errors are kept, not thrown: whether the peer reset the connection is for a test to ask. */
export class Dialled {
  readonly socket: Socket;
  error: NodeJS.ErrnoException | null = null;
  /** True when the server has closed its side. */
  ended = false;
  #received = Buffer.alloc(0);
  readonly #wake: (() => void)[] = [];

  constructor(port: number) {
    this.socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true, noDelay: true });
    const wake = () => {
      for (const resolve of this.#wake.splice(0)) resolve();
    };
    this.socket.on("data", (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      wake();
    });
    this.socket.on("end", () => {
      this.ended = true;
      wake();
    });
    this.socket.on("error", (error) => {
      this.error = error;
    });
    this.socket.on("close", () => {
      this.ended = true;
      wake();
    });
    open.push(this);
  }

  /** Sends bytes; resolves when the kernel has taken them. */
  send(data: string | Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      this.socket.write(data, () => resolve());
    });
  }

  /** Sends no more, and still listens. */
  finish(): void {
    this.socket.end();
  }

  /** The next answer. Throws where the connection ends without one. */
  async answer(): Promise<Answer> {
    for (;;) {
      const answer = this.#take();
      if (answer !== null) return answer;
      if (this.ended)
        throw new Error(`no answer (${this.error?.code ?? "ended"}): ${this.#received.toString("latin1")}`);
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  /** Resolves when the server has closed the connection; gives what came and was not read as an answer. */
  async end(): Promise<string> {
    while (!this.ended) await new Promise<void>((resolve) => this.#wake.push(resolve));
    return this.#received.toString("latin1");
  }

  #take(): Answer | null {
    const end = this.#received.indexOf("\r\n\r\n");
    if (end === -1) return null;
    const [first = "", ...lines] = this.#received.subarray(0, end).toString("latin1").split("\r\n");
    const headers: Record<string, string> = {};
    for (const line of lines) {
      const colon = line.indexOf(":");
      headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
    }
    const status = Number(first.split(" ")[1]);
    const length = status === 100 ? 0 : Number(headers["content-length"] ?? 0);
    const whole = end + 4 + length;
    if (this.#received.length < whole) return null;
    const body = this.#received.subarray(end + 4, whole).toString("utf8");
    this.#received = this.#received.subarray(whole);
    return { status, headers, body };
  }

  close(): void {
    this.socket.destroy();
  }
}

/** The head of a request, with its empty line. */
export function head(method: string, target: string, headers: readonly string[] = []): string {
  return [`${method} ${target} HTTP/1.1`, "Host: log.example", ...headers, "", ""].join("\r\n");
}

/** Resolves once `condition` holds, looking again after every turn of the event loop. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** Asserts a refusal in full: status, media type, code, no-store, and the members that every problem has. */
export function expectProblem(
  response: { statusCode?: number; status?: number; headers: object; body: string },
  code: ErrorCode,
): Record<string, unknown> {
  const status = response.statusCode ?? response.status;
  const problem = JSON.parse(response.body) as Record<string, unknown>;
  expect({ status, code: problem.code }).toEqual({ status: statusOf(code), code });
  expect(problem.status).toBe(status);
  expect(typeof problem.title).toBe("string");
  expect(typeof problem.detail).toBe("string");
  expect(response.headers).toMatchObject({
    "content-type": "application/problem+json",
    "cache-control": "no-store",
    "access-control-allow-origin": "*",
  });
  const retryAfter = (response.headers as Record<string, string | undefined>)["retry-after"];
  if (status === 429 || status === 503) expect(Number(retryAfter)).toBeGreaterThan(0);
  else expect(retryAfter).toBeUndefined();
  return problem;
}
