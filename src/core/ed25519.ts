// Ed25519 (RFC 8032) behind one interface, with one verification rule wherever Cairn runs: a canonical public key that is
// not of small order, S below the group order, and the cofactorless equation with R compared byte for byte. Whatever falls
// outside, wrong lengths included, is `false` and never an exception. This file holds the rule and the portable
// implementation; test/vectors/ed25519-edge.json holds every implementation to the same answers.
import { hashes, Point, getPublicKey as nobleGetPublicKey, sign as nobleSign } from "@noble/ed25519";
import { sha512 } from "@noble/hashes/sha2.js";
import { concatBytes, equalBytes } from "./bytes.ts";
import { CairnError } from "./errors.ts";

const ED25519_SEED_BYTES = 32;
export const ED25519_PUBLIC_KEY_BYTES = 32;
export const ED25519_SIGNATURE_BYTES = 64;

/** An Ed25519 implementation. All of them give the same answers; they differ in speed and in where they run. */
export interface Ed25519 {
  /** The 32-byte public key of a 32-byte seed. Throws `bad_private_key` for another length. */
  publicKey(seed: Uint8Array): Uint8Array;
  /** The 64-byte signature of `message`. Throws `bad_private_key` if the seed is not 32 bytes. */
  sign(message: Uint8Array, seed: Uint8Array): Uint8Array;
  /** True exactly where the rule in this file's header accepts; false for any other bytes of any length. */
  verify(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean;
}

// noble's signing half looks its SHA-512 up here; without one it refuses to work synchronously.
hashes.sha512 = sha512;

const GROUP_ORDER = Point.CURVE().n;

/** Throws `bad_private_key` unless the seed has 32 bytes. */
export function checkEd25519Seed(seed: Uint8Array): void {
  if (seed.length !== ED25519_SEED_BYTES) {
    throw new CairnError("bad_private_key", { detail: "an Ed25519 seed has 32 bytes" });
  }
}

/**
 * Throws `bad_vkey` unless the 32 bytes are the canonical encoding of a point on the curve that is not of small order.
 * Called when a verifier is configured: under a small-order key one signature fits many messages, and a non-canonical
 * encoding is a second name for a key that something else may compare by bytes.
 */
export function checkPublicKey(publicKey: Uint8Array): void {
  if (publicKey.length !== ED25519_PUBLIC_KEY_BYTES) {
    throw new CairnError("bad_vkey", { detail: "an Ed25519 public key has 32 bytes" });
  }
  if (decodePublicKey(publicKey) === null) {
    throw new CairnError("bad_vkey", {
      detail: "the Ed25519 public key is not canonical, or of small order",
    });
  }
}

/** True where `checkPublicKey` would not throw. */
export function isAcceptablePublicKey(publicKey: Uint8Array): boolean {
  return publicKey.length === ED25519_PUBLIC_KEY_BYTES && decodePublicKey(publicKey) !== null;
}

/** True where a signature has 64 bytes and its second half, S, is below the group order (RFC 8032, 5.1.7). */
export function hasCanonicalScalar(signature: Uint8Array): boolean {
  return signature.length === ED25519_SIGNATURE_BYTES && littleEndian(signature.subarray(32)) < GROUP_ORDER;
}

/** The portable implementation, for browsers and wherever nothing faster was handed in. */
export const nobleEd25519: Ed25519 = {
  publicKey(seed) {
    checkEd25519Seed(seed);
    return nobleGetPublicKey(seed);
  },
  sign(message, seed) {
    checkEd25519Seed(seed);
    return nobleSign(message, seed);
  },
  verify(signature, message, publicKey) {
    if (!hasCanonicalScalar(signature) || publicKey.length !== ED25519_PUBLIC_KEY_BYTES) return false;
    const key = decodePublicKey(publicKey);
    if (key === null) return false;
    // noble's own verify multiplies by the cofactor in both of its modes, and so accepts mixed-order keys and R that
    // other implementations refuse. Computing R from S, k and A and comparing encodings is the cofactorless equation, and
    // refuses a non-canonical R by itself.
    const r = signature.subarray(0, 32);
    const s = littleEndian(signature.subarray(32));
    const k = littleEndian(sha512(concatBytes(r, publicKey, message))) % GROUP_ORDER;
    const expected = Point.BASE.multiplyUnsafe(s).subtract(key.multiplyUnsafe(k)).toBytes();
    return equalBytes(expected, r);
  },
};

function decodePublicKey(publicKey: Uint8Array): Point | null {
  let point: Point;
  try {
    point = Point.fromBytes(publicKey); // strict mode: refuses y >= p, and a sign bit where x is 0
  } catch {
    return null;
  }
  return point.isSmallOrder() ? null : point;
}

function littleEndian(bytes: Uint8Array): bigint {
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i] as number);
  return value;
}
