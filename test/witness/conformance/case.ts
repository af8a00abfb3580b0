// A case of the suite: one requirement of a specification, in its own words, and what shows that a witness meets it. Written
// against nothing but HTTP, so that any witness can be asked; errors are node:assert's, so that any runner can run it.

import assert from "node:assert/strict";
import { Agent, type IncomingHttpHeaders, request } from "node:http";
import { nodeEd25519 } from "../../../src/cli/node-ed25519.ts";
import { cosignatureTime, noblePrimitives, verifierFor } from "../../../src/core/cosignature.ts";
import { type NoteSignature, type NoteVerifier, parseSignatureLines } from "../../../src/core/note.ts";
import { parseVkey, SIGNATURE_TYPE } from "../../../src/core/vkey.ts";
import type { Target } from "./target.ts";
import type { CheckpointOptions, LogShape, TestLog } from "./test-log.ts";

export type Level =
  | "MUST"
  | "SHOULD"
  /** What the text obliges its clients to, seen from the witness: it need not take anything else. */
  | "client MUST";

export interface ConformanceCase {
  readonly name: string;
  readonly level: Level;
  readonly spec: "tlog-witness" | "tlog-cosignature" | "tlog-checkpoint" | "signed-note";
  /** The sentence of the specification, word for word. */
  readonly sentence: string;
  /** The logs it plays; one plain log where absent. */
  readonly logs?: readonly LogShape[];
  /** Only for a witness that was started here and can be killed. */
  readonly kills?: true;
  run(context: CaseContext): Promise<void>;
}

export interface Response {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** Thrown by a case that cannot be asked of this witness. */
export class Skip extends Error {}

export interface SuiteOptions {
  /** The text names no status for a malformed add-checkpoint; with this, it has to be 400. */
  readonly strict: boolean;
}

const REQUEST_TIMEOUT_MS = 20_000;
/** How far the clock of a witness may be from ours. */
const CLOCK_SKEW_SECONDS = 300;
/** Witnesses may push back; a client that asks again gets a real answer in the end. */
const BUSY_ATTEMPTS = 100;
const BUSY_PAUSE_MS = 20;
const UNREACHED = 2n ** 61n + 1n;

export class CaseContext {
  readonly target: Target;
  readonly logs: readonly TestLog[];
  readonly options: SuiteOptions;
  readonly verifiers: readonly NoteVerifier[];

  constructor(target: Target, logs: readonly TestLog[], options: SuiteOptions) {
    this.target = target;
    this.logs = logs;
    this.options = options;
    const primitives = { ...noblePrimitives, ed25519: nodeEd25519 };
    this.verifiers = target.vkeys.map((vkey) => verifierFor(parseVkey(vkey), primitives));
  }

  /** The case's first log. */
  get log(): TestLog {
    return this.logs[0] as TestLog;
  }

  get signsWithMldsa(): boolean {
    return this.target.vkeys.some((vkey) => parseVkey(vkey).type === SIGNATURE_TYPE.mldsa44);
  }

  /** Posts to add-checkpoint; asks again where the witness is too busy to say yes or no. */
  async add(body: string | Uint8Array, options: SendOptions = {}): Promise<Response> {
    for (let attempt = 1; ; attempt++) {
      const response = await send(`${this.target.url}/add-checkpoint`, { method: "POST", body, ...options });
      const busy = response.status === 429 || response.status === 503;
      if (!busy || attempt === BUSY_ATTEMPTS) return response;
      await new Promise((resolve) => setTimeout(resolve, BUSY_PAUSE_MS));
    }
  }

  subtree(body: string | Uint8Array): Promise<Response> {
    return send(`${this.target.url}/sign-subtree`, { method: "POST", body });
  }

  monitor(log: TestLog): Promise<Response> {
    return send(`${this.target.monitoringUrl}/${log.originHash}/checkpoint`);
  }

  /** Adds a checkpoint that has to be taken; the cosignatures. */
  async grow(
    from: bigint | number,
    to: bigint | number,
    options: CheckpointOptions & { log?: TestLog } = {},
  ): Promise<readonly NoteSignature[]> {
    const log = options.log ?? this.log;
    const response = await this.add(log.request(from, to, options));
    return this.cosigned(response, log.text(to, options));
  }

  /** The cosignatures of an answer that has to be 200; each line by a key of the witness has to verify. */
  cosigned(response: Response, text: string): readonly NoteSignature[] {
    assert.equal(response.status, 200, answered(response));
    const lines = parseSignatureLines(response.text);
    const bytes = new TextEncoder().encode(text);
    const own = lines.filter((line) => this.verifierOf(line)?.verify(bytes, line.signature) === true);
    assert.ok(own.length > 0, "no line is a cosignature by a key of the witness");
    return own;
  }

  verifierOf({ name, keyId }: NoteSignature): NoteVerifier | undefined {
    return this.verifiers.find((verifier) => verifier.name === name && verifier.keyId === keyId);
  }

  /** A refusal with exactly this status, and without a signature. */
  refused(response: Response, ...statuses: readonly number[]): void {
    const expected = statuses.join(" or ");
    assert.ok(statuses.includes(response.status), `instead of ${expected}, ${answered(response)}`);
    assert.ok(!response.text.includes("\u2014 "), "a refusal holds a signature line");
  }

  /** A refusal of a request that is not of the form that the text gives. */
  malformed(response: Response): void {
    const { status, text } = response;
    if (this.options.strict) assert.equal(status, 400, `instead of 400, ${answered(response)}`);
    assert.ok(status >= 400 && status < 500, `instead of a client error, ${answered(response)}`);
    assert.ok(!text.includes("\u2014 "), "a refusal holds a signature line");
  }

  /** 409, with the size as the text asks for it. */
  conflict(response: Response, size: bigint | number): void {
    this.refused(response, 409);
    assert.equal(response.text, `${size}\n`, "the body is not the size and a newline");
    assert.equal(response.headers["content-type"], "text/x.tlog.size");
  }

  /** The newest size that the witness has cosigned, asked for with an old size that no log of these cases reaches. */
  async newestSize(log: TestLog): Promise<bigint> {
    const response = await this.add(log.request(UNREACHED, UNREACHED));
    assert.equal(response.status, 409, answered(response));
    return BigInt(response.text.trim());
  }

  /** The time of a cosignature, which has to be about now. */
  recent(signature: NoteSignature): void {
    const off = Number(cosignatureTime(signature.signature)) - Date.now() / 1000;
    assert.ok(Math.abs(off) < CLOCK_SKEW_SECONDS, `the cosignature's time is ${off} seconds from now`);
  }

  /** A cosigned checkpoint of `log` at `size`, as a note, for sign-subtree. */
  async cosignedNote(size: bigint | number): Promise<string> {
    const response = await this.add(this.log.request(0, size));
    this.cosigned(response, this.log.text(size));
    return `${this.log.text(size)}\n${response.text}`;
  }

  /** Passes over the case where sign-subtree, which is OPTIONAL, is not there. */
  async needsSubtrees(): Promise<void> {
    if (!this.signsWithMldsa) throw new Skip("no key of the witness can sign subtrees");
    const response = await this.subtree("");
    if (response.status === 404 || response.status === 405 || response.status === 501) {
      throw new Skip(`sign-subtree is OPTIONAL and answers ${response.status}`);
    }
  }

  /** Passes over the case where the monitoring endpoint is not there at all. */
  async needsMonitoring(): Promise<Response> {
    const response = await this.monitor(this.log);
    if (response.status === 404)
      throw new Skip("a witness SHOULD serve checkpoints, and this one answers 404");
    return response;
  }
}

/** An answer for a message, cut to a length that can be read. */
export function answered({ status, text }: Response): string {
  const line = text.trim().replaceAll("\n", " / ");
  return `answered ${status}${line === "" ? "" : `: ${line.length > 120 ? `${line.slice(0, 120)}...` : line}`}`;
}

export interface SendOptions {
  readonly method?: string;
  readonly body?: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
  readonly agent?: Agent;
  /** Without a Content-Length, in two pieces. */
  readonly chunked?: boolean;
}

export function send(url: string, options: SendOptions = {}): Promise<Response> {
  const body = options.body === undefined ? undefined : Buffer.from(options.body as Uint8Array);
  return new Promise((resolve, reject) => {
    const outgoing = request(url, {
      method: options.method ?? "GET",
      agent: options.agent ?? new Agent({ keepAlive: false }),
      timeout: REQUEST_TIMEOUT_MS,
      headers: {
        ...options.headers,
        ...(body === undefined || options.chunked ? {} : { "content-length": String(body.length) }),
      },
    });
    let answered = false;
    outgoing.on("response", (incoming) => {
      answered = true;
      const parts: Buffer[] = [];
      incoming.on("data", (part: Buffer) => parts.push(part));
      incoming.on("error", reject);
      incoming.on("end", () =>
        resolve({
          status: incoming.statusCode ?? 0,
          headers: incoming.headers,
          text: Buffer.concat(parts).toString(),
        }),
      );
    });
    outgoing.on("timeout", () => outgoing.destroy(new Error("no answer in time")));
    // A server that refuses a long body may reset the connection after its answer.
    outgoing.on("error", (error) => answered || reject(error));
    if (body !== undefined && options.chunked) {
      outgoing.write(body.subarray(0, body.length >> 1));
      outgoing.end(body.subarray(body.length >> 1));
    } else {
      outgoing.end(body);
    }
  });
}
