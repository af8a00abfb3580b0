// Which cases are run: every operation with every form, and of positions and aftermaths so many that each of them meets
// each operation, each form, and each other.

import { FAULT_FORMS, type FaultForm } from "../../doubles/faults.ts";
import { OPERATIONS, type Operation, type OperationName } from "./operations.ts";
import { impossible, outcomeOf } from "./outcomes.ts";
import { AFTERMATHS, type Aftermath, type Case, POSITIONS, type PositionName } from "./run.ts";

/** Positions at which an operation is met: a commit needs an entry, a full tile a bundle that is filled. */
export function positionsOf(name: OperationName): PositionName[] {
  const operation: Operation = OPERATIONS[name];
  return POSITIONS.filter(({ from, to }) => {
    if (operation.phase === "creation") return to === 0;
    return operation.reached?.(from, to) ?? true;
  }).map((position) => position.name);
}

/** The pairs of which every one that is possible is in some case. */
export function pairsOf({ operation, form, position, aftermath }: Case): string[] {
  // A log of 65,536 entries takes ten times as long, and an operation does not know one of the three from another.
  const kind = position.startsWith("65,") ? "65,53x" : position;
  return [
    `${operation} × ${form}`,
    `${operation} × ${kind}`,
    `${form} × ${position}`,
    `${operation} × ${aftermath}`,
    `${form} × ${aftermath}`,
    `${position} × ${aftermath}`,
  ];
}

/** Every case that could be run. */
export function possibleCases(): Case[] {
  const all: Case[] = [];
  for (const operation of Object.keys(OPERATIONS) as OperationName[]) {
    for (const form of Object.keys(FAULT_FORMS) as FaultForm[]) {
      if (impossible(operation, form) !== null) continue;
      for (const position of positionsOf(operation)) {
        for (const aftermath of AFTERMATHS) {
          if (isHopeless(operation, form, aftermath)) continue;
          all.push({ operation, form, position, aftermath });
        }
      }
    }
  }
  return all;
}

/** What a store never took and a lost database held alone is nowhere: the log has ended, as it says. */
function isHopeless(operation: OperationName, form: FaultForm, aftermath: Aftermath): boolean {
  return outcomeOf(operation, form)?.lied === true && aftermath === "restart with an older database";
}

/** The cases to run: greedy, so not the fewest that could do, and the same ones every time. */
export function chosenCases(): Case[] {
  const numbers = new Map<string, number>();
  const all = possibleCases().map((each) => ({
    each,
    pairs: pairsOf(each).map((pair) => {
      const number = numbers.get(pair) ?? numbers.size;
      numbers.set(pair, number);
      return number;
    }),
  }));
  const covered = new Uint8Array(numbers.size);
  const chosen: Case[] = [];
  for (let least = 6; least > 0; ) {
    // All that bring so many new pairs, then those that bring one fewer.
    const before = chosen.length;
    for (const { each, pairs } of all) {
      if (pairs.reduce((sum, pair) => sum + 1 - (covered[pair] as number), 0) < least) continue;
      for (const pair of pairs) covered[pair] = 1;
      chosen.push(each);
    }
    if (chosen.length === before || least > 1) least--;
  }
  return chosen;
}
