// Asks a witness, by URL or by the command that starts it, every case of test/witness/conformance, and prints what it does
// otherwise than the specification says. Exit: 0 all passed, 1 a MUST failed, 2 it could not be asked.
//
//   node --import tsx scripts/witness-conformance.ts --start -- PROGRAM ARGUMENT...
//   node --import tsx scripts/witness-conformance.ts --print-logs --seed SEED
//   node --import tsx scripts/witness-conformance.ts --url URL --vkey VKEY... --seed SEED

import { randomBytes } from "node:crypto";
import { parseArgs } from "node:util";
import { startTarget, type Target } from "../test/witness/conformance/target.ts";
import { type Outcome, plan, type PlannedCase, runCase } from "../test/witness/conformance/suite.ts";
import { logList } from "../test/witness/conformance/test-log.ts";

const USAGE = `usage:
  --start [OPTIONS] -- PROGRAM ARGUMENT...   start the witness, with these in its arguments:
      {listen}      HOST:PORT               {database}   a file's path, the same after SIGKILL
      {key}         a file with an Ed25519 private key, in Go's note form
      {mldsa-key}   the same of an ML-DSA-44 key
      {logs}        a list of the logs it has to know, in the form logs/v0
      {logs-yaml}   the same for omniwitness
  --print-logs --seed SEED                   print the list of logs that a witness has to know
  --url URL --vkey VKEY... --seed SEED       ask a witness that runs and knows those logs; once a seed
options:
  --monitoring-url URL   the monitoring prefix, where it is not the submission prefix
  --strict               a malformed add-checkpoint has to be answered with 400
  --only TEXT            only cases whose name or group has this text
  --json                 print one JSON object a case
`;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      start: { type: "boolean", default: false },
      "print-logs": { type: "boolean", default: false },
      url: { type: "string" },
      "monitoring-url": { type: "string" },
      vkey: { type: "string", multiple: true, default: [] },
      seed: { type: "string" },
      strict: { type: "boolean", default: false },
      only: { type: "string", default: "" },
      json: { type: "boolean", default: false },
    },
  });
  const { url, strict, only, json } = values;
  const modes = [values.start, values["print-logs"], url !== undefined].filter(Boolean).length;
  const needsSeed = !values.start;
  if (
    modes !== 1 ||
    (values.start && positionals.length === 0) ||
    (needsSeed && values.seed === undefined) ||
    (url !== undefined && values.vkey.length === 0)
  ) {
    process.stderr.write(USAGE);
    return 2;
  }
  const cases = plan(values.seed ?? randomBytes(8).toString("hex"));
  const logs = cases.flatMap((planned) => planned.logs);
  if (values["print-logs"]) {
    process.stdout.write(logList(logs.filter(({ unknown }) => !unknown)));
    return 0;
  }
  const asked = cases.filter(({ group, test }) => `${group} ${test.name}`.includes(only));
  const started = values.start ? await startTarget(positionals, logs) : null;
  const target: Target = started ?? {
    url: trimmed(url as string),
    monitoringUrl: trimmed(values["monitoring-url"] ?? (url as string)),
    vkeys: values.vkey,
    kill: null,
    start: null,
  };
  const failures = { MUST: 0, other: 0 };
  const counts = { passed: 0, skipped: 0, failed: 0 };
  let group = "";
  try {
    for (const planned of asked) {
      const outcome = await runCase(planned, target, { strict });
      counts[outcome.kind]++;
      if (outcome.kind === "failed") failures[planned.test.level === "MUST" ? "MUST" : "other"]++;
      if (json) process.stdout.write(`${JSON.stringify(asJson(planned, outcome))}\n`);
      else {
        if (planned.group !== group) process.stdout.write(`\n${planned.group}\n`);
        process.stdout.write(asText(planned, outcome));
      }
      group = planned.group;
    }
  } finally {
    await started?.close();
  }
  if (!json) {
    const { passed, failed, skipped } = counts;
    process.stdout.write(
      `\n${asked.length} cases: ${passed} passed, ${failed} failed (${failures.MUST} of a MUST), ${skipped} skipped\n`,
    );
  }
  return failures.MUST > 0 ? 1 : 0;
}

function asText({ test }: PlannedCase, outcome: Outcome): string {
  if (outcome.kind === "passed") return `  passed   ${test.name}\n`;
  if (outcome.kind === "skipped") return `  skipped  ${test.name}: ${outcome.reason}\n`;
  const reason = outcome.reason.trim().replaceAll("\n", "\n             ");
  return `  FAILED   ${test.name}\n           ${test.level}, ${test.spec}: ${test.sentence}\n           ${reason}\n`;
}

function asJson({ group, test, logs }: PlannedCase, outcome: Outcome): object {
  const { name, level, spec, sentence } = test;
  return { group, name, level, spec, sentence, origins: logs.map(({ origin }) => origin), ...outcome };
}

function trimmed(url: string): string {
  return url.replace(/\/+$/, "");
}

process.exitCode = await main();
