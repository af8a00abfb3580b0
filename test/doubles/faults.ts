// What the faulty doubles share: which call fails and how. The forms are those of the project's fault matrix.

/** The forms of a fault, each as its caller meets it. */
export const FAULT_FORMS = {
  F1: "an error, and nothing was applied",
  F2: "an error, though it was applied",
  F3: "never returns",
  F4: "an error, and applied late: after a later write to the same key, or when the test says so",
  F5: "the process is killed just before",
  F6: "the process is killed just after",
  F7: "success is reported, and nothing was applied",
  F8: "a stale read: what stood there before the newest write",
  F9: "a truncated or bit-flipped read",
  F10: "applied, the response lost, sent again, and refused because of what the first one wrote",
} as const;

export type FaultForm = keyof typeof FAULT_FORMS;

export interface Fault<Operation extends string> {
  readonly form: FaultForm;
  readonly operation: Operation;
  /** Which keys count; every one where absent. */
  readonly key?: (key: string) => boolean;
  /** The first matching call that fails, from 1 (the default), counted from the injection. */
  readonly nth?: number;
  /** How many calls fail from there on: 1 where absent, Infinity for an outage until `clear`. */
  readonly times?: number;
  /** F1 only: what the error says of itself. `unknown`, the harder one, where absent. */
  readonly reported?: "not_applied" | "unknown";
  /** F1 only: the error says that the disk is full. */
  readonly noSpace?: boolean;
  /** F9 only. `flip` where absent. */
  readonly damage?: "truncate" | "flip";
}

/** The process is dead: every call of a double throws this from then on. */
export class Killed extends Error {
  constructor() {
    super("the process was killed");
  }
}

/** Decides for each call whether it fails. */
export class FaultPlan<Operation extends string> {
  /** The faults that came about, in order. */
  readonly fired: Fault<Operation>[] = [];
  readonly #faults: { readonly fault: Fault<Operation>; seen: number }[] = [];
  readonly #impossible: (fault: Fault<Operation>) => string | null;
  readonly #hung: ((error: Error) => void)[] = [];
  #killed = false;

  /** `impossible` gives the reason why an operation cannot fail in a form, or null. */
  constructor(impossible: (fault: Fault<Operation>) => string | null) {
    this.#impossible = impossible;
  }

  inject(fault: Fault<Operation>): void {
    const reason = this.#impossible(fault);
    if (reason !== null) throw new Error(`${fault.operation} cannot meet ${fault.form}: ${reason}`);
    this.#faults.push({ fault, seen: 0 });
  }

  /** Ends every fault; calls that hang go on hanging. */
  clear(): void {
    this.#faults.length = 0;
  }

  get killed(): boolean {
    return this.#killed;
  }

  kill(): Killed {
    this.#killed = true;
    return new Killed();
  }

  /** The next process: no longer dead, no fault left. */
  revive(): void {
    this.#killed = false;
    this.clear();
  }

  /** The fault that this call meets, if any. Throws where the process is dead. */
  next(operation: Operation, key: string): Fault<Operation> | null {
    if (this.#killed) throw new Killed();
    let met: Fault<Operation> | null = null;
    for (const each of this.#faults) {
      const { fault } = each;
      if (fault.operation !== operation || fault.key?.(key) === false) continue;
      each.seen++;
      const from = fault.nth ?? 1;
      if (each.seen >= from && each.seen < from + (fault.times ?? 1)) met ??= fault;
    }
    if (met !== null) this.fired.push(met);
    return met;
  }

  get hanging(): number {
    return this.#hung.length;
  }

  /** A promise that stays open until `releaseHung`. */
  hang(): Promise<never> {
    return new Promise((_resolve, reject) => this.#hung.push(reject));
  }

  /** Ends every call that hangs, with an error, so that a test leaves nothing open. */
  releaseHung(error: Error = new Error("released")): void {
    for (const reject of this.#hung.splice(0)) reject(error);
  }
}

/** Bytes as a damaged disk gives them back. */
export function damaged(bytes: Uint8Array, how: "truncate" | "flip"): Uint8Array {
  if (how === "truncate") return bytes.slice(0, Math.floor(bytes.length / 2));
  const copy = bytes.slice();
  const middle = Math.floor(copy.length / 2);
  if (middle < copy.length) copy[middle] = (copy[middle] as number) ^ 1;
  return copy;
}
