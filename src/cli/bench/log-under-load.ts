// A log that is being measured: the entries that were sent to it, each with a number of its own, and what it acknowledged.

import { Acknowledged, type AcknowledgedCheck } from "./acknowledged.ts";
import type { LoadResult, Subject } from "./load.ts";
import { cpuSeconds } from "./process-usage.ts";
import type { BenchRun, LoadBounds } from "./run.ts";
import type { Server } from "./server.ts";

/** A settled log uses less than this share of a CPU, seen for so long. */
const IDLE_SHARE = 0.05;
const IDLE_MS = 300;
const SETTLE_MS = 30_000;

export class LogUnderLoad {
  readonly server: Server;
  readonly folder: string;
  readonly #run: BenchRun;
  readonly #get: (path: string) => Promise<Uint8Array | null>;
  readonly #acknowledged: Acknowledged;
  #nextNumber = 0;
  /** When the last add was answered, by the command's clock. */
  lastAddAt = 0;

  constructor(
    run: BenchRun,
    server: Server,
    folder: string,
    get: (path: string) => Promise<Uint8Array | null>,
  ) {
    this.#run = run;
    this.server = server;
    this.folder = folder;
    this.#get = get;
    this.#acknowledged = new Acknowledged(run.noise);
  }

  /** Entries acknowledged so far, all of them new. */
  get entries(): number {
    return this.#acknowledged.entries;
  }

  async add(bounds: LoadBounds): Promise<LoadResult> {
    return await this.#append(
      "/add",
      { kind: "entry", noise: this.#run.noise, first: this.#nextNumber },
      bounds,
    );
  }

  async addBatches(size: number, bounds: LoadBounds): Promise<LoadResult> {
    const subject: Subject = { kind: "batch", noise: this.#run.noise, first: this.#nextNumber, size };
    return await this.#append("/add-batch", subject, bounds);
  }

  async read(paths: readonly string[], bounds: LoadBounds): Promise<LoadResult> {
    return await this.#run.load({ ...this.#address(), path: "" }, { kind: "get", paths }, bounds, false);
  }

  /** Waits until everything is published and the process rests: also what follows a publication is then done. */
  async settle(): Promise<void> {
    const { pid } = this.server;
    const end = this.#run.now() + SETTLE_MS;
    for (;;) {
      const { nextIndex, publishedSize } = await this.server.progress();
      const before = await cpuSeconds(pid);
      await this.#run.pause(IDLE_MS);
      const after = await cpuSeconds(pid);
      const rests = before === null || after === null || after - before < (IDLE_SHARE * IDLE_MS) / 1000;
      if ((nextIndex === publishedSize && rests) || this.#run.now() > end) return;
    }
  }

  /** Compares everything that was acknowledged with the published bundles. */
  async check(): Promise<AcknowledgedCheck> {
    await this.settle();
    const { publishedSize } = await this.server.progress();
    return await this.#acknowledged.check(publishedSize ?? 0, this.#get);
  }

  async #append(path: string, subject: Subject, bounds: LoadBounds): Promise<LoadResult> {
    const result = await this.#run.load({ ...this.#address(), path }, subject, bounds, true);
    this.#acknowledged.add(result);
    // Numbers whose answers failed are not used again: nobody knows what became of them.
    this.#nextNumber = result.next;
    this.lastAddAt = this.#run.now();
    return result;
  }

  #address(): { readonly host: string; readonly port: number } {
    return { host: this.server.host, port: this.server.port };
  }
}
