// A load: connections that send a request, wait for its answer and send the next, until a time or a count. Requests are
// built once; between two of them only the number in an entry changes. Every acknowledged index is kept.

import { Connection, digits } from "./connection.ts";
import { batchBody, batchBytes, ENTRY_BYTES, renumber, renumberBatch, writeEntry } from "./entries.ts";
import { Growing } from "./growing.ts";

/** After so many failed requests a load ends: the measure is void anyway. */
const MAX_ERRORS = 100;
const ERROR_SAMPLES = 3;
const SAMPLE_CHARACTERS = 300;
/** Without an answer for so long, a load ends. */
const STALL_MS = 30_000;
const STALL_CHECK_MS = 1000;
const READ_BUFFER_BYTES = 256 * 1024;

export type Subject =
  /** One entry a request. */
  | { readonly kind: "entry"; readonly noise: Uint8Array; readonly first: number }
  /** `size` entries a request, framed. */
  | { readonly kind: "batch"; readonly noise: Uint8Array; readonly first: number; readonly size: number }
  /** One of these paths at random. */
  | { readonly kind: "get"; readonly paths: readonly string[] };

export interface Load {
  readonly host: string;
  readonly port: number;
  /** Where entries are posted; not used for `get`. */
  readonly path: string;
  readonly connections: number;
  readonly subject: Subject;
  /** Ends at whichever comes first. Requests in flight are awaited. */
  readonly seconds: number;
  readonly requests: number;
  /** Whether answers hold indices, as the log's do and the ceilings' do not. */
  readonly acknowledges: boolean;
}

/** Times are milliseconds of the machine's monotonic clock, the same in every process. */
export interface LoadResult {
  /** Requests answered with 200 and well-formed. */
  readonly answered: number;
  readonly errors: number;
  readonly errorSamples: readonly string[];
  readonly startedAt: number;
  readonly endedAt: number;
  /** Milliseconds, one for each answered request. */
  readonly latencies: Float64Array;
  /** For entries: the first number and one past the last; then each number's index (-1: none) and when that was known. */
  readonly first: number;
  readonly next: number;
  readonly indices: Float64Array;
  readonly acknowledgedAt: Float64Array;
}

/** Milliseconds of the machine's monotonic clock. */
export function machineTime(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

export async function runLoad(load: Load): Promise<LoadResult> {
  return await new Run(load).result();
}

class Run {
  readonly #load: Load;
  readonly #get: readonly Buffer[];
  readonly #latencies = new Growing();
  readonly #indices = new Growing(-1);
  readonly #acknowledgedAt = new Growing();
  readonly #samples: string[] = [];
  /** What to add to `performance.now()` for the machine's clock, which is dearer to read. */
  readonly #epoch = machineTime() - performance.now();
  #connections: Connection[] = [];
  #left: number;
  #open = 0;
  #next: number;
  #errors = 0;
  #startedAt = 0;
  #lastAnswerAt = 0;
  #deadline = 0;
  #random = 0x9e3779b9;
  #finish: () => void = () => undefined;

  constructor(load: Load) {
    this.#load = load;
    this.#left = load.requests;
    this.#next = load.subject.kind === "get" ? 0 : load.subject.first;
    this.#get =
      load.subject.kind === "get" ? load.subject.paths.map((path) => requestHead("GET", path, load)) : [];
  }

  async result(): Promise<LoadResult> {
    const { host, port, connections, subject, seconds, requests } = this.#load;
    const readBuffer = Buffer.allocUnsafe(READ_BUFFER_BYTES);
    const keepBody = subject.kind !== "get";
    this.#connections = await Promise.all(
      Array.from({ length: Math.min(connections, requests) }, () =>
        Connection.open({
          host,
          port,
          keepBody,
          readBuffer,
          onAnswer: (connection, status, bytes, start, end) => {
            this.#answer(connection, status, bytes, start, end);
          },
          onLost: (_connection, why) => {
            this.#fail(why);
            this.#close();
          },
        }),
      ),
    );
    for (const connection of this.#connections) connection.request = this.#request();
    const finished = new Promise<void>((resolve) => {
      this.#finish = resolve;
    });
    const stallCheck = setInterval(() => this.#checkStall(), STALL_CHECK_MS);
    this.#startedAt = performance.now();
    this.#lastAnswerAt = this.#startedAt;
    this.#deadline = this.#startedAt + seconds * 1000;
    this.#open = this.#connections.length;
    for (const connection of this.#connections) this.#sendNext(connection, this.#startedAt);
    await finished;
    clearInterval(stallCheck);
    for (const connection of this.#connections) connection.close();
    return {
      answered: this.#latencies.length,
      errors: this.#errors,
      errorSamples: this.#samples,
      startedAt: this.#epoch + this.#startedAt,
      endedAt: this.#epoch + this.#lastAnswerAt,
      latencies: this.#latencies.toArray(),
      first: subject.kind === "get" ? 0 : subject.first,
      next: this.#next,
      indices: this.#indices.toArray(),
      acknowledgedAt: this.#acknowledgedAt.toArray(),
    };
  }

  /** What a connection sends first; it owns this memory, but for requests that never change. */
  #request(): Buffer {
    const { subject } = this.#load;
    if (subject.kind === "get") return this.#get[0] as Buffer;
    const body =
      subject.kind === "entry" ? Buffer.alloc(ENTRY_BYTES) : batchBody(subject.noise, subject.size);
    if (subject.kind === "entry") writeEntry(subject.noise, 0, body, 0);
    return Buffer.concat([requestHead("POST", this.#load.path, this.#load, body.length), body]);
  }

  #sendNext(connection: Connection, now: number): void {
    if (this.#left <= 0 || now >= this.#deadline || this.#errors >= MAX_ERRORS) {
      this.#close();
      return;
    }
    this.#left--;
    const { subject } = this.#load;
    const { request } = connection;
    if (subject.kind === "entry") {
      connection.number = this.#next++;
      renumber(connection.number, request, request.length - ENTRY_BYTES);
    } else if (subject.kind === "batch") {
      connection.number = this.#next;
      this.#next += subject.size;
      renumberBatch(connection.number, subject.size, request, request.length - batchBytes(subject.size));
    } else {
      connection.request = this.#get[this.#draw(this.#get.length)] as Buffer;
    }
    connection.sentAt = now;
    connection.send();
  }

  #answer(connection: Connection, status: number, bytes: Uint8Array, start: number, end: number): void {
    const now = performance.now();
    this.#lastAnswerAt = now;
    if (status === 200 && this.#take(connection.number, bytes, start, end, now)) {
      this.#latencies.push(now - connection.sentAt);
    } else {
      const text = Buffer.from(bytes.subarray(start, end)).toString("latin1").slice(0, SAMPLE_CHARACTERS);
      this.#fail(`status ${status}: ${text}`);
    }
    if (connection.isSent) this.#sendNext(connection, now);
    else {
      // Answered before all of it was sent: the rest is still in memory that the next request would change.
      connection.close();
      this.#close();
    }
  }

  /** Keeps the indices in an answer; false where it has not the form that the request asks for. */
  #take(number: number, bytes: Uint8Array, start: number, end: number, now: number): boolean {
    const { acknowledges, subject } = this.#load;
    if (!acknowledges || subject.kind === "get") return true;
    const place = number - subject.first;
    if (subject.kind === "entry") {
      const index = digits(bytes, start, end);
      if (index < 0) return false;
      this.#acknowledge(place, index, now);
      return true;
    }
    return readIndices(bytes, start, end, subject.size, (i, index) =>
      this.#acknowledge(place + i, index, now),
    );
  }

  #acknowledge(place: number, index: number, now: number): void {
    this.#indices.set(place, index);
    this.#acknowledgedAt.set(place, this.#epoch + now);
  }

  #fail(why: string): void {
    this.#errors++;
    if (this.#samples.length < ERROR_SAMPLES && !this.#samples.includes(why)) this.#samples.push(why);
  }

  #close(): void {
    this.#open--;
    if (this.#open === 0) this.#finish();
  }

  #checkStall(): void {
    if (performance.now() - this.#lastAnswerAt < STALL_MS) return;
    this.#fail(`no answer for ${STALL_MS / 1000} s`);
    this.#finish();
  }

  /** xorshift32: which of a set is asked for next. */
  #draw(count: number): number {
    let x = this.#random;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#random = x;
    return (x >>> 0) % count;
  }
}

function requestHead(method: string, path: string, { host, port }: Load, length?: number): Buffer {
  const lines = [`${method} ${path} HTTP/1.1`, `Host: ${host}:${port}`];
  if (length !== undefined) lines.push("Content-Type: application/octet-stream", `Content-Length: ${length}`);
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
}

const RESULTS = Buffer.from('{"results":[', "latin1");
const INDEX = Buffer.from('{"index":', "latin1");
const LEAF_HASH = Buffer.from(',"leafHash":"', "latin1");
const LEAF_HASH_CHARACTERS = 44;
const NEW = Buffer.from('","duplicate":false}', "latin1");

/**
 * Calls `each` with every index in the answer to a batch of `size` entries; false where that is not its form, or where an
 * entry was refused or is a duplicate. The answer is read by its places, which takes a tenth of what parsing JSON does.
 */
export function readIndices(
  bytes: Uint8Array,
  start: number,
  end: number,
  size: number,
  each: (place: number, index: number) => void,
): boolean {
  if (!holds(bytes, start, RESULTS)) return false;
  let at = start + RESULTS.length;
  for (let place = 0; place < size; place++) {
    if (place > 0 && bytes[at++] !== 0x2c) return false;
    if (!holds(bytes, at, INDEX)) return false;
    at += INDEX.length;
    const from = at;
    while (at < end && (bytes[at] as number) >= 0x30 && (bytes[at] as number) <= 0x39) at++;
    const index = digits(bytes, from, at);
    if (index < 0 || !holds(bytes, at, LEAF_HASH)) return false;
    at += LEAF_HASH.length + LEAF_HASH_CHARACTERS;
    if (!holds(bytes, at, NEW)) return false;
    at += NEW.length;
    each(place, index);
  }
  return bytes[at] === 0x5d && bytes[at + 1] === 0x7d && at + 2 === end;
}

function holds(bytes: Uint8Array, at: number, expected: Uint8Array): boolean {
  for (let i = 0; i < expected.length; i++) if (bytes[at + i] !== expected[i]) return false;
  return true;
}
