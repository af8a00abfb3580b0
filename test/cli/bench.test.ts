import { readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { bench } from "../../src/cli/bench.ts";
import { processIo } from "../../src/cli/process-io.ts";
import { temporaryFolder } from "./test-io.ts";

const RUN_MS = 120_000;

/** Numbers as "number", so that the shape of two runs is the same. */
function shape(value: unknown): unknown {
  if (Array.isArray(value)) return value.length === 0 ? [] : [shape(value[0])];
  if (value === null || typeof value !== "object") return typeof value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, shape(member)]));
}

const LATENCY = { count: "number", p50_ms: "number", p95_ms: "number", p99_ms: "number", max_ms: "number" };
const RATE = { per_second: "number", turns: ["number"] };
const RATIO = { ratio: "number", turns: ["number"] };

async function run(argv: readonly string[]): Promise<{ exit: number; stdout: string; stderr: string }> {
  const printed = { stdout: "", stderr: "" };
  const stream = (name: keyof typeof printed) => ({
    isTerminal: false,
    write: async (data: string | Uint8Array) => {
      printed[name] += Buffer.from(data as Uint8Array).toString();
    },
  });
  const exit = await bench.run(argv, { ...processIo(), stdout: stream("stdout"), stderr: stream("stderr") });
  return { exit, ...printed };
}

test(
  "a small run measures everything, finds every acknowledged entry and leaves nothing behind",
  async () => {
    const data = temporaryFolder();
    const extents = ["--turns", "1", "--seconds", "0.2", "--connections", "8", "--adds", "400"];
    const more = ["--entries", "600", "--batch", "200", "--table", "30000"];
    const { exit, stdout, stderr } = await run(["--json", "--data", data, ...extents, ...more]);
    expect(stderr).toBe("");
    const result = JSON.parse(stdout);
    expect(shape(result)).toMatchObject({
      machine: { cpus: "number", cpu: "string", node: "string", data_in_memory: "boolean" },
      generator: "string",
      settings: { connections: "number", turns: "number", adds: "number", entries: "number" },
      singles: {
        append_fdatasync: LATENCY,
        lone: LATENCY,
        held_ceiling: RATE,
        adds: RATE,
        latency: LATENCY,
        to_ceiling: RATIO,
        integration_lag: LATENCY,
        publication_lag: LATENCY,
        cpu: { window: "number", small_at_entries: "number", large_at_entries: "number" },
        resident: { after_entries: "number", seconds_after: "number" },
      },
      reads: {
        tile_ceiling: RATE,
        tiles: RATE,
        tile_latency: LATENCY,
        tiles_to_ceiling: RATIO,
        checkpoint: RATE,
        proofs: RATE,
        proof_latency: LATENCY,
      },
      batches: {
        hashed_ceiling: RATE,
        acknowledged: RATE,
        published: RATE,
        latency: LATENCY,
        acknowledged_to_ceiling: RATIO,
        published_to_ceiling: RATIO,
        fsck: RATE,
        fsck_differs: "number",
      },
      table: { longest_stall_ms: "number", longest_with_waits_ms: "number", bytes_per_entry: "number" },
      targets: [{ name: "string", value: "number", unit: "string", met: "boolean" }],
      check: { entries: "number", errors: "number", examples: [] },
      request_errors: "number",
      request_error_samples: [],
    });
    expect(result.targets).toHaveLength(10);
    expect(result.check.entries).toBe(result.singles.resident.after_entries + 600);
    expect([result.check.errors, result.request_errors, result.batches.fsck_differs]).toEqual([0, 0, 0]);
    expect(exit).toBe(0);
    expect(readdirSync(data)).toEqual([]);
  },
  RUN_MS,
);

test("a folder that cannot be made ends the run in words, before anything is measured", async () => {
  const { exit, stdout } = await run(["--json", "--data", `${import.meta.filename}/data`]);
  expect(exit).toBe(2);
  expect(JSON.parse(stdout).error).toMatchObject({
    code: "file_unreadable",
    message: expect.stringContaining("a file stands where a folder should be"),
  });
});
