// ML-DSA-44 (FIPS 204), pure mode with an empty context, as C2SP tlog-cosignature uses it: behind an interface, because
// the implementation is young and a faster one will come. Experimental: not audited, and slow (some 200 signatures a second).
import { ml_dsa44 } from "@noble/post-quantum/ml-dsa.js";
import { CairnError } from "./errors.ts";

const MLDSA44_SEED_BYTES = 32;
export const MLDSA44_PUBLIC_KEY_BYTES = 1312;
export const MLDSA44_SIGNATURE_BYTES = 2420;

export interface MlDsa44KeyPair {
  /** 1,312 bytes. */
  readonly publicKey: Uint8Array;
  /** 2,560 bytes, expanded from the seed: kept by whoever signs more than once, since expanding costs as much as signing. */
  readonly secretKey: Uint8Array;
}

export interface MlDsa44 {
  /** Expands a 32-byte seed. Throws `bad_private_key` for another length. */
  keyPair(seed: Uint8Array): MlDsa44KeyPair;
  /** The 2,420-byte signature; deterministic, so that the same head signed twice is the same bytes. */
  sign(message: Uint8Array, secretKey: Uint8Array): Uint8Array;
  /** False for any bytes that are no signature, wrong lengths included; never an exception. */
  verify(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean;
}

/** The portable implementation. */
export const nobleMlDsa44: MlDsa44 = {
  keyPair(seed) {
    if (seed.length !== MLDSA44_SEED_BYTES) {
      throw new CairnError("bad_private_key", { detail: "an ML-DSA-44 seed has 32 bytes" });
    }
    return ml_dsa44.keygen(seed);
  },
  sign(message, secretKey) {
    return ml_dsa44.sign(message, secretKey, { extraEntropy: false });
  },
  verify(signature, message, publicKey) {
    if (signature.length !== MLDSA44_SIGNATURE_BYTES || publicKey.length !== MLDSA44_PUBLIC_KEY_BYTES)
      return false;
    return ml_dsa44.verify(signature, message, publicKey);
  },
};
