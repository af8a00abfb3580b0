// `GET /metrics`: Prometheus text about one log and its server. Figures that change with every request are plain numbers
// added up here and handed over when somebody asks; only what happens a few times a second goes through the library.

import { monitorEventLoopDelay } from "node:perf_hooks";
import type { FastifyInstance } from "fastify";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Log, LogStatus } from "../log/api.ts";
import { send } from "./send.ts";

const COMMIT_SECONDS = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5];
const ROUND_SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const STORAGE_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30];
const LOOP_RESOLUTION_MS = 10;
const NANOSECONDS = 1e9;

/** Seconds of a round's parts, as the log reports them in milliseconds. */
export interface RoundParts {
  readonly integrateMs: number;
  readonly signMs: number;
  readonly witnessMs: number;
  readonly publishMs: number;
}

export class ServerMetrics {
  readonly #registry = new Registry();
  readonly #commitSeconds: Histogram;
  readonly #roundSeconds: Histogram<"part">;
  readonly #storageSeconds: Histogram<"operation" | "outcome">;
  #added = 0;
  #duplicates = 0;
  #commits = 0;
  readonly #refused = new Map<string, number>();
  readonly #loop = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });

  constructor() {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: LOOP_RESOLUTION_MS });
    this.#commitSeconds = new Histogram({
      name: "cairn_commit_seconds",
      help: "Group commits: from the row handed to the database until it is durable.",
      buckets: COMMIT_SECONDS,
      registers,
    });
    this.#roundSeconds = new Histogram({
      name: "cairn_round_seconds",
      help: "Parts of a publication round.",
      labelNames: ["part"],
      buckets: ROUND_SECONDS,
      registers,
    });
    this.#storageSeconds = new Histogram({
      name: "cairn_storage_seconds",
      help: "Storage operations by kind and outcome.",
      labelNames: ["operation", "outcome"],
      buckets: STORAGE_SECONDS,
      registers,
    });
    counter(registers, "cairn_adds_total", "Submitted entries by outcome.", "outcome", () => [
      ["added", this.#added],
      ["duplicate", this.#duplicates],
    ]);
    counter(registers, "cairn_commits_total", "Group commits.", null, () => [["", this.#commits]]);
    counter(
      registers,
      "cairn_refused_total",
      "Refused requests, and refused entries of batches, by error code.",
      "code",
      () => [...this.#refused],
    );
    this.#loop.enable();
  }

  /** A group commit: entries that became new rows, further waiters for the same bytes, and its time. */
  committed(entries: number, duplicates: number, ms: number): void {
    this.#added += entries;
    this.#duplicates += duplicates;
    this.#commits++;
    this.#commitSeconds.observe(ms / 1000);
  }

  /** An entry that stood in the log already. */
  duplicate(): void {
    this.#duplicates++;
  }

  refused(code: string): void {
    this.#refused.set(code, (this.#refused.get(code) ?? 0) + 1);
  }

  round(parts: RoundParts): void {
    this.#roundSeconds.observe({ part: "integrate" }, parts.integrateMs / 1000);
    this.#roundSeconds.observe({ part: "sign" }, parts.signMs / 1000);
    this.#roundSeconds.observe({ part: "witness" }, parts.witnessMs / 1000);
    this.#roundSeconds.observe({ part: "publish" }, parts.publishMs / 1000);
  }

  /** A storage operation; outcomes are `ok`, `absent`, `refused`, `not_applied` and `unknown`. */
  storage(operation: string, outcome: string, ms: number): void {
    this.#storageSeconds.observe({ operation, outcome }, ms / 1000);
  }

  /** Shows how `log` stands. Once for each instance. */
  watch(log: Log): void {
    const registers = [this.#registry];
    const status = (read: (status: LogStatus) => number | null) => (): number | null => read(log.status());
    gauge(
      registers,
      "cairn_next_index",
      "One past the newest acknowledged entry.",
      status((s) => s.nextIndex),
    );
    gauge(
      registers,
      "cairn_integrated_size",
      "Size of the newest signed tree.",
      status((s) => s.integratedSize),
    );
    gauge(
      registers,
      "cairn_published_size",
      "Size of the published tree.",
      status((s) => s.publishedSize),
    );
    gauge(
      registers,
      "cairn_checkpoint_age_seconds",
      "Time since the newest publication.",
      status((s) => s.checkpointAgeSeconds),
    );
    gauge(
      registers,
      "cairn_queue_entries",
      "Entries that wait for a commit.",
      status((s) => s.queuedEntries),
    );
    gauge(
      registers,
      "cairn_backlog_bytes",
      "Bytes of acknowledged entries that wait for publication.",
      status((s) => s.backlogBytes),
    );
    gauge(
      registers,
      "cairn_ready",
      "1 where /ready answers 200.",
      status((s) => (s.ready ? 1 : 0)),
    );
    gauge(
      registers,
      "cairn_event_loop_delay_max_seconds",
      "The longest delay of the event loop since the last scrape.",
      () => {
        const max = this.#loop.max / NANOSECONDS;
        this.#loop.reset();
        return Number.isFinite(max) ? Math.max(0, max - LOOP_RESOLUTION_MS / 1000) : 0;
      },
    );
    new Gauge({
      name: "cairn_witness_up",
      help: "1 where the witness cosigned when it was last asked.",
      labelNames: ["witness", "state"],
      registers,
      collect() {
        this.reset();
        for (const { name, state } of log.status().witnesses) {
          this.set({ witness: name, state }, state === "ok" ? 1 : 0);
        }
      },
    });
  }

  async text(): Promise<{ readonly type: string; readonly body: string }> {
    return { type: this.#registry.contentType, body: await this.#registry.metrics() };
  }

  close(): void {
    this.#loop.disable();
    this.#registry.clear();
  }
}

/** `GET /metrics`. */
export function metricsRoute(app: FastifyInstance, metrics: ServerMetrics): void {
  app.get("/metrics", async (_request, reply) => {
    const { type, body } = await metrics.text();
    reply.hijack();
    send(reply.raw, 200, ["Content-Type", type, "Cache-Control", "no-store"], body);
  });
}

/** A counter whose values are kept elsewhere and read when it is scraped. */
function counter(
  registers: Registry[],
  name: string,
  help: string,
  label: string | null,
  values: () => readonly (readonly [string, number])[],
): void {
  new Counter({
    name,
    help,
    labelNames: label === null ? [] : [label],
    registers,
    collect() {
      this.reset();
      for (const [value, count] of values()) {
        if (label === null) this.inc(count);
        else this.inc({ [label]: value }, count);
      }
    },
  });
}

/** A gauge that is read when it is scraped; absent where it is null. */
function gauge(registers: Registry[], name: string, help: string, value: () => number | null): void {
  new Gauge({
    name,
    help,
    registers,
    collect() {
      const now = value();
      if (now === null) this.remove();
      else this.set(now);
    },
  });
}
