// Lines of a byte stream as entries: what stands between line feeds, byte for byte. A carriage return is content, and the
// line feed at the very end is optional, as for `POST /add-batch` with application/x-ndjson.

import { concatBytes } from "../core/bytes.ts";

const LINE_FEED = 0x0a;

/** The lines of `input`, without their line feeds; null for one of more than `maxBytes`, of which nothing is kept. */
export async function* lines(
  input: AsyncIterable<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<Uint8Array | null> {
  let parts: Uint8Array[] = [];
  let length = 0;

  function take(part: Uint8Array): void {
    length += part.length;
    if (length <= maxBytes) parts.push(part);
    else parts = [];
  }

  function finish(): Uint8Array | null {
    const line = length <= maxBytes ? concatBytes(...parts) : null;
    parts = [];
    length = 0;
    return line;
  }

  for await (const chunk of input) {
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(LINE_FEED, start);
      if (end < 0) break;
      take(chunk.subarray(start, end));
      yield finish();
      start = end + 1;
    }
    if (start < chunk.length) take(chunk.subarray(start));
  }
  if (length > 0) yield finish();
}
