// What a witness decides, as functions of values: whether a checkpoint may be cosigned, given the keys that are trusted for
// its origin and the newest checkpoint that was cosigned. The order is that of C2SP tlog-witness, so that every request
// with several faults gets one answer: 404, 403, 400, 409, 422.

import { equalBytes } from "../../core/bytes.ts";
import { isCairnError } from "../../core/errors.ts";
import type { Hash, TreeHasher } from "../../core/hash.ts";
import { verifyConsistency } from "../../core/merkle.ts";
import { checkSignatures, type NoteSignature, type NoteVerifier } from "../../core/note.ts";
import { Refusal } from "./refusal.ts";
import type { AddCheckpointRequest, SignedCheckpoint, SignSubtreeRequest } from "./request.ts";
import { verifySubtreeConsistency } from "./subtree.ts";

/** The newest checkpoint that was cosigned for an origin. */
export interface Cosigned {
  readonly size: bigint;
  readonly root: Hash;
}

/**
 * The signature lines by trusted keys, all of them verified. Refuses with 404 where no key is trusted for the origin, with
 * 403 where none signed or a line by one does not verify.
 */
export function verifySignatures(
  { note, checkpoint }: SignedCheckpoint,
  trusted: readonly NoteVerifier[] | null,
): readonly NoteSignature[] | Refusal {
  if (trusted === null) return new Refusal(404, "this witness does not know the log of that origin");
  try {
    const { verified } = checkSignatures(note, trusted);
    if (verified.length > 0) return verified;
  } catch (error) {
    if (!isCairnError(error, "bad_signature")) throw error;
    return new Refusal(403, "a signature by a key that is trusted for the log does not verify");
  }
  return new Refusal(403, `no key that is trusted for ${checkpoint.origin} signed the checkpoint`);
}

/** Null where a verified checkpoint extends what was cosigned before (null: nothing was), else 400, 409 or 422. */
export function judgeGrowth(
  { oldSize, proof, checkpoint }: AddCheckpointRequest,
  cosigned: Cosigned | null,
  hasher: TreeHasher,
): Refusal | null {
  const { size, root } = checkpoint;
  if (oldSize > size) return new Refusal(400, "the old size is above the checkpoint's");
  const cosignedSize = cosigned?.size ?? 0n;
  if (oldSize !== cosignedSize) return new Refusal(409, String(cosignedSize));
  if (size === 0n && !equalBytes(root, hasher.empty())) {
    return new Refusal(422, "the root of an empty tree is the hash of nothing");
  }
  if (oldSize === 0n && proof.length > 0) return new Refusal(422, "from size 0 the proof is empty");
  const root1 = cosigned === null || oldSize === 0n ? hasher.empty() : cosigned.root;
  if (verifyConsistency({ size1: oldSize, root1, size2: size, root2: root, proof }, hasher)) return null;
  if (oldSize < size) return new Refusal(422, "the consistency proof does not verify");
  return new Refusal(
    422,
    proof.length > 0 ? "between equal sizes the proof is empty" : "another root was cosigned at this size",
  );
}

/** Null where the subtree is part of the checkpoint's tree, else 422. */
export function judgeSubtree(request: SignSubtreeRequest, hasher: TreeHasher): Refusal | null {
  const { start, end, hash, proof, checkpoint } = request;
  const { size, root } = checkpoint;
  return verifySubtreeConsistency({ start, end, hash, size, root, proof }, hasher)
    ? null
    : new Refusal(422, "the subtree consistency proof does not verify");
}
