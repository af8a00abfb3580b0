import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nodeHasher } from "../../src/cli/node-hasher.ts";
import { fromHex, toHex } from "../../src/core/bytes.ts";
import { asHash, treeHasher } from "../../src/core/hash.ts";
import { nobleHasher } from "../../src/core/noble-hasher.ts";
import { naiveLeaf, naiveNode, naiveSha256 } from "./naive.ts";
import { refusal } from "./refusal.ts";

const hash32 = fc.uint8Array({ minLength: 32, maxLength: 32 });

describe.each([
  ["node:crypto", nodeHasher],
  ["noble", nobleHasher],
])("tree hashing with %s", (_, hasher) => {
  test("the empty tree is SHA-256 of nothing", () => {
    expect(toHex(hasher.empty())).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  });

  test("leaves and nodes of Certificate Transparency's test tree", () => {
    expect(toHex(hasher.leaf(new Uint8Array(0)))).toBe(
      "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    );
    expect(toHex(hasher.leaf(fromHex("00")))).toBe(
      "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    );
    expect(toHex(hasher.node(hasher.leaf(new Uint8Array(0)), hasher.leaf(fromHex("00"))))).toBe(
      "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    );
  });

  test("leaf and node agree with their definition, in any order of calls", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.tuple(hash32, hash32))),
        (calls) => {
          for (const call of calls) {
            if (call instanceof Uint8Array) {
              expect(hasher.leaf(call)).toEqual(naiveLeaf(call));
              expect(hasher.sha256(call)).toEqual(naiveSha256(call));
            } else {
              expect(hasher.node(call[0], call[1])).toEqual(naiveNode(call[0], call[1]));
            }
          }
        },
      ),
    );
  });

  test("entries at and beyond the length of the reused buffer", () => {
    for (const length of [0, 1, 63, 64, 65_534, 65_535, 65_536, 100_000]) {
      const entry = new Uint8Array(length).fill(7);
      expect(hasher.leaf(entry)).toEqual(naiveLeaf(entry));
      // A long entry leaves nothing behind that a shorter one would meet.
      expect(hasher.leaf(Uint8Array.of(1))).toEqual(naiveLeaf(Uint8Array.of(1)));
    }
  });

  test("every answer is a plain array of its own: hashing on changes no earlier answer", () => {
    const first = hasher.node(hasher.empty(), hasher.empty());
    const kept = first.slice();
    const second = hasher.node(first, first);
    expect(second).not.toBe(first);
    expect(first).toEqual(kept);
    for (const hash of [first, hasher.leaf(kept), hasher.empty(), hasher.sha256(kept)]) {
      expect(Object.getPrototypeOf(hash)).toBe(Uint8Array.prototype);
      expect(hash.byteOffset).toBe(0);
      expect(hash.buffer.byteLength).toBe(32);
    }
    first.fill(0);
    expect(hasher.node(hasher.empty(), hasher.empty())).toEqual(kept);
  });

  test("arguments are left as they are", () => {
    const left = hasher.leaf(Uint8Array.of(1));
    const right = hasher.leaf(Uint8Array.of(2));
    const [keptLeft, keptRight] = [left.slice(), right.slice()];
    hasher.node(left, right);
    hasher.leaf(left);
    expect([left, right]).toEqual([keptLeft, keptRight]);
  });

  test.each([0, 31, 33, 64])("a node over a child of %i bytes is refused, on either side", (length) => {
    const wrong = new Uint8Array(length);
    expect(() => hasher.node(wrong, hasher.empty())).toThrow(refusal("bad_hash"));
    expect(() => hasher.node(hasher.empty(), wrong)).toThrow(refusal("bad_hash"));
  });
});

describe("hashes", () => {
  test("asHash takes 32 bytes as they are and refuses every other length", () => {
    const bytes = new Uint8Array(32);
    expect(asHash(bytes)).toBe(bytes);
    for (const length of [0, 1, 31, 33, 64]) {
      expect(() => asHash(new Uint8Array(length))).toThrow(refusal("bad_hash"));
    }
  });

  test("two hashers over one SHA-256 share no buffer", () => {
    const other = treeHasher((data) => {
      // While this one hashes a node, the other is used: as a hasher that calls back might.
      const before = data.slice();
      nodeHasher.node(nodeHasher.empty(), nodeHasher.empty());
      expect(data).toEqual(before);
      return nodeHasher.sha256(data);
    });
    const child = naiveLeaf(Uint8Array.of(1));
    expect(other.node(child, child)).toEqual(naiveNode(child, child));
  });
});
