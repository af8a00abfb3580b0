// The conformance suite on an independent witness: what it does otherwise than the text is exactly what is listed, so that
// neither the list nor the suite can drift. Also shows that the suite is not made to our own measure.

import { afterAll, beforeAll, expect, test } from "vitest";
import { skipUnless } from "../require.ts";
import { OMNIWITNESS_DIFFERENCES } from "./conformance/differences.ts";
import { type Outcome, plan, runCase } from "./conformance/suite.ts";
import { type StartedTarget, startTarget } from "./conformance/target.ts";
import { buildOmniwitness, OMNIWITNESS_BUILD_MS, omniwitnessCommand } from "./peers/omniwitness.ts";

const RUN_MS = 300_000;
const cases = plan("omniwitness");
const built = await buildOmniwitness();
const missing = skipUnless(!("missing" in built), "missing" in built ? built.missing : "");

let target: StartedTarget | null = null;
beforeAll(async () => {
  if ("missing" in built) return;
  const logs = cases.flatMap((planned) => planned.logs);
  target = await startTarget(omniwitnessCommand(built.path, ["key", "mldsa-key"]), logs);
}, OMNIWITNESS_BUILD_MS);
afterAll(async () => await target?.close());

test.skipIf(missing)(
  "omniwitness differs from the text in exactly the cases that are listed",
  async () => {
    const outcomes = new Map<string, Outcome>();
    for (const planned of cases) {
      const name = `${planned.group}: ${planned.test.name}`;
      outcomes.set(name, await runCase(planned, target as StartedTarget, { strict: false }));
    }
    const failed = [...outcomes].filter(([, { kind }]) => kind === "failed").map(([name]) => name);
    expect(failed.sort()).toEqual(OMNIWITNESS_DIFFERENCES.flatMap((difference) => difference.cases).sort());
    const passed = [...outcomes.values()].filter(({ kind }) => kind === "passed").length;
    expect(passed).toBeGreaterThan(100);
  },
  RUN_MS,
);
