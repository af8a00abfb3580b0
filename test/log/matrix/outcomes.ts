// The cells of the fault matrix: what a log does when one of its calls meets a fault, for every operation and every form
// that can come about. Declared by hand, compared with what is observed.

import type { FaultForm } from "../../doubles/faults.ts";
import { impossibleStateFault } from "../../doubles/faulty-state.ts";
import { impossibleStoreFault } from "../../doubles/faulty-store.ts";
import { OPERATIONS, type Operation, type OperationName } from "./operations.ts";

/** What a fault does to a log, in the words of the matrix. */
export interface Outcome {
  /** Whether the batch is in the database afterwards. */
  readonly progress: "none" | "committed";
  /** Whether the process goes on (which it also does while it waits), or ends: by its own decision or by its death. */
  readonly process: "continue" | "stop";
  /** Whether anybody was told that the batch is in. */
  readonly receipts: "none" | "given";
  /** What the next start without faults says, where it does not simply go on. */
  readonly next?: "head_damaged";
  /** The store told a lie about a write, and a checkpoint was public for a while without all of what is under it. */
  readonly lied?: true;
}

/** The fault is waited out, or makes no difference. */
const GOES_ON: Outcome = { progress: "committed", process: "continue", receipts: "given" };
/** What was acknowledged is safe, and the next start decides about the rest. */
const STOPS: Outcome = { progress: "committed", process: "stop", receipts: "given" };
/** The store lied, and the log found out. */
const FINDS_OUT: Outcome = { ...STOPS, lied: true };
/** The store lied, and nothing the log does would show it before a reader comes. */
const IS_FOOLED: Outcome = { ...GOES_ON, lied: true };
/** A process that was killed is dead, whatever it was doing. */
const KILLED = { F5: STOPS, F6: STOPS };

/** Writes that are asked again until their outcome is known. */
const ASKED_AGAIN = { F1: GOES_ON, F2: GOES_ON, F3: GOES_ON, F4: GOES_ON, F10: GOES_ON, ...KILLED };
/** Small writes to the database after the acknowledgement: an unknown outcome ends the process. */
const RECORDED = { F1: STOPS, F2: STOPS, F3: GOES_ON, F4: STOPS, ...KILLED };
/** Reads of the store that are asked again. */
const READ_AGAIN = { F1: GOES_ON, F3: GOES_ON, ...KILLED };
/** Reads of the database, which answers or is broken. */
const READ_ONCE = { F1: STOPS, F3: GOES_ON, ...KILLED };

export const OUTCOMES = {
  "group commit": {
    // Nobody is told before the outcome is known, and an unknown one ends the process.
    F1: { progress: "none", process: "stop", receipts: "none" },
    F2: { progress: "committed", process: "stop", receipts: "none" },
    F3: { progress: "none", process: "continue", receipts: "none" },
    F4: { progress: "none", process: "stop", receipts: "none" },
    F5: { progress: "none", process: "stop", receipts: "none" },
    F6: { progress: "committed", process: "stop", receipts: "none" },
  },
  // A full bundle is read back before its rows go, and the tiles above it are synced by name.
  "full bundle": { ...ASKED_AGAIN, F7: FINDS_OUT },
  "full level-0 tile": { ...ASKED_AGAIN, F7: FINDS_OUT },
  "full upper tile": { ...ASKED_AGAIN, F7: FINDS_OUT },
  "partial bundle": { ...ASKED_AGAIN, F7: IS_FOOLED },
  "partial level-0 tile": { ...ASKED_AGAIN, F7: IS_FOOLED },
  "partial upper tile": { ...ASKED_AGAIN, F7: IS_FOOLED },
  // A head that is not byte for byte ours is somebody else's: better a stop too many than a signature too many.
  "head is read before a round and before publishing": { ...READ_AGAIN, F8: STOPS, F9: STOPS },
  "integrated head is recorded": RECORDED,
  // The lie shows when the head is read before publishing; the database then knows of a signature that is nowhere.
  "signed head": { ...ASKED_AGAIN, F7: { ...STOPS, next: "head_damaged" } },
  "signed head is recorded": RECORDED,
  "published note is recorded": RECORDED,
  "checkpoint is replaced": { ...ASKED_AGAIN, F7: IS_FOOLED },
  // What does not read back as it was made ends the process; the next start writes it anew.
  "bundle is read back": { ...READ_AGAIN, F8: STOPS, F9: STOPS },
  "full objects are synced": { F1: GOES_ON, F2: GOES_ON, F3: GOES_ON, F4: GOES_ON, F7: GOES_ON, ...KILLED },
  "synced size is recorded": RECORDED,
  "rows are dropped": RECORDED,
  "partial objects are listed": READ_AGAIN,
  "partial object is removed": { F1: GOES_ON, F2: GOES_ON, F3: GOES_ON, F4: GOES_ON, F7: GOES_ON, ...KILLED },
  "room inside the database is asked for": { F1: GOES_ON, F3: GOES_ON, ...KILLED },

  // The first start is refused, or waits, and is repeated.
  "head is created": { F1: STOPS, F2: STOPS, F3: GOES_ON, F4: STOPS, F10: GOES_ON, ...KILLED },
  "identity is created": { F1: STOPS, F2: STOPS, F3: GOES_ON, F4: STOPS, ...KILLED },
  "checkpoint is created": { ...ASKED_AGAIN, F7: IS_FOOLED },

  "identity is read": READ_ONCE,
  "state is read": READ_ONCE,
  "hashes of rows are read": READ_ONCE,
  // Damaged rows are not published.
  "rows are read": { ...READ_ONCE, F9: STOPS },
  "waiting bytes are counted": READ_ONCE,
  "sizes of witnesses are read": READ_ONCE,
  // Nothing was written by this process, so a stale read is what stands there; a damaged one is refused.
  "head is read at a start": { ...READ_AGAIN, F8: GOES_ON, F9: STOPS },
  "checkpoint is read at a start": { ...READ_AGAIN, F8: GOES_ON, F9: STOPS },
  "right-edge tile is read": { ...READ_AGAIN, F8: GOES_ON, F9: STOPS },
  "bundle beyond the end is looked for": { ...READ_AGAIN, F8: GOES_ON, F9: GOES_ON },
  "bundles beyond the end are listed": READ_AGAIN,
  "the store is probed": READ_AGAIN,
  // The epoch that was not taken is missed at the first round.
  "the epoch is taken": { ...ASKED_AGAIN, F7: STOPS },
  "an object is mended": { F1: GOES_ON, F2: GOES_ON, F3: GOES_ON, F4: GOES_ON, F7: GOES_ON, ...KILLED },
} as const satisfies Record<OperationName, Partial<Record<FaultForm, Outcome>>>;

/** What is declared of a cell, or null. */
export function outcomeOf(name: OperationName, form: FaultForm): Outcome | null {
  return (OUTCOMES[name] as Partial<Record<FaultForm, Outcome>>)[form] ?? null;
}

/** Why an operation cannot meet a form; null where it can, and then its outcome is declared above. */
export function impossible(name: OperationName, form: FaultForm): string | null {
  const operation: Operation = OPERATIONS[name];
  if (operation.on === "state") {
    if (form === "F7") {
      return "a database that loses a commit loses what came after it too: an older database, which follows every case";
    }
    return impossibleStateFault({ operation: operation.method, form });
  }
  if (name === "head is created" && form === "F7") {
    return "the probe has just read back what it wrote; and nothing is lost with a log that holds nothing";
  }
  return impossibleStoreFault({ operation: operation.method, form });
}
