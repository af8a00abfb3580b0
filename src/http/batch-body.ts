// The two forms of a batch's body, taken apart into views of it: length framing as in entry bundles (tlog-tiles), and
// lines. An entry that is empty or too long is still an entry here; the log gives it an error of its own.

import { CairnError } from "../core/errors.ts";
import { BATCH_MAX_ENTRIES } from "./limits.ts";

export type BatchForm = "framed" | "lines";

/** The form that a Content-Type names; parameters do not matter. Throws `unsupported_type` on any other or none. */
export function batchForm(contentType: string | undefined): BatchForm {
  const type = contentType?.split(";", 1)[0]?.trim().toLowerCase();
  if (type === "application/octet-stream") return "framed";
  if (type === "application/x-ndjson") return "lines";
  throw new CairnError("unsupported_type");
}

/** The entries of a batch: throws `bad_framing` on a torn or empty body, `batch_too_large` on the 10,001st entry. */
export function batchEntries(body: Uint8Array, form: BatchForm): Uint8Array[] {
  if (body.length === 0) throw new CairnError("bad_framing", { detail: "the body is empty" });
  return form === "framed" ? framedEntries(body) : lines(body);
}

function framedEntries(body: Uint8Array): Uint8Array[] {
  const entries: Uint8Array[] = [];
  for (let offset = 0; offset < body.length; ) {
    const high = body[offset];
    const low = body[offset + 1];
    if (high === undefined || low === undefined) throw torn(offset);
    const start = offset + 2;
    offset = start + ((high << 8) | low);
    if (offset > body.length) throw torn(start - 2);
    addTo(entries, body.subarray(start, offset));
  }
  return entries;
}

function lines(body: Uint8Array): Uint8Array[] {
  const entries: Uint8Array[] = [];
  for (let start = 0; start < body.length; ) {
    const lineFeed = body.indexOf(LINE_FEED, start);
    const end = lineFeed === -1 ? body.length : lineFeed;
    addTo(entries, body.subarray(start, end));
    start = end + 1;
  }
  return entries;
}

const LINE_FEED = 0x0a;

function addTo(entries: Uint8Array[], entry: Uint8Array): void {
  if (entries.length === BATCH_MAX_ENTRIES) throw new CairnError("batch_too_large");
  entries.push(entry);
}

function torn(offset: number): CairnError {
  return new CairnError("bad_framing", { detail: `the entry at byte ${offset} is cut short` });
}
