import { existsSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nodeEd25519 } from "../../src/cli/node-ed25519.ts";
import { encodeBase64 } from "../../src/core/base64.ts";
import { decodeUtf8, encodeUtf8 } from "../../src/core/bytes.ts";
import { nobleEd25519 } from "../../src/core/ed25519.ts";
import {
  checkSignatures,
  type Note,
  NOTE_MAX_BYTES,
  NOTE_MAX_SIGNATURES,
  openNote,
  parseNote,
  parseSignatureLines,
  printNote,
  printSignatureLine,
  signNote,
} from "../../src/core/note.ts";
import { noteVerifier, privateKeyVkey } from "../../src/core/note-key.ts";
import { parseVkey } from "../../src/core/vkey.ts";
import {
  anyKeyName,
  codeOf,
  damaged,
  damagedLines,
  errorOf,
  logKey,
  logSigner,
  strangerKey,
  strangerSigner,
} from "./signed-log.ts";
import { skipWithout } from "../require.ts";

const EXAMPLE_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const EXAMPLE = `This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
`;

const logVerifier = noteVerifier(privateKeyVkey(logKey), nobleEd25519);
const strangerVerifier = noteVerifier(privateKeyVkey(strangerKey), nobleEd25519);

function parse(text: string): Note {
  return parseNote(encodeUtf8(text));
}

function line(name: string, bytes: number): string {
  return `— ${name} ${encodeBase64(new Uint8Array(bytes).fill(7))}\n`;
}

describe.each([
  ["noble", nobleEd25519],
  ["node", nodeEd25519],
])("with %s", (_, ed25519) => {
  test("the specification's vkey verifies its note", () => {
    const note = parse(EXAMPLE);
    expect(note.text).toBe("This is an example message.\n");
    const { verified, unverified } = openNote(note, [noteVerifier(parseVkey(EXAMPLE_VKEY), ed25519)]);
    expect(verified).toEqual(note.signatures);
    expect(unverified).toEqual([]);
    expect(decodeUtf8(printNote(note))).toBe(EXAMPLE);
  });

  test("the note in Go's documentation verifies", () => {
    const key = parseVkey("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
    const note = parse(
      "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n" +
        "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n",
    );
    expect(openNote(note, [noteVerifier(key, ed25519)]).verified).toHaveLength(1);
  });
});

const golden = new URL("../../../shared/vectors/golden-log/", import.meta.url);
const absent = skipWithout(existsSync(golden), `the golden log is not at ${golden.pathname}`);

test.skipIf(absent)("every checkpoint of the golden log opens with its key and prints back", () => {
  const key = parseVkey("example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx");
  for (let size = 0; size <= 15; size++) {
    const bytes = Uint8Array.from(readFileSync(new URL(`checkpoint.${size}`, golden)));
    const note = parseNote(bytes);
    expect(openNote(note, [noteVerifier(key, nodeEd25519)]).verified).toHaveLength(1);
    expect(printNote(note)).toEqual(bytes);
  }
});

test("the last empty line separates text from signatures", () => {
  for (const text of [
    "\n",
    "a\n",
    "a\n\n",
    "\n\na\n",
    "a\n\nb\n\n\nc\n",
    "— not a signature\n",
    "a\n\n— x\n",
  ]) {
    const note = signNote(text, [logSigner]);
    const parsed = parseNote(printNote(note));
    expect(parsed).toEqual(note);
    expect(openNote(parsed, [logVerifier]).verified).toHaveLength(1);
  }
});

test("a byte order mark is part of the text", () => {
  const note = signNote("\ufefftext\n", [logSigner]);
  expect(parseNote(printNote(note))).toEqual(note);
});

test("signatures of unknown types are kept and printed back byte for byte, very long ones too", () => {
  const text = `text\n\n${line("a.example", 5)}${line("pq.example/ü", 4 + 5000)}${line("a.example", 4 + 60_000)}`;
  const note = parse(text);
  expect(note.signatures.map(({ signature }) => signature.length)).toEqual([1, 5000, 60_000]);
  expect(decodeUtf8(printNote(note))).toBe(text);
});

test("a hundred signatures of five kilobytes are read, one line more is refused", () => {
  const lines = Array.from({ length: NOTE_MAX_SIGNATURES }, (_, i) => line(`w${i}.example`, 4 + 5000)).join(
    "",
  );
  expect(parse(`text\n\n${lines}`).signatures).toHaveLength(NOTE_MAX_SIGNATURES);
  expect(codeOf(() => parse(`text\n\n${lines}${line("x", 5)}`))).toBe("bad_note");
  const many = Array.from({ length: 10_000 }, () => line("x", 5)).join("");
  expect(codeOf(() => parse(`text\n\n${many}`))).toBe("bad_note");
});

test("a note of the greatest size is read, one byte more is refused", () => {
  const end = `\n\n${line("x", 5)}`;
  const fitting = "a".repeat(NOTE_MAX_BYTES - encodeUtf8(end).length) + end;
  expect(parse(fitting).signatures).toHaveLength(1);
  expect(codeOf(() => parse(`a${fitting}`))).toBe("bad_note");
});

test.each([
  ["nothing", ""],
  ["a text alone", "text\n"],
  ["no signature", "text\n\n"],
  ["no text", `\n${line("x", 5)}`],
  ["no empty line", `text\n${line("x", 5)}`],
  ["an empty line after the signatures", `text\n\n${line("x", 5)}\n`],
  ["an empty line between signatures", `text\n\n${line("x", 5)}\n${line("x", 5)}`.slice(0, -1)],
  ["no newline at the end", `text\n\n${line("x", 5)}`.slice(0, -1)],
  ["a carriage return", `text\r\n\n${line("x", 5)}`],
  ["carriage returns throughout", `text\n\n${line("x", 5)}`.replaceAll("\n", "\r\n")],
  ["a tab", `te\txt\n\n${line("x", 5)}`],
  ["a NUL", `te\0xt\n\n${line("x", 5)}`],
  ["an escape character in a name", `text\n\n${line("x\u001b", 5)}`],
  ["a hyphen for the dash", `text\n\n${line("x", 5)}`.replace("—", "-")],
  ["no space after the dash", `text\n\n${line("x", 5)}`.replace("— ", "—")],
  ["two spaces after the dash", `text\n\n${line("x", 5)}`.replace("— ", "—  ")],
  ["no name", "text\n\n— BwcHBwc=\n"],
  ["a no-break space in a name", `text\n\n${line("x\u00a0y", 5)}`],
  ["a plus in a name", `text\n\n${line("x+y", 5)}`],
  ["two spaces before the signature", "text\n\n— x  BwcHBwc=\n"],
  ["a space at the end of a line", "text\n\n— x BwcHBwc= \n"],
  ["an empty signature", "text\n\n— x \n"],
  ["four bytes only", `text\n\n${line("x", 4)}`],
  ["base64 without padding", "text\n\n— x BwcHBwc\n"],
  ["base64 with bits in its padding", "text\n\n— x BwcHBwd=\n"],
  ["base64 of the url alphabet", "text\n\n— x BwcHB-_=\n"],
])("refuses %s", (_, text) => {
  expect(codeOf(() => parse(text))).toBe("bad_note");
});

test("refuses bytes that are not UTF-8", () => {
  const good = encodeUtf8(`text\n\n${line("x", 5)}`);
  for (const bytes of [
    [0xff],
    [0xc0, 0x80],
    [0xed, 0xa0, 0x80],
    [0xe2, 0x80],
    [0xf8, 0x88, 0x80, 0x80, 0x80],
  ]) {
    expect(codeOf(() => parseNote(Uint8Array.from([...bytes, ...good])))).toBe("bad_note");
  }
});

test("a line by a known key that does not verify condemns the note", () => {
  const note = signNote("text\n", [logSigner, strangerSigner]);
  const forged: Note = { ...note, text: "another text\n" };
  expect(errorOf(() => openNote(forged, [logVerifier]))).toMatchObject({
    code: "bad_signature",
    detail: expect.stringContaining("log.example/cairn+"),
  });
  // Also where another known key's line is good.
  const [ours, theirs] = note.signatures;
  const half: Note = {
    text: note.text,
    signatures: [ours, { ...theirs, signature: new Uint8Array(64) }] as Note["signatures"],
  };
  expect(codeOf(() => openNote(half, [logVerifier, strangerVerifier]))).toBe("bad_signature");
  expect(openNote(half, [logVerifier]).unverified).toHaveLength(1);
});

test("a key is known by name and id together, never by one of them", () => {
  const note = signNote("text\n", [logSigner]);
  const [signature] = note.signatures;
  for (const other of [
    { ...signature, name: "log.example/other" },
    { ...signature, keyId: (logSigner.keyId + 1) >>> 0 },
  ]) {
    const changed = { text: note.text, signatures: [other] } as Note;
    expect(codeOf(() => openNote(changed, [logVerifier]))).toBe("unsigned");
    expect(checkSignatures(changed, [logVerifier])).toEqual({ verified: [], unverified: [other] });
  }
});

test("a note that no known key signed is unsigned", () => {
  const note = signNote("text\n", [strangerSigner]);
  expect(codeOf(() => openNote(note, [logVerifier]))).toBe("unsigned");
  expect(codeOf(() => openNote(note, []))).toBe("unsigned");
});

test("an identical line counts once, a second one by the same key must verify as well", () => {
  const note = signNote("text\n", [logSigner]);
  const [signature] = note.signatures as [Note["signatures"][number]];
  const twice = { text: note.text, signatures: [signature, signature] };
  expect(openNote(twice, [logVerifier]).verified).toEqual([signature]);
  const forged = { ...signature, signature: new Uint8Array(64) };
  expect(codeOf(() => openNote({ ...twice, signatures: [signature, forged] }, [logVerifier]))).toBe(
    "bad_signature",
  );
});

test("two verifiers of one name and id are refused rather than one of them passed over", () => {
  expect(codeOf(() => openNote(signNote("text\n", [logSigner]), [logVerifier, logVerifier]))).toBe(
    "bad_vkey",
  );
});

test("what could not be read back is not signed or printed", () => {
  for (const text of ["", "text", "te\rxt\n", "te\0xt\n", "\ud800\n"]) {
    expect(codeOf(() => signNote(text, [logSigner]))).toBe("bad_note");
    expect(codeOf(() => printNote({ text, signatures: signNote("a\n", [logSigner]).signatures }))).toBe(
      "bad_note",
    );
  }
  expect(codeOf(() => signNote("text\n", []))).toBe("bad_note");
  expect(codeOf(() => printNote({ text: "text\n", signatures: [] }))).toBe("bad_note");
});

test("signature lines on their own read and print, as a witness answers them", () => {
  const lines = line("a.example", 5) + line("b.example", 70);
  const signatures = parseSignatureLines(lines);
  expect(signatures.map(({ name }) => name)).toEqual(["a.example", "b.example"]);
  expect(signatures.map(printSignatureLine).join("")).toBe(lines);
  for (const bad of [
    "",
    "\n",
    lines.slice(0, -1),
    `${lines}\n`,
    `\n${lines}`,
    `text\n${lines}`,
    `${lines}\ud800\n`,
  ]) {
    expect(
      codeOf(() => parseSignatureLines(bad)),
      JSON.stringify(bad),
    ).toBe("bad_note");
  }
});

test("key ids from 0 to 2^32 - 1 round-trip", () => {
  for (const keyId of [0, 1, 0x7fffffff, 0x80000000, 0xffffffff]) {
    const signature = { name: "x", keyId, signature: Uint8Array.of(1) };
    expect(parseSignatureLines(printSignatureLine(signature))).toEqual([signature]);
  }
});

test("every damage to a note is refused or leaves it unsigned", () => {
  const original = printNote(signNote("a text\n\nof two parts\n", [logSigner]));
  for (const bytes of [...damaged(original), ...[...damagedLines(decodeUtf8(original))].map(encodeUtf8)]) {
    const code = codeOf(() => openNote(parseNote(bytes), [logVerifier]));
    // A signature line doubled is the same note; there is no other damage that still opens.
    if (code === "nothing") expect(parseNote(bytes).text).toBe("a text\n\nof two parts\n");
    else expect(["bad_note", "bad_signature", "unsigned"]).toContain(code);
  }
});

const anySignature = fc.record({
  name: anyKeyName,
  keyId: fc.nat(0xffffffff),
  signature: fc.uint8Array({ minLength: 1, maxLength: 100 }),
});

test("any note that can be printed reads back as itself", () => {
  const text = fc.array(
    fc.string({ unit: "grapheme" }).map((s) => s.replaceAll(/\p{Cc}/gu, "")),
    { minLength: 1 },
  );
  fc.assert(
    fc.property(text, fc.array(anySignature, { minLength: 1, maxLength: 20 }), (lines, signatures) => {
      const note = { text: lines.map((l) => `${l}\n`).join(""), signatures };
      expect(parseNote(printNote(note))).toEqual(note);
    }),
  );
});

test("any bytes either read as a note that prints back to them or are refused as bad_note", () => {
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 8 }),
    fc.constantFrom("\n", "\n\n", "— ", "— x BwcHBwc=\n", " ", "text\n\n— x BwcHBwc=\n").map(encodeUtf8),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      const bytes = Uint8Array.from(pieces.flatMap((p) => [...p]));
      let note: Note | undefined;
      const code = codeOf(() => {
        note = parseNote(bytes);
      });
      if (note === undefined) expect(code).toBe("bad_note");
      else expect(printNote(note)).toEqual(bytes);
    }),
    { numRuns: 1000 },
  );
});
