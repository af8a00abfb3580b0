// Lists of logs in the witness network's form, `logs/v0`: what a witness is told about the logs it may cosign. Read as
// strictly as the network's own description (github.com/transparency-dev/witness-network, log-list-format.md), and in
// whatever order the lines of one log stand, as other witnesses read it. Also one log as an option, `origin=vkey`.

import { decodeUtf8 } from "../../core/bytes.ts";
import { CairnError, isCairnError } from "../../core/errors.ts";
import { parseVkey, SIGNATURE_TYPE } from "../../core/vkey.ts";

/** A log as an operator or a list names it. */
export interface ListedLog {
  /** The first line of its checkpoints. */
  readonly origin: string;
  /** One of the keys that sign them; its type is one that can be verified. */
  readonly vkey: string;
  /** The requests a day that the log announced, or null. */
  readonly qpd: number | null;
  /** How its operator is reached, or null. */
  readonly contact: string | null;
}

const HEADER = "logs/v0";
const LOOKS_LIKE_A_VKEY = /^[^+]+\+[0-9a-f]{8}\+/;
const QPD = /^[1-9][0-9]{0,9}$/;
const QPD_MAX = 2 ** 31 - 1;
const NOT_IN_AN_ORIGIN = /[\u0000-\u001f]|\p{Surrogate}/u;
const BAD_ORIGIN = "an origin is not empty and has no control character";
const VERIFIABLE: readonly number[] = [
  SIGNATURE_TYPE.ed25519,
  SIGNATURE_TYPE.cosignature,
  SIGNATURE_TYPE.mldsa44,
];

/**
 * Reads a list. One origin may stand there several times with different keys; qpd and contact may be absent. `checked` are
 * vkeys that were checked before: checking takes a fraction of a millisecond, and a list has tens of thousands. Throws
 * `bad_log_list` with the number of the line that is wrong: a list is taken as a whole or not at all.
 */
export function parseLogList(bytes: Uint8Array, checked: ReadonlySet<string> = new Set()): ListedLog[] {
  let text: string;
  try {
    text = decodeUtf8(bytes);
  } catch (cause) {
    throw new CairnError("bad_log_list", { detail: "not valid UTF-8", cause });
  }
  const logs: ListedLog[] = [];
  let given = new Set<string>();
  let header = false;
  for (const [index, raw] of text.split("\n").entries()) {
    const content = raw.trim();
    if (content === "" || content.startsWith("#")) continue;
    try {
      if (!header) {
        if (content !== HEADER) throw new ListError(`the first line that is no comment reads ${HEADER}`);
        header = true;
        continue;
      }
      const { keyword, value } = parseLine(content);
      if (keyword === "vkey") {
        const name = checked.has(value) ? value.slice(0, value.indexOf("+")) : checkLogKey(value);
        logs.push({ origin: name, vkey: value, qpd: null, contact: null });
        given = new Set();
        continue;
      }
      const log = logs.pop();
      if (log === undefined) throw new ListError("a log begins with its vkey line");
      if (given.has(keyword)) throw new ListError(`a second ${keyword} line`);
      given.add(keyword);
      logs.push({ ...log, ...parseField(keyword, value) });
    } catch (cause) {
      if (!(cause instanceof ListError) && !isCairnError(cause)) throw cause;
      throw new CairnError("bad_log_list", { detail: `line ${index + 1}: ${cause.message}`, cause });
    }
  }
  if (!header) throw new CairnError("bad_log_list", { detail: `it has no line ${HEADER}` });
  return logs;
}

/**
 * Reads `origin=vkey`, or a vkey alone, whose name is then the origin. Origins and names of keys may have equals signs, and
 * base64 ends in some; since a vkey's id covers its name, only one of them can stand before a vkey. Throws `usage`.
 */
export function parseLogOption(text: string): ListedLog {
  let reason = "no vkey is in it";
  for (let at = -1; at < text.length; at = equalsSign(text, at + 1)) {
    const vkey = text.slice(at + 1);
    if (!LOOKS_LIKE_A_VKEY.test(vkey)) continue;
    try {
      const name = checkLogKey(vkey);
      const origin = at < 0 ? name : text.slice(0, at);
      if (!isValidOrigin(origin)) throw new ListError(BAD_ORIGIN);
      return { origin, vkey, qpd: null, contact: null };
    } catch (cause) {
      if (!(cause instanceof ListError) && !isCairnError(cause)) throw cause;
      reason = cause.message;
    }
  }
  throw new CairnError("usage", { detail: `${text} does not read origin=vkey: ${reason}` });
}

/** The name in a log's vkey. Throws `bad_vkey`, also for a type that cannot be verified here. */
export function checkLogKey(vkey: string): string {
  const { name, type } = parseVkey(vkey);
  if (!VERIFIABLE.includes(type)) {
    throw new CairnError("bad_vkey", { detail: `signature type ${type} cannot be verified here` });
  }
  return name;
}

/** True for an origin that a checkpoint can have. */
export function isValidOrigin(origin: string): boolean {
  return origin !== "" && !NOT_IN_AN_ORIGIN.test(origin);
}

class ListError extends Error {}

function parseLine(content: string): { keyword: "vkey" | "origin" | "qpd" | "contact"; value: string } {
  const [keyword, value] = (/^([a-z]+)[ \t]+(.*)$/su.exec(content) ?? []).slice(1);
  if (keyword === "vkey" || keyword === "origin" || keyword === "qpd" || keyword === "contact") {
    return { keyword, value: value as string };
  }
  throw new ListError("a line reads vkey, origin, qpd or contact, a space and a value");
}

function parseField(keyword: "origin" | "qpd" | "contact", value: string): Partial<ListedLog> {
  if (keyword === "contact") return { contact: value };
  if (keyword === "origin") {
    if (!isValidOrigin(value)) throw new ListError(BAD_ORIGIN);
    return { origin: value };
  }
  const qpd = Number(value);
  if (!QPD.test(value) || qpd > QPD_MAX) throw new ListError("qpd is a whole number from 1 to 2^31 - 1");
  return { qpd };
}

/** The next equals sign from `from` on, or the text's length. */
function equalsSign(text: string, from: number): number {
  const at = text.indexOf("=", from);
  return at < 0 ? text.length : at;
}
