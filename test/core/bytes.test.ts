import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  compareBytes,
  concatBytes,
  decodeUtf8,
  encodeUtf8,
  equalBytes,
  fromHex,
  readUint16,
  readUint32,
  readUint64,
  toHex,
  writeUint16,
  writeUint32,
  writeUint64,
} from "../../src/core/bytes.ts";
import { refusal } from "./refusal.ts";

const bytes = fc.uint8Array({ maxLength: 80 });

describe("joining and comparing", () => {
  test("concatBytes joins all parts in order into an array of its own", () => {
    const part = Uint8Array.of(1, 2);
    const joined = concatBytes(part, new Uint8Array(0), Uint8Array.of(3));
    expect(joined).toEqual(Uint8Array.of(1, 2, 3));
    part[0] = 9;
    expect(joined[0]).toBe(1);
    expect(concatBytes()).toEqual(new Uint8Array(0));
    expect(concatBytes(part)).not.toBe(part);
  });

  test("equalBytes sees a difference in every position and in length", () => {
    const a = Uint8Array.from({ length: 40 }, (_, i) => i);
    expect(equalBytes(a, a.slice())).toBe(true);
    for (let i = 0; i < a.length; i++) {
      const b = a.slice();
      b[i] = (b[i] as number) ^ 0x80;
      expect(equalBytes(a, b)).toBe(false);
    }
    expect(equalBytes(a, a.subarray(0, 39))).toBe(false);
    expect(equalBytes(a.subarray(0, 39), a)).toBe(false);
  });

  test("compareBytes orders like unsigned bytes, a prefix first", () => {
    expect(compareBytes(Uint8Array.of(0x7f), Uint8Array.of(0x80))).toBeLessThan(0);
    expect(compareBytes(Uint8Array.of(1), Uint8Array.of(1, 0))).toBeLessThan(0);
    fc.assert(
      fc.property(bytes, bytes, (a, b) => {
        expect(Math.sign(compareBytes(a, b))).toBe(Math.sign(Buffer.compare(a, b)));
      }),
    );
  });
});

describe("UTF-8", () => {
  test("round trips every text, a byte order mark and NUL included", () => {
    for (const text of ["", "\uFEFFmark", "a\u0000b", "größe", "𝄞", "\uFFFD"]) {
      expect(decodeUtf8(encodeUtf8(text))).toBe(text);
    }
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => decodeUtf8(encodeUtf8(text)) === text));
  });

  test.each([
    ["a lone continuation byte", [0x80]],
    ["an overlong NUL", [0xc0, 0x80]],
    ["an encoded surrogate", [0xed, 0xa0, 0x80]],
    ["a code point above U+10FFFF", [0xf4, 0x90, 0x80, 0x80]],
    ["a torn sequence", [0x61, 0xe2, 0x82]],
    ["0xff", [0xff]],
  ])("refuses %s, and decodes the next text as if nothing had been", (_, invalid) => {
    expect(() => decodeUtf8(Uint8Array.from(invalid))).toThrow(refusal("bad_utf8"));
    expect(decodeUtf8(Uint8Array.of(0x62))).toBe("b");
  });

  test("refuses to encode a lone surrogate instead of writing U+FFFD", () => {
    expect(() => encodeUtf8("a\ud800")).toThrow(refusal("bad_utf8"));
    expect(() => encodeUtf8("\udc00b")).toThrow(refusal("bad_utf8"));
    expect(encodeUtf8("\ud834\udd1e")).toEqual(Uint8Array.of(0xf0, 0x9d, 0x84, 0x9e));
  });

  test("decoding anything gives its text or bad_utf8", () => {
    fc.assert(
      fc.property(bytes, (input) => {
        let text: string;
        try {
          text = decodeUtf8(input);
        } catch (error) {
          expect(error).toEqual(refusal("bad_utf8"));
          return;
        }
        expect(encodeUtf8(text)).toEqual(input);
      }),
    );
  });
});

describe("hexadecimal", () => {
  test("round trips in lowercase", () => {
    expect(toHex(Uint8Array.of(0, 0x0f, 0xa0, 0xff))).toBe("000fa0ff");
    fc.assert(
      fc.property(bytes, (input) => {
        expect(toHex(input)).toBe(Buffer.from(input).toString("hex"));
        expect(fromHex(toHex(input))).toEqual(input);
      }),
    );
  });

  test.each(["0", "0A", "0g", " 00", "00\n", "0x00", "é0", "/0", ":0", "`0", "\u0130\u0131"])(
    "refuses %j",
    (text) => {
      expect(() => fromHex(text)).toThrow(refusal("bad_hex"));
    },
  );
});

describe("big-endian integers", () => {
  test("read what DataView wrote and write what it reads, at every width and offset", () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 2n ** 64n - 1n), fc.nat(5), (value, offset) => {
        const ours = new Uint8Array(16);
        const theirs = new Uint8Array(16);
        const view = new DataView(theirs.buffer);

        view.setBigUint64(offset, value);
        writeUint64(ours, offset, value);
        expect(ours).toEqual(theirs);
        expect(readUint64(theirs, offset)).toBe(value);

        const word = Number(value & 0xffff_ffffn);
        view.setUint32(offset, word);
        writeUint32(ours, offset, word);
        expect(ours).toEqual(theirs);
        expect(readUint32(theirs, offset)).toBe(word);

        view.setUint16(offset, word & 0xffff);
        writeUint16(ours, offset, word & 0xffff);
        expect(ours).toEqual(theirs);
        expect(readUint16(theirs, offset)).toBe(word & 0xffff);
      }),
    );
  });

  test("never read or write beyond the end, nor write a value that does not fit", () => {
    const seven = new Uint8Array(7);
    expect(() => readUint64(seven, 0)).toThrow(RangeError);
    expect(() => readUint32(seven, 4)).toThrow(RangeError);
    expect(() => readUint16(seven, 6)).toThrow(RangeError);
    expect(() => readUint16(seven, -1)).toThrow(RangeError);
    expect(() => readUint16(seven, Number.NaN)).toThrow(RangeError);
    expect(() => writeUint16(seven, 6, 0)).toThrow(RangeError);
    expect(() => writeUint16(seven, 0, 0x1_0000)).toThrow(RangeError);
    expect(() => writeUint16(seven, 0, -1)).toThrow(RangeError);
    expect(() => writeUint16(seven, 0, 0.5)).toThrow(RangeError);
    expect(() => writeUint32(seven, 0, 2 ** 32)).toThrow(RangeError);
    expect(() => writeUint64(new Uint8Array(8), 0, 2n ** 64n)).toThrow(RangeError);
    expect(() => writeUint64(new Uint8Array(8), 0, -1n)).toThrow(RangeError);
    expect(seven).toEqual(new Uint8Array(7));
  });
});
