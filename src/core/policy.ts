// Trust policies: which logs and witnesses are known, and which cosignatures make a checkpoint believable. Parsing follows
// the octet rules of the format exactly and refuses what it does not know; `verifyCheckpoint` is the one place that says
// whether a checkpoint is trusted. C2SP tlog-policy.
import { concatBytes, decodeUtf8, encodeUtf8, toHex } from "./bytes.ts";
import { type Checkpoint, parseCheckpoint } from "./checkpoint.ts";
import { cosignatureTime, noblePrimitives, type SignaturePrimitives, verifierFor } from "./cosignature.ts";
import { CairnError, isCairnError } from "./errors.ts";
import { checkSignatures, type Note, type NoteSignature, type NoteVerifier } from "./note.ts";
import { parseVkey, printVkey, SIGNATURE_TYPE, type VerifierKey, verifierKey } from "./vkey.ts";

export const POLICY_MAX_BYTES = 1024 * 1024;
/** The most logs, and witnesses, and groups; the specification asks for at least 32 of each. */
export const POLICY_MAX_DEFINITIONS = 256;
/** The quorum that asks for no cosignature at all. */
export const NO_QUORUM = "none";

export interface PolicyLog {
  /** Of type 0x01 or 0x06; its name is the log's origin. */
  readonly key: VerifierKey;
  readonly url?: string;
}

export interface PolicyWitness {
  /** Means something inside its policy only; the key has a name of its own. */
  readonly name: string;
  /** Of type 0x04 or 0x06. */
  readonly key: VerifierKey;
  readonly url?: string;
}

export interface PolicyGroup {
  readonly name: string;
  /** How many of the members must have witnessed a checkpoint for the group to have: 1 to their number. */
  readonly threshold: number;
  /** Witnesses and groups defined earlier; no name is a member twice in the whole policy. */
  readonly members: readonly string[];
}

/**
 * Names and URLs are octet strings. Where they are valid UTF-8, as they should be, they are that text; each high octet of
 * one that is not becomes U+DC00 plus its value, a lone surrogate, so that different octets never become the same string.
 */
export interface Policy {
  readonly logs: readonly PolicyLog[];
  readonly witnesses: readonly PolicyWitness[];
  /** In an order in which no group refers to a later one. */
  readonly groups: readonly PolicyGroup[];
  /** A witness, a group, or `NO_QUORUM`. */
  readonly quorum: string;
}

/** A policy with the verifiers of its keys, made once and used for many checkpoints. */
export interface CheckpointTrust {
  readonly policy: Policy;
  /** Of the policy's logs, by origin. */
  readonly logVerifiers: ReadonlyMap<string, readonly NoteVerifier[]>;
  /** Of the policy's witnesses, in its order. */
  readonly witnessVerifiers: readonly NoteVerifier[];
}

export interface VerifyCheckpointOptions {
  /** The only origin to accept; without it, every log of the policy is accepted. */
  readonly origin?: string;
  /** Cosignatures older than `seconds` at `now` (POSIX seconds) do not count towards the quorum. */
  readonly maxAge?: { readonly seconds: number; readonly now: number };
}

export interface CosignatureTime {
  /** The witness's name in the policy. */
  readonly name: string;
  /** POSIX seconds. */
  readonly time: bigint;
}

export interface VerifiedCheckpoint {
  readonly checkpoint: Checkpoint;
  /** The policy's witnesses that cosigned it, in the policy's order, each with the newest of its times. */
  readonly cosignatures: readonly CosignatureTime[];
}

const TAB = 0x09;
const NEWLINE = 0x0a;
const SPACE = 0x20;
const DELETE = 0x7f;
const HIGH_OCTET = 0xdc00; // what is added to an octet of 0x80 to 0xff that is not part of valid UTF-8
const ESCAPED_OCTET = /[\udc80-\udcff]/;
const LONE_SURROGATE = /\p{Surrogate}/u;
const NOT_IN_AN_ITEM = /[\u0000-\u0020\u007f]/;
const THRESHOLD = /^[1-9][0-9]{0,8}$/;

const LOG_TYPES: readonly number[] = [SIGNATURE_TYPE.ed25519, SIGNATURE_TYPE.mldsa44];
const WITNESS_TYPES: readonly number[] = [SIGNATURE_TYPE.cosignature, SIGNATURE_TYPE.mldsa44];

/** Reads a policy file. Throws `bad_policy`, with the number of the line where there is one. */
export function parsePolicy(bytes: Uint8Array): Policy {
  if (bytes.length > POLICY_MAX_BYTES) throw malformed(`over ${POLICY_MAX_BYTES} bytes`);
  const draft = new PolicyDraft();
  let line = 1;
  for (let start = 0; start < bytes.length; line++) {
    const end = bytes.indexOf(NEWLINE, start);
    // A file cut short could otherwise read as another quorum than was meant.
    if (end < 0) throw malformed(`line ${line} does not end in a newline`);
    try {
      readLine(bytes.subarray(start, end), draft);
    } catch (cause) {
      if (!isCairnError(cause)) throw cause;
      throw new CairnError("bad_policy", { detail: `line ${line}: ${cause.detail ?? cause.message}`, cause });
    }
    start = end + 1;
  }
  return draft.finish();
}

/** Writes a policy as a file that reads back as the same policy. Throws `bad_policy` for one that would not. */
export function printPolicy(policy: Policy): Uint8Array {
  const checked = checkPolicy(policy);
  const sections: string[][][] = [
    checked.logs.map(({ key, url }) => ["log", printVkey(key), ...optional(url)]),
    checked.witnesses.map(({ name, key, url }) => ["witness", name, printVkey(key), ...optional(url)]),
    checked.groups.map(({ name, threshold, members }) => [
      "group",
      name,
      printThreshold(threshold, members.length),
      ...members,
    ]),
    [["quorum", checked.quorum]],
  ];
  const separator = Uint8Array.of(NEWLINE);
  return concatBytes(
    ...sections
      .filter((lines) => lines.length > 0)
      .flatMap((lines, i) => [...(i > 0 ? [separator] : []), ...lines.map(printLine)]),
  );
}

/**
 * The policy that asks for `quorum` of the witnesses (0: for none of them), and accepts the logs given. Throws
 * `bad_policy` for whatever a policy file could not say.
 */
export function policyFromQuorum(
  witnesses: readonly PolicyWitness[],
  quorum: number,
  logs: readonly PolicyLog[] = [],
): Policy {
  if (!Number.isSafeInteger(quorum) || quorum < 0 || quorum > witnesses.length) {
    throw malformed(`a quorum of ${quorum} among ${witnesses.length} witnesses`);
  }
  if (quorum === 0) return checkPolicy({ logs, witnesses, groups: [], quorum: NO_QUORUM });
  const members = witnesses.map(({ name }) => name);
  let name = "quorum";
  while (members.includes(name)) name += "-of-witnesses";
  return checkPolicy({ logs, witnesses, groups: [{ name, threshold: quorum, members }], quorum: name });
}

/** True where the witnesses of these names, as the policy names them, are enough for its quorum. */
export function policySatisfied(policy: Policy, witnessNames: ReadonlySet<string>): boolean {
  if (policy.quorum === NO_QUORUM) return true;
  const witnessed = new Set<string>();
  for (const { name } of policy.witnesses) if (witnessNames.has(name)) witnessed.add(name);
  // A group refers to earlier ones only, so one pass settles them all, however deep they are nested.
  for (const { name, threshold, members } of policy.groups) {
    if (members.filter((member) => witnessed.has(member)).length >= threshold) witnessed.add(name);
  }
  return witnessed.has(policy.quorum);
}

/** The policy with a verifier for each of its keys. Throws `bad_vkey` for a key that no verifier can be made of. */
export function trustPolicy(
  policy: Policy,
  primitives: SignaturePrimitives = noblePrimitives,
): CheckpointTrust {
  const logVerifiers = new Map<string, NoteVerifier[]>();
  for (const { key } of policy.logs) {
    const verifier = verifierFor(key, primitives);
    const known = logVerifiers.get(key.name);
    if (known === undefined) logVerifiers.set(key.name, [verifier]);
    else known.push(verifier);
  }
  const witnessVerifiers = policy.witnesses.map(({ key }) => verifierFor(key, primitives));
  return { policy, logVerifiers, witnessVerifiers };
}

/**
 * Verifies that a note is a checkpoint of a trusted log with enough cosignatures. Throws, in this order:
 * `bad_checkpoint`; `wrong_origin` for a log that is not the one asked for or not in the policy; `bad_signature` where a
 * line by a known key does not verify; `unsigned` without the log's signature; `quorum_not_met`; and `too_old` where a
 * greatest age was asked for and the cosignatures that are young enough do not meet the quorum. For that a policy without
 * quorum counts any known time, be it the log's own (type 0x06): without any, the age is unknown and the answer `too_old`.
 * Times in the future are young.
 */
export function verifyCheckpoint(
  note: Note,
  trust: CheckpointTrust,
  options: VerifyCheckpointOptions = {},
): VerifiedCheckpoint {
  const { policy } = trust;
  const checkpoint = parseCheckpoint(note.text);
  const { origin } = checkpoint;
  const logVerifiers = trust.logVerifiers.get(origin);
  if (logVerifiers === undefined || (options.origin !== undefined && options.origin !== origin)) {
    throw new CairnError("wrong_origin", { detail: `it is of ${origin}` });
  }
  // Apart, because a log's key may serve as a witness's too, and one line would then count for both.
  const byLog = checkSignatures(note, logVerifiers).verified;
  const byWitnesses = checkSignatures(note, trust.witnessVerifiers).verified;
  if (byLog.length === 0)
    throw new CairnError("unsigned", { detail: `no trusted key of ${origin} signed it` });

  const cosignatures: CosignatureTime[] = [];
  for (const { name, key } of policy.witnesses) {
    const time = newestTime(byWitnesses.filter((signature) => isBy(signature, key)));
    if (time !== null) cosignatures.push({ name, time });
  }
  if (!policySatisfied(policy, namesOf(cosignatures))) {
    throw new CairnError("quorum_not_met", { detail: `${cosignatures.length} known witnesses cosigned it` });
  }

  if (options.maxAge !== undefined) {
    const { seconds, now } = options.maxAge;
    const isYoung = (time: bigint) => Number(time) >= now - seconds;
    const young = cosignatures.filter(({ time }) => isYoung(time));
    const ownTime = newestTime(
      byLog.filter((signature) =>
        policy.logs.some(({ key }) => key.type === SIGNATURE_TYPE.mldsa44 && isBy(signature, key)),
      ),
    );
    const known = young.length > 0 || (ownTime !== null && isYoung(ownTime));
    if (!policySatisfied(policy, namesOf(young)) || !known) {
      throw new CairnError("too_old", { detail: `asked for ${seconds} seconds at most` });
    }
  }
  return { checkpoint, cosignatures };
}

function namesOf(cosignatures: readonly CosignatureTime[]): Set<string> {
  return new Set(cosignatures.map(({ name }) => name));
}

function isBy(signature: NoteSignature, key: VerifierKey): boolean {
  return signature.keyId === key.keyId && signature.name === key.name;
}

function newestTime(signatures: readonly NoteSignature[]): bigint | null {
  let newest: bigint | null = null;
  for (const { signature } of signatures) {
    const time = cosignatureTime(signature);
    if (newest === null || time > newest) newest = time;
  }
  return newest;
}

// Collects definitions in the order of a file and refuses what the format forbids, so that a policy read, printed or made
// from a count obeys the same rules.
class PolicyDraft {
  readonly #logs: PolicyLog[] = [];
  readonly #witnesses: PolicyWitness[] = [];
  readonly #groups: PolicyGroup[] = [];
  readonly #names = new Set<string>();
  readonly #members = new Set<string>();
  readonly #logKeys = new Set<string>();
  readonly #witnessKeys = new Set<string>();
  #quorum: string | undefined;

  log(key: VerifierKey, url: string | undefined): void {
    checkRoom(this.#logs, "logs");
    checkType(key, LOG_TYPES, "a log");
    checkKeyIsNew(key, this.#logKeys, "log");
    this.#logs.push(url === undefined ? { key } : { key, url: checkItem(url) });
  }

  witness(name: string, key: VerifierKey, url: string | undefined): void {
    checkRoom(this.#witnesses, "witnesses");
    if (key.type === SIGNATURE_TYPE.ed25519) {
      const cosigning = printVkey(verifierKey(key.name, SIGNATURE_TYPE.cosignature, key.publicKey));
      throw malformed(
        `a witness has a cosignature key (type 0x04 or 0x06); if the key is right, write ${cosigning}`,
      );
    }
    checkType(key, WITNESS_TYPES, "a witness");
    checkKeyIsNew(key, this.#witnessKeys, "witness");
    this.#define(name);
    this.#witnesses.push(url === undefined ? { name, key } : { name, key, url: checkItem(url) });
  }

  group(name: string, threshold: number, members: readonly string[]): void {
    checkRoom(this.#groups, "groups");
    if (members.length === 0) throw malformed("a group has at least one member");
    if (!Number.isSafeInteger(threshold) || threshold < 1 || threshold > members.length) {
      throw malformed(`a threshold of ${threshold} among ${members.length} members`);
    }
    for (const member of members) {
      if (!this.#names.has(member)) throw malformed(`${member} is not defined above`);
      if (this.#members.has(member)) throw malformed(`${member} is a member already`);
      this.#members.add(member);
    }
    this.#define(name);
    this.#groups.push({ name, threshold, members: [...members] });
  }

  quorum(name: string): void {
    if (this.#quorum !== undefined) throw malformed("a second quorum");
    if (name !== NO_QUORUM && !this.#names.has(name)) throw malformed(`${name} is not defined above`);
    this.#quorum = name;
  }

  finish(): Policy {
    if (this.#quorum === undefined) throw malformed("no quorum line");
    return { logs: this.#logs, witnesses: this.#witnesses, groups: this.#groups, quorum: this.#quorum };
  }

  #define(name: string): void {
    checkItem(name);
    if (name === NO_QUORUM) throw malformed(`the name ${NO_QUORUM} is predefined`);
    if (this.#names.has(name)) throw malformed(`${name} is defined already`);
    this.#names.add(name);
  }
}

function checkPolicy(policy: Policy): Policy {
  const draft = new PolicyDraft();
  for (const { key, url } of policy.logs) draft.log(key, url);
  for (const { name, key, url } of policy.witnesses) draft.witness(name, key, url);
  for (const { name, threshold, members } of policy.groups) draft.group(name, threshold, members);
  draft.quorum(policy.quorum);
  return draft.finish();
}

function readLine(octets: Uint8Array, draft: PolicyDraft): void {
  const [keyword, ...items] = splitItems(octets);
  if (keyword === undefined) return;
  switch (keyword) {
    case "log": {
      const [vkey, url] = expectItems(items, 1, 2);
      draft.log(parseVkey(vkey as string), url);
      break;
    }
    case "witness": {
      const [name, vkey, url] = expectItems(items, 2, 3);
      draft.witness(name as string, parseVkey(vkey as string), url);
      break;
    }
    case "group": {
      const [name, threshold, ...members] = expectItems(items, 3, Number.POSITIVE_INFINITY);
      draft.group(name as string, parseThreshold(threshold as string, members.length), members);
      break;
    }
    case "quorum": {
      const [name] = expectItems(items, 1, 1);
      draft.quorum(name as string);
      break;
    }
    default:
      throw malformed("a line begins with log, witness, group, quorum or #");
  }
}

/** The items of a line; none for an empty line and a comment. */
function splitItems(octets: Uint8Array): string[] {
  const items: string[] = [];
  let start = -1;
  for (let i = 0; i <= octets.length; i++) {
    const octet = octets[i] ?? SPACE;
    if ((octet < SPACE && octet !== TAB) || octet === DELETE) throw malformed("a control character");
    if (octet === SPACE || octet === TAB) {
      if (start >= 0) items.push(textOf(octets.subarray(start, i)));
      start = -1;
    } else if (start < 0) {
      start = i;
    }
  }
  return items[0]?.startsWith("#") ? [] : items;
}

function expectItems(items: string[], least: number, most: number): string[] {
  if (items.length < least) throw malformed("an item is missing");
  if (items.length > most) throw malformed("an item too many");
  return items;
}

function parseThreshold(text: string, members: number): number {
  if (text === "any") return 1;
  if (text === "all") return members;
  if (!THRESHOLD.test(text)) throw malformed("a threshold is any, all or a decimal above 0");
  return Number(text);
}

function printThreshold(threshold: number, members: number): string {
  if (threshold === members) return "all";
  return threshold === 1 ? "any" : String(threshold);
}

function checkRoom(definitions: readonly unknown[], what: string): void {
  if (definitions.length === POLICY_MAX_DEFINITIONS)
    throw malformed(`over ${POLICY_MAX_DEFINITIONS} ${what}`);
}

function checkType(key: VerifierKey, types: readonly number[], what: string): void {
  if (!types.includes(key.type)) {
    throw malformed(`${what} has no key of type 0x${key.type.toString(16).padStart(2, "0")}`);
  }
}

// By the key material alone: one key under two names would otherwise be counted as two parties.
function checkKeyIsNew(key: VerifierKey, known: Set<string>, what: string): void {
  const material = toHex(key.publicKey);
  if (known.has(material)) throw malformed(`a second ${what} with the key of ${printVkey(key)}`);
  known.add(material);
}

function checkItem(item: string): string {
  if (item === "" || NOT_IN_AN_ITEM.test(item)) {
    throw malformed("a name or URL is empty, or has a space or a control character");
  }
  // What was made in code, not read from a file, must be a string that a file would give.
  if (textOf(octetsOf(item)) !== item) throw malformed("a name or URL mixes text and octets");
  return item;
}

function printLine(items: readonly string[]): Uint8Array {
  const octets = items.flatMap((item) => [octetsOf(item), Uint8Array.of(SPACE)]);
  return concatBytes(...octets.slice(0, -1), Uint8Array.of(NEWLINE));
}

function optional(url: string | undefined): string[] {
  return url === undefined ? [] : [url];
}

function textOf(octets: Uint8Array): string {
  try {
    return decodeUtf8(octets);
  } catch {
    let text = "";
    for (const octet of octets) text += String.fromCharCode(octet < 0x80 ? octet : HIGH_OCTET + octet);
    return text;
  }
}

function octetsOf(text: string): Uint8Array {
  if (!LONE_SURROGATE.test(text)) return encodeUtf8(text);
  return Uint8Array.from(text, (character) => {
    const code = character.charCodeAt(0);
    if (code < 0x80) return code;
    if (!ESCAPED_OCTET.test(character)) throw malformed("a name or URL mixes text and octets");
    return code - HIGH_OCTET;
  });
}

function malformed(detail: string): CairnError {
  return new CairnError("bad_policy", { detail });
}
