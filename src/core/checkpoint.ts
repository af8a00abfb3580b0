// Checkpoints: the text of a signed note that states a log's size and root. What parses prints back to the same text.
// Sizes are bigint up to 2^63 - 1, since other logs may be larger than a JavaScript number counts. C2SP tlog-checkpoint.
import { decodeBase64, encodeBase64 } from "./base64.ts";
import { CairnError } from "./errors.ts";
import { asHash, HASH_BYTES, type Hash } from "./hash.ts";
import { MAX_TREE_SIZE } from "./merkle.ts";

export interface Checkpoint {
  /** The log's identity; not empty, one line. */
  readonly origin: string;
  readonly size: bigint;
  /** The RFC 6962 root at that size, 32 bytes. */
  readonly root: Hash;
  /** Opaque lines after the third; none of them empty. */
  readonly extensions: readonly string[];
}

const DECIMAL = /^(?:0|[1-9][0-9]{0,18})$/;
const NOT_IN_A_LINE = /[\u0000-\u001f]|\p{Surrogate}/u;

/** Reads the text of a note (its final newline included) as a checkpoint. Throws `bad_checkpoint`. */
export function parseCheckpoint(text: string): Checkpoint {
  if (!text.endsWith("\n")) throw malformed("the text does not end in a newline");
  const [origin, sizeLine, rootLine, ...extensions] = text.slice(0, -1).split("\n");
  if (origin === undefined || sizeLine === undefined || rootLine === undefined) {
    throw malformed("it has fewer than three lines");
  }
  checkLine("the origin", origin);
  for (const line of extensions) checkLine("an extension line", line);
  const size = parseDecimal(sizeLine);
  if (size === null) throw malformed("the size is not a decimal of at most 2^63 - 1 without leading zeros");
  let root: Uint8Array;
  try {
    root = decodeBase64(rootLine);
  } catch (cause) {
    throw new CairnError("bad_checkpoint", { detail: "the root is not canonical base64", cause });
  }
  if (root.length !== HASH_BYTES) throw malformed("the root is not 32 bytes");
  return { origin, size, root: asHash(root), extensions };
}

/** Writes a checkpoint as the text of a note. Throws `bad_checkpoint` for what could not be read back. */
export function printCheckpoint(checkpoint: Checkpoint): string {
  const { origin, size, root, extensions } = checkpoint;
  checkLine("the origin", origin);
  for (const line of extensions) checkLine("an extension line", line);
  if (size < 0n || size > MAX_TREE_SIZE) throw malformed("the size is below 0 or above 2^63 - 1");
  if (root.length !== HASH_BYTES) throw malformed("the root is not 32 bytes");
  return [origin, size, encodeBase64(root), ...extensions].map((line) => `${line}\n`).join("");
}

/**
 * An ASCII decimal from 0 to 2^63 - 1 without leading zeros, as every C2SP format writes sizes and indices; null for
 * anything else.
 */
export function parseDecimal(text: string): bigint | null {
  if (!DECIMAL.test(text)) return null;
  const value = BigInt(text);
  return value <= MAX_TREE_SIZE ? value : null;
}

/** A size or index as a number. Throws `unsafe_integer` from 2^53 on, which no log of ours reaches. */
export function toSafeSize(size: bigint): number {
  if (size < 0n || size > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new CairnError("unsafe_integer", { detail: String(size) });
  }
  return Number(size);
}

function checkLine(what: string, line: string): void {
  if (line === "") throw malformed(`${what} is empty`);
  if (NOT_IN_A_LINE.test(line)) throw malformed(`${what} has a control character`);
}

function malformed(detail: string): CairnError {
  return new CairnError("bad_checkpoint", { detail });
}
