// What a witness counts, in Prometheus' text form (version 0.0.4). Few and bounded: no series for each log, of which there
// may be tens of thousands.

import type { LogCounts } from "./logs.ts";

export interface Gauges {
  readonly logs: LogCounts;
  /** Origins with a cosigned checkpoint. */
  readonly cosigned: number;
  readonly residentBytes: number;
}

/** Upper bounds of the buckets for a request's time, in seconds. */
const BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1] as const;

export class WitnessMetrics {
  readonly #requests = new Map<string, number>();
  readonly #buckets = BUCKETS.map(() => 0);
  #seconds = 0;
  #timed = 0;
  #inconsistent = 0;

  /** A request was answered. `route` is one of the witness's own names, never what a client sent. */
  answered(route: string, status: number): void {
    const key = `route="${route}",status="${status}"`;
    this.#requests.set(key, (this.#requests.get(key) ?? 0) + 1);
  }

  /** How long checking, recording and signing a checkpoint took. */
  took(seconds: number): void {
    this.#seconds += seconds;
    this.#timed++;
    for (const [i, bound] of BUCKETS.entries()) {
      if (seconds <= bound) this.#buckets[i] = (this.#buckets[i] as number) + 1;
    }
  }

  /** A checkpoint that its log had signed was refused as inconsistent. */
  inconsistent(): void {
    this.#inconsistent++;
  }

  text(gauges: Gauges): string {
    const lines: string[] = [];
    const series = (
      name: string,
      type: string,
      help: string,
      values: readonly (readonly [string, number])[],
    ) => {
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
      for (const [labels, value] of values) lines.push(`${name}${labels} ${value}`);
    };
    series(
      "cairn_witness_requests_total",
      "counter",
      "Answered requests.",
      [...this.#requests]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([labels, count]) => [`{${labels}}`, count]),
    );
    series(
      "cairn_witness_inconsistent_total",
      "counter",
      "Checkpoints signed by their log and refused as inconsistent.",
      [["", this.#inconsistent]],
    );
    series(
      "cairn_witness_add_checkpoint_seconds",
      "histogram",
      "Time to check, sign and record a checkpoint.",
      [
        ...BUCKETS.map((bound, i) => [`_bucket{le="${bound}"}`, this.#buckets[i] as number] as const),
        [`_bucket{le="+Inf"}`, this.#timed],
        ["_sum", this.#seconds],
        ["_count", this.#timed],
      ],
    );
    series("cairn_witness_logs", "gauge", "Logs that are known.", [
      [`{state="active"}`, gauges.logs.active],
      [`{state="paused"}`, gauges.logs.paused],
    ]);
    series("cairn_witness_cosigned_logs", "gauge", "Origins with a cosigned checkpoint.", [
      ["", gauges.cosigned],
    ]);
    series("process_resident_memory_bytes", "gauge", "Memory of the process.", [["", gauges.residentBytes]]);
    return `${lines.join("\n")}\n`;
  }
}
