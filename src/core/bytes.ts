// Plain byte handling on Uint8Array: joining, comparing, UTF-8, hexadecimal, big-endian integers.
// Everything is strict: what does not decode exactly is refused with a code, never repaired.

import { CairnError } from "./errors.ts";

// The byte order mark is content: a note or an entry that begins with one must come back with it.
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const utf8 = new TextEncoder();

const LONE_SURROGATE = /\p{Surrogate}/u;

const HEX_PAIRS: readonly string[] = Array.from({ length: 256 }, (_, byte) =>
  byte.toString(16).padStart(2, "0"),
);

/** A new array with the bytes of all parts in order. */
export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const joined = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

/** True where both hold the same bytes. Not constant-time: for public bytes only. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    if (a[i] !== b[i]) return false;
  }
  return true;
}

/** Lexicographic order of unsigned bytes, a prefix first: negative, 0 or positive, as `Array.prototype.sort` wants. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const difference = (a[i] as number) - (b[i] as number);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** The UTF-8 bytes of `text`. Throws `bad_utf8` on a lone surrogate, which has none. */
export function encodeUtf8(text: string): Uint8Array {
  // TextEncoder would write U+FFFD for it, so that two different texts had the same bytes.
  if (LONE_SURROGATE.test(text))
    throw new CairnError("bad_utf8", { detail: "the text has a lone surrogate" });
  return utf8.encode(text);
}

/** The text of UTF-8 `bytes`, a leading byte order mark kept. Throws `bad_utf8` on anything that is not UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return strictUtf8.decode(bytes);
  } catch (cause) {
    throw new CairnError("bad_utf8", { cause });
  }
}

/** Lowercase hexadecimal, two digits a byte. */
export function toHex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += HEX_PAIRS[byte] as string;
  return text;
}

/** The bytes of lowercase hexadecimal `text`. Throws `bad_hex` on uppercase, odd length or any other character. */
export function fromHex(text: string): Uint8Array {
  if (text.length % 2 !== 0) throw new CairnError("bad_hex", { detail: "an odd number of digits" });
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = (hexDigit(text.charCodeAt(2 * i)) << 4) | hexDigit(text.charCodeAt(2 * i + 1));
  }
  return bytes;
}

function hexDigit(charCode: number): number {
  if (charCode >= 0x30 && charCode <= 0x39) return charCode - 0x30;
  if (charCode >= 0x61 && charCode <= 0x66) return charCode - 0x61 + 10;
  throw new CairnError("bad_hex");
}

/** The big-endian 16-bit integer at `offset`. Throws RangeError beyond the end, which the caller has to rule out. */
export function readUint16(bytes: Uint8Array, offset: number): number {
  checkRoom(bytes, offset, 2);
  return ((bytes[offset] as number) << 8) | (bytes[offset + 1] as number);
}

/** The big-endian 32-bit integer at `offset`, unsigned. Throws RangeError beyond the end. */
export function readUint32(bytes: Uint8Array, offset: number): number {
  checkRoom(bytes, offset, 4);
  return readUint16(bytes, offset) * 0x1_0000 + readUint16(bytes, offset + 2);
}

/** The big-endian 64-bit integer at `offset`, unsigned. Throws RangeError beyond the end. */
export function readUint64(bytes: Uint8Array, offset: number): bigint {
  checkRoom(bytes, offset, 8);
  return (BigInt(readUint32(bytes, offset)) << 32n) | BigInt(readUint32(bytes, offset + 4));
}

/** Writes `value` (0 to 2^16-1) big-endian at `offset`. Throws RangeError where it or its place does not fit. */
export function writeUint16(bytes: Uint8Array, offset: number, value: number): void {
  checkRoom(bytes, offset, 2);
  checkRange(value, 0xffff);
  bytes[offset] = value >>> 8;
  bytes[offset + 1] = value & 0xff;
}

/** Writes `value` (0 to 2^32-1) big-endian at `offset`. Throws RangeError where it or its place does not fit. */
export function writeUint32(bytes: Uint8Array, offset: number, value: number): void {
  checkRoom(bytes, offset, 4);
  checkRange(value, 0xffff_ffff);
  writeUint16(bytes, offset, Math.floor(value / 0x1_0000));
  writeUint16(bytes, offset + 2, value % 0x1_0000);
}

/** Writes `value` (0 to 2^64-1) big-endian at `offset`. Throws RangeError where it or its place does not fit. */
export function writeUint64(bytes: Uint8Array, offset: number, value: bigint): void {
  checkRoom(bytes, offset, 8);
  if (value < 0n || value >= 1n << 64n) throw new RangeError(`${value} does not fit 64 bits`);
  writeUint32(bytes, offset, Number(value >> 32n));
  writeUint32(bytes, offset + 4, Number(value & 0xffff_ffffn));
}

function checkRoom(bytes: Uint8Array, offset: number, length: number): void {
  if (!(Number.isInteger(offset) && offset >= 0 && offset + length <= bytes.length)) {
    throw new RangeError(`offset ${offset} + ${length} lies beyond ${bytes.length} bytes`);
  }
}

function checkRange(value: number, maximum: number): void {
  if (!(Number.isInteger(value) && value >= 0 && value <= maximum)) {
    throw new RangeError(`${value} is not an integer between 0 and ${maximum}`);
  }
}
