// `cairn policy`: prints the tlog-policy that a verifier pins for a log, from what the log says or from its own key.

import { encodeUtf8 } from "../core/bytes.ts";
import { CairnError } from "../core/errors.ts";
import { privateKeyVkey } from "../core/note-key.ts";
import { NO_QUORUM, parsePolicy, type Policy, type PolicyLog, printPolicy } from "../core/policy.ts";
import { parseVkey, SIGNATURE_TYPE, type VerifierKey } from "../core/vkey.ts";
import { describeLog } from "../client/http-log.ts";
import { usageError } from "./args.ts";
import { defineCommand } from "./command.ts";
import { EXIT } from "./io.ts";
import { readKeyFile } from "./key-file.ts";

const LOG_TYPES: readonly number[] = [SIGNATURE_TYPE.ed25519, SIGNATURE_TYPE.mldsa44];

export const policy = defineCommand(
  {
    name: "policy",
    usage: ["policy URL > log.policy", "policy --key-file FILE [--url URL] > log.policy"],
    about: [
      "Prints a policy file (c2sp.org/tlog-policy) for `cairn verify --policy` and other verifiers. From a URL it is what the log says of itself at /log.json: compare it with what the operator publishes elsewhere before you pin it. With --key-file it is made from the log's own private key, and asks for no witness.",
    ],
    options: {
      "key-file": { type: "string", value: "FILE", about: "The log's private key, as keygen wrote it." },
      url: { type: "string", value: "URL", about: "The log's address, to stand beside the key." },
    },
    exit: ["Printed.", "Not used.", "Usage, no answer, or an answer that is not a log's."],
  },
  async ({ args: { options, positionals }, io, out }) => {
    const { "key-file": keyFile } = options;
    const [address, ...rest] = positionals;
    if (rest.length > 0) throw usageError(`${rest[0]} is not expected`);
    if ((address === undefined) === (keyFile === undefined)) throw usageError("give a URL or --key-file");
    if (address !== undefined && options.url !== undefined) throw usageError("--url goes with --key-file");

    let origin: string;
    let printed: Policy;
    if (keyFile !== undefined) {
      const key = privateKeyVkey(await readKeyFile(keyFile));
      origin = key.name;
      printed = withoutWitnesses([policyLog(key, options.url)]);
    } else {
      const url = address as string;
      const description = await describeLog({ url, fetch: io.fetch, clock: io.clock });
      origin = description.origin;
      const keys = description.vkeys.map(parseVkey).filter(({ type }) => LOG_TYPES.includes(type));
      if (keys.length === 0 || keys.some(({ name }) => name !== origin)) {
        throw new CairnError("unexpected_answer", { detail: `${url}: its keys are not those of ${origin}` });
      }
      const logs = keys.map((key) => policyLog(key, url));
      const text = description.policy;
      printed = text === null ? withoutWitnesses(logs) : { ...parsePolicy(encodeUtf8(text)), logs };
      await out.remark(`What ${url} says of itself; compare it with what its operator publishes elsewhere.`);
    }
    const text = new TextDecoder().decode(printPolicy(printed));
    if (!out.json) await out.bytes(encodeUtf8(text));
    await out.value({ origin, policy: text });
    return EXIT.ok;
  },
);

function policyLog(key: VerifierKey, url: string | undefined): PolicyLog {
  return url === undefined ? { key } : { key, url };
}

function withoutWitnesses(logs: readonly PolicyLog[]): Policy {
  return { logs, witnesses: [], groups: [], quorum: NO_QUORUM };
}
