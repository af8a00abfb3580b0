// What a log refuses by an entry's content, before it is sequenced.

import { encodeUtf8 } from "../core/bytes.ts";
import { CairnError } from "../core/errors.ts";

const ROOT_HEX_DIGITS = 64;
const NEWLINE = 0x0a;

/**
 * Refuses the reserved shape of index anchors, which only the log itself may write: 64 lowercase hex digits, a newline,
 * the log's origin, a newline.
 */
export function refuseReservedShape(origin: string): (entry: Uint8Array) => CairnError | null {
  const line = encodeUtf8(`${origin}\n`);
  return (entry) => {
    // The cheapest test first: next to no entry has a newline at that place.
    if (entry[ROOT_HEX_DIGITS] !== NEWLINE) return null;
    for (let i = 0; i < ROOT_HEX_DIGITS; i++) if (!isHexDigit(entry[i] as number)) return null;
    for (let i = 0; i < line.length; i++) if (entry[ROOT_HEX_DIGITS + 1 + i] !== line[i]) return null;
    return new CairnError("reserved_shape");
  };
}

function isHexDigit(byte: number): boolean {
  return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x61 && byte <= 0x66);
}
