import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeBase64 } from "../../src/core/base64.ts";
import { nobleEd25519 } from "../../src/core/ed25519.ts";
import { isCairnError } from "../../src/core/errors.ts";
import {
  computeKeyId,
  isValidKeyName,
  parseVkey,
  printVkey,
  SIGNATURE_TYPE,
  verifierKey,
} from "../../src/core/vkey.ts";
import { codeOf, logMldsaKey, seed } from "./signed-log.ts";

const EXAMPLE = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const publicKey = nobleEd25519.publicKey(seed(1));

test("the key of the specification's example is read and written", () => {
  const key = parseVkey(EXAMPLE);
  expect(key).toMatchObject({ name: "example.com/foo", keyId: 0x530d903a, type: 0x01 });
  expect(key.publicKey).toHaveLength(32);
  expect(printVkey(key)).toBe(EXAMPLE);
  expect(verifierKey(key.name, key.type, key.publicKey)).toEqual(key);
});

test("one public key has another id under each type and name", () => {
  const ids = [SIGNATURE_TYPE.ed25519, SIGNATURE_TYPE.cosignature].flatMap((type) =>
    ["a.example", "b.example"].map((name) => verifierKey(name, type, publicKey).keyId),
  );
  expect(new Set(ids).size).toBe(4);
});

test("keys of every verifiable type round-trip, a name with a plus-free Unicode text too", () => {
  for (const key of [
    verifierKey("log.example", SIGNATURE_TYPE.ed25519, publicKey),
    verifierKey("zeuge.example/ärger", SIGNATURE_TYPE.cosignature, publicKey),
    verifierKey("pq.example", SIGNATURE_TYPE.mldsa44, logMldsaKey.publicKey),
  ]) {
    expect(parseVkey(printVkey(key))).toEqual(key);
  }
});

test("a type that cannot be verified here is carried as it is, with whatever id it has", () => {
  const text = `ecdsa.example+0badcafe+${encodeBase64(Uint8Array.of(2, 1, 2, 3))}`;
  expect(parseVkey(text)).toEqual({
    name: "ecdsa.example",
    keyId: 0x0badcafe,
    type: 2,
    publicKey: Uint8Array.of(1, 2, 3),
  });
  expect(printVkey(parseVkey(text))).toBe(text);
});

test.each([
  ["empty", ""],
  ["a name alone", "example.com/foo"],
  ["two parts", "example.com/foo+530d903a"],
  ["an empty name", EXAMPLE.slice("example.com/foo".length)],
  ["a space in the name", EXAMPLE.replace("/foo", "/f o")],
  ["a no-break space in the name", EXAMPLE.replace("/foo", "/f\u00a0o")],
  ["a next-line character in the name", EXAMPLE.replace("/foo", "/f\u0085o")],
  ["a control character in the name", EXAMPLE.replace("/foo", "/f\u0001o")],
  ["an id in capitals", EXAMPLE.replace("530d903a", "530D903A")],
  ["an id of seven digits", EXAMPLE.replace("530d903a", "530d903")],
  ["an id of nine digits", EXAMPLE.replace("530d903a", "0530d903a")],
  ["another id", EXAMPLE.replace("530d903a", "530d903b")],
  ["another name", EXAMPLE.replace("foo", "fop")],
  ["no key", "example.com/foo+530d903a+"],
  ["a type without a key", `example.com/foo+530d903a+${encodeBase64(Uint8Array.of(1))}`],
  ["a key cut short", EXAMPLE.slice(0, -4)],
  ["missing padding", "example.com/foo+530d903a+AQ"],
  ["a space at the end", `${EXAMPLE} `],
  ["a newline at the end", `${EXAMPLE}\n`],
])("refuses %s", (_, text) => {
  expect(codeOf(() => parseVkey(text))).toBe("bad_vkey");
});

test("a small-order key is refused where it is configured, whatever its id", () => {
  const identity = Uint8Array.from([1, ...new Uint8Array(31)]);
  for (const type of [SIGNATURE_TYPE.ed25519, SIGNATURE_TYPE.cosignature]) {
    const typed = Uint8Array.from([type, ...identity]);
    const id = computeKeyId("x.example", typed).toString(16).padStart(8, "0");
    expect(codeOf(() => parseVkey(`x.example+${id}+${encodeBase64(typed)}`))).toBe("bad_vkey");
    expect(codeOf(() => verifierKey("x.example", type, identity))).toBe("bad_vkey");
  }
});

test("an ML-DSA-44 key of another length and a type that cannot be verified make no verifier key", () => {
  expect(codeOf(() => verifierKey("x.example", SIGNATURE_TYPE.mldsa44, publicKey))).toBe("bad_vkey");
  expect(codeOf(() => verifierKey("x.example", 0x02, publicKey))).toBe("bad_vkey");
  expect(codeOf(() => verifierKey("x y", SIGNATURE_TYPE.ed25519, publicKey))).toBe("bad_vkey");
});

test("names: no Unicode space, no plus, nothing that a note cannot contain", () => {
  for (const name of ["a", "example.com/log", "ü", "\u{1f600}", "\ufeffa", "a\u200bb", "a\u007f", "—"]) {
    expect(isValidKeyName(name), JSON.stringify(name)).toBe(true);
  }
  const spaces = " \t\n\v\f\r\u0085\u00a0\u1680\u2000\u2001\u2006\u200a\u2028\u2029\u202f\u205f\u3000";
  for (const character of `${spaces}+\u0000\u001f\ud800\udfff`.split("")) {
    for (const name of [character, `a${character}`, `${character}a`, `a${character}b`]) {
      expect(isValidKeyName(name), JSON.stringify(name)).toBe(false);
    }
  }
  expect(isValidKeyName("")).toBe(false);
});

test("any text either reads as a key that prints back to it or is refused as bad_vkey", () => {
  const part = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.constantFrom("a.example", "530d903a", "AekyeRrm", "+"),
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
      const text = parts.join("+");
      try {
        return printVkey(parseVkey(text)) === text;
      } catch (error) {
        return isCairnError(error, "bad_vkey");
      }
    }),
  );
});
