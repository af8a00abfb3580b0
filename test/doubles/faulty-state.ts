// Wraps any state and lets chosen calls fail in the forms of the fault matrix (faults.ts).

import { type Row, type State, StateError } from "../../src/state/state.ts";
import { damaged, type Fault, FaultPlan } from "./faults.ts";

/** Every method of State that touches the database. */
export type StateOperation = Exclude<keyof State, "location" | "close">;

const READS: readonly StateOperation[] = [
  "identity",
  "snapshot",
  "readRows",
  "readHashes",
  "publishedNote",
  "freeBytes",
  "listSetAside",
  "witnessSizes",
  "bytesFrom",
];

/** Why an operation cannot fail in a form, or null where it can. */
export function impossibleStateFault({ operation, form }: Fault<StateOperation>): string | null {
  const read = READS.includes(operation);
  if (read && ["F2", "F4", "F7"].includes(form)) return "a read applies nothing";
  if (form === "F7" && ["dropRows", "shrink", "markAnchored"].includes(operation)) {
    return "its answer comes from the database";
  }
  if (form === "F8") return "reads see every commit: the connections share one database";
  if (form === "F9" && operation !== "readRows") return "only rows are read in bulk; SQLite parses the rest";
  if (form === "F10") return "a call between threads is never sent again";
  return null;
}

export class FaultyState {
  readonly faults = new FaultPlan<StateOperation>(impossibleStateFault);
  readonly #late: (() => Promise<unknown>)[] = [];
  /** The state to hand to whoever is tested. */
  readonly state: State;

  constructor(inner: State) {
    this.state = new Proxy(inner, {
      get: (target, name: keyof State) => {
        if (name === "location") return target.location;
        const member: unknown = target[name];
        // A promise that resolves with this state asks for its `then`.
        if (typeof member !== "function") return member;
        const method = (member as (...args: unknown[]) => Promise<unknown>).bind(target);
        if (name === "close") return method;
        return (...args: unknown[]) => this.#call(name, args, () => method(...args));
      },
    });
  }

  /** Applies what F4 held back. */
  async applyLate(): Promise<void> {
    for (const apply of this.#late.splice(0)) await apply().catch(() => {});
  }

  async #call(operation: StateOperation, args: unknown[], apply: () => Promise<unknown>): Promise<unknown> {
    const fault = this.faults.next(operation, operation);
    switch (fault?.form) {
      case undefined:
      case "F8":
      case "F10":
        return apply();
      case "F1":
        throw failure(operation, fault.reported ?? "unknown", fault.noSpace ?? false);
      case "F2":
        await apply();
        throw failure(operation, "unknown", false);
      case "F3":
        return this.faults.hang();
      case "F4":
        this.#late.push(apply);
        throw failure(operation, "unknown", false);
      case "F5":
        throw this.faults.kill();
      case "F6":
        await apply();
        throw this.faults.kill();
      case "F7":
        // A commit gives its row back; the other writes give nothing.
        return operation === "commit" ? args[0] : undefined;
      case "F9": {
        const rows = (await apply()) as Row[];
        return rows.map((row) => ({ ...row, bytes: damaged(row.bytes, fault.damage ?? "flip") }));
      }
    }
  }
}

function failure(operation: string, outcome: "not_applied" | "unknown", noSpace: boolean): StateError {
  return new StateError(`injected fault in ${operation}`, { outcome, noSpace });
}
