// Proofs as commands receive and keep them: checked before they are called proofs, and never put in the place of another
// file.

import { equalBytes } from "../core/bytes.ts";
import { parseCheckpoint } from "../core/checkpoint.ts";
import { CairnError, isCairnError } from "../core/errors.ts";
import { verifyInclusion } from "../core/merkle.ts";
import type { CheckpointTrust } from "../core/policy.ts";
import { parseTlogProof, verifyTlogProof } from "../core/tlog-proof.ts";
import { readSmallFile, writeNewFile } from "./files.ts";
import { nodeHasher } from "./node-hasher.ts";

/** By convention of c2sp.org/tlog-proof. */
export const PROOF_EXTENSION = ".tlog-proof";

export interface ProofFacts {
  readonly origin: string;
  readonly index: number;
  readonly size: number;
}

/** What a proof says of itself. Throws `bad_proof`. */
export function readProof(proof: Uint8Array): ProofFacts {
  const { index, checkpoint } = parseTlogProof(proof);
  const { origin, size } = parseCheckpoint(checkpoint.text);
  return { origin, index: Number(index), size: Number(size) };
}

/**
 * Checks that a proof leads from an entry to the root of its checkpoint and, where somebody is trusted, that they signed
 * that. Throws like `verifyTlogProof`.
 */
export function checkProof(proof: Uint8Array, entry: Uint8Array, trust: CheckpointTrust | null): ProofFacts {
  const parsed = parseTlogProof(proof);
  const leafHash = nodeHasher.leaf(entry);
  if (trust !== null) {
    verifyTlogProof(parsed, leafHash, trust, nodeHasher);
  } else {
    const { size, root } = parseCheckpoint(parsed.checkpoint.text);
    if (!verifyInclusion({ leafHash, index: parsed.index, size, proof: parsed.path, root }, nodeHasher)) {
      throw new CairnError("inclusion_failed", { detail: `index ${parsed.index}, size ${size}` });
    }
  }
  return readProof(proof);
}

/**
 * Writes a proof to a new file. Where a proof of the same entry by the same log stands there already, that one stays, so
 * that a run which was interrupted can be repeated. Throws `file_exists` for anything else, `file_unwritable`.
 */
export async function saveProof(
  path: string,
  proof: Uint8Array,
  entry: Uint8Array,
  trust: CheckpointTrust | null,
): Promise<void> {
  try {
    await writeNewFile(path, proof);
  } catch (error) {
    if (!isCairnError(error, "file_exists")) throw error;
    const existing = await readSmallFile(path);
    if (equalBytes(existing, proof)) return;
    try {
      const facts = checkProof(existing, entry, trust);
      if (facts.origin === readProof(proof).origin) return;
    } catch {
      // Not a proof of this entry: somebody's file, which stays as it is.
    }
    throw error;
  }
}
