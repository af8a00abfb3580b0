// Which logs a witness knows, and the keys it trusts for each: those given for this run, and those that its database holds.
// A pause, recorded in the database, goes before both. Keys are parsed when a log first asks, so that tens of thousands of
// rarely active logs cost little.

import type { SignaturePrimitives } from "../../core/cosignature.ts";
import { verifierFor } from "../../core/cosignature.ts";
import { CairnError } from "../../core/errors.ts";
import type { NoteVerifier } from "../../core/note.ts";
import { parseVkey } from "../../core/vkey.ts";
import type { WitnessedLog, WitnessState } from "../../state/witness-state.ts";
import type { ListedLog } from "./log-list.ts";

export interface LogCounts {
  readonly active: number;
  readonly paused: number;
}

interface Entry {
  /** Vkeys, each once. */
  keys: readonly string[];
  paused: boolean;
  verifiers: readonly NoteVerifier[] | null;
}

export class KnownLogs {
  readonly #given: ReadonlyMap<string, readonly string[]>;
  readonly #state: Pick<WitnessState, "logs" | "changed">;
  readonly #primitives: SignaturePrimitives;
  #entries = new Map<string, Entry>();

  /** `given`: the logs of this run. Throws `bad_config` where two keys of one log cannot be told apart. */
  constructor(
    given: readonly ListedLog[],
    state: Pick<WitnessState, "logs" | "changed">,
    primitives: SignaturePrimitives,
  ) {
    this.#given = keysByOrigin(given);
    this.#state = state;
    this.#primitives = primitives;
    for (const [origin, keys] of this.#given) checkDistinct(origin, keys);
    this.refresh();
  }

  /** The verifiers of an origin's keys, or null where the log is not known, paused or without a key. */
  trusted(origin: string): readonly NoteVerifier[] | null {
    // Asking costs a few microseconds, and what an operator adds or pauses counts from the next request on.
    if (this.#state.changed()) this.refresh();
    const entry = this.#entries.get(origin);
    if (entry === undefined || entry.paused || entry.keys.length === 0) return null;
    entry.verifiers ??= entry.keys.map((vkey) => verifierFor(parseVkey(vkey), this.#primitives));
    return entry.verifiers;
  }

  /** Reads the database's logs again. */
  refresh(): void {
    const before = this.#entries;
    const entries = new Map<string, Entry>();
    for (const [origin, keys] of this.#given) entries.set(origin, { keys, paused: false, verifiers: null });
    for (const { origin, keys, paused } of this.#state.logs()) {
      const given = this.#given.get(origin) ?? [];
      entries.set(origin, { keys: [...new Set([...given, ...keys])], paused, verifiers: null });
    }
    for (const [origin, entry] of entries) {
      const known = before.get(origin);
      if (known !== undefined && sameKeys(known.keys, entry.keys)) entry.verifiers = known.verifiers;
    }
    this.#entries = entries;
  }

  counts(): LogCounts {
    if (this.#state.changed()) this.refresh();
    let paused = 0;
    for (const entry of this.#entries.values()) if (entry.paused) paused++;
    return { active: this.#entries.size - paused, paused };
  }
}

/** The logs of a list as the database holds them, one an origin with all of its keys. */
export function withAllKeys(listed: readonly ListedLog[]): WitnessedLog[] {
  const logs = new Map<string, WitnessedLog>();
  for (const { origin, vkey, qpd, contact } of listed) {
    const known = logs.get(origin);
    if (known === undefined) logs.set(origin, { origin, keys: [vkey], paused: false, qpd, contact });
    else if (!known.keys.includes(vkey)) logs.set(origin, withKey(known, vkey));
  }
  return [...logs.values()];
}

/** `log` with one more key. Throws `bad_config` where the new key has the name and id of another one. */
export function withKey(log: WitnessedLog, vkey: string): WitnessedLog {
  const keys = [...log.keys, vkey];
  checkDistinct(log.origin, keys);
  return { ...log, keys };
}

/** What a newer list says otherwise of logs that are known: it is not applied, and the operator is told. */
export function differences(
  known: readonly WitnessedLog[],
  listed: readonly WitnessedLog[],
): { readonly origin: string; readonly newKeys: readonly string[] }[] {
  const byOrigin = new Map(known.map((log) => [log.origin, log]));
  return listed.flatMap(({ origin, keys }) => {
    const trusted = byOrigin.get(origin)?.keys ?? keys;
    const newKeys = keys.filter((vkey) => !trusted.includes(vkey));
    return newKeys.length === 0 ? [] : [{ origin, newKeys }];
  });
}

function keysByOrigin(given: readonly ListedLog[]): Map<string, readonly string[]> {
  return new Map(withAllKeys(given).map(({ origin, keys }) => [origin, keys]));
}

// A signature line names its key by name and id: two keys that share both could not be told apart.
function checkDistinct(origin: string, keys: readonly string[]): void {
  const seen = new Set<string>();
  for (const vkey of keys) {
    const { name, keyId } = parseVkey(vkey);
    const identity = `${name} ${keyId}`;
    if (seen.has(identity)) {
      throw new CairnError("bad_config", { detail: `two keys of ${origin} have one name and id: ${vkey}` });
    }
    seen.add(identity);
  }
}

function sameKeys(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((key, i) => key === b[i]);
}
