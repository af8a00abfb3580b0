// The S3 driver: an object of the bucket is at its key, plain, labelled so that the bucket can serve readers directly. A
// create carries If-None-Match, a replacement If-Match with the ETag as version, and each answer is taken for what it
// says and no more: what came back late, broken or as a 5xx is unknown, and the caller reads back and decides.

import type { GetObjectCommandOutput, ListObjectsV2CommandOutput } from "@aws-sdk/client-s3";
import { equalBytes } from "../core/bytes.ts";
import { CairnError } from "../core/errors.ts";
import { probeStore } from "./probe.ts";
import { type Deadline, S3RequestError, S3Requests, type S3Settings } from "./s3-client.ts";
import type { S3Failure } from "./s3-failure.ts";
import { objectLabels } from "./s3-object-class.ts";
import {
  isObjectKey,
  type ObjectStore,
  type ObjectVersion,
  type StoredObject,
  StoreError,
  type WriteResult,
} from "./store.ts";

/** A bundle of the largest entries has 16 MiB; nothing of a log is larger than this. */
const OBJECT_MAX_BYTES = 32 * 1024 * 1024;
/** How long a start waits for a store that does not answer. */
const OPEN_PATIENCE_MS = 30_000;
const OPEN_PAUSE_MS = 1_000;
/** A read that failed at once is tried again while no more than this has passed; whoever asked is waiting. */
const READ_PATIENCE_MS = 2_000;
const READ_PAUSE_MS = 50;
/** A create that met another one under way is tried again this often, each time a little later. */
const CONFLICT_ATTEMPTS = 5;
const CONFLICT_PAUSE_MS = 50;

/** Shortened in tests; the constants of this file and of s3-client.ts where absent. */
export interface S3Timing {
  readonly answerTimeoutMs?: number;
  readonly openPatienceMs?: number;
  readonly openPauseMs?: number;
  readonly readPatienceMs?: number;
}

/** `read` never writes, so it may stand beside a writer. */
export type S3StoreMode = "read" | "write";

type Condition = { readonly IfNoneMatch: "*" } | { readonly IfMatch: string };

/**
 * Opens a bucket as an object store. Waits up to 30 s for a store that does not answer, then throws `store_unreachable`;
 * throws `bucket_absent` or `store_refused` at once, and `missing_dependency` without the S3 client. Never makes a bucket.
 */
export async function openS3Store(
  settings: S3Settings,
  options: { readonly mode: S3StoreMode; readonly timing?: S3Timing },
): Promise<ObjectStore> {
  const timing = options.timing ?? {};
  const requests = await S3Requests.open(settings, timing.answerTimeoutMs);
  const store = new S3Store(requests, settings.bucket, options.mode, timing);
  try {
    await store.start();
    return store;
  } catch (error) {
    await requests.close();
    throw error;
  }
}

class S3Store implements ObjectStore {
  readonly location: string;
  readonly durableOnWrite = true;
  readonly #requests: S3Requests;
  readonly #bucket: string;
  readonly #mode: S3StoreMode;
  readonly #timing: S3Timing;

  constructor(requests: S3Requests, bucket: string, mode: S3StoreMode, timing: S3Timing) {
    this.location = `s3://${bucket}`;
    this.#requests = requests;
    this.#bucket = bucket;
    this.#mode = mode;
    this.#timing = timing;
  }

  /** Finds out whether the bucket is there and lets itself be read. */
  async start(): Promise<void> {
    const patience = this.#timing.openPatienceMs ?? OPEN_PATIENCE_MS;
    const began = performance.now();
    for (;;) {
      try {
        await this.#page("", undefined, 1);
        return;
      } catch (error) {
        const failure = failureOf(error);
        if (failure === null) throw error;
        const detail = `${this.location}: ${failure.words}`;
        if (failure.kind === "no_bucket") throw new CairnError("bucket_absent", { detail, cause: error });
        if (failure.kind !== "passing") throw new CairnError("store_refused", { detail, cause: error });
        const wait = this.#timing.openPauseMs ?? OPEN_PAUSE_MS;
        if (performance.now() - began + wait >= patience) {
          throw new CairnError("store_unreachable", { detail, cause: error });
        }
        await pause(wait);
      }
    }
  }

  async get(key: string): Promise<StoredObject | null> {
    checkKey(key);
    return this.#read("read", key, async () => {
      try {
        return await this.#requests.run(0, (deadline) => this.#fetch(key, deadline));
      } catch (error) {
        if (failureOf(error)?.kind === "absent") return null;
        throw error;
      }
    });
  }

  create(key: string, bytes: Uint8Array): Promise<WriteResult> {
    return this.#put(key, bytes, { IfNoneMatch: "*" });
  }

  createDurable(key: string, bytes: Uint8Array): Promise<WriteResult> {
    return this.#put(key, bytes, { IfNoneMatch: "*" });
  }

  replace(key: string, bytes: Uint8Array, version: ObjectVersion): Promise<WriteResult> {
    return this.#put(key, bytes, { IfMatch: version });
  }

  async overwrite(key: string, bytes: Uint8Array): Promise<void> {
    checkKey(key);
    this.#refuseReadOnly(key);
    try {
      await this.#putOnce(key, bytes, {});
    } catch (error) {
      throw this.#explain(error, "write", key);
    }
  }

  /** Nothing is left to do: what was written is durable. */
  async sync(keys: readonly string[]): Promise<void> {
    for (const key of keys) checkKey(key);
  }

  async remove(key: string): Promise<void> {
    checkKey(key);
    this.#refuseReadOnly(key);
    const { DeleteObjectCommand } = this.#requests.library;
    const command = new DeleteObjectCommand({ Bucket: this.#bucket, Key: key });
    try {
      await this.#requests.run(0, ({ signal }) =>
        this.#requests.client.send(command, { abortSignal: signal }),
      );
    } catch (error) {
      if (failureOf(error)?.kind === "absent") return;
      throw this.#explain(error, "remove", key);
    }
  }

  async *list(prefix: string): AsyncIterable<string> {
    if (prefix !== "") {
      if (!prefix.endsWith("/")) throw invalidKey(prefix);
      checkKey(prefix.slice(0, -1));
    }
    let last = "";
    let token: string | undefined;
    do {
      const page = await this.#read("list", prefix, () => this.#page(prefix, token));
      for (const { Key: key } of page.Contents ?? []) {
        // What no key of a log can be is somebody else's: a folder's marker, a file of the system.
        if (key === undefined || !isObjectKey(key)) continue;
        if (!key.startsWith(prefix) || key <= last) throw this.#badList(prefix, "in another order than S3's");
        last = key;
        yield key;
      }
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
      if (page.IsTruncated === true && token === undefined) throw this.#badList(prefix, "without its rest");
    } while (token !== undefined);
  }

  async probe(): Promise<void> {
    try {
      await probeStore(this);
    } catch (error) {
      if (error instanceof StoreError && failureOf(error.cause)?.kind === "unsupported") {
        throw new CairnError("store_unsafe", { detail: error.message, cause: error });
      }
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#requests.close();
  }

  async #put(key: string, bytes: Uint8Array, condition: Condition): Promise<WriteResult> {
    checkKey(key);
    this.#refuseReadOnly(key);
    for (let attempt = 1; ; attempt++) {
      try {
        const version = await this.#putOnce(key, bytes, condition);
        return { outcome: "written", version: version ?? (await this.#readVersion(key, bytes)) };
      } catch (error) {
        const kind = failureOf(error)?.kind;
        if (kind === "condition") return { outcome: "refused" };
        // A version of what is not there.
        if (kind === "absent" && "IfMatch" in condition) return { outcome: "refused" };
        if (kind !== "conflict" || attempt === CONFLICT_ATTEMPTS) throw this.#explain(error, "write", key);
      }
      await pause(CONFLICT_PAUSE_MS * attempt);
      if (await this.#conditionIsGone(key, condition)) return { outcome: "refused" };
    }
  }

  async #putOnce(
    key: string,
    bytes: Uint8Array,
    condition: Condition | Record<string, never>,
  ): Promise<ObjectVersion | null> {
    const { PutObjectCommand } = this.#requests.library;
    const { contentType, cacheControl } = objectLabels(key);
    const command = new PutObjectCommand({
      Bucket: this.#bucket,
      Key: key,
      Body: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
      ContentLength: bytes.length,
      ContentType: contentType,
      CacheControl: cacheControl,
      ...condition,
    });
    const { ETag: etag } = await this.#requests.run(bytes.length, ({ signal }) =>
      this.#requests.client.send(command, { abortSignal: signal }),
    );
    return versionOf(etag);
  }

  /** After a conflict: whether the other write has decided this one's condition. */
  async #conditionIsGone(key: string, condition: Condition): Promise<boolean> {
    const there = await this.get(key);
    return "IfMatch" in condition ? there?.version !== condition.IfMatch : there !== null;
  }

  /** For a store that does not say what version it made. */
  async #readVersion(key: string, bytes: Uint8Array): Promise<ObjectVersion> {
    const there = await this.get(key).catch(() => null);
    if (there !== null && equalBytes(there.bytes, bytes)) return there.version;
    throw new StoreError(`${this.location}: ${key} was written and does not read back`, {
      outcome: "unknown",
      retryable: true,
    });
  }

  async #fetch(key: string, deadline: Deadline): Promise<StoredObject> {
    const { GetObjectCommand } = this.#requests.library;
    const command = new GetObjectCommand({ Bucket: this.#bucket, Key: key });
    const answer = await this.#requests.client.send(command, { abortSignal: deadline.signal });
    const version = versionOf(answer.ETag);
    const { ContentLength: length = null } = answer;
    const refuse = (words: string): S3RequestError =>
      new S3RequestError({ kind: "passing", outcome: "not_applied", words });
    if (length !== null && length > OBJECT_MAX_BYTES) {
      discard(answer.Body);
      throw refuse(`the object has ${length} bytes, which none of a log's has`);
    }
    deadline.allow(length ?? OBJECT_MAX_BYTES);
    const bytes = await collect(answer.Body, length);
    if (bytes === null || (length !== null && bytes.length !== length)) {
      throw refuse(`the object came with ${bytes?.length ?? "too many"} of ${length ?? "its"} bytes`);
    }
    if (version === null) throw refuse("the object came without its version");
    return { bytes, version };
  }

  #page(prefix: string, token: string | undefined, limit?: number): Promise<ListObjectsV2CommandOutput> {
    const { ListObjectsV2Command } = this.#requests.library;
    const command = new ListObjectsV2Command({
      Bucket: this.#bucket,
      Prefix: prefix,
      ...(token === undefined ? {} : { ContinuationToken: token }),
      ...(limit === undefined ? {} : { MaxKeys: limit }),
    });
    return this.#requests.run(0, ({ signal }) =>
      this.#requests.client.send(command, { abortSignal: signal }),
    );
  }

  /** A read changes nothing, so one that failed quickly is tried again before anybody is told. */
  async #read<T>(action: string, key: string, read: () => Promise<T>): Promise<T> {
    const began = performance.now();
    const patience = this.#timing.readPatienceMs ?? READ_PATIENCE_MS;
    for (let wait = READ_PAUSE_MS; ; wait *= 2) {
      try {
        return await read();
      } catch (error) {
        const again =
          failureOf(error)?.kind === "passing" &&
          !this.#requests.closed &&
          performance.now() - began + wait < patience;
        if (!again) throw this.#explain(error, action, key, "not_applied");
      }
      await pause(wait);
    }
  }

  #refuseReadOnly(key: string): void {
    if (this.#mode === "write") return;
    throw new StoreError(`${this.location} was opened for reading only (writing ${key})`, {
      outcome: "not_applied",
      retryable: false,
    });
  }

  /** While the log runs, only a missing bucket, or a store that knows no conditions, is not worth asking again. */
  #explain(error: unknown, action: string, key: string, outcome?: "not_applied"): unknown {
    if (!(error instanceof S3RequestError)) return error;
    const { failure } = error;
    const what = this.#requests.closed ? "the store was closed" : failure.words;
    return new StoreError(`${this.location}: could not ${action} ${key === "" ? "it" : key}: ${what}`, {
      outcome: outcome ?? failure.outcome,
      retryable: !this.#requests.closed && failure.kind !== "no_bucket" && failure.kind !== "unsupported",
      cause: error,
    });
  }

  #badList(prefix: string, how: string): StoreError {
    return new StoreError(`${this.location}: the list of ${prefix === "" ? "keys" : prefix} came ${how}`, {
      outcome: "not_applied",
      retryable: false,
    });
  }
}

function failureOf(error: unknown): S3Failure | null {
  return error instanceof S3RequestError ? error.failure : null;
}

/** The ETag as it stands: what a store gave is what it compares. */
function versionOf(etag: string | undefined): ObjectVersion | null {
  return etag === undefined || etag === "" ? null : (etag as ObjectVersion);
}

function checkKey(key: string): void {
  if (!isObjectKey(key)) throw invalidKey(key);
}

function invalidKey(key: string): StoreError {
  return new StoreError(`${JSON.stringify(key)} is not a key of this store`, {
    outcome: "not_applied",
    retryable: false,
  });
}

type Body = GetObjectCommandOutput["Body"];

/** A body's bytes in memory of their own, or null where there are more than any object has. */
async function collect(body: Body, length: number | null): Promise<Uint8Array | null> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of (body ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > (length ?? OBJECT_MAX_BYTES)) return null;
    chunks.push(chunk);
  }
  // Not from a pool: a caller may transfer them.
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** Leaves the rest of an answer unread. */
function discard(body: Body): void {
  (body as { destroy?: () => void } | undefined)?.destroy?.();
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
