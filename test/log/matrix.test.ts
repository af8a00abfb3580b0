// The fault matrix: every call to store and database fails in every form that can come about, at every position, with
// something after it; each case does what is declared of it, and afterwards everything that must hold does.

import { afterAll, describe, expect, it } from "vitest";
import { FAULT_FORMS, type FaultForm } from "../doubles/faults.ts";
import { NOTHING_IS_MISSING, OPERATIONS, type OperationName } from "./matrix/operations.ts";
import { impossible, outcomeOf } from "./matrix/outcomes.ts";
import { chosenCases, pairsOf, possibleCases } from "./matrix/pairs.ts";
import { type Case, Fixtures, POSITIONS, runCase } from "./matrix/run.ts";

const cases = chosenCases();
const fixtures = new Fixtures();
afterAll(() => fixtures.remove());

describe("the fault matrix", () => {
  it("declares every operation and form: an outcome, or the reason why it cannot be", () => {
    expect(NOTHING_IS_MISSING).toBe(true);
    for (const operation of Object.keys(OPERATIONS) as OperationName[]) {
      for (const form of Object.keys(FAULT_FORMS) as FaultForm[]) {
        const isDeclared = outcomeOf(operation, form) !== null;
        const reason = impossible(operation, form);
        if (isDeclared === (reason !== null)) expect.fail(`${operation}, ${form}: ${reason ?? "no outcome"}`);
      }
    }
  });

  it("runs every pair that can be run", () => {
    const run = new Set(cases.flatMap(pairsOf));
    const missing = possibleCases()
      .flatMap(pairsOf)
      .filter((pair) => !run.has(pair));
    expect(missing).toEqual([]);
  });

  describe.each(Object.keys(OPERATIONS) as OperationName[])("%s", (operation) => {
    for (const each of cases) {
      if (each.operation !== operation) continue;
      it(`${each.form} (${FAULT_FORMS[each.form]}) at ${each.position}; ${each.aftermath}`, async () => {
        const { lied, ...declared } = expected(each);
        expect(await runCase(each, lied ?? false, fixtures)).toEqual(declared);
      });
    }
  });
});

/** What is declared of the cell; where no batch comes there is none to be committed or acknowledged. */
function expected(each: Case): NonNullable<ReturnType<typeof outcomeOf>> {
  const declared = outcomeOf(each.operation, each.form);
  if (declared === null) throw new Error("not declared");
  const position = POSITIONS.find(({ name }) => name === each.position);
  const hasBatch = position !== undefined && position.to > position.from;
  return hasBatch ? declared : { ...declared, progress: "none", receipts: "none" };
}
