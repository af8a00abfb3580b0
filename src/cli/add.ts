// `cairn add`: logs files, or the lines of standard input, and prints the index of each. Everything may be repeated: a log
// answers bytes that it has already with the index they have.

import { mkdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { ENTRY_MAX_BYTES } from "../core/bundle.ts";
import { encodeBase64 } from "../core/base64.ts";
import { CairnError, type ErrorCode, isCairnError } from "../core/errors.ts";
import type { CheckpointTrust } from "../core/policy.ts";
import { batches, type Receipt, submitter, type Submitter } from "../client/submit.ts";
import { requireOption, usageError } from "./args.ts";
import { defineCommand } from "./command.ts";
import { readSecret, readUpTo, unwritable } from "./files.ts";
import { EXIT, type Io } from "./io.ts";
import { lines } from "./lines.ts";
import { nodeHasher } from "./node-hasher.ts";
import { count, errorLine, errorValue, type Output } from "./output.ts";
import { checkProof, PROOF_EXTENSION, saveProof } from "./proofs.ts";
import { readTrust } from "./trust.ts";

/** A log answers with a proof once a checkpoint covers the entry, so many entries wait for the same one. */
const PROOFS_IN_FLIGHT = 64;

/** Refusals of one entry, after which the others are still worth sending. All others end the command. */
const ENTRY_REFUSALS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "entry_empty",
  "entry_too_large",
  "entry_schema",
  "reserved_shape",
  "file_unreadable",
  "file_exists",
]);

export const add = defineCommand(
  {
    name: "add",
    usage: ["add --log URL FILE... [--proof]", "add --log URL --ndjson [--proof --out-dir FOLDER] < FILE"],
    about: [
      "Each file is one entry, or with --ndjson each line of standard input (without its line feed). Prints the index, the file or line, and new or duplicate. An index is acknowledged: it is durable in the log's database, and public once a checkpoint covers it. With --proof the command waits for that and writes a .tlog-proof file for each entry, beside the file or in --out-dir; give --key or --policy to have its signatures verified too.",
      "The key of the log comes from --key-file, API_KEY or API_KEY_FILE. After a failure run the same command again: what is in the log already keeps its index.",
    ],
    options: {
      log: { type: "string", value: "URL", about: "The address of the log." },
      ndjson: { type: "boolean", about: "Log the lines of standard input." },
      proof: { type: "boolean", about: "Wait for the proofs and write them to files." },
      "out-dir": {
        type: "string",
        value: "FOLDER",
        about: "Where proofs go: under the file's name, or for lines under the index.",
      },
      "key-file": { type: "string", value: "FILE", about: "The API key." },
      key: {
        type: "string",
        multiple: true,
        value: "VKEY",
        about: "The log's verifier key, to verify proofs with.",
      },
      policy: { type: "string", value: "FILE", about: "The policy to verify proofs with." },
    },
    exit: [
      "Every entry is logged.",
      "At least one was refused, the others are logged; or a proof does not verify.",
      "It could not be done: usage, a file that cannot be read, no answer, no access. What was printed is logged.",
    ],
  },
  async ({ args: { options, positionals }, io, out }) => {
    const { ndjson, proof, key: keys, policy } = options;
    const url = requireOption("log", options.log);
    const outDir = options["out-dir"];
    if (ndjson ? positionals.length > 0 : positionals.length === 0) {
      throw usageError("give files, or --ndjson and standard input");
    }
    if (!proof && (outDir !== undefined || keys.length > 0 || policy !== undefined)) {
      throw usageError("--out-dir, --key and --policy go with --proof");
    }
    if (proof && ndjson && outDir === undefined) throw usageError("--proof with --ndjson needs --out-dir");
    const apiKey = await readSecret(io, "API_KEY", options["key-file"]);
    const log = submitter({
      url,
      hasher: nodeHasher,
      fetch: io.fetch,
      clock: io.clock,
      ...(apiKey === undefined ? {} : { apiKey }),
    });
    const items = ndjson ? lineItems(io) : fileItems(positionals);
    const tally = new Tally(out);
    if (proof) {
      if (outDir !== undefined) await makeFolder(outDir);
      const asked = keys.length > 0 || policy !== undefined;
      const trust = asked ? await readTrust({ keys, policy, keyOption: "key" }) : null;
      await addWithProofs({ log, items, tally, trust, outDir });
    } else {
      await addInBatches(log, items, tally);
    }
    await out.remark(tally.summary());
    if (tally.unreadable > 0) return EXIT.failed;
    return tally.refused > 0 ? EXIT.no : EXIT.ok;
  },
);

/** Before anything is logged, since a proof that cannot be kept is of no use. */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
  } catch (cause) {
    throw unwritable(path, cause);
  }
}

/** An entry with the name under which its outcome is printed. */
interface Item {
  readonly source: string;
  readonly entry: Uint8Array | CairnError;
}

async function* fileItems(files: readonly string[]): AsyncGenerator<Item> {
  for (const file of files) {
    try {
      yield { source: file, entry: checkedEntry(await readUpTo(file, ENTRY_MAX_BYTES)) };
    } catch (error) {
      if (!isCairnError(error)) throw error;
      yield { source: file, entry: error };
    }
  }
}

async function* lineItems(io: Io): AsyncGenerator<Item> {
  let number = 0;
  for await (const line of lines(io.stdin, ENTRY_MAX_BYTES)) {
    number++;
    const entry = line === null ? new CairnError("entry_too_large") : checkedEntry(line);
    yield { source: `line ${number}`, entry };
  }
}

function checkedEntry(entry: Uint8Array): Uint8Array | CairnError {
  if (entry.length === 0) return new CairnError("entry_empty");
  return entry.length > ENTRY_MAX_BYTES ? new CairnError("entry_too_large") : entry;
}

/** Prints outcomes as they come, and counts them. */
class Tally {
  added = 0;
  duplicates = 0;
  refused = 0;
  /** Of those that were refused: files that could not be read, which no log has seen. */
  unreadable = 0;
  readonly #out: Output;

  constructor(out: Output) {
    this.#out = out;
  }

  async logged(source: string, { index, leafHash, duplicate }: Receipt): Promise<void> {
    if (duplicate) this.duplicates++;
    else this.added++;
    await this.#out.line(`${index}\t${source}\t${duplicate ? "duplicate" : "new"}`);
    await this.#out.value({ source, index, leaf_hash: encodeBase64(leafHash), duplicate });
    this.#progress();
  }

  async proven(source: string, index: number, size: number, path: string): Promise<void> {
    this.added++;
    await this.#out.line(`${index}\t${source}\t${path}`);
    await this.#out.value({ source, index, size, proof: path });
    this.#progress();
  }

  async refuse(source: string, error: CairnError): Promise<void> {
    this.refused++;
    if (error.code === "file_unreadable") this.unreadable++;
    await this.#out.remark(`${source}: ${errorLine(error)}`);
    await this.#out.value({ source, error: errorValue(error) });
  }

  summary(): string {
    const known = this.duplicates === 0 ? "" : `, ${count(this.duplicates)} there already`;
    const refused = this.refused === 0 ? "" : `, ${count(this.refused)} refused`;
    return `${count(this.added + this.duplicates)} logged${known}${refused}`;
  }

  #progress(): void {
    this.#out.progress(() => this.summary());
  }
}

async function addInBatches(log: Submitter, items: AsyncIterable<Item>, tally: Tally): Promise<void> {
  // What was read and has no outcome printed yet, in order: an entry that was handed to `batches`, or a refusal.
  const waiting: { readonly source: string; readonly refusal: CairnError | null }[] = [];

  async function* entries(): AsyncGenerator<Uint8Array> {
    for await (const { source, entry } of items) {
      const refusal = entry instanceof CairnError ? entry : null;
      waiting.push({ source, refusal });
      if (entry instanceof CairnError) await printRefusals();
      else yield entry;
    }
  }

  /** Those before which everything has been printed. */
  async function printRefusals(): Promise<void> {
    for (let first = waiting[0]; first !== undefined && first.refusal !== null; first = waiting[0]) {
      waiting.shift();
      await tally.refuse(first.source, first.refusal);
    }
  }

  for await (const batch of batches(entries())) {
    for (const result of await log.addBatch(batch)) {
      await printRefusals();
      const source = waiting.shift()?.source ?? "";
      if (result instanceof CairnError) await tally.refuse(source, result);
      else await tally.logged(source, result);
    }
    await printRefusals();
  }
}

interface ProofRun {
  readonly log: Submitter;
  readonly items: AsyncIterable<Item>;
  readonly tally: Tally;
  readonly trust: CheckpointTrust | null;
  readonly outDir: string | undefined;
}

async function addWithProofs({ log, items, tally, trust, outDir }: ProofRun): Promise<void> {
  const underway = new Set<Promise<void>>();
  let failure: unknown;
  let failed = false;

  async function addOne({ source, entry }: Item): Promise<void> {
    try {
      if (entry instanceof CairnError) throw entry;
      const proof = await log.addWithProof(entry);
      const { index, size } = checkProof(proof, entry, trust);
      const path = proofPath(source, index, outDir);
      await saveProof(path, proof, entry, trust);
      await tally.proven(source, index, size, path);
    } catch (error) {
      if (isCairnError(error) && ENTRY_REFUSALS.has(error.code)) {
        await tally.refuse(source, error);
      } else {
        if (!failed) failure = error;
        failed = true;
      }
    }
  }

  for await (const item of items) {
    if (failed) break;
    const run = addOne(item).finally(() => underway.delete(run));
    underway.add(run);
    if (underway.size === PROOFS_IN_FLIGHT) await Promise.race(underway);
  }
  // Also after a failure: what the log answers by then is printed, and nothing is left running.
  await Promise.all(underway);
  if (failed) throw failure;
}

function proofPath(source: string, index: number, outDir: string | undefined): string {
  if (outDir === undefined) return `${source}${PROOF_EXTENSION}`;
  const name = /^line [0-9]+$/.test(source) ? String(index) : basename(source);
  return join(outDir, `${name}${PROOF_EXTENSION}`);
}
