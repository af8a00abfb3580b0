// Publishers that remember every acknowledgement: what a log may never lose. They go on through refusals and broken
// connections, send some entries again, and stop when they are told to.

import { Agent, request } from "node:http";
import { naiveLeaf } from "../core/naive.ts";
import { encodeBundle } from "../../src/core/bundle.ts";
import type { Random } from "./random.ts";

/** Every acknowledgement: entry to index. What is not here may be in the log or not. */
export class Acknowledgements {
  readonly indices = new Map<string, number>();
  readonly submitted = new Set<string>();

  /** Throws where an entry is acknowledged at two indices. */
  add(entry: string, index: number): void {
    const known = this.indices.get(entry);
    if (known !== undefined && known !== index) {
      throw new Error(`"${entry}" was acknowledged at ${known} and at ${index}`);
    }
    this.indices.set(entry, index);
  }

  get largest(): number {
    let largest = -1;
    for (const index of this.indices.values()) largest = Math.max(largest, index);
    return largest;
  }
}

export interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
}

interface Answer {
  readonly status: number;
  readonly body: Buffer;
}

export class Publishers {
  readonly refusals: Refusal[] = [];
  readonly #url: string;
  readonly #acknowledgements: Acknowledgements;
  readonly #random: Random;
  readonly #label: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });
  readonly #workers: Promise<void>[];
  #stopped = false;
  #count = 0;
  /** What went wrong with the publishers themselves, which no crash explains. */
  #failure: Error | null = null;

  constructor(options: {
    readonly url: string;
    readonly acknowledgements: Acknowledgements;
    readonly random: Random;
    readonly label: string;
    readonly workers: number;
  }) {
    this.#url = options.url;
    this.#acknowledgements = options.acknowledgements;
    this.#random = options.random;
    this.#label = options.label;
    this.#workers = Array.from({ length: options.workers }, (_, i) =>
      this.#work(i).catch((error: Error) => {
        this.#failure ??= error;
      }),
    );
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#agent.destroy();
    await Promise.all(this.#workers);
    if (this.#failure !== null) throw this.#failure;
  }

  async #work(worker: number): Promise<void> {
    while (!this.#stopped) {
      // One in four sends batches; the others single entries, some of them again.
      const answered = worker % 4 === 0 ? await this.#batch() : await this.#single();
      // Nobody there, or too much for it: not at once again.
      if (!answered) await new Promise((done) => setTimeout(done, 5));
    }
  }

  #entry(): string {
    const known = this.#acknowledgements.indices;
    if (known.size > 0 && this.#random.next() < 0.05) {
      // An entry that stands already, early or late.
      const nth = this.#random.between(0, Math.min(known.size, 500) - 1);
      let i = 0;
      for (const entry of known.keys()) if (i++ === nth) return entry;
    }
    const padding = "x".repeat(this.#random.between(0, 300));
    const entry = `${this.#label} ${this.#count++} ${padding}`;
    this.#acknowledgements.submitted.add(entry);
    return entry;
  }

  async #single(): Promise<boolean> {
    const entry = this.#entry();
    const answer = await this.#post("/add", Buffer.from(entry));
    if (answer === null) return false;
    if (answer.status !== 200) return this.#refused(answer);
    const text = answer.body.toString();
    if (!/^(0|[1-9][0-9]*)$/.test(text)) throw new Error(`the answer to /add was ${JSON.stringify(text)}`);
    this.#acknowledgements.add(entry, Number(text));
    return true;
  }

  async #batch(): Promise<boolean> {
    const entries = Array.from({ length: this.#random.between(1, 400) }, () => this.#entry());
    const body = Buffer.from(encodeBundle(entries.map((entry) => Buffer.from(entry))));
    const answer = await this.#post("/add-batch", body, "application/octet-stream");
    if (answer === null) return false;
    if (answer.status !== 200) return this.#refused(answer);
    const { results } = JSON.parse(answer.body.toString()) as {
      results: ({ index: number; leafHash: string } | { error: Refusal })[];
    };
    for (const [i, result] of results.entries()) {
      if ("error" in result) {
        this.refusals.push({ ...result.error, status: 200 });
        continue;
      }
      const entry = entries[i] as string;
      const leafHash = Buffer.from(naiveLeaf(Buffer.from(entry))).toString("base64");
      if (result.leafHash !== leafHash) throw new Error(`"${entry}" was answered with another's leaf hash`);
      this.#acknowledgements.add(entry, result.index);
    }
    return true;
  }

  #refused({ status, body }: Answer): boolean {
    const problem = JSON.parse(body.toString()) as { code: string; detail?: string };
    this.refusals.push({ status, code: problem.code, detail: problem.detail ?? "" });
    return false;
  }

  /** The whole answer, or null where the connection broke before its end: then nothing is known. */
  #post(path: string, body: Buffer, type = "text/plain"): Promise<Answer | null> {
    return new Promise((resolve) => {
      const asked = request(
        `${this.#url}${path}`,
        {
          method: "POST",
          agent: this.#agent,
          headers: { "Content-Type": type, "Content-Length": body.length },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("end", () =>
            resolve(
              response.complete ? { status: response.statusCode ?? 0, body: Buffer.concat(chunks) } : null,
            ),
          );
          response.on("error", () => resolve(null));
          response.on("close", () => resolve(null));
        },
      );
      asked.on("error", () => resolve(null));
      asked.end(body);
    });
  }
}
