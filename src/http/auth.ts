// Who may write. Keys come as `Authorization: Bearer`, are compared by their SHA-256 hashes in constant time, and never
// reach a log. Where the keys are kept is for whoever hands in the `KeyChecker`.

import { hash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { CairnError } from "../core/errors.ts";
import type { RateLimit } from "./rate-limit.ts";

/** The role that `POST /add` and `POST /add-batch` ask for. */
export const WRITE_ROLE = "write";

/** A key that was recognised. */
export interface KeyIdentity {
  readonly name: string;
  readonly roles: readonly string[];
  /** The key's own rate, in place of the log's; null: the log's. */
  readonly quota: RateLimit | null;
}

/** A key as kept: never the key itself, only the SHA-256 of its UTF-8 bytes (32 bytes). */
export interface HashedKey extends KeyIdentity {
  readonly sha256: Uint8Array;
}

export interface KeyChecker {
  /** False where anyone may write. */
  readonly required: boolean;
  /** True where keys may have a rate of their own, which then counts even if the log sets none. */
  readonly quotas: boolean;
  /** Who a presented key belongs to, or null. */
  check(key: Uint8Array): KeyIdentity | null;
}

/** Anyone may write, and no key is looked at. */
export const publicWrites: KeyChecker = { required: false, quotas: false, check: () => null };

/** Writes need this one key. */
export function staticKey(key: string): KeyChecker {
  const only: HashedKey = {
    name: "API_KEY",
    roles: [WRITE_ROLE],
    quota: null,
    sha256: sha256(Buffer.from(key, "utf8")),
  };
  return { required: true, quotas: false, check: (presented) => findKey([only], presented) };
}

/** Writes need one of these keys; `keys` is asked at each request, so that a key revoked is a key refused. */
export function namedKeys(keys: () => readonly HashedKey[]): KeyChecker {
  return { required: true, quotas: true, check: (presented) => findKey(keys(), presented) };
}

function findKey(keys: readonly HashedKey[], presented: Uint8Array): KeyIdentity | null {
  const digest = sha256(presented);
  let found: KeyIdentity | null = null;
  // Every key is compared, so that the time says nothing of which one matched.
  for (const key of keys) {
    if (timingSafeEqual(key.sha256, digest)) found = key;
  }
  return found;
}

function sha256(bytes: Uint8Array): Buffer {
  return hash("sha256", bytes, "buffer");
}

/** Tells writers apart: refuses those without a key, and names the client that limits are counted for. */
export class WriteAccess {
  readonly #keys: KeyChecker;
  readonly #address: (raw: IncomingMessage) => string;
  readonly #identities = new WeakMap<IncomingMessage, KeyIdentity | null>();

  constructor(keys: KeyChecker, address: (raw: IncomingMessage) => string) {
    this.#keys = keys;
    this.#address = address;
  }

  /** Throws `unauthorized` where writes need a key and this request brings none that may write. */
  authorize(raw: IncomingMessage): void {
    if (!this.#keys.required) return;
    const identity = this.identify(raw);
    if (identity === null) throw new CairnError("unauthorized");
    if (!identity.roles.includes(WRITE_ROLE)) {
      throw new CairnError("unauthorized", { detail: "this key may not write" });
    }
  }

  /** The key that the request brings, checked once a request; null where it brings none or a wrong one. */
  identify(raw: IncomingMessage): KeyIdentity | null {
    if (!this.#keys.required) return null;
    let identity = this.#identities.get(raw);
    if (identity === undefined) {
      const key = bearerKey(raw.headers.authorization);
      identity = key === null ? null : this.#keys.check(key);
      this.#identities.set(raw, identity);
    }
    return identity;
  }

  /**
   * Whom limits count this request for: its key, else its address. A wrong key is no key, so that guesses count for
   * the one who guesses.
   */
  client(raw: IncomingMessage): string {
    const identity = this.identify(raw);
    return identity === null ? `address ${this.#address(raw)}` : `key ${identity.name}`;
  }
}

const BEARER = /^bearer +(\S+)$/i;

/** The key of an Authorization header (RFC 6750, section 2.1), as the bytes that were sent, or null. */
function bearerKey(header: string | undefined): Uint8Array | null {
  const key = header === undefined ? undefined : BEARER.exec(header)?.[1];
  // Node reads header values as Latin-1, one character a byte.
  return key === undefined ? null : Buffer.from(key, "latin1");
}
