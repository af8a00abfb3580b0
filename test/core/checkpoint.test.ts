import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeBase64 } from "../../src/core/base64.ts";
import { type Checkpoint, parseCheckpoint, printCheckpoint, toSafeSize } from "../../src/core/checkpoint.ts";
import { isCairnError } from "../../src/core/errors.ts";
import { asHash } from "../../src/core/hash.ts";
import { MAX_TREE_SIZE } from "../../src/core/merkle.ts";
import { codeOf } from "./signed-log.ts";

const EXAMPLE = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
const ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";

test("the specification's example is read and written", () => {
  const checkpoint = parseCheckpoint(EXAMPLE);
  expect(checkpoint).toMatchObject({
    origin: "example.com/behind-the-sofa",
    size: 20852163n,
    extensions: [],
  });
  expect(encodeBase64(checkpoint.root)).toBe(ROOT);
  expect(printCheckpoint(checkpoint)).toBe(EXAMPLE);
});

test("extension lines are kept, and an origin may hold what a key name may not", () => {
  const text = `an origin + more\n0\n${ROOT}\nfirst extension\n \nünicode\n`;
  expect(parseCheckpoint(text).extensions).toEqual(["first extension", " ", "ünicode"]);
  expect(printCheckpoint(parseCheckpoint(text))).toBe(text);
});

test("sizes reach to 2^63 - 1 and no further", () => {
  for (const size of [0n, 1n, 2n ** 53n - 1n, 2n ** 53n + 1n, MAX_TREE_SIZE]) {
    const text = `o\n${size}\n${ROOT}\n`;
    expect(parseCheckpoint(text).size).toBe(size);
    expect(printCheckpoint(parseCheckpoint(text))).toBe(text);
  }
  for (const size of [
    "9223372036854775808",
    "18446744073709551615",
    "10000000000000000000",
    "9".repeat(400),
  ]) {
    expect(codeOf(() => parseCheckpoint(`o\n${size}\n${ROOT}\n`))).toBe("bad_checkpoint");
  }
});

test.each([
  ["nothing", ""],
  ["a newline", "\n"],
  ["two lines", `o\n1\n`],
  ["no newline at the end", `o\n1\n${ROOT}`],
  ["an empty origin", `\n1\n${ROOT}\n`],
  ["an empty extension line", `o\n1\n${ROOT}\n\n`],
  ["an empty extension line before another", `o\n1\n${ROOT}\n\nx\n`],
  ["an empty size", `o\n\n${ROOT}\n`],
  ["a leading zero", `o\n01\n${ROOT}\n`],
  ["a sign", `o\n+1\n${ROOT}\n`],
  ["a negative size", `o\n-1\n${ROOT}\n`],
  ["a fraction", `o\n1.0\n${ROOT}\n`],
  ["an exponent", `o\n1e3\n${ROOT}\n`],
  ["a hexadecimal size", `o\n0x10\n${ROOT}\n`],
  ["a space after the size", `o\n1 \n${ROOT}\n`],
  ["digits that are not ASCII", `o\n\u0661\n${ROOT}\n`],
  ["an empty root", `o\n1\n\n`],
  ["a root of 31 bytes", `o\n1\n${encodeBase64(new Uint8Array(31))}\n`],
  ["a root of 33 bytes", `o\n1\n${encodeBase64(new Uint8Array(33))}\n`],
  ["a root without padding", `o\n1\n${ROOT.slice(0, -1)}\n`],
  ["a root with bits in its padding", `o\n1\n${ROOT.slice(0, -2)}J=\n`],
  ["a root of the url alphabet", `o\n1\n${ROOT.replace("/", "_")}\n`],
  ["a root in hexadecimal", `o\n1\n${"00".repeat(32)}\n`],
  ["carriage returns", `o\r\n1\r\n${ROOT}\r\n`],
  ["a control character in the origin", `o\u0000\n1\n${ROOT}\n`],
  ["a lone surrogate in an extension line", `o\n1\n${ROOT}\n\ud800\n`],
])("refuses %s", (_, text) => {
  expect(codeOf(() => parseCheckpoint(text))).toBe("bad_checkpoint");
});

test("what could not be read back is not written", () => {
  const good: Checkpoint = { origin: "o", size: 1n, root: asHash(new Uint8Array(32)), extensions: [] };
  for (const bad of [
    { ...good, origin: "" },
    { ...good, origin: "two\nlines" },
    { ...good, size: -1n },
    { ...good, size: MAX_TREE_SIZE + 1n },
    { ...good, root: new Uint8Array(31) as Checkpoint["root"] },
    { ...good, extensions: [""] },
    { ...good, extensions: ["a\nb"] },
    { ...good, extensions: ["a\tb"] },
  ]) {
    expect(codeOf(() => printCheckpoint(bad))).toBe("bad_checkpoint");
  }
});

test("a size beyond 2^53 - 1 does not become a number", () => {
  expect(toSafeSize(0n)).toBe(0);
  expect(toSafeSize(BigInt(Number.MAX_SAFE_INTEGER))).toBe(Number.MAX_SAFE_INTEGER);
  for (const size of [2n ** 53n, MAX_TREE_SIZE, -1n])
    expect(codeOf(() => toSafeSize(size))).toBe("unsafe_integer");
});

test("any text either reads as a checkpoint that prints back to it or is refused as bad_checkpoint", () => {
  const line = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.constantFrom(ROOT, "0", "1", "9223372036854775807", "", "origin"),
    fc.nat().map(String),
  );
  fc.assert(
    fc.property(fc.array(line, { maxLength: 6 }), fc.boolean(), (lines, ended) => {
      const text = lines.join("\n") + (ended ? "\n" : "");
      try {
        return printCheckpoint(parseCheckpoint(text)) === text;
      } catch (error) {
        return isCairnError(error, "bad_checkpoint");
      }
    }),
    { numRuns: 1000 },
  );
});
