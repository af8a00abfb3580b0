// `cairn bench`: what this machine can do, what the log does on it, and the ratios between the two, all measured in one run
// with one load generator. At the end every entry that was acknowledged is read back at its index.

import { mergeChecks } from "./bench/acknowledged.ts";
import { measureBatches } from "./bench/batches.ts";
import { describeMachine, type Machine } from "./bench/machine.ts";
import { measureReads } from "./bench/reads.ts";
import { GENERATOR, reportLines } from "./bench/report.ts";
import type { BenchResults, Table } from "./bench/results.ts";
import { BenchRun } from "./bench/run.ts";
import { benchSettings } from "./bench/settings.ts";
import { measureSingleAdds } from "./bench/single-adds.ts";
import { type Target, targets } from "./bench/targets.ts";
import { usageError } from "./args.ts";
import { defineCommand } from "./command.ts";
import { EXIT, type ExitCode } from "./io.ts";

/** The most entries in one commit: BATCH_MAX_SIZE's default. */
const TABLE_GROUP = 10_000;

export const bench = defineCommand(
  {
    name: "bench",
    usage: ["bench [--full] [--data DIR] [--strict]"],
    about: [
      "Measures what this machine can do (a bare HTTP route that holds its answers for 5 ms, a batch whose entries are only hashed, a tile from memory, an append with fdatasync), then a log with its default settings on the same disk, and prints ratios against the targets: absolute figures wander with the machine. Ceiling and log are measured in turn; each turn of the log is divided by the mean of the ceilings before and after it, and the median over turns counts.",
      "Logs run on loopback in a folder of their own that is removed afterwards. Every entry that was acknowledged is read back from the published bundles, and cairn fsck runs on each log of the batches. Takes less than two minutes; with --full, which has the extents that the targets are stated for, about six and 1 GB of disk.",
    ],
    options: {
      data: {
        type: "string",
        value: "DIR",
        about: "Where the data goes: choose the disk that a log would have.",
      },
      keep: { type: "boolean", about: "Leave the data where it is." },
      full: { type: "boolean", about: "A million entries, and a deduplication table of ten million." },
      strict: { type: "boolean", about: "Exit with 1 where a target is missed." },
      turns: { type: "string", value: "N", about: "How often each ratio is measured; default 3." },
      seconds: { type: "string", value: "S", about: "The length of a timed turn; default 2, with --full 5." },
      connections: { type: "string", value: "N", about: "Connections for single adds; default 256." },
      adds: { type: "string", value: "N", about: "Single adds before memory and CPU are read." },
      entries: { type: "string", value: "N", about: "Entries through /add-batch in each turn." },
      batch: { type: "string", value: "N", about: "Entries in a batch; default 1000." },
      table: { type: "string", value: "N", about: "Entries that the deduplication table grows to." },
    },
    exit: [
      "Measured, and every acknowledged entry stands at its index.",
      "An acknowledged entry is missing or wrong, a request failed, or fsck found a difference; with --strict also a missed target.",
      "Could not measure.",
    ],
  },
  async ({ args: { options, positionals }, io, out }) => {
    if (positionals.length > 0) throw usageError(`${positionals[0]} is not expected`);
    const settings = benchSettings(options);
    await requirePackages();
    const started = io.clock.now();
    const run = await BenchRun.start(settings, io, (what) => out.progress(() => what));
    const interrupt = () => void run.close().finally(() => process.exit(EXIT.failed));
    process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
    let machine: Machine;
    let results: BenchResults;
    try {
      machine = await describeMachine(run.folder);
      results = await measure(run);
    } finally {
      process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
      await run.close();
    }
    await out.endProgress();

    const judged = targets(results);
    const { check, requestErrors, errorSamples, ...figures } = results;
    for (const line of reportLines(machine, settings, results, judged)) await out.line(line);
    if (settings.keep) await out.line(`kept       ${run.folder}`);
    await out.value({
      machine,
      generator: GENERATOR,
      settings,
      seconds: (io.clock.now() - started) / 1000,
      ...figures,
      targets: judged,
      check,
      request_errors: requestErrors,
      request_error_samples: errorSamples,
    });
    return verdict(results, judged, options.strict);
  },
);

/** What the exit code says: whether anything was wrong, and with `strict` whether a target was missed. */
export function verdict(
  {
    check,
    requestErrors,
    batches,
  }: Pick<BenchResults, "check" | "requestErrors"> & {
    readonly batches: Pick<BenchResults["batches"], "fsck_differs">;
  },
  judged: readonly Pick<Target, "met">[],
  strict: boolean,
): ExitCode {
  if (check.errors > 0 || requestErrors > 0 || batches.fsck_differs > 0) return EXIT.no;
  return strict && judged.some(({ met }) => met === false) ? EXIT.no : EXIT.ok;
}

/** What the processes of a run need, asked for here: so it is said in a sentence where one is not installed. */
async function requirePackages(): Promise<void> {
  await Promise.all([import("fastify"), import("better-sqlite3")]);
}

async function measure(run: BenchRun): Promise<BenchResults> {
  const log = await run.startLog();
  const singles = await measureSingleAdds(run, log);
  const reads = await measureReads(run, log);
  run.say("reading back what was acknowledged");
  const singlesCheck = await log.check();
  await run.stopLog(log);
  await run.removeLog(log);
  const { batches, checks } = await measureBatches(run);
  return {
    singles,
    reads,
    batches,
    table: await measureTable(run),
    check: mergeChecks([singlesCheck, ...checks]),
    requestErrors: run.requestErrors,
    errorSamples: run.errorSamples,
  };
}

async function measureTable(run: BenchRun): Promise<Table> {
  const entries = run.settings.table;
  run.say(`the deduplication table grows to ${entries} entries`);
  const { longestStallMs, atEntries, longestWithWaitsMs, bytesPerEntry, saves } = await run.growTable(
    entries,
    TABLE_GROUP,
  );
  return {
    entries,
    group: TABLE_GROUP,
    longest_stall_ms: longestStallMs,
    longest_with_waits_ms: longestWithWaitsMs,
    at_entries: atEntries,
    bytes_per_entry: bytesPerEntry,
    saves,
  };
}
