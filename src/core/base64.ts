// Base64 as C2SP uses it everywhere: RFC 4648 section 4, standard alphabet, padded, canonical.
// One byte string has exactly one text, so nothing signed or compared as text can be written twice.

import { base64 } from "@scure/base";
import { CairnError } from "./errors.ts";

/** Padded standard base64 of `bytes`. */
export function encodeBase64(bytes: Uint8Array): string {
  return base64.encode(bytes);
}

/**
 * The bytes of padded standard base64 `text`. Throws `bad_base64` on missing or surplus padding, non-zero padding bits,
 * the url alphabet, spaces and line ends.
 */
export function decodeBase64(text: string): Uint8Array {
  try {
    return base64.decode(text);
  } catch (cause) {
    throw new CairnError("bad_base64", { cause });
  }
}
