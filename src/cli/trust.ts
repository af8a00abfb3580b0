// Whom a command trusts, from its options: verifier keys of logs (--key, --vkey) or a policy file (--policy). Verifier keys
// are public, so they may stand on the command line.

import { CairnError, isCairnError } from "../core/errors.ts";
import type { SignaturePrimitives } from "../core/cosignature.ts";
import { nobleMlDsa44 } from "../core/mldsa.ts";
import { type CheckpointTrust, NO_QUORUM, parsePolicy, type Policy, trustPolicy } from "../core/policy.ts";
import { parseVkey } from "../core/vkey.ts";
import { usageError } from "./args.ts";
import { readSmallFile } from "./files.ts";
import { nodeEd25519 } from "./node-ed25519.ts";

/** The signature algorithms as every command uses them. */
export const nodePrimitives: SignaturePrimitives = { ed25519: nodeEd25519, mldsa44: nobleMlDsa44 };

export interface TrustOptions {
  /** Texts of vkeys. */
  readonly keys: readonly string[];
  /** A policy file. */
  readonly policy: string | undefined;
  /** How the option for a key is called here. */
  readonly keyOption: "key" | "vkey";
}

/**
 * Keys alone ask for no cosignature. A policy that names no log takes the keys as its logs; one that does takes none.
 * Throws `usage`, `bad_vkey`, `bad_policy`, `file_unreadable`.
 */
export async function readTrust({ keys, policy, keyOption }: TrustOptions): Promise<CheckpointTrust> {
  const logs = keys.map((text) => ({ key: parseVkey(text) }));
  if (policy === undefined) {
    if (logs.length === 0) throw usageError(`give the log's verifier key with --${keyOption}, or --policy`);
    return trust({ logs, witnesses: [], groups: [], quorum: NO_QUORUM });
  }
  let read: Policy;
  try {
    read = parsePolicy(await readSmallFile(policy));
  } catch (cause) {
    if (!isCairnError(cause, "bad_policy")) throw cause;
    throw new CairnError("bad_policy", { detail: `${policy}: ${cause.detail}`, cause });
  }
  if (logs.length === 0 && read.logs.length === 0) {
    throw usageError(`${policy} names no log; add a log line, or give --${keyOption}`);
  }
  if (logs.length > 0 && read.logs.length > 0) {
    throw usageError(`${policy} names its logs already; leave out --${keyOption}`);
  }
  return trust(logs.length > 0 ? { ...read, logs } : read);
}

function trust(policy: Policy): CheckpointTrust {
  return trustPolicy(policy, nodePrimitives);
}
