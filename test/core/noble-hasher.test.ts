import { describe, expect, test } from "vitest";
import { nodeHasher } from "../../src/cli/node-hasher.ts";
import { perfectRoot } from "../../src/core/merkle.ts";
import { nobleHasher } from "../../src/core/noble-hasher.ts";

// The definition itself is tested for both hashers in hash.test.ts.
describe("nobleHasher", () => {
  test("a browser and a server reach the same hashes at every length of an entry up to two SHA-256 blocks", () => {
    for (let length = 0; length <= 130; length++) {
      const entry = new Uint8Array(length).fill(length);
      expect(nobleHasher.leaf(entry)).toEqual(nodeHasher.leaf(entry));
    }
  });

  test("a browser and a server reach the same root of a tile", () => {
    const tile = Uint8Array.from({ length: 8192 }, (_, i) => i * 7);
    expect(perfectRoot(tile, nobleHasher)).toEqual(perfectRoot(tile, nodeHasher));
  });
});
