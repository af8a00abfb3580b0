// Cosignatures: what a witness states about a checkpoint, with the time it saw it. Type 0x04 (Ed25519) covers the whole
// text; type 0x06 (ML-DSA-44, experimental) covers origin, size and root under the cosigner's name, also of a subtree, and
// a log may sign with it beside its Ed25519 key. C2SP tlog-cosignature.
import { concatBytes, decodeUtf8, encodeUtf8, readUint64, writeUint64 } from "./bytes.ts";
import { parseCheckpoint } from "./checkpoint.ts";
import { type Ed25519, ED25519_SIGNATURE_BYTES, nobleEd25519 } from "./ed25519.ts";
import { CairnError, isCairnError } from "./errors.ts";
import { HASH_BYTES } from "./hash.ts";
import { MAX_TREE_SIZE } from "./merkle.ts";
import { type MlDsa44, MLDSA44_SIGNATURE_BYTES, nobleMlDsa44 } from "./mldsa.ts";
import type { NoteSignature, NoteSigner, NoteVerifier } from "./note.ts";
import { noteVerifier, type PrivateKey } from "./note-key.ts";
import { checkKeyMaterial, printVkey, SIGNATURE_TYPE, type VerifierKey, verifierKey } from "./vkey.ts";

/** The largest timestamp, in POSIX seconds. */
export const MAX_TIMESTAMP = 2n ** 63n - 1n;

/** The signature algorithms that notes need, as values: the server hands in faster ones than the portable ones below. */
export interface SignaturePrimitives {
  readonly ed25519: Ed25519;
  readonly mldsa44: MlDsa44;
}

export const noblePrimitives: SignaturePrimitives = { ed25519: nobleEd25519, mldsa44: nobleMlDsa44 };

/** The hash over the leaves `start` (inclusive) to `end` (exclusive) of a log; a checkpoint is the subtree from 0. */
export interface Subtree {
  /** The log's origin, without a newline. */
  readonly origin: string;
  readonly start: bigint;
  readonly end: bigint;
  /** 32 bytes. */
  readonly hash: Uint8Array;
}

export interface SubtreeVerifier {
  readonly name: string;
  readonly keyId: number;
  /** `signature` without the key id. False for anything that is not a cosignature of this subtree; never throws. */
  verify(subtree: Subtree, signature: Uint8Array): boolean;
}

const TIMESTAMP_BYTES = 8;
const SUBTREE_LABEL = "subtree/v1\n\0";
const MAX_SUBTREE_NAME_BYTES = 255;

/**
 * Signs checkpoints as a cosigner: type 0x04 with an Ed25519 key file, type 0x06 with an ML-DSA-44 one. `now` gives POSIX
 * seconds and is asked once a signature. `sign` throws `bad_checkpoint` for a text that is not a checkpoint, or whose
 * origin a 0x06 signature cannot hold.
 */
export function cosignatureSigner(
  key: PrivateKey,
  primitives: SignaturePrimitives,
  now: () => number | bigint,
): NoteSigner {
  return key.type === SIGNATURE_TYPE.mldsa44
    ? mldsa44Signer(key, primitives.mldsa44, now)
    : ed25519Signer(key, primitives.ed25519, now);
}

/** The verifier key of a private key's cosignatures: type 0x04 for an Ed25519 key file, 0x06 for an ML-DSA-44 one. */
export function cosignatureVkey(key: PrivateKey): VerifierKey {
  const type = key.type === SIGNATURE_TYPE.mldsa44 ? SIGNATURE_TYPE.mldsa44 : SIGNATURE_TYPE.cosignature;
  return verifierKey(key.name, type, key.publicKey);
}

/** Verifies cosignatures of checkpoints, types 0x04 and 0x06. Throws `bad_vkey` for any other key. */
export function cosignatureVerifier(key: VerifierKey, primitives: SignaturePrimitives): NoteVerifier {
  const { name, keyId, type, publicKey } = key;
  if (type === SIGNATURE_TYPE.mldsa44) {
    const verifier = subtreeVerifier(key, primitives.mldsa44);
    return {
      name,
      keyId,
      verify(text, signature) {
        const subtree = checkpointSubtree(text);
        return subtree !== null && verifier.verify(subtree, signature);
      },
    };
  }
  if (type !== SIGNATURE_TYPE.cosignature) {
    throw new CairnError("bad_vkey", { detail: `${printVkey(key)} is not of type 0x04 or 0x06` });
  }
  checkKeyMaterial(type, publicKey);
  return {
    name,
    keyId,
    verify(text, signature) {
      if (signature.length !== TIMESTAMP_BYTES + ED25519_SIGNATURE_BYTES) return false;
      const time = readUint64(signature, 0);
      if (time > MAX_TIMESTAMP) return false;
      return primitives.ed25519.verify(
        signature.subarray(TIMESTAMP_BYTES),
        ed25519Message(time, text),
        publicKey,
      );
    },
  };
}

/** The verifier of a key of any type that Cairn verifies: plain (0x01) or cosigning (0x04, 0x06). Throws `bad_vkey`. */
export function verifierFor(key: VerifierKey, primitives: SignaturePrimitives): NoteVerifier {
  return key.type === SIGNATURE_TYPE.ed25519
    ? noteVerifier(key, primitives.ed25519)
    : cosignatureVerifier(key, primitives);
}

/**
 * The time of a cosignature (type 0x04 or 0x06, without the key id) in POSIX seconds: a claim until it was verified.
 * Throws `bad_signature` where the bytes are too short or the time is above 2^63 - 1.
 */
export function cosignatureTime(signature: Uint8Array): bigint {
  if (signature.length <= TIMESTAMP_BYTES) {
    throw new CairnError("bad_signature", { detail: "too short for a cosignature" });
  }
  const time = readUint64(signature, 0);
  if (time > MAX_TIMESTAMP) throw new CairnError("bad_signature", { detail: "the time is above 2^63 - 1" });
  return time;
}

/**
 * Cosigns a subtree with an ML-DSA-44 key, without a time, as the witness's sign-subtree does. Throws `bad_private_key`
 * for a key of another type, `bad_checkpoint` for a subtree that cannot be stated.
 */
export function signSubtree(key: PrivateKey, subtree: Subtree, mldsa44: MlDsa44): NoteSignature {
  const cosigner = subtreeCosigner(key, mldsa44);
  return { name: key.name, keyId: key.keyId, signature: cosigner(0n, subtree) };
}

/** Verifies ML-DSA-44 cosignatures of subtrees. Throws `bad_vkey` for a key of another type. */
export function subtreeVerifier(key: VerifierKey, mldsa44: MlDsa44): SubtreeVerifier {
  const { name, keyId, type, publicKey } = key;
  if (type !== SIGNATURE_TYPE.mldsa44) {
    throw new CairnError("bad_vkey", { detail: `${printVkey(key)} is not of type 0x06` });
  }
  checkKeyMaterial(type, publicKey);
  if (encodeUtf8(name).length > MAX_SUBTREE_NAME_BYTES) {
    throw new CairnError("bad_vkey", {
      detail: `an ML-DSA-44 cosigner's name has at most ${MAX_SUBTREE_NAME_BYTES} bytes`,
    });
  }
  return {
    name,
    keyId,
    verify(subtree, signature) {
      if (signature.length !== TIMESTAMP_BYTES + MLDSA44_SIGNATURE_BYTES) return false;
      const message = subtreeMessage(name, readUint64(signature, 0), subtree);
      return message !== null && mldsa44.verify(signature.subarray(TIMESTAMP_BYTES), message, publicKey);
    },
  };
}

/** The bytes that a type 0x04 cosignature signs: two header lines, then the whole text of the checkpoint. */
export function ed25519Message(time: bigint, text: Uint8Array): Uint8Array {
  return concatBytes(encodeUtf8(`cosignature/v1\ntime ${time}\n`), text);
}

/**
 * The bytes that a type 0x06 cosignature signs, or null where the specification allows none: a name or origin that is
 * empty or over 255 bytes, a time above 2^63 - 1 or one beside a start above 0, a range that is no range, a hash of
 * another length.
 */
export function subtreeMessage(cosigner: string, time: bigint, subtree: Subtree): Uint8Array | null {
  const { start, end, hash } = subtree;
  if (time < 0n || time > MAX_TIMESTAMP || (start !== 0n && time !== 0n)) return null;
  if (start < 0n || start > end || end > MAX_TREE_SIZE || hash.length !== HASH_BYTES) return null;
  const name = encodeUtf8(cosigner);
  const origin = encodeUtf8(subtree.origin);
  for (const { length } of [name, origin]) if (length < 1 || length > MAX_SUBTREE_NAME_BYTES) return null;
  return concatBytes(
    encodeUtf8(SUBTREE_LABEL),
    Uint8Array.of(name.length),
    name,
    uint64(time),
    Uint8Array.of(origin.length),
    origin,
    uint64(start),
    uint64(end),
    hash,
  );
}

function ed25519Signer(key: PrivateKey, ed25519: Ed25519, now: () => number | bigint): NoteSigner {
  const vkey = cosignatureVkey(key);
  return {
    name: vkey.name,
    keyId: vkey.keyId,
    vkey: printVkey(vkey),
    sign(text) {
      parseCheckpoint(decodeUtf8(text)); // a cosigner signs nothing else, so that its key has one meaning
      const time = timestamp(now());
      return concatBytes(uint64(time), ed25519.sign(ed25519Message(time, text), key.seed));
    },
  };
}

function mldsa44Signer(key: PrivateKey, mldsa44: MlDsa44, now: () => number | bigint): NoteSigner {
  const cosigner = subtreeCosigner(key, mldsa44);
  return {
    name: key.name,
    keyId: key.keyId,
    vkey: printVkey(cosignatureVkey(key)),
    sign(text) {
      const { origin, size, root } = parseCheckpoint(decodeUtf8(text));
      return cosigner(timestamp(now()), { origin, start: 0n, end: size, hash: root });
    },
  };
}

function subtreeCosigner(key: PrivateKey, mldsa44: MlDsa44): (time: bigint, subtree: Subtree) => Uint8Array {
  if (key.type !== SIGNATURE_TYPE.mldsa44) {
    throw new CairnError("bad_private_key", { detail: "a subtree is cosigned with an ML-DSA-44 key" });
  }
  if (encodeUtf8(key.name).length > MAX_SUBTREE_NAME_BYTES) {
    throw new CairnError("bad_private_key", { detail: `its name has over ${MAX_SUBTREE_NAME_BYTES} bytes` });
  }
  const { secretKey } = mldsa44.keyPair(key.seed);
  return (time, subtree) => {
    const message = subtreeMessage(key.name, time, subtree);
    if (message === null) {
      throw new CairnError("bad_checkpoint", { detail: "an ML-DSA-44 cosignature cannot state this" });
    }
    return concatBytes(uint64(time), mldsa44.sign(message, secretKey));
  };
}

function checkpointSubtree(text: Uint8Array): Subtree | null {
  try {
    const { origin, size, root } = parseCheckpoint(decodeUtf8(text));
    return { origin, start: 0n, end: size, hash: root };
  } catch (error) {
    if (isCairnError(error)) return null;
    throw error;
  }
}

function timestamp(seconds: number | bigint): bigint {
  const time = BigInt(seconds); // throws RangeError for a fraction: the clock was given in the wrong unit
  if (time < 0n || time > MAX_TIMESTAMP) throw new RangeError(`${time} is no POSIX time`);
  return time;
}

function uint64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  writeUint64(bytes, 0, value);
  return bytes;
}
