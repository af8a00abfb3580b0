// What stands in the way of a path: a file where a folder should be, or the other way round. The system says so with a bare
// errno, wherever the first look happens to be; who reads it needs a sentence and the code of a refusal.

import { CairnError, isCairnError } from "../core/errors.ts";

const SENTENCES: Readonly<Record<string, string>> = {
  ENOTDIR: "a file stands where a folder should be",
  EISDIR: "a folder stands where a file should be",
};

/** `file_unreadable` where `error`, or what caused it, is the system's word for something misplaced; else null. */
export function misplaced(error: unknown): CairnError | null {
  if (isCairnError(error)) return null;
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code, path } = cause as NodeJS.ErrnoException;
    const sentence = code === undefined ? undefined : SENTENCES[code];
    if (sentence === undefined) continue;
    // A store has said it in these words itself, with the place that it is at.
    const own = `${sentence}${path === undefined ? "" : `, on the way to ${path}`}; move it away`;
    const detail = error instanceof Error && error !== cause ? error.message : own;
    return new CairnError("file_unreadable", { detail, cause: error });
  }
  return null;
}
