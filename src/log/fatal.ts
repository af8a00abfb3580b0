// One place that says with which code a process ends when log/ cannot go on.

import { CairnError, type ErrorCode, isCairnError } from "../core/errors.ts";
import { StateError } from "../state/state.ts";
import { StoreError } from "../storage/store.ts";

/**
 * The coded error to stop with: StateError means an unknown commit, unless it is sure that nothing was applied for want of
 * room or because another process holds the database; StoreError means a store that will never answer.
 */
export function fatalError(error: unknown): CairnError {
  if (isCairnError(error)) return error;
  if (error instanceof StateError)
    return new CairnError(stateCode(error), { detail: error.message, cause: error });
  if (error instanceof StoreError)
    return new CairnError("store_unavailable", { detail: error.message, cause: error });
  return new CairnError("internal", { cause: error });
}

/** The same of a start, whose other errors say themselves what they are. */
export function codedError(error: unknown): unknown {
  return error instanceof StateError || error instanceof StoreError ? fatalError(error) : error;
}

function stateCode({ outcome, noSpace, busy }: StateError): ErrorCode {
  if (outcome === "not_applied" && noSpace) return "storage_low";
  if (outcome === "not_applied" && busy) return "database_locked";
  return "commit_unknown";
}
