// The text that a witness's operator publishes, so that logs and those who rely on them find it: the about page that the
// witness network asks for, with lines to paste into a policy or a log's configuration.

import { parseVkey, SIGNATURE_TYPE } from "../../core/vkey.ts";

export interface AboutWitness {
  /** Cosignature vkeys. */
  readonly vkeys: readonly string[];
  /** The URL prefix where the witness is reached, without a final slash. */
  readonly url: string;
  /** True where subtrees are signed. */
  readonly signsSubtrees: boolean;
}

export function aboutText({ vkeys, url, signsSubtrees }: AboutWitness): string {
  const keys = vkeys.map((vkey) => ({ vkey, ...parseVkey(vkey) }));
  const labels = keys.map(({ name, type }) => policyName(name, type, keys));
  const lines = [
    `Witness ${[...new Set(keys.map(({ name }) => name))].join(", ")}`,
    "",
    "It cosigns checkpoints of transparency logs (c2sp.org/tlog-witness): for each log only ever",
    "one history.",
    "",
    `add-checkpoint     ${url}/add-checkpoint`,
    ...(signsSubtrees ? [`sign-subtree       ${url}/sign-subtree`] : []),
    `monitoring         ${url}/<SHA-256 of the origin, in hexadecimal>/checkpoint`,
    "",
    "Verifier keys:",
    ...keys.map(({ vkey, type }) => `${typeName(type).padEnd(18)} ${vkey}`),
    "",
    "For a trust policy (c2sp.org/tlog-policy):",
    ...keys.map(({ vkey }, i) => `witness ${labels[i]} ${vkey} ${url}`),
    "",
    "For a Cairn log:",
    `EXTERNAL_WITNESSES=${keys.map(({ vkey }, i) => `${labels[i]}=${url}=${vkey}`).join(",")}`,
  ];
  return `${lines.join("\n")}\n`;
}

function typeName(type: number): string {
  return type === SIGNATURE_TYPE.mldsa44 ? "ML-DSA-44 (0x06)" : "Ed25519 (0x04)";
}

// Names in a policy are labels without spaces, equals signs and commas, each used once, and "none" is taken.
function policyName(name: string, type: number, keys: readonly { name: string }[]): string {
  const plain = name.replace(/[=,]/g, "-");
  const label = plain === "none" ? "witness" : plain;
  const shared = keys.filter((key) => key.name === name).length > 1;
  return shared && type === SIGNATURE_TYPE.mldsa44 ? `${label}-mldsa44` : label;
}
