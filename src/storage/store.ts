// The place of the big immutable bytes (tiles, entry bundles) and of the two small replaced objects (`checkpoint`,
// `state/head`). Keys are the public URL paths; everything private lies under `state/`. Drivers: filesystem, S3.
// test/storage/conformance.ts is what a driver promises; every driver passes all of it.

/** An opaque token for one stored version of an object: what `If-Match` compares. */
export type ObjectVersion = string & { readonly __version: true };

/** One element of a key. No leading dot: such names are a driver's own, or the system's, and are no objects. */
const KEY_ELEMENT = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}$/;

/** Whether a key can be used in every driver: elements of ASCII letters, digits, `-`, `_` and `.`, joined by slashes. */
export function isObjectKey(key: string): boolean {
  return key.split("/").every((element) => KEY_ELEMENT.test(element));
}

export interface StoredObject {
  readonly bytes: Uint8Array;
  readonly version: ObjectVersion;
}

/**
 * What became of a conditional write. `refused`: the condition did not hold and nothing was changed. A write whose
 * outcome cannot be known throws `StoreError` with `outcome: "unknown"` and the caller reads back and decides.
 */
export type WriteResult =
  | { readonly outcome: "written"; readonly version: ObjectVersion }
  | { readonly outcome: "refused" };

/** `not_applied`: certainly nothing changed. `unknown`: it may have been applied, or may yet be. */
export type StoreErrorOutcome = "not_applied" | "unknown";

export class StoreError extends Error {
  readonly outcome: StoreErrorOutcome;
  /** True where asking again can help (a timeout, a full disk, a 5xx); false where it cannot (no such bucket, EACCES). */
  readonly retryable: boolean;
  /** True where the disk refused for want of room. */
  readonly noSpace: boolean;

  constructor(
    message: string,
    options: { outcome: StoreErrorOutcome; retryable: boolean; noSpace?: boolean; cause?: unknown },
  ) {
    super(message, { cause: options.cause });
    this.name = "StoreError";
    this.outcome = options.outcome;
    this.retryable = options.retryable;
    this.noSpace = options.noSpace ?? false;
  }
}

export interface ObjectStore {
  /** For messages: `fs:/var/lib/cairn/tiles` or `s3://bucket`. */
  readonly location: string;
  /**
   * True where a write that returned survives power loss (S3). False on a filesystem, where immutable objects must be
   * passed to `sync` before anything relies on them.
   */
  readonly durableOnWrite: boolean;

  /** The object, or null where there is none. Errors throw StoreError and are never taken for absence. */
  get(key: string): Promise<StoredObject | null>;

  /**
   * Creates an object that never changes afterwards (If-None-Match: *), atomically: a reader sees all of it or nothing.
   * Not durable on a filesystem until `sync`. `refused` where the key exists.
   */
  create(key: string, bytes: Uint8Array): Promise<WriteResult>;

  /** As `create`, durable when it returns (file and folders synced): for `state/head` and other rare objects. */
  createDurable(key: string, bytes: Uint8Array): Promise<WriteResult>;

  /** Replaces an object if it still has that version (If-Match), atomically and durably. `refused` otherwise. */
  replace(key: string, bytes: Uint8Array, version: ObjectVersion): Promise<WriteResult>;

  /**
   * Writes an object whatever is there, through a new file and rename: only for mending what a power loss may have
   * damaged, by the owner, after judging. Not durable on a filesystem until `sync`.
   */
  overwrite(key: string, bytes: Uint8Array): Promise<void>;

  /** Makes objects written by `create` or `overwrite` durable, with every folder up to the root. */
  sync(keys: readonly string[]): Promise<void>;

  /** Removes an object; absent ones are fine. */
  remove(key: string): Promise<void>;

  /** Keys below a prefix that ends with "/" (or "" for all), in ascending order of their bytes. */
  list(prefix: string): AsyncIterable<string>;

  /**
   * Proves on this very store that conditional writes hold (two racing creates, one stale replace) under
   * `state/probe/<random>`. Throws `store_unsafe` where they do not.
   */
  probe(): Promise<void>;

  close(): Promise<void>;
}
