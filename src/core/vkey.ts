// Verifier keys ("vkeys"), `name+id+base64(type || key)`: how a public key is written down and pinned. Parsing is strict:
// a key that comes out of here has a valid name, the id that its type prescribes and, for the types Cairn verifies, key
// material that may be trusted. C2SP signed-note, "Verifier keys"; tlog-cosignature for the types 0x04 and 0x06.
import { sha256 as nobleSha256 } from "@noble/hashes/sha2.js";
import { decodeBase64, encodeBase64 } from "./base64.ts";
import { concatBytes, encodeUtf8, readUint32 } from "./bytes.ts";
import { checkPublicKey } from "./ed25519.ts";
import { CairnError } from "./errors.ts";
import type { Sha256 } from "./hash.ts";
import { MLDSA44_PUBLIC_KEY_BYTES } from "./mldsa.ts";

/** Signature type identifier bytes of signed-note. */
export const SIGNATURE_TYPE = {
  /** Ed25519 over the note text. */
  ed25519: 0x01,
  /** Timestamped Ed25519 checkpoint cosignature. */
  cosignature: 0x04,
  /** Timestamped ML-DSA-44 (sub)tree cosignature. */
  mldsa44: 0x06,
  /** Types without an assigned byte. */
  reserved: 0xff,
} as const;

export interface VerifierKey {
  readonly name: string;
  /** Unsigned, 32 bits. */
  readonly keyId: number;
  /** One of `SIGNATURE_TYPE`, or a type that Cairn carries and cannot verify. */
  readonly type: number;
  /** Without the type byte: 32 bytes for Ed25519, 1,312 for ML-DSA-44. */
  readonly publicKey: Uint8Array;
}

// Go and the specification mean Unicode's White_Space property, which is not JavaScript's \s. Control characters and lone
// surrogates cannot occur in a note, so a key named with one could never sign.
const KEY_NAME = /^[^\p{White_Space}\p{Surrogate}+\u0000-\u001f]+$/u;
const KEY_ID = /^[0-9a-f]{8}$/;

/** True for a name that signed-note allows: not empty, no Unicode space, no plus, nothing that a note cannot contain. */
export function isValidKeyName(name: string): boolean {
  return KEY_NAME.test(name);
}

/**
 * The first four bytes, big-endian, of SHA-256(name || 0x0A || typedKey), where `typedKey` is the type byte followed by
 * the public key (signed-note, "Signatures").
 */
export function computeKeyId(name: string, typedKey: Uint8Array, sha256: Sha256 = nobleSha256): number {
  return readUint32(sha256(concatBytes(encodeUtf8(`${name}\n`), typedKey)), 0);
}

/**
 * The verifier key of a public key under a name and one of the types 0x01, 0x04 and 0x06, with the id that the type
 * prescribes. Throws `bad_vkey` for an invalid name, another type, or key material that must not be trusted.
 */
export function verifierKey(name: string, type: number, publicKey: Uint8Array): VerifierKey {
  if (!isValidKeyName(name))
    throw malformed("the name is empty or has a space, a plus or a control character");
  checkKeyMaterial(type, publicKey);
  return { name, keyId: computeKeyId(name, typed(type, publicKey)), type, publicKey };
}

/**
 * Reads a vkey. Types that Cairn verifies must have the prescribed id and sound key material; other types are carried as
 * they are, since their ids follow rules of their own, and no verifier can be made of them. Throws `bad_vkey`.
 */
export function parseVkey(text: string): VerifierKey {
  const nameEnd = text.indexOf("+");
  const idEnd = text.indexOf("+", nameEnd + 1);
  if (nameEnd < 0 || idEnd < 0) throw malformed("it has three parts joined by plus signs");
  const name = text.slice(0, nameEnd);
  const id = text.slice(nameEnd + 1, idEnd);
  if (!isValidKeyName(name)) throw malformed("the name is empty or has a space or a control character");
  if (!KEY_ID.test(id)) throw malformed("the id is eight lowercase hexadecimal digits");
  let bytes: Uint8Array;
  try {
    bytes = decodeBase64(text.slice(idEnd + 1));
  } catch (cause) {
    throw new CairnError("bad_vkey", { detail: "the key is not canonical base64", cause });
  }
  const type = bytes[0];
  if (type === undefined || bytes.length < 2) throw malformed("the key is empty");
  const publicKey = bytes.slice(1);
  const keyId = Number.parseInt(id, 16);
  if (isVerifiableType(type)) {
    checkKeyMaterial(type, publicKey);
    if (keyId !== computeKeyId(name, bytes)) throw malformed("the id does not belong to this name and key");
  }
  return { name, keyId, type, publicKey };
}

/** Writes a vkey. */
export function printVkey(key: VerifierKey): string {
  return `${key.name}+${printKeyId(key.keyId)}+${encodeBase64(typed(key.type, key.publicKey))}`;
}

/** A key id as eight lowercase hexadecimal digits. */
export function printKeyId(keyId: number): string {
  return keyId.toString(16).padStart(8, "0");
}

/**
 * Throws `bad_vkey` unless `publicKey` is of the right length and sound for one of the types 0x01, 0x04 and 0x06; also
 * for any other type.
 */
export function checkKeyMaterial(type: number, publicKey: Uint8Array): void {
  if (type === SIGNATURE_TYPE.ed25519 || type === SIGNATURE_TYPE.cosignature) {
    checkPublicKey(publicKey);
  } else if (type === SIGNATURE_TYPE.mldsa44) {
    if (publicKey.length !== MLDSA44_PUBLIC_KEY_BYTES) {
      throw malformed(`an ML-DSA-44 public key has ${MLDSA44_PUBLIC_KEY_BYTES} bytes`);
    }
  } else {
    throw malformed(`signature type 0x${type.toString(16).padStart(2, "0")} cannot be verified here`);
  }
}

function isVerifiableType(type: number): boolean {
  return (
    type === SIGNATURE_TYPE.ed25519 || type === SIGNATURE_TYPE.cosignature || type === SIGNATURE_TYPE.mldsa44
  );
}

function typed(type: number, publicKey: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.of(type), publicKey);
}

function malformed(detail: string): CairnError {
  return new CairnError("bad_vkey", { detail });
}
