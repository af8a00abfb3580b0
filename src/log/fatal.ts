// One place that says with which code a process ends when log/ cannot go on.

import { CairnError, isCairnError } from "../core/errors.ts";
import { StateError } from "../state/state.ts";
import { StoreError } from "../storage/store.ts";

/** The coded error to stop with; StateError means an unknown commit, StoreError a store that will never answer. */
export function fatalError(error: unknown): CairnError {
  if (isCairnError(error)) return error;
  if (error instanceof StateError)
    return new CairnError("commit_unknown", { detail: error.message, cause: error });
  if (error instanceof StoreError)
    return new CairnError("store_unavailable", { detail: error.message, cause: error });
  return new CairnError("internal", { cause: error });
}
