// A log's head against the one remembered from last time: it may grow and must not shrink or rewrite. This is what makes a
// signed head worth something without witnesses, for one reader at least.

import { equalBytes } from "../core/bytes.ts";
import { CairnError } from "../core/errors.ts";
import type { TreeHasher } from "../core/hash.ts";
import { verifyConsistency } from "../core/merkle.ts";
import type { HttpLog, TrustedHead } from "./http-log.ts";
import type { TreeHead } from "./verified-tree.ts";

export interface CheckedHead {
  readonly head: TrustedHead;
  /** `first`: nothing was remembered, so the log was taken at its word. */
  readonly relation: "first" | "same" | "extends";
}

/**
 * Fetches the log's head and checks that it extends `remembered` (null: nothing is remembered yet). Throws `head_smaller`
 * for a smaller head, `inconsistent` for one that does not extend it, and whatever `HttpLog.head` and the reading of tiles
 * throw. `head` in both is the one that was refused; it is passed to `refused` as evidence before the error is thrown.
 */
export async function checkHead(
  log: HttpLog,
  remembered: TreeHead | null,
  hasher: TreeHasher,
  refused: (head: TrustedHead) => void = () => {},
): Promise<CheckedHead> {
  const head = await log.head();
  if (head.size === 0 && !equalBytes(head.root, hasher.empty())) {
    refused(head);
    throw new CairnError("bad_checkpoint", { detail: "size 0 with a root that is not the empty tree's" });
  }
  if (remembered === null) return { head, relation: "first" };
  if (head.size < remembered.size) {
    refused(head);
    throw new CairnError("head_smaller", { detail: `${head.size} after ${remembered.size}` });
  }
  const proof = await log.tree(head).consistencyProof(remembered.size);
  const claim = { size1: remembered.size, root1: remembered.root, size2: head.size, root2: head.root, proof };
  if (!verifyConsistency(claim, hasher)) {
    refused(head);
    throw new CairnError("inconsistent", { detail: `sizes ${remembered.size} and ${head.size}` });
  }
  return { head, relation: head.size === remembered.size ? "same" : "extends" };
}
