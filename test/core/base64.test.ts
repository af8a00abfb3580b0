import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeBase64, encodeBase64 } from "../../src/core/base64.ts";
import { refusal } from "./refusal.ts";

describe("base64", () => {
  test("gives the vectors of RFC 4648, section 10", () => {
    const vectors = {
      "": "",
      f: "Zg==",
      fo: "Zm8=",
      foo: "Zm9v",
      foob: "Zm9vYg==",
      fooba: "Zm9vYmE=",
      foobar: "Zm9vYmFy",
    };
    for (const [text, encoded] of Object.entries(vectors)) {
      expect(encodeBase64(new TextEncoder().encode(text))).toBe(encoded);
      expect(new TextDecoder().decode(decodeBase64(encoded))).toBe(text);
    }
  });

  test("round trips all bytes in the standard alphabet", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const text = encodeBase64(bytes);
        expect(text).toBe(Buffer.from(bytes).toString("base64"));
        expect(decodeBase64(text)).toEqual(bytes);
      }),
    );
  });

  test.each([
    ["padding bits that are not zero, one byte", "Zh=="],
    ["padding bits that are not zero, two bytes", "Zm9="],
    ["missing padding, one byte", "Zg"],
    ["missing padding, two bytes", "Zm8"],
    ["half of the padding", "Zg="],
    ["surplus padding", "Zm9v===="],
    ["padding alone", "===="],
    ["one character of four", "Z==="],
    ["padding in the middle", "Zg==Zm9v"],
    ["a character alone", "Z"],
    ["the url alphabet, minus", "-m9v"],
    ["the url alphabet, underscore", "_m9v"],
    ["a leading space", " Zm9v"],
    ["an inner space", "Zm 9v"],
    ["four characters with a space among them", "Zm v"],
    ["a trailing newline", "Zm9v\n"],
    ["an inner newline", "Zm9v\nYmFy"],
    ["a carriage return", "Zm9v\r\n"],
    ["a tab", "Zm9v\t"],
    ["a non-breaking space", "Zm9v\u00a0"],
    ["a NUL", "Zm9\0"],
    ["a letter outside ASCII", "Zm9\u0442"],
    ["a fullwidth letter", "Zm9\uff36"],
  ])("refuses %s", (_, text) => {
    expect(() => decodeBase64(text)).toThrow(refusal("bad_base64"));
  });

  test("every text that decodes is the text of its bytes, every other is bad_base64", () => {
    const nearly = fc.string({ unit: fc.constantFrom(..."ABZaz059+/=-_ \n".split("")), maxLength: 12 });
    fc.assert(
      fc.property(fc.oneof(nearly, fc.string({ maxLength: 12 })), (text) => {
        let bytes: Uint8Array;
        try {
          bytes = decodeBase64(text);
        } catch (error) {
          expect(error).toEqual(refusal("bad_base64"));
          return;
        }
        expect(encodeBase64(bytes)).toBe(text);
      }),
      { numRuns: 2000 },
    );
  });
});
