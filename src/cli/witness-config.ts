// Which witnesses a log asks, and when their cosignatures are enough: from EXTERNAL_WITNESSES and WITNESS_QUORUM, or from a
// tlog-policy file. Everything that could silently weaken a quorum is refused.

import { CairnError, isCairnError } from "../core/errors.ts";
import { cosignatureVerifier, type SignaturePrimitives } from "../core/cosignature.ts";
import { type Policy, parsePolicy, policyFromQuorum, policySatisfied, printPolicy } from "../core/policy.ts";
import { parseVkey, printVkey, type VerifierKey } from "../core/vkey.ts";
import type { WitnessPeer } from "../witness/client/quorum.ts";

/** What the variables say, each as its own text; undefined: not set. */
export interface WitnessSettings {
  readonly externalWitnesses: string | undefined;
  readonly quorum: number | undefined;
  /** The bytes of the file that WITNESS_POLICY names. */
  readonly policyFile: Uint8Array | undefined;
  readonly ignore: string | undefined;
  readonly monitorUrls: string | undefined;
  readonly surplusWaitMs: number;
}

export interface WitnessConfig {
  readonly policy: Policy;
  readonly peers: readonly WitnessPeer[];
  readonly ignored: ReadonlySet<string>;
  readonly surplusWaitMs: number;
}

/** A label, a URL, and a verifier key, joined by "=": cut at the first one and at the one before the key. */
const EXTERNAL_WITNESS = /^([^=]+)=(.+)=([^=+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]+={0,2})$/;
const NAME_AND_URL = /^([^=]+)=(.+)$/;

/** Null where no witness is configured. Throws `bad_config` or `bad_policy`, naming the variable. */
export function readWitnesses(
  settings: WitnessSettings,
  logKeys: readonly VerifierKey[],
  primitives: SignaturePrimitives,
): WitnessConfig | null {
  const policy = readPolicy(settings, logKeys);
  if (policy === null) {
    for (const [name, value] of [
      ["WITNESS_QUORUM", settings.quorum],
      ["WITNESS_IGNORE", settings.ignore],
      ["WITNESS_MONITOR_URLS", settings.monitorUrls],
    ] as const) {
      if (value !== undefined) throw problem(`${name} is set, and no witness is`);
    }
    return null;
  }
  const names = new Set(policy.witnesses.map(({ name }) => name));
  const ignored = new Set(list(settings.ignore));
  for (const name of ignored)
    if (!names.has(name)) throw problem(`WITNESS_IGNORE names ${name}, which is no witness`);
  const monitors = readMonitors(settings.monitorUrls, names);
  const peers = policy.witnesses.flatMap(({ name, key, url }): WitnessPeer[] => {
    if (url === undefined) return [];
    checkUrl(url, name);
    const verifier = cosignatureVerifier(key, primitives);
    return [{ name, url, monitorUrl: monitors.get(name) ?? null, verifier }];
  });
  if (!policySatisfied(policy, new Set(peers.map(({ name }) => name)))) {
    throw problem("WITNESS_POLICY: the witnesses that have a URL can never meet its quorum");
  }
  return { policy, peers, ignored, surplusWaitMs: settings.surplusWaitMs };
}

function readPolicy(settings: WitnessSettings, logKeys: readonly VerifierKey[]): Policy | null {
  const { externalWitnesses, quorum, policyFile } = settings;
  const logs = logKeys.map((key) => ({ key }));
  if (policyFile !== undefined) {
    if (externalWitnesses !== undefined || quorum !== undefined) {
      throw problem("WITNESS_POLICY says all of it: leave EXTERNAL_WITNESSES and WITNESS_QUORUM unset");
    }
    const policy = parsePolicy(policyFile);
    if (policy.logs.length > 0) {
      const listed = new Set(policy.logs.map(({ key }) => printVkey(key)));
      const missing = logKeys.find((key) => !listed.has(printVkey(key)));
      if (missing !== undefined) throw problem(`WITNESS_POLICY lists logs, and not ${printVkey(missing)}`);
    }
    return { ...policy, logs };
  }
  if (externalWitnesses === undefined) return null;
  const witnesses = list(externalWitnesses).map((item) => {
    const match = EXTERNAL_WITNESS.exec(item);
    if (match === null)
      throw problem(`EXTERNAL_WITNESSES: ${withoutSecrets(item)} does not read name=url=vkey`);
    const [, name = "", url = "", vkey = ""] = match;
    return { name, key: readVkey(vkey, name), url };
  });
  if (quorum !== undefined && (quorum < 1 || quorum > witnesses.length)) {
    throw problem(`WITNESS_QUORUM is 1 to ${witnesses.length}, the number of witnesses`);
  }
  try {
    const policy = policyFromQuorum(witnesses, quorum ?? witnesses.length, logs);
    // What /log.json hands out must read back.
    return parsePolicy(printPolicy(policy));
  } catch (cause) {
    if (!isCairnError(cause, "bad_policy") && !isCairnError(cause, "bad_vkey")) throw cause;
    throw problem(`EXTERNAL_WITNESSES: ${cause.detail ?? cause.message}`);
  }
}

function readVkey(text: string, name: string): VerifierKey {
  try {
    return parseVkey(text);
  } catch (cause) {
    if (!isCairnError(cause)) throw cause;
    throw problem(`EXTERNAL_WITNESSES: the key of ${name}: ${cause.message}`);
  }
}

function readMonitors(text: string | undefined, names: ReadonlySet<string>): Map<string, string> {
  const monitors = new Map<string, string>();
  for (const item of list(text)) {
    const [, name = "", url = ""] = NAME_AND_URL.exec(item) ?? [];
    if (name === "") throw problem(`WITNESS_MONITOR_URLS: ${withoutSecrets(item)} does not read name=url`);
    if (!names.has(name)) throw problem(`WITNESS_MONITOR_URLS names ${name}, which is no witness`);
    if (monitors.has(name)) throw problem(`WITNESS_MONITOR_URLS names ${name} twice`);
    checkUrl(url, name);
    monitors.set(name, url);
  }
  return monitors;
}

function checkUrl(url: string, name: string): void {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (
    parsed === null ||
    !["http:", "https:"].includes(parsed.protocol) ||
    // Given out with the policy, and no request could be sent to it.
    parsed.username !== "" ||
    parsed.password !== "" ||
    parsed.search !== "" ||
    parsed.hash !== ""
  ) {
    throw problem(`the URL of witness ${name} is not an http or https prefix: ${withoutSecrets(url)}`);
  }
}

/** A text in which somebody may have written a URL with a password, or a private key for a verifier key. */
function withoutSecrets(text: string): string {
  return text
    .replaceAll(/\/\/.*@/gs, "//…@")
    .replaceAll(/[?#].*/gs, "?…")
    .replaceAll(/(PRIVATE\+KEY\+)\S*/g, "$1…");
}

function list(text: string | undefined): string[] {
  return (text ?? "")
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}

function problem(detail: string): CairnError {
  return new CairnError("bad_config", { detail });
}
