// All cases, the logs that they play, and running them against a witness one after the other.

import { CaseContext, type ConformanceCase, Skip, type SuiteOptions } from "./case.ts";
import { answers } from "./cases/answers.ts";
import { atomicity } from "./cases/atomicity.ts";
import { consistency } from "./cases/consistency.ts";
import { http } from "./cases/http.ts";
import { monitoring } from "./cases/monitoring.ts";
import { oldSizes } from "./cases/old-size.ts";
import { requestForm } from "./cases/request-form.ts";
import { signatures } from "./cases/signatures.ts";
import { signSubtree } from "./cases/sign-subtree.ts";
import type { Target } from "./target.ts";
import { PLAIN, TestLog } from "./test-log.ts";

/** In the order of the specification, the cases that kill the witness last. */
export const GROUPS: Readonly<Record<string, readonly ConformanceCase[]>> = {
  "add-checkpoint: answers": answers,
  "add-checkpoint: the form of requests": requestForm,
  "add-checkpoint: signatures": signatures,
  "add-checkpoint: old sizes": oldSizes,
  "add-checkpoint: consistency": consistency,
  "sign-subtree": signSubtree,
  monitoring,
  HTTP: http,
  atomicity,
};

export interface PlannedCase {
  readonly group: string;
  readonly test: ConformanceCase;
  readonly logs: readonly TestLog[];
}

export type Outcome =
  | { readonly kind: "passed" }
  | { readonly kind: "skipped"; readonly reason: string }
  | { readonly kind: "failed"; readonly reason: string };

/** Every case with its logs, which follow from the seed: one seed serves for one run against a witness that keeps state. */
export function plan(seed: string): PlannedCase[] {
  let number = 0;
  return Object.entries(GROUPS).flatMap(([group, cases]) =>
    cases.map((test) => ({
      group,
      test,
      logs: (test.logs ?? [PLAIN]).map((shape) => {
        const origin = `conformance.example/${seed}/${number++}`;
        return new TestLog(origin, shape, `${origin} is played by a test`);
      }),
    })),
  );
}

export async function runCase(planned: PlannedCase, target: Target, options: SuiteOptions): Promise<Outcome> {
  const { test, logs } = planned;
  if (test.kills === true && target.kill === null) {
    return { kind: "skipped", reason: "only a witness that was started here is killed" };
  }
  try {
    await test.run(new CaseContext(target, logs, options));
    return { kind: "passed" };
  } catch (error) {
    if (error instanceof Skip) return { kind: "skipped", reason: error.message };
    // The first line says it; assertions go on with a comparison of what may be long.
    const message = error instanceof Error ? error.message : String(error);
    return { kind: "failed", reason: message.split("\n\n")[0] as string };
  }
}
