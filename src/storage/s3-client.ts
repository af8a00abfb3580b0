// The S3 client as the driver uses it: loaded where it is used, never asking twice by itself (a second answer to a
// conditional write would be taken for the first), every request bounded in time, and all of them ended by `close`.

import type { S3Client, S3ClientConfig } from "@aws-sdk/client-s3";
import { CairnError } from "../core/errors.ts";
import { readFailure, type S3Failure } from "./s3-failure.ts";

type Library = typeof import("@aws-sdk/client-s3");

/** Requests at one time. Callers have bounds of their own; this one keeps a crowd of readers from using up all files. */
const MAX_SOCKETS = 256;
/** An unused connection is closed before the store closes it, since a request would meet that. */
const IDLE_SOCKET_MS = 15_000;
const CONNECT_TIMEOUT_MS = 3_000;
/** A store that has not answered in this time is asked again; an outage must not add more to its end than this. */
const ANSWER_TIMEOUT_MS = 4_000;
/** What a body may take beyond that: the slowest link that a log is run over. */
const MIN_BYTES_PER_MS = 256;

/** Stores that answer from the nearest region unless they are asked for the newest. */
const NEAREST_REGION_HOST = /(^|\.)(tigris\.dev|storage\.dev)$/;

export interface S3Settings {
  readonly bucket: string;
  /** A URL, or null for what AWS's own configuration says. */
  readonly endpoint: string | null;
  /** Null for what AWS's own configuration says. */
  readonly region: string | null;
  /** Null for AWS's own chain: environment, profile, container, instance. */
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string } | null;
  /** The bucket in the path and not in the host's name. */
  readonly forcePathStyle: boolean;
}

/** A request that failed, with what that means. Not with the client's error, which holds the request and its signature. */
export class S3RequestError extends Error {
  readonly failure: S3Failure;

  constructor(failure: S3Failure) {
    super(failure.words);
    this.name = "S3RequestError";
    this.failure = failure;
  }
}

/** How long a request may take; it grows with the bytes that travel. */
export class Deadline {
  readonly #controller = new AbortController();
  readonly #limitMs: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(limitMs: number, bytes: number) {
    this.#limitMs = limitMs;
    this.allow(bytes);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** From now on, time for that many bytes. */
  allow(bytes: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => this.#controller.abort(),
      this.#limitMs + Math.ceil(bytes / MIN_BYTES_PER_MS),
    );
  }

  end(): void {
    clearTimeout(this.#timer);
  }

  abort(): void {
    this.#controller.abort();
  }
}

export class S3Requests {
  readonly library: Library;
  readonly client: S3Client;
  readonly #answerTimeoutMs: number;
  readonly #running = new Map<Deadline, Promise<unknown>>();
  #closed = false;

  private constructor(library: Library, client: S3Client, answerTimeoutMs: number) {
    this.library = library;
    this.client = client;
    this.#answerTimeoutMs = answerTimeoutMs;
  }

  /** Throws `missing_dependency` where the client is not installed. Sends nothing. */
  static async open(settings: S3Settings, answerTimeoutMs = ANSWER_TIMEOUT_MS): Promise<S3Requests> {
    const library = await loadLibrary();
    const client = new library.S3Client(clientConfig(settings, answerTimeoutMs));
    client.middlewareStack.add(
      (next) => (args) => {
        const request = args.request as { hostname?: string; headers?: Record<string, string> };
        if (request.headers !== undefined && NEAREST_REGION_HOST.test(request.hostname ?? "")) {
          request.headers["x-tigris-consistent"] = "true";
        }
        return next(args);
      },
      { step: "build", name: "newestAnswer" },
    );
    return new S3Requests(library, client, answerTimeoutMs);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Runs one request, and reads its body, within its time. `bytes` is what is sent. Throws `S3RequestError`. */
  async run<T>(bytes: number, request: (deadline: Deadline) => Promise<T>): Promise<T> {
    if (this.#closed)
      throw new S3RequestError({ kind: "refused", outcome: "not_applied", words: "it is closed" });
    const deadline = new Deadline(this.#answerTimeoutMs, bytes);
    const running = request(deadline);
    this.#running.set(deadline, running);
    try {
      return await running;
    } catch (error) {
      if (error instanceof S3RequestError) throw error;
      throw new S3RequestError(readFailure(error, deadline.signal.aborted));
    } finally {
      deadline.end();
      this.#running.delete(deadline);
    }
  }

  /** Ends what is under way; its outcome is then unknown. */
  async close(): Promise<void> {
    this.#closed = true;
    const running = [...this.#running.values()];
    for (const deadline of this.#running.keys()) deadline.abort();
    await Promise.allSettled(running);
    this.client.destroy();
  }
}

function clientConfig(settings: S3Settings, answerTimeoutMs: number): S3ClientConfig {
  const agent = { keepAlive: true, maxSockets: MAX_SOCKETS, timeout: IDLE_SOCKET_MS };
  return {
    ...(settings.endpoint === null ? {} : { endpoint: settings.endpoint }),
    ...(settings.region === null ? {} : { region: settings.region }),
    ...(settings.credentials === null ? {} : { credentials: { ...settings.credentials } }),
    forcePathStyle: settings.forcePathStyle,
    maxAttempts: 1,
    // Not every store knows the newer checksums; the body's hash is part of the signature anyway.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    // Waiting for "100 Continue" costs a connection of its own, and seconds where a store never says it.
    expectContinueHeader: false,
    followRegionRedirects: false,
    requestHandler: {
      httpAgent: agent,
      httpsAgent: agent,
      connectionTimeout: Math.min(CONNECT_TIMEOUT_MS, answerTimeoutMs),
    },
  };
}

async function loadLibrary(): Promise<Library> {
  try {
    return await import("@aws-sdk/client-s3");
  } catch (cause) {
    const reason = cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : String(cause);
    throw new CairnError("missing_dependency", {
      detail: `tiles in a bucket need the S3 client: run "npm install @aws-sdk/client-s3" (${reason})`,
      cause,
    });
  }
}
