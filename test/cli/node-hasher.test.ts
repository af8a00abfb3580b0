import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { nodeHasher } from "../../src/cli/node-hasher.ts";

// The tree hashing over it is tested, together with noble's, in test/core/hash.test.ts.
describe("nodeHasher", () => {
  test("carries every byte value of a digest, at every position", () => {
    const seen = Array.from({ length: 32 }, () => new Set<number>());
    for (let i = 0; i < 4000; i++) {
      const input = Buffer.from(String(i));
      const hash = nodeHasher.sha256(input);
      expect(Buffer.compare(hash, createHash("sha256").update(input).digest())).toBe(0);
      hash.forEach((byte, position) => seen[position]?.add(byte));
    }
    expect(seen.map((values) => values.size)).toEqual(Array.from({ length: 32 }, () => 256));
  });
});
