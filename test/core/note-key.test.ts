import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeBase64 } from "../../src/core/base64.ts";
import { encodeUtf8 } from "../../src/core/bytes.ts";
import { nobleEd25519 } from "../../src/core/ed25519.ts";
import {
  generatePrivateKey,
  noteSigner,
  noteVerifier,
  parsePrivateKey,
  printPrivateKey,
  privateKeyVkey,
} from "../../src/core/note-key.ts";
import { parseVkey, printVkey, SIGNATURE_TYPE } from "../../src/core/vkey.ts";
import { anyKeyName, codeOf, errorOf, logKey, logMldsaKey, seed } from "./signed-log.ts";

const go = JSON.parse(readFileSync(new URL("../vectors/go-notes.json", import.meta.url), "utf8"));

test("keys are written exactly as Go's GenerateKey writes them", () => {
  const key = generatePrivateKey("go.example/log", seed(9));
  expect(printPrivateKey(key)).toBe(go.logPrivateKey);
  expect(printVkey(privateKeyVkey(key))).toBe(go.logVkey);
  expect(noteSigner(key, nobleEd25519).vkey).toBe(go.logVkey);
  expect(parsePrivateKey(go.logPrivateKey)).toEqual(key);
});

test("the key in Go's documentation is read", () => {
  const key = parsePrivateKey(
    "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz",
  );
  expect(printVkey(privateKeyVkey(key))).toBe(
    "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
  );
});

test("ML-DSA-44 keys are written as transparency-dev's GenerateMLDSAKey writes them", () => {
  const key = parsePrivateKey(go.mldsaPrivateKey);
  expect(key.type).toBe(SIGNATURE_TYPE.mldsa44);
  expect(printVkey(privateKeyVkey(key))).toBe(go.mldsaVkey);
  expect(printPrivateKey(key)).toBe(go.mldsaPrivateKey);
  expect(generatePrivateKey(key.name, key.seed, SIGNATURE_TYPE.mldsa44)).toEqual(key);
});

test("any name and seed round-trip", () => {
  fc.assert(
    fc.property(anyKeyName, fc.uint8Array({ minLength: 32, maxLength: 32 }), (anyName, anySeed) => {
      const key = generatePrivateKey(anyName, anySeed);
      expect(parsePrivateKey(printPrivateKey(key))).toEqual(key);
      expect(parseVkey(printVkey(privateKeyVkey(key)))).toEqual(privateKeyVkey(key));
    }),
    { numRuns: 20 },
  );
});

const good: string = go.logPrivateKey;
const id = "d9bebb21";

test.each([
  ["nothing", ""],
  ["a vkey", printVkey(privateKeyVkey(logKey))],
  ["another beginning", good.replace("PRIVATE+KEY", "PUBLIC+KEY")],
  ["a missing part", good.replace(`+${id}`, "")],
  [
    "another id",
    good.replace(
      id,
      id.replace(/^./, (digit) => (digit === "0" ? "1" : "0")),
    ),
  ],
  ["an id in capitals", good.replace(id, id.toUpperCase()).replace("+ABCD", "+abcd")],
  ["another name", good.replace("/log", "/log2")],
  ["a name with a space", good.replace("/log", "/l og")],
  ["a seed cut short", good.slice(0, -4)],
  ["missing padding", good.slice(0, -1)],
  ["a newline at the end", `${good}\n`],
  ["a seed of 31 bytes", `PRIVATE+KEY+x+00000000+${encodeBase64(new Uint8Array(32).fill(1))}`],
  ["an unknown type", `PRIVATE+KEY+x+00000000+${encodeBase64(new Uint8Array(33).fill(2))}`],
  ["an ML-DSA-44 seed under an Ed25519 id", printPrivateKey(logMldsaKey).replace("+Bg", "+AQ")],
])("refuses %s", (_, text) => {
  expect(codeOf(() => parsePrivateKey(text))).toBe("bad_private_key");
});

test("a refusal never shows any of the key", () => {
  const secret = good.slice(good.lastIndexOf("+") + 1);
  for (const text of [
    good.slice(0, -1),
    `${good}\n`,
    good.replace("/log", "/log2"),
    good.replace("KEY", "KEYS"),
  ]) {
    const error = errorOf(() => parsePrivateKey(text));
    expect(error).toBeDefined();
    for (let thrown: unknown = error; thrown instanceof Error; thrown = thrown.cause) {
      expect(`${thrown.message} ${thrown.stack}`).not.toContain(secret.slice(4, 16));
    }
  }
});

test("a name that cannot stand in a note, or a seed of another length, makes no key", () => {
  for (const name of ["", "a b", "a+b", "a\nb", "a\u2003b"]) {
    expect(codeOf(() => generatePrivateKey(name, seed(1)))).toBe("bad_private_key");
  }
  expect(codeOf(() => generatePrivateKey("x", new Uint8Array(31)))).toBe("bad_private_key");
  expect(codeOf(() => generatePrivateKey("x", new Uint8Array(64), SIGNATURE_TYPE.mldsa44))).toBe(
    "bad_private_key",
  );
});

test("a key keeps its own copy of the seed", () => {
  const bytes = seed(1);
  const key = generatePrivateKey("x", bytes);
  bytes.fill(0);
  expect(key.seed).toEqual(seed(1));
});

test("a plain signer and verifier take Ed25519 note keys only", () => {
  const text = encodeUtf8("text\n");
  const signer = noteSigner(logKey, nobleEd25519);
  const verifier = noteVerifier(privateKeyVkey(logKey), nobleEd25519);
  expect([verifier.name, verifier.keyId]).toEqual([signer.name, signer.keyId]);
  expect(verifier.verify(text, signer.sign(text))).toBe(true);
  expect(verifier.verify(text, signer.sign(text).subarray(1))).toBe(false);
  expect(codeOf(() => noteSigner(logMldsaKey, nobleEd25519))).toBe("bad_private_key");
  expect(codeOf(() => noteVerifier(privateKeyVkey(logMldsaKey), nobleEd25519))).toBe("bad_vkey");
  const smallOrder = { ...privateKeyVkey(logKey), publicKey: new Uint8Array(32) };
  expect(codeOf(() => noteVerifier(smallOrder, nobleEd25519))).toBe("bad_vkey");
});
