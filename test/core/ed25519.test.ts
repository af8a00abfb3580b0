import { readFileSync } from "node:fs";
import { getPublicKey } from "@noble/ed25519";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createNodeEd25519, nodeEd25519 } from "../../src/cli/node-ed25519.ts";
import { fromHex, toHex } from "../../src/core/bytes.ts";
import {
  checkPublicKey,
  type Ed25519,
  hasCanonicalScalar,
  isAcceptablePublicKey,
  nobleEd25519,
} from "../../src/core/ed25519.ts";
import { type Ed25519Case, ed25519Cases, printCases } from "../vectors/ed25519-edge.generate.ts";
import { codeOf, seed } from "./signed-log.ts";

const file = readFileSync(new URL("../vectors/ed25519-edge.json", import.meta.url), "utf8");
const cases = JSON.parse(file) as Ed25519Case[];

const implementations: readonly (readonly [string, Ed25519])[] = [
  ["noble", nobleEd25519],
  ["node", nodeEd25519],
];

test("the vector file is what its generator makes, OpenSSL's own answers included", () => {
  expect(file).toBe(printCases(ed25519Cases()));
  expect(cases.length).toBeGreaterThan(80);
});

test("OpenSSL alone differs from the rule in nothing but keys that the rule refuses", () => {
  const differing = cases.filter(
    ({ valid, opensslAlone }) => opensslAlone !== null && opensslAlone !== valid,
  );
  expect(differing.length).toBeGreaterThan(0);
  expect(differing.filter(({ acceptableKey }) => acceptableKey)).toEqual([]);
});

describe.each(implementations)("%s", (_, ed25519) => {
  test.each(cases)("answers as the vector says: $name", ({ publicKey, message, signature, valid }) => {
    expect(ed25519.verify(fromHex(signature), fromHex(message), fromHex(publicKey))).toBe(valid);
    // Again, when whatever an implementation remembers of a key is in place.
    expect(ed25519.verify(fromHex(signature), fromHex(message), fromHex(publicKey))).toBe(valid);
  });

  test("a seed of another length is refused", () => {
    for (const length of [0, 31, 33, 64]) {
      expect(codeOf(() => ed25519.publicKey(new Uint8Array(length)))).toBe("bad_private_key");
      expect(codeOf(() => ed25519.sign(new Uint8Array(3), new Uint8Array(length)))).toBe("bad_private_key");
    }
  });

  test("any bytes at all are false, never an exception", () => {
    const key = ed25519.publicKey(seed(1));
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 70 }),
        fc.uint8Array({ maxLength: 40 }),
        fc.oneof(fc.constant(key), fc.uint8Array({ maxLength: 40 })),
        (signature, message, publicKey) => !ed25519.verify(signature, message, publicKey),
      ),
      { numRuns: 200 },
    );
  });

  test("views into a larger buffer read as their own bytes, two keys in one buffer too", () => {
    const framed = new Uint8Array(300).fill(0xee);
    const message = framed.subarray(3, 50);
    framed.set(seed(5), 60);
    const signature = ed25519.sign(message, framed.subarray(60, 92));
    framed.set(signature, 100);
    framed.set(ed25519.publicKey(seed(5)), 165);
    framed.set(ed25519.publicKey(seed(6)), 197);
    expect(signature).toEqual(nobleEd25519.sign(Uint8Array.from(message), seed(5)));
    expect(ed25519.verify(framed.subarray(100, 164), message, framed.subarray(165, 197))).toBe(true);
    expect(ed25519.verify(framed.subarray(100, 164), message, framed.subarray(197, 229))).toBe(false);
  });
});

test("both make the same keys and signatures, and accept each other's", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.uint8Array({ maxLength: 300 }),
      (s, message) => {
        const publicKey = nodeEd25519.publicKey(s);
        const signature = nodeEd25519.sign(message, s);
        expect(toHex(publicKey)).toBe(toHex(nobleEd25519.publicKey(s)));
        expect(toHex(signature)).toBe(toHex(nobleEd25519.sign(message, s)));
        expect(nobleEd25519.verify(signature, message, publicKey)).toBe(true);
        expect(nodeEd25519.verify(signature, message, publicKey)).toBe(true);
      },
    ),
    { numRuns: 20 },
  );
});

test("the node implementation answers rightly beyond its caches, for keys it has forgotten too", () => {
  const ed25519 = createNodeEd25519();
  const message = new Uint8Array(9);
  const seeds = Array.from({ length: 40 }, (_, i) => seed(100 + i));
  const signed = seeds.map((s) => ({ key: ed25519.publicKey(s), signature: ed25519.sign(message, s) }));
  for (let i = 0; i < 1100; i++) {
    const key = Uint8Array.from(signed[0]?.key as Uint8Array);
    key[0] = i & 0xff; // most are no points at all: they take a place in the cache like any other
    key[1] = i >> 8;
    ed25519.verify(signed[0]?.signature as Uint8Array, message, key);
  }
  for (const [i, { key, signature }] of signed.entries()) {
    expect(ed25519.verify(signature, message, key)).toBe(true);
    expect(ed25519.verify(signature, new Uint8Array(8), key)).toBe(false);
    expect(toHex(ed25519.sign(message, seeds[i] as Uint8Array))).toBe(toHex(signature));
  }
});

test("a key is judged when it is configured: canonical, on the curve, not of small order", () => {
  for (const { name, publicKey, acceptableKey } of cases) {
    const key = fromHex(publicKey);
    expect(isAcceptablePublicKey(key), name).toBe(acceptableKey);
    expect(
      codeOf(() => checkPublicKey(key)),
      name,
    ).toBe(acceptableKey ? "nothing" : "bad_vkey");
  }
  expect(codeOf(() => checkPublicKey(getPublicKey(seed(3))))).toBe("nothing");
});

test("S is canonical below the group order and not at it", () => {
  const order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
  const below = "ecd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
  expect(hasCanonicalScalar(fromHex("00".repeat(32) + order))).toBe(false);
  expect(hasCanonicalScalar(fromHex("00".repeat(32) + below))).toBe(true);
  expect(hasCanonicalScalar(fromHex("00".repeat(63)))).toBe(false);
  expect(hasCanonicalScalar(fromHex("00".repeat(65)))).toBe(false);
});
