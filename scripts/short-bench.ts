// A short bench of a log that runs already, whoever started it: the load generator and the check of `cairn bench`, without its
// ceilings. Every entry that was acknowledged is read back from the published bundles at its index.

import { randomBytes } from "node:crypto";
import { Acknowledged } from "../src/cli/bench/acknowledged.ts";
import { Child } from "../src/cli/bench/child.ts";
import { ENTRY_BYTES } from "../src/cli/bench/entries.ts";
import type { GeneratorMethods } from "../src/cli/bench/generator.ts";
import { latencies } from "../src/cli/bench/statistics.ts";
import { processIo } from "../src/cli/process-io.ts";
import { httpTileSource } from "../src/client/http-log.ts";

/** How long what was acknowledged may take to be published. */
const PUBLISHED_MS = 30_000;
const POLL_MS = 50;

export interface ShortLoad {
  /** Null: single adds. */
  readonly batch: number | null;
  readonly connections: number;
  readonly seconds: number;
  /** The load ends after so many, if that is sooner. */
  readonly requests: number;
}

/** Puts the load on the log at `port` of this machine and answers one line of figures. Throws where anything is wrong. */
export async function shortBench(
  port: number,
  { batch, connections, seconds, requests }: ShortLoad,
): Promise<string> {
  const host = "127.0.0.1";
  const url = `http://${host}:${port}`;
  const noise = new Uint8Array(randomBytes(ENTRY_BYTES));
  const generator = new Child<GeneratorMethods>("generator");
  try {
    const result = await generator.call("run", {
      host,
      port,
      path: batch === null ? "/add" : "/add-batch",
      connections,
      subject:
        batch === null ? { kind: "entry", noise, first: 0 } : { kind: "batch", noise, first: 0, size: batch },
      seconds,
      requests,
      acknowledges: true,
    });
    if (result.errors > 0)
      throw new Error(`${result.errors} requests failed: ${result.errorSamples.join("; ")}`);
    const acknowledged = new Acknowledged(noise);
    acknowledged.add(result);

    const began = Date.now();
    const size = await published(url);
    const lag = Date.now() - began;
    const tiles = httpTileSource({ ...processIo(), url });
    const check = await acknowledged.check(size, (path) => tiles.get(path));
    if (check.errors > 0 || check.entries === 0) {
      throw new Error(`${check.errors} of ${check.entries} entries are wrong: ${check.examples.join("; ")}`);
    }
    const took = (result.endedAt - result.startedAt) / 1000;
    const { p50, p99 } = latencies(result.latencies);
    const figures = [
      `${Math.round(check.entries / took)} entries/s`,
      `${batch === null ? "single adds" : `batches of ${batch}`} on ${connections} connections`,
      `p50 ${p50.toFixed(1)} ms`,
      `p99 ${p99.toFixed(1)} ms`,
      `${check.entries} entries published ${lag} ms later, each at its index`,
    ];
    return figures.join(", ");
  } finally {
    await generator.stop();
  }
}

/** The published size, once everything that was acknowledged is. */
async function published(url: string): Promise<number> {
  for (const end = Date.now() + PUBLISHED_MS; Date.now() < end; ) {
    const status = (await (await fetch(`${url}/ready`)).json()) as Record<string, number | null>;
    if (typeof status.published_size === "number" && status.published_size === status.next_index) {
      return status.published_size;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  throw new Error("not everything was published");
}
