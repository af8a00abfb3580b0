// A small signed and cosigned log for tests: fixed keys, seven entries, a policy that asks for two of three witnesses, and
// proofs in it. Everything is a function of constants, so a failing test fails the same way again.
import fc from "fast-check";
import { cosignatureSigner, cosignatureVkey, noblePrimitives } from "../../src/core/cosignature.ts";
import { concatBytes, encodeUtf8 } from "../../src/core/bytes.ts";
import { printCheckpoint } from "../../src/core/checkpoint.ts";
import { type CairnError, type ErrorCode, isCairnError } from "../../src/core/errors.ts";
import type { Hash } from "../../src/core/hash.ts";
import { inclusionRanges, perfectRoot } from "../../src/core/merkle.ts";
import { nobleHasher } from "../../src/core/noble-hasher.ts";
import { type Note, type NoteSigner, signNote } from "../../src/core/note.ts";
import { generatePrivateKey, noteSigner, type PrivateKey, privateKeyVkey } from "../../src/core/note-key.ts";
import { type Policy, policyFromQuorum, trustPolicy } from "../../src/core/policy.ts";
import type { TlogProof } from "../../src/core/tlog-proof.ts";
import { SIGNATURE_TYPE } from "../../src/core/vkey.ts";

export const ORIGIN = "log.example/cairn";
/** When the witnesses cosigned, in POSIX seconds: each a minute after the one before. */
export const COSIGNED_AT = [1_700_000_000, 1_700_000_060, 1_700_000_120] as const;

export function seed(fill: number): Uint8Array {
  return new Uint8Array(32).fill(fill);
}

export const logKey: PrivateKey = generatePrivateKey(ORIGIN, seed(1));
export const logMldsaKey: PrivateKey = generatePrivateKey(ORIGIN, seed(2), SIGNATURE_TYPE.mldsa44);
export const witnessKeys: readonly PrivateKey[] = [
  generatePrivateKey("witness.example/a", seed(11)),
  generatePrivateKey("witness.example/b", seed(12)),
  generatePrivateKey("witness.example/c", seed(13), SIGNATURE_TYPE.mldsa44),
];
export const strangerKey: PrivateKey = generatePrivateKey("stranger.example", seed(99));

export const logSigner: NoteSigner = noteSigner(logKey, noblePrimitives.ed25519);
export const witnessSigners: readonly NoteSigner[] = witnessKeys.map((key, i) =>
  cosignatureSigner(key, noblePrimitives, () => COSIGNED_AT[i] as number),
);
export const strangerSigner: NoteSigner = noteSigner(strangerKey, noblePrimitives.ed25519);

export const policy: Policy = policyFromQuorum(
  ["a", "b", "c"].map((name, i) => ({ name, key: cosignatureVkey(witnessKeys[i] as PrivateKey) })),
  2,
  [{ key: privateKeyVkey(logKey) }],
);
export const trust = trustPolicy(policy);

export const entries: readonly Uint8Array[] = [
  "ene",
  "mene",
  "miste",
  "es",
  "rappelt",
  "in der",
  "Kiste",
].map(encodeUtf8);
const leafHashes = entries.map((entry) => nobleHasher.leaf(entry));

export function leafHash(index: number): Hash {
  return leafHashes[index] as Hash;
}

function rootOf(start: number, end: number): Hash {
  return perfectRoot(concatBytes(...leafHashes.slice(start, end)), nobleHasher);
}

export function checkpointText(size = entries.length, origin = ORIGIN): string {
  const root = size === 0 ? nobleHasher.empty() : rootOf(0, size);
  return printCheckpoint({ origin, size: BigInt(size), root, extensions: [] });
}

/** The checkpoint over all entries, signed by the log and every witness unless other signers are named. */
export function checkpointNote(signers: readonly NoteSigner[] = [logSigner, ...witnessSigners]): Note {
  return signNote(checkpointText(), signers);
}

export function proofOf(index: number, checkpoint: Note = checkpointNote()): TlogProof {
  const path = inclusionRanges(index, entries.length).map(({ start, end }) => rootOf(start, end));
  return { extra: null, index: BigInt(index), path, checkpoint };
}

/** The code of what `action` throws; "nothing" if it returns, and anything but a CairnError is thrown on. */
export function codeOf(action: () => unknown): ErrorCode | "nothing" {
  return errorOf(action)?.code ?? "nothing";
}

export function errorOf(action: () => unknown): CairnError | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (!isCairnError(error)) throw error;
    return error;
  }
}

/** Every copy of `bytes` with one bit of one byte flipped, and with one byte dropped, doubled or made a newline. */
export function* damaged(bytes: Uint8Array): Generator<Uint8Array> {
  for (let i = 0; i < bytes.length; i++) {
    for (const bit of [0x01, 0x20, 0x80]) {
      const copy = Uint8Array.from(bytes);
      copy[i] = (copy[i] as number) ^ bit;
      yield copy;
    }
    yield Uint8Array.from([...bytes.subarray(0, i), ...bytes.subarray(i + 1)]);
    yield Uint8Array.from([...bytes.subarray(0, i + 1), ...bytes.subarray(i)]);
    if (bytes[i] !== 0x0a) yield Uint8Array.from(bytes, (byte, at) => (at === i ? 0x0a : byte));
  }
}

/** Every copy of `text` with one line dropped, doubled, or swapped with the next one. */
export function* damagedLines(text: string): Generator<string> {
  const lines = text.split("\n").slice(0, -1);
  for (let i = 0; i < lines.length; i++) {
    yield join(lines.toSpliced(i, 1));
    yield join(lines.toSpliced(i, 0, lines[i] as string));
    if (i + 1 < lines.length) yield join(lines.toSpliced(i, 2, lines[i + 1] as string, lines[i] as string));
  }
}

function join(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join("");
}

/** Names that signed-note allows, of any script. */
export const anyKeyName: fc.Arbitrary<string> = fc
  .string({ unit: "grapheme", minLength: 1 })
  .filter((name) => !/[+\p{White_Space}\p{Cc}]/u.test(name));
