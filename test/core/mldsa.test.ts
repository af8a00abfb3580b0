import { expect, test } from "vitest";
import {
  MLDSA44_PUBLIC_KEY_BYTES,
  MLDSA44_SIGNATURE_BYTES,
  nobleMlDsa44 as mldsa44,
} from "../../src/core/mldsa.ts";
import { codeOf, seed } from "./signed-log.ts";

const message = new TextEncoder().encode("a message");
const { publicKey, secretKey } = mldsa44.keyPair(seed(1));
const signature = mldsa44.sign(message, secretKey);

test("keys and signatures have the lengths of FIPS 204", () => {
  expect(publicKey).toHaveLength(MLDSA44_PUBLIC_KEY_BYTES);
  expect(secretKey).toHaveLength(2560);
  expect(signature).toHaveLength(MLDSA44_SIGNATURE_BYTES);
});

test("the same message signed twice is the same signature, and it verifies", () => {
  expect(mldsa44.sign(message, mldsa44.keyPair(seed(1)).secretKey)).toEqual(signature);
  expect(mldsa44.verify(signature, message, publicKey)).toBe(true);
});

test("another message, another key or a flipped bit is false", () => {
  expect(mldsa44.verify(signature, message.subarray(1), publicKey)).toBe(false);
  expect(mldsa44.verify(signature, message, mldsa44.keyPair(seed(2)).publicKey)).toBe(false);
  for (const position of [0, 31, 32, 1000, 2335, 2336, 2419]) {
    const copy = Uint8Array.from(signature);
    copy[position] = (copy[position] as number) ^ 0x40;
    expect(mldsa44.verify(copy, message, publicKey), `byte ${position}`).toBe(false);
  }
  expect(mldsa44.verify(new Uint8Array(2420).fill(0xff), message, publicKey)).toBe(false);
  expect(mldsa44.verify(signature, message, new Uint8Array(1312).fill(0xff))).toBe(false);
});

test("wrong lengths are false, never an exception", () => {
  for (const length of [0, 2419, 2421]) {
    expect(mldsa44.verify(new Uint8Array(length), message, publicKey)).toBe(false);
  }
  for (const length of [0, 32, 1311, 1313]) {
    expect(mldsa44.verify(signature, message, new Uint8Array(length))).toBe(false);
  }
});

test("a seed of another length is refused", () => {
  expect(codeOf(() => mldsa44.keyPair(new Uint8Array(31)))).toBe("bad_private_key");
});
