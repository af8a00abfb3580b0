// Ed25519 on node:crypto, some ten times as fast as the portable implementation, for whatever runs in Node. It answers
// exactly as that one does (core/ed25519.ts has the rule, test/vectors/ed25519-edge.json the cases): OpenSSL is
// cofactorless and compares R by its bytes, but takes small-order and non-canonical public keys, so those are checked here.
import { createPrivateKey, createPublicKey, hash, type KeyObject, sign, verify } from "node:crypto";
import {
  checkEd25519Seed,
  type Ed25519,
  ED25519_PUBLIC_KEY_BYTES,
  hasCanonicalScalar,
  isAcceptablePublicKey,
} from "../core/ed25519.ts";

/** Parsed keys kept by one instance: more than a log, its witnesses and a long policy have. */
const MAX_PUBLIC_KEYS = 1024;
const MAX_PRIVATE_KEYS = 16;

// What stands before the 32 bytes of a key in its DER form (RFC 8410).
const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");

/** A new implementation with a cache of its own: the oldest keys go first, and an evicted one is only parsed again. */
export function createNodeEd25519(): Ed25519 {
  const publicKeys = new Map<string, KeyObject | null>(); // null: a key that the rule refuses
  const privateKeys = new Map<string, KeyObject>();

  function publicKeyOf(bytes: Uint8Array): KeyObject | null {
    const name = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
    const known = publicKeys.get(name);
    if (known !== undefined) return known;
    const key = isAcceptablePublicKey(bytes)
      ? createPublicKey({ key: Buffer.concat([SPKI_PREFIX, bytes]), format: "der", type: "spki" })
      : null;
    remember(publicKeys, name, key, MAX_PUBLIC_KEYS);
    return key;
  }

  function privateKeyOf(seed: Uint8Array): KeyObject {
    checkEd25519Seed(seed);
    const name = hash("sha256", seed); // so that no second copy of a seed lies in a map's key
    const known = privateKeys.get(name);
    if (known !== undefined) return known;
    const key = createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: "der", type: "pkcs8" });
    remember(privateKeys, name, key, MAX_PRIVATE_KEYS);
    return key;
  }

  return {
    publicKey(seed) {
      const der = createPublicKey(privateKeyOf(seed)).export({ format: "der", type: "spki" });
      return Uint8Array.from(der.subarray(SPKI_PREFIX.length));
    },
    sign(message, seed) {
      const signature = sign(null, message, privateKeyOf(seed));
      return new Uint8Array(signature.buffer, signature.byteOffset, signature.byteLength);
    },
    verify(signature, message, publicKey) {
      if (!hasCanonicalScalar(signature) || publicKey.length !== ED25519_PUBLIC_KEY_BYTES) return false;
      const key = publicKeyOf(publicKey);
      return key !== null && verify(null, message, key, signature);
    },
  };
}

/** The instance of this process. Its caches change how fast it answers, never what. */
export const nodeEd25519: Ed25519 = createNodeEd25519();

function remember<T>(cache: Map<string, T>, name: string, value: T, limit: number): void {
  if (cache.size >= limit) {
    for (const oldest of cache.keys()) {
      cache.delete(oldest);
      break;
    }
  }
  cache.set(name, value);
}
