// What test/core/ed25519.test.ts cannot see from outside: how often keys are parsed, and that they are forgotten.
import { createPrivateKey, createPublicKey } from "node:crypto";
import { beforeEach, expect, test, vi } from "vitest";
import { createNodeEd25519 } from "../../src/cli/node-ed25519.ts";

vi.mock("node:crypto", async (original) => {
  const crypto = await original<typeof import("node:crypto")>();
  return {
    ...crypto,
    createPublicKey: vi.fn(crypto.createPublicKey),
    createPrivateKey: vi.fn(crypto.createPrivateKey),
  };
});

const MAX_PUBLIC_KEYS = 1024;
const MAX_PRIVATE_KEYS = 16;

const message = new Uint8Array(10);
const seed = new Uint8Array(32).fill(1);
const publicKey = createNodeEd25519().publicKey(seed);
const signature = createNodeEd25519().sign(message, seed);

beforeEach(() => {
  vi.mocked(createPublicKey).mockClear();
  vi.mocked(createPrivateKey).mockClear();
});

/** 32 bytes, others each time; some are keys and some are refused, and either takes a place. */
function otherKey(i: number): Uint8Array {
  const bytes = new Uint8Array(32).fill(0xff);
  new DataView(bytes.buffer).setUint32(0, i);
  return bytes;
}

function timesParsed(key: Uint8Array): number {
  return vi.mocked(createPublicKey).mock.calls.filter(([input]) =>
    Buffer.from((input as { key: Uint8Array }).key)
      .subarray(-32)
      .equals(key),
  ).length;
}

test("a public key is parsed once while it is in use, and again once 1,024 others came after it", () => {
  const ed25519 = createNodeEd25519();
  for (let i = 0; i < 3; i++) expect(ed25519.verify(signature, message, publicKey)).toBe(true);
  for (let i = 1; i < MAX_PUBLIC_KEYS; i++) ed25519.verify(signature, message, otherKey(i));
  expect(ed25519.verify(signature, message, publicKey)).toBe(true);
  expect(timesParsed(publicKey)).toBe(1);
  ed25519.verify(signature, message, otherKey(MAX_PUBLIC_KEYS));
  expect(ed25519.verify(signature, message, publicKey)).toBe(true);
  expect(timesParsed(publicKey)).toBe(2);
});

test("a seed is parsed once while it is in use, and again once 16 others came after it", () => {
  const ed25519 = createNodeEd25519();
  for (let i = 0; i < 3; i++) expect(ed25519.sign(message, seed)).toEqual(signature);
  expect(createPrivateKey).toHaveBeenCalledTimes(1);
  for (let i = 0; i < MAX_PRIVATE_KEYS; i++) ed25519.sign(message, new Uint8Array(32).fill(100 + i));
  expect(createPrivateKey).toHaveBeenCalledTimes(1 + MAX_PRIVATE_KEYS);
  expect(ed25519.sign(message, seed)).toEqual(signature);
  expect(createPrivateKey).toHaveBeenCalledTimes(2 + MAX_PRIVATE_KEYS);
});

test("a seed that its owner wiped is not signed with any more", () => {
  const ed25519 = createNodeEd25519();
  const own = Uint8Array.from(seed);
  ed25519.sign(message, own);
  own.fill(9);
  expect(ed25519.sign(message, own)).not.toEqual(signature);
});
