// `cairn prove`: fetches the proof of an entry, by its index or by its bytes.

import { ENTRY_MAX_BYTES } from "../core/bundle.ts";
import { CairnError } from "../core/errors.ts";
import { submitter } from "../client/submit.ts";
import { requireOption, usageError } from "./args.ts";
import { defineCommand } from "./command.ts";
import { readSecret, readUpTo, writeNewFile } from "./files.ts";
import { EXIT } from "./io.ts";
import { nodeHasher } from "./node-hasher.ts";
import { checkProof, readProof } from "./proofs.ts";
import { readTrust } from "./trust.ts";

const DECIMAL = /^(?:0|[1-9][0-9]{0,15})$/;

export const prove = defineCommand(
  {
    name: "prove",
    usage: [
      "prove --log URL INDEX [--size SIZE] [--out FILE]",
      "prove --log URL --entry FILE [--key VKEY | --policy FILE] [--out FILE]",
    ],
    about: [
      "Prints a proof (c2sp.org/tlog-proof) that `cairn verify` checks offline, or writes it to a new file. By INDEX it is in the newest checkpoint, or with --size in a kept one. By --entry the file's bytes are submitted, which is how a log finds an entry by its bytes: one that was not in the log is logged by it. Then the proof is checked against the file before it is given out; by INDEX it is not, since that takes the entry.",
      "Submitting takes the log's API key, from --key-file, API_KEY or API_KEY_FILE.",
    ],
    options: {
      log: { type: "string", value: "URL", about: "The address of the log." },
      entry: { type: "string", value: "FILE", about: "The logged bytes." },
      size: { type: "string", value: "SIZE", about: "The size of a kept checkpoint." },
      out: {
        type: "string",
        value: "FILE",
        about: "Where the proof goes; must not exist. Standard output without it.",
      },
      "key-file": { type: "string", value: "FILE", about: "The API key." },
      key: {
        type: "string",
        multiple: true,
        value: "VKEY",
        about: "The log's verifier key, to verify with.",
      },
      policy: { type: "string", value: "FILE", about: "The policy to verify with." },
    },
    exit: [
      "Here it is.",
      "The log's proof does not verify.",
      "It could not be fetched: usage, no such entry, no answer, no access.",
    ],
  },
  async ({ args: { options, positionals }, io, out }) => {
    const { entry: entryFile, key: keys, policy, out: file } = options;
    const url = requireOption("log", options.log);
    const [indexText, ...rest] = positionals;
    if (rest.length > 0 || (indexText === undefined) === (entryFile === undefined)) {
      throw usageError("give one INDEX or --entry");
    }
    const trusting = keys.length > 0 || policy !== undefined;
    if (entryFile === undefined && trusting) throw usageError("--key and --policy go with --entry");
    if (entryFile !== undefined && options.size !== undefined) throw usageError("--size goes with an INDEX");
    const apiKey = await readSecret(io, "API_KEY", options["key-file"]);
    const log = submitter({
      url,
      hasher: nodeHasher,
      fetch: io.fetch,
      clock: io.clock,
      ...(apiKey === undefined ? {} : { apiKey }),
    });

    let proof: Uint8Array;
    if (entryFile !== undefined) {
      const entry = await readUpTo(entryFile, ENTRY_MAX_BYTES);
      if (entry.length > ENTRY_MAX_BYTES) throw new CairnError("entry_too_large", { detail: entryFile });
      const trust = trusting ? await readTrust({ keys, policy, keyOption: "key" }) : null;
      proof = await log.addWithProof(entry);
      checkProof(proof, entry, trust);
    } else {
      const index = parseNumber("INDEX", indexText as string);
      const size = options.size === undefined ? undefined : parseNumber("--size", options.size);
      proof = await log.proof(index, size);
      const facts = readProof(proof);
      if (facts.index !== index || (size !== undefined && facts.size !== size)) {
        throw new CairnError("bad_proof", { detail: `it is of index ${facts.index} at size ${facts.size}` });
      }
    }
    if (file !== undefined) await writeNewFile(file, proof);
    const { origin, index, size } = readProof(proof);
    if (!out.json && file === undefined) await out.bytes(proof);
    if (file !== undefined) await out.line(`wrote ${file}: entry ${index} of ${origin} at size ${size}`);
    await out.value({ origin, index, size, proof: new TextDecoder().decode(proof), file: file ?? null });
    return EXIT.ok;
  },
);

function parseNumber(what: string, text: string): number {
  const value = Number(text);
  if (!DECIMAL.test(text) || !Number.isSafeInteger(value)) throw usageError(`${what} is a whole number`);
  return value;
}
