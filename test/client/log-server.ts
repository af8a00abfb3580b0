// A log's HTTP edge for clients to be tested against: in memory, at once published, with a hook that answers in its place
// to play faults. Written apart from src/http, from c2sp.org/tlog-tiles and the documented routes.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { encodeBase64 } from "../../src/core/base64.ts";
import { decodeBundle } from "../../src/core/bundle.ts";
import { parseNote } from "../../src/core/note.ts";
import { inclusionProof } from "../../src/core/tile-proof.ts";
import { tilePath } from "../../src/core/tile-path.ts";
import { printTlogProof } from "../../src/core/tlog-proof.ts";
import { nodeHasher } from "../../src/cli/node-hasher.ts";
import { buildLog, ORIGIN, testSigner } from "./build-log.ts";

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
}

/** True where it has answered, or means to leave the request without an answer. */
export type Intercept = (request: SeenRequest, response: ServerResponse) => boolean;

export class LogServer {
  readonly entries: Uint8Array[] = [];
  readonly objects = new Map<string, Uint8Array>();
  readonly requests: SeenRequest[] = [];
  intercept: Intercept = () => false;
  /** What `/log.json` says of witnesses. */
  policy: string | null = null;
  readonly #server: Server;
  readonly #indices = new Map<string, number>();

  constructor() {
    this.#server = createServer((request, response) => {
      this.#handle(request, response).catch((error: unknown) => response.destroy(error as Error));
    });
    this.publish();
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return this;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  append(...entries: Uint8Array[]): void {
    for (const entry of entries) this.#sequence(entry);
    this.publish();
  }

  /** Publishes the first `size` entries, whatever was published before. */
  publish(size = this.entries.length): void {
    buildLog(
      size,
      (path, bytes) => this.objects.set(path, bytes),
      (i) => this.entries[i] as Uint8Array,
    );
  }

  async proof(index: number, size = this.entries.length): Promise<Uint8Array> {
    const note = parseNote(this.objects.get("checkpoint") as Uint8Array);
    const path = await inclusionProof(
      index,
      size,
      async (level, tile, width) => this.objects.get(tilePath(level, tile, width)) as Uint8Array,
      nodeHasher,
    );
    return printTlogProof({ extra: null, index, path, checkpoint: note });
  }

  #sequence(entry: Uint8Array): { index: number; leafHash: string; duplicate: boolean } {
    const leafHash = encodeBase64(nodeHasher.leaf(entry));
    const known = this.#indices.get(leafHash);
    if (known !== undefined) return { index: known, leafHash, duplicate: true };
    const index = this.entries.push(entry) - 1;
    this.#indices.set(leafHash, index);
    return { index, leafHash, duplicate: false };
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "", url = "", headers } = request;
    const seen = { method, path: url, headers };
    this.requests.push(seen);
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = new Uint8Array(Buffer.concat(parts));
    if (this.intercept(seen, response)) return;

    if (method === "GET" && url === "/log.json") {
      return answerJson(response, {
        origin: ORIGIN,
        vkeys: [testSigner().vkey],
        policy: this.policy,
        limits: {},
      });
    }
    if (method === "POST" && url === "/add") {
      const receipt = this.#sequence(body);
      this.publish();
      return answerJson(response, receipt);
    }
    if (method === "POST" && url === "/add?proof=true") {
      const { index } = this.#sequence(body);
      this.publish();
      return void response.end(await this.proof(index));
    }
    if (method === "POST" && url === "/add-batch") {
      const results = decodeBundle(body).map((entry) =>
        entry.length === 0
          ? { error: { code: "entry_empty", detail: "no bytes" } }
          : this.#sequence(entry.slice()),
      );
      this.publish();
      return answerJson(response, { results });
    }
    const proof = /^\/proof\/(\d+)(?:\?size=(\d+))?$/.exec(url);
    if (method === "GET" && proof !== null) {
      const index = Number(proof[1]);
      if (index >= this.entries.length) return answerProblem(response, 404, "not_published");
      return void response.end(await this.proof(index));
    }
    const object = method === "GET" ? this.objects.get(url.slice(1)) : undefined;
    if (object !== undefined) return void response.end(object);
    answerProblem(response, 404, "not_found");
  }
}

export function answerJson(response: ServerResponse, value: unknown): void {
  response.setHeader("content-type", "application/json").end(JSON.stringify(value));
}

export function answerProblem(
  response: ServerResponse,
  status: number,
  code: string,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { "content-type": "application/problem+json", ...headers });
  response.end(JSON.stringify({ type: "about:blank", status, code, detail: `played ${code}` }));
}

export async function startLogServer(entries: readonly Uint8Array[] = []): Promise<LogServer> {
  const server = await new LogServer().listen();
  if (entries.length > 0) server.append(...entries);
  return server;
}

/** A clock that stands still and never waits; `waits` are the milliseconds it was asked for. */
export function stillClock(now = Date.UTC(2026, 0, 1)) {
  const waits: number[] = [];
  return {
    waits,
    now: () => now,
    sleep: async (milliseconds: number) => {
      waits.push(milliseconds);
    },
  };
}
