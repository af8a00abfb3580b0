// Offline proofs that an entry is logged: an index, an inclusion proof and the cosigned checkpoint that it leads to. What
// parses prints back byte for byte. Nothing of a proof is believed before `verifyTlogProof` returns, and the extra data not
// even then. C2SP tlog-proof.
import { decodeBase64, encodeBase64 } from "./base64.ts";
import { concatBytes, decodeUtf8, encodeUtf8 } from "./bytes.ts";
import { parseCheckpoint, parseDecimal } from "./checkpoint.ts";
import { CairnError } from "./errors.ts";
import { asHash, HASH_BYTES, type Hash, type TreeHasher } from "./hash.ts";
import { verifyInclusion } from "./merkle.ts";
import { NOTE_MAX_BYTES, type Note, parseNote, printNote } from "./note.ts";
import {
  type CheckpointTrust,
  type CosignatureTime,
  verifyCheckpoint,
  type VerifyCheckpointOptions,
} from "./policy.ts";

/** The most hashes of an inclusion proof: a path in a tree of at most 2^63 - 1 leaves. */
export const MAX_PROOF_HASHES = 63;
/** The most bytes of a proof: a note of the largest size, and as much again for extra data. */
export const TLOG_PROOF_MAX_BYTES = 2 * NOTE_MAX_BYTES;

export interface TlogProof {
  /** Application data that nobody signed; null where there is none, never empty. */
  readonly extra: Uint8Array | null;
  /** Zero-based, at most 2^63 - 2; bigint where it was parsed. */
  readonly index: number | bigint;
  /** From the leaf's sibling up to the root's child. */
  readonly path: readonly Hash[];
  readonly checkpoint: Note;
}

export interface ParsedTlogProof extends TlogProof {
  readonly index: bigint;
}

export interface VerifiedTlogProof {
  readonly index: bigint;
  /** Of the checkpoint that the entry was proven in. */
  readonly size: bigint;
  readonly root: Hash;
  /** The policy's witnesses that cosigned it, each with the newest of its times. */
  readonly cosignatures: readonly CosignatureTime[];
}

const HEADER = "c2sp.org/tlog-proof@v1";
const EXTRA = "extra ";
const INDEX = "index ";
const NEWLINE = 0x0a;

/** Reads a proof. Throws `bad_proof` for whatever tlog-proof does not allow, its checkpoint included. */
export function parseTlogProof(bytes: Uint8Array): ParsedTlogProof {
  if (bytes.length > TLOG_PROOF_MAX_BYTES) throw malformed(`over ${TLOG_PROOF_MAX_BYTES} bytes`);
  // No line before the checkpoint is empty, so the first empty one ends them; what follows is somebody else's signed bytes.
  const split = firstEmptyLine(bytes);
  if (split < 0) throw malformed("no empty line before the checkpoint");
  const lines = headerLines(bytes.subarray(0, split));
  if (lines.shift() !== HEADER) throw malformed(`it does not begin with ${HEADER}`);
  let extra: Uint8Array | null = null;
  if (lines[0]?.startsWith(EXTRA)) {
    extra = strictBase64((lines.shift() as string).slice(EXTRA.length), "the extra data");
    if (extra.length === 0) throw malformed("an extra line without data");
  }
  const indexLine = lines.shift();
  const index = indexLine?.startsWith(INDEX) ? parseDecimal(indexLine.slice(INDEX.length)) : null;
  if (index === null) throw malformed("no index line, or its index is not a decimal without leading zeros");
  if (lines.length > MAX_PROOF_HASHES) throw malformed(`over ${MAX_PROOF_HASHES} hashes`);
  const path = lines.map((line) => {
    const hash = strictBase64(line, "a hash");
    if (hash.length !== HASH_BYTES) throw malformed("a hash is not 32 bytes");
    return asHash(hash);
  });
  try {
    const checkpoint = parseNote(bytes.subarray(split + 2));
    parseCheckpoint(checkpoint.text);
    return { extra, index, path, checkpoint };
  } catch (cause) {
    if (!(cause instanceof CairnError)) throw cause;
    throw new CairnError("bad_proof", { detail: cause.message, cause });
  }
}

/** Writes a proof. Throws `bad_proof` for empty extra data, a negative index or too many hashes. */
export function printTlogProof(proof: TlogProof): Uint8Array {
  const { extra, index, path, checkpoint } = proof;
  if (parseDecimal(String(index)) === null) throw malformed(`${index} is no index`);
  if (path.length > MAX_PROOF_HASHES) throw malformed(`over ${MAX_PROOF_HASHES} hashes`);
  if (extra !== null && extra.length === 0) throw malformed("empty extra data is left out");
  const lines = [HEADER];
  if (extra !== null) lines.push(`${EXTRA}${encodeBase64(extra)}`);
  lines.push(`${INDEX}${index}`, ...path.map(encodeBase64), "");
  return concatBytes(encodeUtf8(lines.map((line) => `${line}\n`).join("")), printNote(checkpoint));
}

/**
 * Verifies that the entry whose leaf hash is given (`hasher.leaf(entry)`) stands in a log that is trusted. Throws, in this
 * order: what `verifyCheckpoint` throws, then `inclusion_failed` where the path does not lead from this leaf to the root.
 */
export function verifyTlogProof(
  proof: TlogProof,
  leafHash: Uint8Array,
  trust: CheckpointTrust,
  hasher: TreeHasher,
  options: VerifyCheckpointOptions = {},
): VerifiedTlogProof {
  const { checkpoint, cosignatures } = verifyCheckpoint(proof.checkpoint, trust, options);
  const { size, root } = checkpoint;
  const { index } = proof;
  if (!verifyInclusion({ leafHash, index, size, proof: proof.path, root }, hasher)) {
    throw new CairnError("inclusion_failed", { detail: `index ${index}, size ${size}` });
  }
  return { index: BigInt(index), size, root, cosignatures };
}

function firstEmptyLine(bytes: Uint8Array): number {
  let newline = bytes.indexOf(NEWLINE);
  while (newline >= 0 && bytes[newline + 1] !== NEWLINE) newline = bytes.indexOf(NEWLINE, newline + 1);
  return newline;
}

function headerLines(bytes: Uint8Array): string[] {
  try {
    return decodeUtf8(bytes).split("\n");
  } catch (cause) {
    throw new CairnError("bad_proof", { detail: "not valid UTF-8", cause });
  }
}

function strictBase64(text: string, what: string): Uint8Array {
  try {
    return decodeBase64(text);
  } catch (cause) {
    throw new CairnError("bad_proof", { detail: `${what} is not canonical base64`, cause });
  }
}

function malformed(detail: string): CairnError {
  return new CairnError("bad_proof", { detail });
}
