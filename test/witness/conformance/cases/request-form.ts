// The form of add-checkpoint's body. The text says what a request MUST be, and names no status for one that is not: any
// client error is taken, unless the suite is told to be strict.

import { encodeBase64 } from "../../../../src/core/base64.ts";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { body, filler, line, note, type TestLog } from "../test-log.ts";

const SEQUENCE =
  "The request body MUST be a sequence of - an old size line, - zero or more consistency proof lines, - and an empty line, - followed by a checkpoint.";
const NEWLINES = "Each line MUST terminate in a newline character (U+000A).";
const OLD_SIZE =
  "The old size line MUST consist of the string `old`, a single space (0x20), and the tree size of the previous checkpoint encoded as an ASCII decimal with no leading zeroes (unless the size is zero, in which case the encoding MUST be `0`).";
const PROOF_LINE = "Each consistency proof line MUST encode a single hash in base64.";
const PROOF_LIMIT = "The client MUST NOT send more than 63 consistency proof lines.";
const TREE_SIZE =
  "The second line is the **tree size**, the ASCII decimal representation of the number of leaves in the tree, with no leading zeroes (unless the tree is empty, in which case the tree size is `0`).";
const ROOT =
  "The third line is the **root hash**, the base64 encoding of the root of the RFC 6962 Merkle hash tree at the specified tree size.";
const EXTENSIONS =
  "Any following lines are **extension lines**, opaque and OPTIONAL. Extension lines, if any, MUST be non-empty.";
const NOTE_CHARACTERS =
  "Signed notes MUST be valid UTF-8 and MUST NOT contain any ASCII control characters (those below U+0020) other than newline.";

function malformed(
  name: string,
  sentence: string,
  make: (log: TestLog, c: CaseContext) => string | Uint8Array,
  spec: ConformanceCase["spec"] = "tlog-witness",
  before: number | null = null,
): ConformanceCase {
  return {
    name,
    level: "MUST",
    spec,
    sentence,
    async run(c) {
      if (before !== null) await c.grow(0, before);
      c.malformed(await c.add(make(c.log, c)));
      // What is malformed leaves no trace: the log goes on as if it had not been sent.
      await c.grow(before ?? 0, (before ?? 0) + 8);
    },
  };
}

/** A request from 4 to 8 with another old size line. */
const oldLine = (name: string, text: string) =>
  malformed(
    name,
    OLD_SIZE,
    (log) => body(text, log.tree.consistency(4, 8), log.checkpoint(8)),
    "tlog-witness",
    4,
  );

/** A request from 4 to 8, whose proof is one hash, with that line changed. */
const proofLine = (name: string, change: (line: string, hash: Uint8Array) => string) =>
  malformed(
    name,
    PROOF_LINE,
    (log) => {
      const [hash = new Uint8Array()] = log.tree.consistency(4, 8);
      return body("old 4", [change(encodeBase64(hash), hash)], log.checkpoint(8));
    },
    "tlog-witness",
    4,
  );

/** A first checkpoint with another text, signed as it is. */
const noteText = (
  name: string,
  spec: ConformanceCase["spec"],
  sentence: string,
  text: (log: TestLog) => string,
) => malformed(name, sentence, (log) => body("old 0", [], note(text(log), [log.signer])), spec);

export const requestForm: readonly ConformanceCase[] = [
  malformed("an empty body", SEQUENCE, () => ""),
  malformed("a body that is no request", SEQUENCE, () => "invalid garbage data\nno proper format"),
  malformed("a checkpoint alone", SEQUENCE, (log) => log.checkpoint(8)),
  malformed("no empty line before the checkpoint", SEQUENCE, (log) => `old 0\n${log.checkpoint(8)}`),
  malformed("an empty line first", SEQUENCE, (log) => `\n${log.request(0, 8)}`),
  malformed("nothing after the empty line", SEQUENCE, () => "old 0\n\n"),
  malformed("no old size line", SEQUENCE, (log) => `\n${log.checkpoint(8)}`),
  malformed("lines that end in CR LF", NEWLINES, (log) => log.request(0, 8).replaceAll("\n", "\r\n")),
  malformed("an old size line that ends in CR LF", NEWLINES, (log) =>
    log.request(0, 8).replace("old 0\n", "old 0\r\n"),
  ),
  malformed("no newline at the end of the last signature line", NEWLINES, (log) =>
    log.request(0, 8).slice(0, -1),
  ),

  oldLine("an old size with a leading zero", "old 04"),
  oldLine("an old size of zero written with two digits", "old 00"),
  oldLine("an old size with a sign", "old +4"),
  oldLine("a negative old size", "old -4"),
  oldLine("two spaces before the old size", "old  4"),
  oldLine("a tab before the old size", "old\t4"),
  oldLine("a space after the old size", "old 4 "),
  oldLine("something after the old size", "old 4 4"),
  oldLine("an old size in hexadecimal", "old 0x4"),
  oldLine("an old size with a fraction", "old 4.0"),
  oldLine("an old size of other digits", "old \u0664"),
  oldLine("no old size", "old "),
  oldLine("another word before the old size", "Old 4"),
  oldLine("no word before the old size", "4"),
  oldLine("an old size above 2^64", "old 36893488147419103236"),

  proofLine("a proof line that is not base64", () => "not!!!valid!!!base64"),
  proofLine(
    "a proof line in the alphabet for URLs",
    (_, hash) => `${encodeBase64(hash).slice(0, 20)}-_${encodeBase64(hash).slice(22)}`,
  ),
  proofLine("a proof line without its padding", (text) => text.replaceAll("=", "")),
  proofLine("a proof line with a space at its end", (text) => `${text} `),
  proofLine("a proof line of a hash that is too short", (_, hash) => encodeBase64(hash.subarray(0, 31))),
  proofLine("a proof line of a hash that is too long", (_, hash) =>
    encodeBase64(new Uint8Array([...hash, 0])),
  ),
  proofLine("a proof line of two hashes", (_, hash) => encodeBase64(new Uint8Array([...hash, ...hash]))),
  proofLine("a proof line in hexadecimal", (_, hash) => Buffer.from(hash).toString("hex")),
  {
    name: "64 proof lines are refused",
    level: "client MUST",
    spec: "tlog-witness",
    sentence: PROOF_LIMIT,
    async run(c) {
      await c.grow(0, 4);
      const proof = Array.from({ length: 64 }, (_, i) => filler(32, `line ${i}`));
      c.refused(await c.add(c.log.request(4, 8, { proof })), 400, 422);
      await c.grow(4, 8);
    },
  },
  {
    name: "63 proof lines are read",
    level: "client MUST",
    spec: "tlog-witness",
    sentence: PROOF_LIMIT,
    async run(c) {
      await c.grow(0, 4);
      const proof = Array.from({ length: 63 }, (_, i) => filler(32, `line ${i}`));
      // Too many for these sizes, and so a proof that does not verify; a request that is malformed it is not.
      c.refused(await c.add(c.log.request(4, 8, { proof })), 422);
    },
  },

  noteText(
    "a checkpoint of two lines",
    "tlog-checkpoint",
    "The note text is a sequence of at least three non-empty lines, separated by newlines (U+000A).",
    (log) => log.text(8).split("\n").slice(0, 2).join("\n").concat("\n"),
  ),
  noteText("a tree size with a leading zero", "tlog-checkpoint", TREE_SIZE, (log) =>
    log.text(8).replace("\n8\n", "\n08\n"),
  ),
  noteText("a tree size with a sign", "tlog-checkpoint", TREE_SIZE, (log) =>
    log.text(8).replace("\n8\n", "\n+8\n"),
  ),
  noteText("a tree size with a space", "tlog-checkpoint", TREE_SIZE, (log) =>
    log.text(8).replace("\n8\n", "\n8 \n"),
  ),
  noteText("a tree size that is no number", "tlog-checkpoint", TREE_SIZE, (log) =>
    log.text(8).replace("\n8\n", "\neight\n"),
  ),
  noteText("a root that is not base64", "tlog-checkpoint", ROOT, (log) => `${log.origin}\n8\nnot a root\n`),
  noteText("an empty root", "tlog-checkpoint", ROOT, (log) => `${log.origin}\n8\n\n`),
  noteText("a root of 31 bytes", "tlog-checkpoint", ROOT, (log) => log.text(8, { root: filler(31) })),
  noteText("a root without its padding", "tlog-checkpoint", ROOT, (log) => log.text(8).replace("=\n", "\n")),
  noteText("an empty extension line", "tlog-checkpoint", EXTENSIONS, (log) =>
    log.text(8, { extensions: ["one", "", "three"] }),
  ),
  noteText("a control character in the text", "signed-note", NOTE_CHARACTERS, (log) =>
    log.text(8, { extensions: ["a tab\tin a line"] }),
  ),
  noteText("a NUL in the text", "signed-note", NOTE_CHARACTERS, (log) =>
    log.text(8, { extensions: ["a NUL\u0000"] }),
  ),
  malformed(
    "a note that is not UTF-8",
    NOTE_CHARACTERS,
    (log) => {
      const whole = Buffer.from(log.request(0, 8, { extensions: ["broken: ?"] }));
      whole[whole.indexOf("?")] = 0xff;
      return whole;
    },
    "signed-note",
  ),
  malformed(
    "a note without a signature",
    "A signed note consists of a text ending in newline (U+000A), followed by a blank line (only a newline), followed by one or more signature lines of this form: em dash (U+2014), space (U+0020), key name, space, base64-encoded signature, newline.",
    (log) => `old 0\n\n${log.text(8)}\n`,
    "signed-note",
  ),
  malformed(
    "a signature line with a hyphen for the dash",
    "A signed note consists of a text ending in newline (U+000A), followed by a blank line (only a newline), followed by one or more signature lines of this form: em dash (U+2014), space (U+0020), key name, space, base64-encoded signature, newline.",
    (log) => log.request(0, 8).replace("\u2014 ", "- "),
    "signed-note",
  ),
  malformed(
    "a signature line that is not base64",
    "Signatures are the base64 encoding of 4+n bytes.",
    (log) => log.request(0, 8, { after: `\u2014 other.example !!!!\n` }),
    "signed-note",
  ),
  malformed(
    "a signature line with a plus in its name",
    "Key names MUST be non-empty and MUST NOT contain any Unicode spaces or plus (U+002B) characters.",
    (log) => log.request(0, 8, { after: line("other+example", 1, filler(64)) }),
    "signed-note",
  ),
  malformed(
    "a signature shorter than its key's id",
    "Signatures are the base64 encoding of 4+n bytes.",
    (log) => log.request(0, 8, { after: `\u2014 other.example ${encodeBase64(filler(3))}\n` }),
    "signed-note",
  ),
];
