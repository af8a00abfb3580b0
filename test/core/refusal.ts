// What a test expects to be thrown: a CairnError of one code. For `expect(...).toThrow` and `.rejects.toThrow`.

import { expect } from "vitest";
import type { ErrorCode } from "../../src/core/errors.ts";

export function refusal(code: ErrorCode): Error {
  return expect.objectContaining({ name: "CairnError", code });
}
