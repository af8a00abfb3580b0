// The bodies of add-checkpoint and sign-subtree, read strictly: what parses has exactly the form that C2SP tlog-witness
// gives, and whatever does not is a refusal with 400. Nothing in a parsed request is verified yet.

import { decodeBase64 } from "../../core/base64.ts";
import { decodeUtf8 } from "../../core/bytes.ts";
import { type Checkpoint, parseCheckpoint, parseDecimal } from "../../core/checkpoint.ts";
import { isCairnError } from "../../core/errors.ts";
import { asHash, HASH_BYTES, type Hash } from "../../core/hash.ts";
import { type Note, parseNote } from "../../core/note.ts";
import { PROOF_MAX_HASHES } from "./limits.ts";
import { malformed, type Refusal } from "./refusal.ts";
import { isValidSubtree } from "./subtree.ts";

export interface SignedCheckpoint {
  readonly note: Note;
  /** What the note's text says. */
  readonly checkpoint: Checkpoint;
}

export interface AddCheckpointRequest extends SignedCheckpoint {
  readonly oldSize: bigint;
  /** At most `PROOF_MAX_HASHES`. */
  readonly proof: readonly Hash[];
}

export interface SignSubtreeRequest extends SignedCheckpoint {
  readonly start: bigint;
  readonly end: bigint;
  readonly hash: Hash;
  /** At most `PROOF_MAX_HASHES`. */
  readonly proof: readonly Hash[];
}

const LINE_FEED = 0x0a;

export function parseAddCheckpoint(body: Uint8Array): AddCheckpointRequest | Refusal {
  return reading(() => {
    const { lines, rest } = splitBody(body);
    const [sizeLine = "", ...proofLines] = lines;
    const oldSize = sizeLine.startsWith("old ") ? parseDecimal(sizeLine.slice(4)) : null;
    if (oldSize === null) {
      throw new Malformed(
        "the first line reads old, one space, a size from 0 to 2^63 - 1 without leading zeros",
      );
    }
    return { oldSize, proof: parseProof(proofLines), ...parseSignedCheckpoint(rest) };
  });
}

export function parseSignSubtree(body: Uint8Array): SignSubtreeRequest | Refusal {
  return reading(() => {
    const { lines, rest } = splitBody(body);
    const [rangeLine = "", hashLine, ...proofLines] = lines;
    const [word, startText = "", endText = "", ...more] = rangeLine.split(" ");
    const start = parseDecimal(startText);
    const end = parseDecimal(endText);
    if (word !== "subtree" || start === null || end === null || more.length > 0) {
      throw new Malformed("the first line reads subtree, a start and an end, one space between each");
    }
    if (hashLine === undefined) throw new Malformed("the subtree's hash is missing");
    const hash = parseHash(hashLine);
    const proof = parseProof(proofLines);
    const signed = parseSignedCheckpoint(rest);
    if (!isValidSubtree(start, end)) {
      throw new Malformed(
        "a subtree's start is below its end, and a multiple of its width rounded up to a power of two",
      );
    }
    if (end > signed.checkpoint.size) throw new Malformed("the subtree ends beyond the checkpoint");
    return { start, end, hash, proof, ...signed };
  });
}

class Malformed extends Error {}

function reading<Request>(read: () => Request): Request | Refusal {
  try {
    return read();
  } catch (error) {
    if (error instanceof Malformed || isCairnError(error)) return malformed(error.message);
    throw error;
  }
}

/** The lines before the first empty line, without their newlines, and the bytes after it. */
function splitBody(body: Uint8Array): { lines: string[]; rest: Uint8Array } {
  for (let at = body.indexOf(LINE_FEED); at >= 0; at = body.indexOf(LINE_FEED, at + 1)) {
    if (body[at + 1] === LINE_FEED) {
      return { lines: decodeUtf8(body.subarray(0, at)).split("\n"), rest: body.subarray(at + 2) };
    }
  }
  throw new Malformed("no empty line stands before the checkpoint");
}

function parseProof(lines: readonly string[]): Hash[] {
  if (lines.length > PROOF_MAX_HASHES) throw new Malformed(`the proof has over ${PROOF_MAX_HASHES} lines`);
  return lines.map(parseHash);
}

function parseHash(line: string): Hash {
  const bytes = decodeBase64(line);
  if (bytes.length !== HASH_BYTES) throw new Malformed("a hash has 32 bytes");
  return asHash(bytes);
}

function parseSignedCheckpoint(bytes: Uint8Array): SignedCheckpoint {
  const note = parseNote(bytes);
  return { note, checkpoint: parseCheckpoint(note.text) };
}
