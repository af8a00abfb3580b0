// Signed notes: a text and the lines of those who signed it. A note that parses prints back byte for byte, whoever signed
// it and with whatever algorithm; its text means nothing until `openNote` has found a known key on it. C2SP signed-note.
import { decodeBase64, encodeBase64 } from "./base64.ts";
import { concatBytes, decodeUtf8, encodeUtf8, equalBytes, readUint32, writeUint32 } from "./bytes.ts";
import { CairnError } from "./errors.ts";
import { isValidKeyName, printKeyId } from "./vkey.ts";

/** The most bytes of a whole note: room for a hundred post-quantum signatures of 5 kB in base64, and a text. */
export const NOTE_MAX_BYTES = 1024 * 1024;
/** The most signature lines of a note; the specification asks for at least 16, Go stops at this number too. */
export const NOTE_MAX_SIGNATURES = 100;

const KEY_ID_BYTES = 4;
const SIGNATURE_PREFIX = "\u2014 "; // em dash, space
const NOT_IN_A_NOTE = /[\u0000-\u0009\u000b-\u001f]|\p{Surrogate}/u;

export interface NoteSignature {
  readonly name: string;
  /** Unsigned, 32 bits. */
  readonly keyId: number;
  /** Without the key id; at least one byte. */
  readonly signature: Uint8Array;
}

export interface Note {
  /** Ends in a newline; the empty line before the signatures is not part of it. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

export interface NoteVerifier {
  readonly name: string;
  readonly keyId: number;
  /** `text` is the note's text in UTF-8, `signature` without the key id. Never throws. */
  verify(text: Uint8Array, signature: Uint8Array): boolean;
}

export interface NoteSigner {
  readonly name: string;
  readonly keyId: number;
  /** The verifier key that checks what this signer signs. */
  readonly vkey: string;
  /** The signature of a note's text in UTF-8, without the key id. */
  sign(text: Uint8Array): Uint8Array;
}

export interface CheckedSignatures {
  /** Lines by a known key, each checked; identical lines are listed once. */
  readonly verified: readonly NoteSignature[];
  /** Lines by keys that are not known, in their order. */
  readonly unverified: readonly NoteSignature[];
}

/** Reads a note. Throws `bad_note` for whatever signed-note does not allow or the limits above forbid. */
export function parseNote(bytes: Uint8Array): Note {
  if (bytes.length > NOTE_MAX_BYTES) throw malformed(`over ${NOTE_MAX_BYTES} bytes`);
  let whole: string;
  try {
    whole = decodeUtf8(bytes);
  } catch (cause) {
    throw new CairnError("bad_note", { detail: "not valid UTF-8", cause });
  }
  const split = whole.lastIndexOf("\n\n");
  if (split < 0) throw malformed("no empty line before the signatures");
  const text = whole.slice(0, split + 1);
  if (NOT_IN_A_NOTE.test(text)) throw malformed("a control character");
  return { text, signatures: parseSignatureLines(whole.slice(split + 2)) };
}

/** Writes a note. Throws `bad_note` if its text does not end in a newline or nobody signed it. */
export function printNote(note: Note): Uint8Array {
  checkNoteText(note.text);
  if (note.signatures.length === 0) throw malformed("no signature");
  return encodeUtf8(`${note.text}\n${note.signatures.map(printSignatureLine).join("")}`);
}

/**
 * Reads one or more signature lines, each ended by a newline: the end of a note, or the answer of a witness. Throws
 * `bad_note`.
 */
export function parseSignatureLines(text: string): NoteSignature[] {
  if (text.length > NOTE_MAX_BYTES) throw malformed(`over ${NOTE_MAX_BYTES} bytes`);
  if (!text.endsWith("\n")) throw malformed("the last signature line does not end in a newline");
  if (NOT_IN_A_NOTE.test(text)) throw malformed("a control character");
  const signatures: NoteSignature[] = [];
  for (let start = 0; start < text.length; ) {
    if (signatures.length === NOTE_MAX_SIGNATURES) throw malformed(`over ${NOTE_MAX_SIGNATURES} signatures`);
    const end = text.indexOf("\n", start);
    signatures.push(parseSignatureLine(text.slice(start, end)));
    start = end + 1;
  }
  return signatures;
}

/** Writes one signature line, its newline included. */
export function printSignatureLine(signature: NoteSignature): string {
  const keyId = new Uint8Array(KEY_ID_BYTES);
  writeUint32(keyId, 0, signature.keyId);
  return `${SIGNATURE_PREFIX}${signature.name} ${encodeBase64(concatBytes(keyId, signature.signature))}\n`;
}

/**
 * Checks every line by a known key and passes over the others. Throws `bad_signature` where a line by a known key does not
 * verify, which condemns the whole note, and `bad_vkey` where two of the verifiers have one name and id.
 */
export function checkSignatures(note: Note, verifiers: readonly NoteVerifier[]): CheckedSignatures {
  const known = new Map<string, NoteVerifier>();
  for (const verifier of verifiers) {
    const key = identity(verifier);
    if (known.has(key)) throw new CairnError("bad_vkey", { detail: `two keys are ${label(verifier)}` });
    known.set(key, verifier);
  }
  const text = encodeUtf8(note.text);
  const verified: NoteSignature[] = [];
  const unverified: NoteSignature[] = [];
  for (const signature of note.signatures) {
    const verifier = known.get(identity(signature));
    if (verifier === undefined) {
      unverified.push(signature);
    } else if (!verified.some((earlier) => sameSignature(earlier, signature))) {
      if (!verifier.verify(text, signature.signature)) {
        throw new CairnError("bad_signature", { detail: label(signature) });
      }
      verified.push(signature);
    }
  }
  return { verified, unverified };
}

/**
 * `checkSignatures`, and at least one known key must have signed: else throws `unsigned`. After it returns the note's
 * text may be believed as far as those keys are.
 */
export function openNote(note: Note, verifiers: readonly NoteVerifier[]): CheckedSignatures {
  const checked = checkSignatures(note, verifiers);
  if (checked.verified.length === 0) throw new CairnError("unsigned");
  return checked;
}

/**
 * Signs a text with every signer, in their order. Throws `bad_note` if the text could not be read back from a note, or
 * there is no signer.
 */
export function signNote(text: string, signers: readonly NoteSigner[]): Note {
  checkNoteText(text);
  if (signers.length === 0) throw malformed("no signer");
  const bytes = encodeUtf8(text);
  return {
    text,
    signatures: signers.map((signer) => ({
      name: signer.name,
      keyId: signer.keyId,
      signature: signer.sign(bytes),
    })),
  };
}

function checkNoteText(text: string): void {
  if (!text.endsWith("\n")) throw malformed("the text does not end in a newline");
  if (NOT_IN_A_NOTE.test(text)) throw malformed("a control character");
}

function parseSignatureLine(line: string): NoteSignature {
  if (!line.startsWith(SIGNATURE_PREFIX))
    throw malformed("a signature line begins with an em dash and a space");
  const nameEnd = line.indexOf(" ", SIGNATURE_PREFIX.length);
  if (nameEnd < 0) throw malformed("a signature line has a name and a signature");
  const name = line.slice(SIGNATURE_PREFIX.length, nameEnd);
  if (!isValidKeyName(name)) throw malformed("a key name is empty or has a space or a plus");
  let bytes: Uint8Array;
  try {
    bytes = decodeBase64(line.slice(nameEnd + 1));
  } catch (cause) {
    throw new CairnError("bad_note", { detail: "a signature is not canonical base64", cause });
  }
  if (bytes.length <= KEY_ID_BYTES) throw malformed("a signature is shorter than five bytes");
  return { name, keyId: readUint32(bytes, 0), signature: bytes.slice(KEY_ID_BYTES) };
}

// A name has no space, so a name and an id joined by one cannot be mistaken for another pair.
function identity(key: { readonly name: string; readonly keyId: number }): string {
  return `${key.name} ${key.keyId}`;
}

function label(key: { readonly name: string; readonly keyId: number }): string {
  return `${key.name}+${printKeyId(key.keyId)}`;
}

function sameSignature(a: NoteSignature, b: NoteSignature): boolean {
  return a.keyId === b.keyId && a.name === b.name && equalBytes(a.signature, b.signature);
}

function malformed(detail: string): CairnError {
  return new CairnError("bad_note", { detail });
}
