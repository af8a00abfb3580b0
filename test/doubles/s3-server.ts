// An S3-compatible store in this process, over real HTTP: what its clients send, what each request became, and every fault
// that a network store can show (faults.ts). It holds the invariant of immutable objects: a key under `tile/` that once
// got its bytes never gets others, or `violations` says so.

import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { S3Settings } from "../../src/storage/s3-client.ts";
import { damaged, type Fault, FaultPlan } from "./faults.ts";

export type S3Operation = "put" | "get" | "delete" | "list";

/** How a fault is told to the client: an answer with a status and S3's code, or a connection that breaks. */
export type FaultAnswer = { readonly status: number; readonly code: string } | "reset";

export interface S3Fault extends Fault<S3Operation> {
  /** F1, F2 and F4. 500 InternalError where absent. */
  readonly answer?: FaultAnswer;
  /** F9 with `truncate`: the length says what is sent, so that only the content is short. */
  readonly quietly?: boolean;
}

/** Why an operation cannot fail in a form, or null where it can. */
export function impossibleS3Fault({ operation, form }: Fault<S3Operation>): string | null {
  const read = operation === "get" || operation === "list";
  if (form === "F5" || form === "F6") return "a process dies, and a store does not";
  if (read && (form === "F2" || form === "F4" || form === "F7" || form === "F10")) {
    return "a read applies nothing";
  }
  if (!read && (form === "F8" || form === "F9")) return "a write returns no bytes";
  if (operation === "delete" && form === "F10") return "it has no condition to be refused by";
  return null;
}

/** One request as the store saw it, in the order of their ends. */
export interface SeenRequest {
  readonly operation: S3Operation;
  /** The key, or the prefix of a list. */
  readonly key: string;
  readonly condition: "if-none-match" | "if-match" | null;
  /** 0 where no answer was given. */
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

/** What the store does with conditions. */
export type Conditions = "kept" | "if-none-match ignored" | "if-match ignored" | "all ignored" | "unknown";

/** `silent`: takes requests and never answers. `resetting`: breaks every connection. A status: answers with it. */
export type Outage = "silent" | "resetting" | FaultAnswer;

export interface S3ServerOptions {
  readonly bucket?: string;
  /** Milliseconds before every request is carried out. */
  readonly delayMs?: number;
  /** Keys on one page of a list. */
  readonly pageKeys?: number;
  readonly port?: number;
  /** A store that is only measured: what it would cost to check and remember what was sent is not the log's. */
  readonly isMeasured?: boolean;
}

interface Stored {
  readonly bytes: Uint8Array;
  readonly etag: string;
  readonly headers: Readonly<Record<string, string>>;
}

interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

const PAGE_KEYS = 1000;
/** How long a create is under way for those that race with it, where conflicts are on. */
const CONFLICT_WINDOW_MS = 3;
const ACCESS_KEY = "access-of-tests";
const SECRET_KEY = "secret-of-tests";
const KEPT_HEADERS = ["content-type", "cache-control"];

export class S3Server {
  readonly bucket: string;
  readonly faults = new FaultPlan<S3Operation>(impossibleS3Fault);
  /** Every request that has ended, in order. */
  readonly requests: SeenRequest[] = [];
  /** Every change of an immutable object that came about; a test ends by finding this empty. */
  readonly violations: string[] = [];
  conditions: Conditions = "kept";
  /** Answers 409 to a conditional write while another one to the key is under way, as AWS does. */
  conflicts = false;
  delayMs: number;
  /** Anybody may read `checkpoint` and what is below `tile/`, as the documented policy of a bucket says. */
  publicReads = false;
  /** The store says nothing of what a write made. */
  withoutEtags = false;
  /** Lists come with their pages turned round, as from a store that keeps no order. */
  unorderedLists = false;
  /** Answers `get` of any object with this many bytes of its own, where set. */
  sendsInstead: number | null = null;
  /** Milliseconds that its clock is ahead; requests signed otherwise are refused. */
  skewMs = 0;
  outage: Outage | null = null;
  readonly #pageKeys: number;
  readonly #isMeasured: boolean;
  #writes = 0;
  readonly #objects = new Map<string, Stored>();
  /** What stood at a key before its newest write. */
  readonly #before = new Map<string, Stored | null>();
  readonly #given = new Map<string, Uint8Array>();
  readonly #creating = new Set<string>();
  readonly #late: { readonly key: string; readonly apply: () => Answer }[] = [];
  readonly #sockets = new Set<Socket>();
  #server: Server | null = null;
  #port = 0;

  private constructor(options: S3ServerOptions) {
    this.bucket = options.bucket ?? "cairn-test";
    this.delayMs = options.delayMs ?? 0;
    this.#pageKeys = options.pageKeys ?? PAGE_KEYS;
    this.#port = options.port ?? 0;
    this.#isMeasured = options.isMeasured ?? false;
  }

  static async start(options: S3ServerOptions = {}): Promise<S3Server> {
    const server = new S3Server(options);
    await server.comeBack();
    return server;
  }

  /** Connections that stand. */
  get connections(): number {
    return this.#sockets.size;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** The address under which the public objects lie. */
  get publicUrl(): string {
    return `${this.endpoint}/${this.bucket}`;
  }

  settings(change: Partial<S3Settings> = {}): S3Settings {
    return {
      bucket: this.bucket,
      endpoint: this.endpoint,
      region: "us-east-1",
      credentials: { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY },
      forcePathStyle: true,
      ...change,
    };
  }

  /** The variables that make a log use this store. */
  env(): Record<string, string> {
    return {
      STORAGE_BACKEND: "s3",
      S3_BUCKET: this.bucket,
      S3_ENDPOINT: this.endpoint,
      S3_ACCESS_KEY: ACCESS_KEY,
      S3_SECRET_KEY: SECRET_KEY,
    };
  }

  inject(fault: S3Fault): void {
    this.faults.inject(fault);
  }

  /** Nothing listens any more, at the same address. */
  async goAway(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (server === null) return;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async comeBack(): Promise<void> {
    const server = createServer((request, response) => void this.#answer(request, response));
    server.keepAliveTimeout = 60_000;
    server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
      socket.on("error", () => {});
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(this.#port, "127.0.0.1", resolve);
    });
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  async stop(): Promise<void> {
    await this.goAway();
  }

  /** Every key with its bytes, ascending. */
  contents(): ReadonlyMap<string, Uint8Array> {
    return new Map(
      [...this.#objects]
        .map(([key, { bytes }]) => [key, bytes] as const)
        .sort(([a], [b]) => (a < b ? -1 : 1)),
    );
  }

  /** The labels that an object was stored with. */
  labels(key: string): Readonly<Record<string, string>> | undefined {
    return this.#objects.get(key)?.headers;
  }

  /** Keys written by answered requests since `from`, in order, those written twice twice. */
  written(from = 0): string[] {
    return this.requests
      .slice(from)
      .filter(({ operation, status }) => operation === "put" && status === 200)
      .map(({ key }) => key);
  }

  /** Puts bytes at a key behind the owner's back: another writer's, or damage. */
  plant(key: string, bytes: Uint8Array): void {
    this.#objects.set(key, this.#stored(bytes.slice(), {}));
  }

  /** Takes an object away behind the owner's back. */
  take(key: string): void {
    this.#objects.delete(key);
  }

  /** Lets an immutable key get other bytes: a mend that the test declares. */
  permitChange(key: string): void {
    this.#given.delete(key);
  }

  /** Applies what F4 held back, whatever came meanwhile. */
  applyLate(): void {
    for (const { apply } of this.#late.splice(0)) apply();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const body = await readBody(request);
      await this.#handle(request, response, body);
    } catch {
      // The client went away; it knows why.
      request.socket.destroy();
    }
  }

  async #handle(request: IncomingMessage, response: ServerResponse, body: Uint8Array): Promise<void> {
    const url = new URL(request.url ?? "", this.endpoint);
    const [, bucket = "", ...rest] = decodeURIComponent(url.pathname).split("/");
    const key = rest.join("/");
    const operation = operationOf(request.method ?? "", key);
    const about = operation === "list" ? (url.searchParams.get("prefix") ?? "") : key;
    const condition =
      request.headers["if-none-match"] !== undefined
        ? "if-none-match"
        : request.headers["if-match"] !== undefined
          ? "if-match"
          : null;
    const end = (answer: Answer | null): void => {
      const status = answer?.status ?? 0;
      if (!this.#isMeasured) {
        this.requests.push({
          operation: operation ?? "get",
          key: about,
          condition,
          status,
          headers: request.headers,
        });
      }
      if (answer === null) return;
      const bytes = answer.body ?? new Uint8Array(0);
      const always = { "Content-Length": String(bytes.length), Date: this.#date() };
      response.writeHead(answer.status, { ...always, ...answer.headers });
      response.end(bytes);
    };
    const tell = (how: FaultAnswer): void => {
      if (how !== "reset") return end(failure(how.status, how.code));
      end(null);
      request.socket.destroy();
    };

    if (this.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.delayMs));
    const { outage } = this;
    if (outage === "silent") return;
    if (outage !== null) return tell(outage === "resetting" ? "reset" : outage);
    if (operation === null) return end(failure(405, "MethodNotAllowed"));
    const refused = this.#refusal(request, bucket, about, operation, body);
    if (refused !== null) return end(refused);

    const fault: S3Fault | null = this.faults.next(operation, about);
    const answer = fault?.answer ?? { status: 500, code: "InternalError" };
    const carryOut = (): Promise<Answer> => this.#carryOut(operation, key, url, request, body, fault);
    switch (fault?.form) {
      case "F1":
        return tell(answer);
      case "F2":
        await carryOut();
        return tell(answer);
      case "F3":
        return;
      case "F4":
        this.#late.push({ key, apply: () => this.#apply(operation, key, request, body) });
        return tell(answer);
      case "F7":
        return end(pretended(operation, body));
      case "F9":
        return this.#sendDamaged(await carryOut(), fault, request, response, end);
      case "F10":
        return end((await carryOut()).status === 200 ? failure(412, "PreconditionFailed") : await carryOut());
      case undefined:
      case "F5":
      case "F6":
      case "F8":
        end(await carryOut());
    }
    const due = this.#late.filter((late) => operation !== "get" && late.key === key);
    for (const late of due) this.#late.splice(this.#late.indexOf(late), 1);
    for (const { apply } of due) apply();
  }

  /** Who may not, and what is not there. */
  #refusal(
    request: IncomingMessage,
    bucket: string,
    about: string,
    operation: S3Operation,
    body: Uint8Array,
  ): Answer | null {
    const { authorization } = request.headers;
    if (authorization === undefined) {
      const open = this.publicReads && operation === "get" && /^(checkpoint$|tile\/)/.test(about);
      if (!open) return failure(403, "AccessDenied");
    } else {
      if (!authorization.includes(`Credential=${ACCESS_KEY}/`)) return failure(403, "InvalidAccessKeyId");
      if (this.#isSkewed(request)) return failure(403, "RequestTimeTooSkewed");
    }
    if (bucket !== this.bucket) return failure(404, "NoSuchBucket");
    const digest = request.headers["x-amz-content-sha256"];
    if (!this.#isMeasured && typeof digest === "string" && /^[0-9a-f]{64}$/.test(digest)) {
      const ours = createHash("sha256").update(body).digest("hex");
      if (ours !== digest) return failure(400, "XAmzContentSHA256Mismatch");
    }
    return null;
  }

  #isSkewed(request: IncomingMessage): boolean {
    const signedAt = String(request.headers["x-amz-date"] ?? "").replace(
      /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/,
      "$1-$2-$3T$4:$5:$6Z",
    );
    return Math.abs(Date.parse(signedAt) - (Date.now() + this.skewMs)) > 15 * 60 * 1000;
  }

  #date(): string {
    return new Date(Date.now() + this.skewMs).toUTCString();
  }

  async #carryOut(
    operation: S3Operation,
    key: string,
    url: URL,
    request: IncomingMessage,
    body: Uint8Array,
    fault: S3Fault | null,
  ): Promise<Answer> {
    if (operation === "list") return this.#list(url, fault?.form === "F8");
    if (operation === "get") return this.#get(key, fault?.form === "F8");
    const isConditional = request.headers["if-none-match"] ?? request.headers["if-match"];
    if (!this.conflicts || isConditional === undefined) return this.#apply(operation, key, request, body);
    if (this.#creating.has(key)) return failure(409, "ConditionalRequestConflict");
    this.#creating.add(key);
    await new Promise((resolve) => setTimeout(resolve, CONFLICT_WINDOW_MS));
    this.#creating.delete(key);
    return this.#apply(operation, key, request, body);
  }

  #apply(operation: S3Operation, key: string, request: IncomingMessage, body: Uint8Array): Answer {
    const there = this.#objects.get(key);
    if (operation === "delete") {
      this.#before.set(key, there ?? null);
      this.#objects.delete(key);
      return { status: 204 };
    }
    const { "if-none-match": ifNoneMatch, "if-match": ifMatch } = request.headers;
    const ignored = this.conditions;
    if (ignored === "unknown" && (ifNoneMatch ?? ifMatch) !== undefined)
      return failure(501, "NotImplemented");
    if (ifNoneMatch === "*" && !["if-none-match ignored", "all ignored"].includes(ignored)) {
      if (there !== undefined) return failure(412, "PreconditionFailed");
    }
    if (ifMatch !== undefined && !["if-match ignored", "all ignored"].includes(ignored)) {
      if (there === undefined) return failure(404, "NoSuchKey");
      if (there.etag !== ifMatch) return failure(412, "PreconditionFailed");
    }
    this.#keepImmutable(key, body);
    const labels: Record<string, string> = {};
    for (const name of KEPT_HEADERS) {
      const value = request.headers[name];
      if (typeof value === "string") labels[name] = value;
    }
    const stored = this.#stored(body, labels);
    this.#before.set(key, there ?? null);
    this.#objects.set(key, stored);
    return { status: 200, headers: this.withoutEtags ? {} : { ETag: stored.etag } };
  }

  #keepImmutable(key: string, bytes: Uint8Array): void {
    if (this.#isMeasured || !key.startsWith("tile/")) return;
    const given = this.#given.get(key);
    if (given === undefined) this.#given.set(key, bytes);
    else if (Buffer.compare(given, bytes) !== 0) this.violations.push(key);
  }

  #get(key: string, stale: boolean): Answer {
    const stored = this.#seen(key, stale);
    if (stored === undefined) return failure(404, "NoSuchKey");
    if (this.sendsInstead !== null) {
      return { status: 200, headers: { ETag: stored.etag }, body: new Uint8Array(this.sendsInstead) };
    }
    return { status: 200, headers: { ETag: stored.etag, ...stored.headers }, body: stored.bytes };
  }

  #seen(key: string, stale: boolean): Stored | undefined {
    if (stale && this.#before.has(key)) return this.#before.get(key) ?? undefined;
    return this.#objects.get(key);
  }

  #list(url: URL, stale: boolean): Answer {
    const prefix = url.searchParams.get("prefix") ?? "";
    const after = url.searchParams.get("continuation-token") ?? "";
    const limit = Math.min(Number(url.searchParams.get("max-keys") ?? this.#pageKeys), this.#pageKeys);
    const names = stale ? new Set([...this.#objects.keys(), ...this.#before.keys()]) : this.#objects.keys();
    const keys = [...names]
      .filter((key) => key.startsWith(prefix) && key > after && this.#seen(key, stale) !== undefined)
      .sort();
    const page = keys.slice(0, limit);
    const isTruncated = keys.length > page.length;
    const last = page.at(-1) ?? "";
    if (this.unorderedLists) page.reverse();
    const contents = page.map((key) => `<Contents><Key>${escapeXml(key)}</Key></Contents>`).join("");
    const next = isTruncated ? `<NextContinuationToken>${escapeXml(last)}</NextContinuationToken>` : "";
    return xml(
      200,
      `<ListBucketResult><Name>${this.bucket}</Name><IsTruncated>${isTruncated}</IsTruncated>${next}${contents}</ListBucketResult>`,
    );
  }

  #sendDamaged(
    answer: Answer,
    fault: S3Fault,
    request: IncomingMessage,
    response: ServerResponse,
    end: (answer: Answer | null) => void,
  ): void {
    const { body } = answer;
    if (answer.status !== 200 || body === undefined) return end(answer);
    if (fault.damage !== "truncate" || fault.quietly === true) {
      return end({ ...answer, body: damaged(body, fault.damage ?? "flip") });
    }
    end(null);
    response.writeHead(200, { "Content-Length": String(body.length), ...answer.headers });
    response.write(damaged(body, "truncate"), () => request.socket.destroy());
  }

  #stored(bytes: Uint8Array, headers: Readonly<Record<string, string>>): Stored {
    const etag = this.#isMeasured ? String(++this.#writes) : createHash("md5").update(bytes).digest("hex");
    return { bytes, etag: `"${etag}"`, headers };
  }
}

function operationOf(method: string, key: string): S3Operation | null {
  if (method === "GET") return key === "" ? "list" : "get";
  if (key === "") return null;
  if (method === "PUT") return "put";
  return method === "DELETE" ? "delete" : null;
}

/** What F7 reports. */
function pretended(operation: S3Operation, body: Uint8Array): Answer {
  if (operation === "delete") return { status: 204 };
  return { status: 200, headers: { ETag: `"${createHash("md5").update(body).digest("hex")}"` } };
}

function failure(status: number, code: string): Answer {
  return xml(status, `<Error><Code>${code}</Code><Message>injected or deserved</Message></Error>`);
}

function xml(status: number, text: string): Answer {
  return {
    status,
    headers: { "Content-Type": "application/xml" },
    body: Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>\n${text}`),
  };
}

function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

async function readBody(request: IncomingMessage): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of request as AsyncIterable<Uint8Array>) chunks.push(chunk);
  return Uint8Array.from(Buffer.concat(chunks));
}
