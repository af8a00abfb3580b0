// Private keys, in the format of Go's golang.org/x/mod/sumdb/note, `PRIVATE+KEY+name+id+base64(type || seed)`, and plain
// Ed25519 note signatures. One key file serves a log (type 0x01) and a witness (type 0x04, see cosignature.ts); its id is
// the one of type 0x01, as Go writes it. An ML-DSA-44 file has the same shape with type 0x06 and its 32-byte seed.
import { decodeBase64, encodeBase64 } from "./base64.ts";
import { concatBytes } from "./bytes.ts";
import { type Ed25519, nobleEd25519 } from "./ed25519.ts";
import { CairnError } from "./errors.ts";
import { nobleMlDsa44 } from "./mldsa.ts";
import type { NoteSigner, NoteVerifier } from "./note.ts";
import {
  checkKeyMaterial,
  isValidKeyName,
  printKeyId,
  printVkey,
  SIGNATURE_TYPE,
  type VerifierKey,
  verifierKey,
} from "./vkey.ts";

/** Both kinds of key begin as 32 random bytes. */
export const SEED_BYTES = 32;

/** The types a key file can have. */
export type PrivateKeyType = typeof SIGNATURE_TYPE.ed25519 | typeof SIGNATURE_TYPE.mldsa44;

export interface PrivateKey {
  readonly name: string;
  /** The id of this name and public key under `type`. */
  readonly keyId: number;
  readonly type: PrivateKeyType;
  /** 32 secret bytes. */
  readonly seed: Uint8Array;
  /** Without the type byte. */
  readonly publicKey: Uint8Array;
}

const PREFIX = "PRIVATE+KEY+";

/**
 * The private key of a name and 32 random bytes, which come from the caller. Throws `bad_private_key` for a name that
 * cannot stand in a note or a seed of another length.
 */
export function generatePrivateKey(
  name: string,
  seed: Uint8Array,
  type: PrivateKeyType = SIGNATURE_TYPE.ed25519,
): PrivateKey {
  if (!isValidKeyName(name))
    throw malformed("the name is empty or has a space, a plus or a control character");
  if (seed.length !== SEED_BYTES) throw malformed(`a seed has ${SEED_BYTES} bytes`);
  const publicKey =
    type === SIGNATURE_TYPE.ed25519 ? nobleEd25519.publicKey(seed) : nobleMlDsa44.keyPair(seed).publicKey;
  const { keyId } = verifierKey(name, type, publicKey);
  return { name, keyId, type, seed: Uint8Array.from(seed), publicKey };
}

/**
 * Reads a private key; whoever reads it from a file cuts the newline off. The id must belong to the name and the seed, so
 * that a file torn or mixed up is refused before it signs. Throws `bad_private_key`, never with any of the key in it.
 */
export function parsePrivateKey(text: string): PrivateKey {
  if (!text.startsWith(PREFIX)) throw malformed("it begins with PRIVATE+KEY+");
  const nameEnd = text.indexOf("+", PREFIX.length);
  const idEnd = text.indexOf("+", nameEnd + 1);
  if (nameEnd < 0 || idEnd < 0) throw malformed("a part is missing");
  const id = text.slice(nameEnd + 1, idEnd);
  let bytes: Uint8Array;
  try {
    bytes = decodeBase64(text.slice(idEnd + 1));
  } catch {
    throw malformed("the key is not canonical base64"); // without its cause, which might quote the key
  }
  const type = bytes[0];
  if (type !== SIGNATURE_TYPE.ed25519 && type !== SIGNATURE_TYPE.mldsa44) {
    throw malformed("its type is neither Ed25519 (0x01) nor ML-DSA-44 (0x06)");
  }
  const key = generatePrivateKey(text.slice(PREFIX.length, nameEnd), bytes.subarray(1), type);
  if (id !== printKeyId(key.keyId)) throw malformed("the id does not belong to this name and key");
  return key;
}

/** Writes a private key, without a newline. The text is as secret as the key. */
export function printPrivateKey(key: PrivateKey): string {
  const bytes = concatBytes(Uint8Array.of(key.type), key.seed);
  return `${PREFIX}${key.name}+${printKeyId(key.keyId)}+${encodeBase64(bytes)}`;
}

/** The verifier key that belongs to a private key, under the key file's own type: what a log's clients pin. */
export function privateKeyVkey(key: PrivateKey): VerifierKey {
  return { name: key.name, keyId: key.keyId, type: key.type, publicKey: key.publicKey };
}

/**
 * Signs notes with type 0x01, as a log does. Throws `bad_private_key` for an ML-DSA-44 key, which signs as a cosigner
 * even for a log (`cosignatureSigner`).
 */
export function noteSigner(key: PrivateKey, ed25519: Ed25519): NoteSigner {
  if (key.type !== SIGNATURE_TYPE.ed25519) throw malformed("a plain note signature needs an Ed25519 key");
  const { name, keyId, seed } = key;
  return { name, keyId, vkey: printVkey(privateKeyVkey(key)), sign: (text) => ed25519.sign(text, seed) };
}

/** Verifies plain Ed25519 note signatures. Throws `bad_vkey` for a key of another type or one not to be trusted. */
export function noteVerifier(key: VerifierKey, ed25519: Ed25519): NoteVerifier {
  const { name, keyId, type, publicKey } = key;
  if (type !== SIGNATURE_TYPE.ed25519) {
    throw new CairnError("bad_vkey", { detail: `${printVkey(key)} is not of type 0x01` });
  }
  checkKeyMaterial(type, publicKey);
  return { name, keyId, verify: (text, signature) => ed25519.verify(signature, text, publicKey) };
}

function malformed(detail: string): CairnError {
  return new CairnError("bad_private_key", { detail });
}
