// `cairn verify`: verifies a proof against an entry, offline, or a log's head against the one remembered from last time.

import { equalBytes } from "../core/bytes.ts";
import { ENTRY_MAX_BYTES } from "../core/bundle.ts";
import { CairnError, isCairnError } from "../core/errors.ts";
import type { CheckpointTrust, CosignatureTime } from "../core/policy.ts";
import { parseCheckpoint } from "../core/checkpoint.ts";
import { parseTlogProof, TLOG_PROOF_MAX_BYTES, verifyTlogProof } from "../core/tlog-proof.ts";
import { SIGNATURE_TYPE } from "../core/vkey.ts";
import { encodeBase64 } from "../core/base64.ts";
import { httpLog, openHead, type TrustedHead } from "../client/http-log.ts";
import { checkHead } from "../client/verify.ts";
import { requireOption, usageError } from "./args.ts";
import { defineCommand } from "./command.ts";
import { parseDuration } from "./duration.ts";
import { findSmallFile, readFileOrInput, replaceFile } from "./files.ts";
import { EXIT, type ExitCode, type Io } from "./io.ts";
import { nodeHasher } from "./node-hasher.ts";
import { errorLine, errorValue, type Output } from "./output.ts";
import { readTrust } from "./trust.ts";

/** Another process may save a newer head in the same file meanwhile; then the check is made again. */
const REMEMBER_ATTEMPTS = 3;

export const verify = defineCommand(
  {
    name: "verify",
    usage: [
      "verify PROOF ENTRY (--key VKEY | --policy FILE) [--max-age 1h]",
      "verify --log URL (--key VKEY | --policy FILE) --remember FILE",
    ],
    about: [
      "The first form needs no network: PROOF is a .tlog-proof file, ENTRY a file with the logged bytes; one of them may be - for standard input. The second fetches a log's checkpoint and checks that it extends the one in FILE, then saves it there; the first time it takes the log at its word. A log that shrank, or that shows another history, is refused, FILE stays as it is, and both checkpoints are printed as evidence.",
    ],
    options: {
      key: {
        type: "string",
        multiple: true,
        value: "VKEY",
        about: "A verifier key of the log; may be repeated.",
      },
      policy: {
        type: "string",
        value: "FILE",
        about: "Logs, witnesses and quorum, as `cairn policy` prints them.",
      },
      "max-age": {
        type: "string",
        value: "TIME",
        about: "Refuse cosignatures older than this, such as 90s, 15m, 1h or 7d.",
      },
      log: { type: "string", value: "URL", about: "The address of the log whose head is checked." },
      remember: { type: "string", value: "FILE", about: "Where the last verified head is kept." },
    },
    exit: ["It verifies.", "It does not.", "It could not be checked: usage, unreadable files, no answer."],
  },
  async ({ args: { options, positionals }, io, out }) => {
    const { key: keys, policy, log, remember } = options;
    const trust = await readTrust({ keys, policy, keyOption: "key" });
    const maxAge = options["max-age"];
    const seconds = maxAge === undefined ? null : parseDuration("max-age", maxAge);
    if (seconds !== null && !carriesTime(trust)) {
      throw usageError("--max-age needs a policy with witnesses, since only cosignatures carry a time");
    }
    if (log === undefined) {
      if (remember !== undefined) throw usageError("--remember goes with --log");
      const [proof, entry, ...rest] = positionals;
      if (proof === undefined || entry === undefined || rest.length > 0) {
        throw usageError("give a proof and an entry, or --log");
      }
      if (proof === "-" && entry === "-") throw usageError("only one of the two can be standard input");
      return await verifyProof({ proof, entry, trust, seconds, io, out });
    }
    if (positionals.length > 0) throw usageError(`${positionals[0]} is not expected with --log`);
    if (seconds !== null) throw usageError("--max-age goes with a proof");
    return await verifyHead({ url: log, file: requireOption("remember", remember), trust, io, out });
  },
);

interface ProofRun {
  readonly proof: string;
  readonly entry: string;
  readonly trust: CheckpointTrust;
  readonly seconds: number | null;
  readonly io: Io;
  readonly out: Output;
}

async function verifyProof({ proof, entry, trust, seconds, io, out }: ProofRun): Promise<ExitCode> {
  const parsed = parseTlogProof(await readFileOrInput(proof, TLOG_PROOF_MAX_BYTES, io));
  const bytes = await readFileOrInput(entry, ENTRY_MAX_BYTES, io);
  if (bytes.length > ENTRY_MAX_BYTES) throw new CairnError("entry_too_large", { detail: entry });
  const now = Math.floor(io.clock.now() / 1000);
  const options = seconds === null ? {} : { maxAge: { seconds, now } };
  const verified = verifyTlogProof(parsed, nodeHasher.leaf(bytes), trust, nodeHasher, options);
  const { origin } = parseCheckpoint(parsed.checkpoint.text);
  await out.line(
    `verified: entry ${verified.index} of ${origin}, in its checkpoint of size ${verified.size}`,
  );
  await printCosignatures(verified.cosignatures, out);
  await out.value({
    verified: true,
    origin,
    index: Number(verified.index),
    size: Number(verified.size),
    root: encodeBase64(verified.root),
    cosignatures: verified.cosignatures.map(cosignatureValue),
  });
  return EXIT.ok;
}

interface HeadRun {
  readonly url: string;
  readonly file: string;
  readonly trust: CheckpointTrust;
  readonly io: Io;
  readonly out: Output;
}

async function verifyHead(run: HeadRun): Promise<ExitCode> {
  for (let attempt = 1; attempt <= REMEMBER_ATTEMPTS; attempt++) {
    const exit = await verifyHeadOnce(run);
    if (exit !== null) return exit;
  }
  throw new CairnError("file_unwritable", { detail: `${run.file}: another process keeps changing it` });
}

/** Null where the remembered head changed while the log was asked. */
async function verifyHeadOnce({ url, file, trust, io, out }: HeadRun): Promise<ExitCode | null> {
  const saved = await findSmallFile(file);
  const remembered = saved === null ? null : openRemembered(saved, file, trust);
  const log = httpLog({
    url,
    trust,
    hasher: nodeHasher,
    fetch: io.fetch,
    clock: io.clock,
    ...(remembered === null ? {} : { origin: remembered.origin }),
  });
  let shown: TrustedHead | null = null;
  try {
    const { head, relation } = await checkHead(log, remembered, nodeHasher, (refused) => {
      shown = refused;
    });
    const before = await findSmallFile(file);
    if (!sameBytes(before, saved)) return null;
    if (saved === null || !equalBytes(saved, head.note)) await replaceFile(file, head.note);
    await out.line(`${RELATIONS[relation]}: ${head.origin} at size ${head.size}, remembered in ${file}`);
    await printCosignatures(head.cosignatures, out);
    await out.value({
      verified: true,
      relation,
      origin: head.origin,
      size: head.size,
      previous_size: remembered?.size ?? null,
      root: encodeBase64(head.root),
      cosignatures: head.cosignatures.map(cosignatureValue),
    });
    return EXIT.ok;
  } catch (error) {
    if (shown === null || saved === null) throw error;
    const evidence = { remembered: textOf(saved), shown: textOf((shown as TrustedHead).note) };
    await out.remark(`cairn verify: ${errorLine(error)}`);
    await out.line(`remembered:\n\n${evidence.remembered}\nshown now:\n\n${evidence.shown}`);
    await out.value({ error: errorValue(error), evidence });
    return EXIT.no;
  }
}

const RELATIONS = {
  first: "taken at its word, nothing was remembered",
  same: "unchanged",
  extends: "verified, it extends the remembered head",
} as const;

/** A remembered head that cannot be trusted is not the same as none: the log could be a different one since. */
function openRemembered(note: Uint8Array, file: string, trust: CheckpointTrust): TrustedHead {
  try {
    return openHead(note, trust);
  } catch (cause) {
    if (!isCairnError(cause)) throw cause;
    throw new CairnError("bad_remembered", { detail: `${file}: ${cause.message}`, cause });
  }
}

/** True where a time can be known: from witnesses, or from a log that signs with ML-DSA-44. */
function carriesTime({ policy }: CheckpointTrust): boolean {
  return policy.witnesses.length > 0 || policy.logs.some(({ key }) => key.type === SIGNATURE_TYPE.mldsa44);
}

async function printCosignatures(cosignatures: readonly CosignatureTime[], out: Output): Promise<void> {
  for (const cosignature of cosignatures) {
    const { name, time } = cosignatureValue(cosignature);
    await out.line(`  cosigned by ${name} at ${time}`);
  }
}

function cosignatureValue({ name, time }: CosignatureTime): { name: string; time: string } {
  const date = new Date(Number(time) * 1000);
  return { name, time: Number.isNaN(date.getTime()) ? String(time) : date.toISOString() };
}

function sameBytes(a: Uint8Array | null, b: Uint8Array | null): boolean {
  return a === null || b === null ? a === b : equalBytes(a, b);
}

function textOf(note: Uint8Array): string {
  return new TextDecoder().decode(note);
}
