// Entry bundles of tlog-tiles: entries one after another, each behind its length as a big-endian 16-bit integer.
// The same framing carries batches and the rows of the sequencer, so a bundle is a row's bytes, cut.

import { writeUint16 } from "./bytes.ts";
import { CairnError } from "./errors.ts";

/** The longest entry that the framing can carry. */
export const ENTRY_MAX_BYTES = 65_535;

/** The length prefix of each entry. */
export const ENTRY_FRAME_BYTES = 2;

/** The entries, framed, in order. Throws `entry_too_large` on one over 65,535 bytes. */
export function encodeBundle(entries: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const entry of entries) {
    if (entry.length > ENTRY_MAX_BYTES) throw new CairnError("entry_too_large");
    length += ENTRY_FRAME_BYTES + entry.length;
  }
  const bundle = new Uint8Array(length);
  let offset = 0;
  for (const entry of entries) {
    writeUint16(bundle, offset, entry.length);
    bundle.set(entry, offset + ENTRY_FRAME_BYTES);
    offset += ENTRY_FRAME_BYTES + entry.length;
  }
  return bundle;
}

/**
 * The entries of `bundle`, as views of it. An entry of length 0 is legal here: only Cairn's own admission asks for a
 * byte. Throws `bad_bundle` where the bytes end inside an entry, or hold another number of entries than `expectedCount`.
 */
export function decodeBundle(bundle: Uint8Array, expectedCount?: number): Uint8Array[] {
  const offsets = bundleOffsets(bundle, expectedCount);
  const entries: Uint8Array[] = [];
  for (let i = 0; i + 1 < offsets.length; i++) {
    entries.push(bundle.subarray((offsets[i] as number) + ENTRY_FRAME_BYTES, offsets[i + 1]));
  }
  return entries;
}

/**
 * Where the frames of `bundle` begin: one offset for each entry and a last one for the end, so that entry i is
 * `bundle.subarray(offsets[i] + 2, offsets[i + 1])` and the bundle of the first w entries `bundle.subarray(0, offsets[w])`.
 * Throws like `decodeBundle`.
 */
export function bundleOffsets(bundle: Uint8Array, expectedCount?: number): Uint32Array {
  const offsets: number[] = [0];
  let offset = 0;
  while (offset < bundle.length) {
    // Stops at the first entry too many: the length of the list is never for the sender to choose.
    if (expectedCount !== undefined && offsets.length > expectedCount)
      throw wrongCount(expectedCount, "more");
    if (bundle.length - offset < ENTRY_FRAME_BYTES) throw torn(offset);
    const length = ((bundle[offset] as number) << 8) | (bundle[offset + 1] as number);
    const next = offset + ENTRY_FRAME_BYTES + length;
    if (next > bundle.length) throw torn(offset);
    offsets.push(next);
    offset = next;
  }
  if (expectedCount !== undefined && offsets.length - 1 !== expectedCount)
    throw wrongCount(expectedCount, "fewer");
  return Uint32Array.from(offsets);
}

function torn(offset: number): CairnError {
  return new CairnError("bad_bundle", { detail: `it ends inside the entry at byte ${offset}` });
}

function wrongCount(expectedCount: number, than: "more" | "fewer"): CairnError {
  return new CairnError("bad_bundle", { detail: `${than} than ${expectedCount} entries` });
}
