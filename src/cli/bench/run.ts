// What the measures of one run share: the folder, the load generator, the ceilings, and the logs under load.

import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { httpTileSource } from "../../client/http-log.ts";
import type { Io } from "../io.ts";
import type { CeilingMethods } from "./ceilings.ts";
import { Child } from "./child.ts";
import { ENTRY_BYTES } from "./entries.ts";
import type { GeneratorMethods } from "./generator.ts";
import type { Load, LoadResult, Subject } from "./load.ts";
import { LogUnderLoad } from "./log-under-load.ts";
import { Server } from "./server.ts";
import type { BenchSettings } from "./settings.ts";
import type { TableGrowth, TableMethods } from "./table-growth.ts";

const CEILING_HOST = "127.0.0.1";
const ERROR_SAMPLES = 5;

/** How long and how wide a load is; without a bound it is the other one that ends it. */
export interface LoadBounds {
  readonly connections: number;
  readonly seconds?: number;
  readonly requests?: number;
}

export class BenchRun {
  readonly settings: BenchSettings;
  readonly folder: string;
  /** The random bytes that this run's entries are made of. */
  readonly noise = new Uint8Array(randomBytes(ENTRY_BYTES));
  /** Says what is being measured. */
  readonly say: (what: string) => void;
  requestErrors = 0;
  readonly errorSamples: string[] = [];

  readonly #io: Pick<Io, "env" | "fetch" | "clock">;
  readonly #generator = new Child<GeneratorMethods>("generator");
  readonly #ceilings = new Child<CeilingMethods>("ceilings");
  readonly #table = new Child<TableMethods>("table-growth");
  #ceilingPort = 0;
  readonly #servers = new Set<Server>();
  #serverCount = 0;

  static async start(
    settings: BenchSettings,
    io: Pick<Io, "env" | "fetch" | "clock">,
    say: (what: string) => void,
  ): Promise<BenchRun> {
    await mkdir(settings.data, { recursive: true });
    const run = new BenchRun(settings, await mkdtemp(join(settings.data, "cairn-bench-")), io, say);
    try {
      run.#ceilingPort = await run.#ceilings.call("listen", CEILING_HOST);
      return run;
    } catch (error) {
      await run.close();
      throw error;
    }
  }

  private constructor(
    settings: BenchSettings,
    folder: string,
    io: Pick<Io, "env" | "fetch" | "clock">,
    say: (what: string) => void,
  ) {
    this.settings = settings;
    this.folder = folder;
    this.#io = io;
    this.say = say;
  }

  /** Ends every process of the run and removes its folder, unless it is to be kept. */
  async close(): Promise<void> {
    const servers = [...this.#servers].map((server) => server.kill());
    await Promise.all([...servers, this.#generator.stop(), this.#ceilings.stop(), this.#table.stop()]);
    if (!this.settings.keep) await rm(this.folder, { recursive: true, force: true });
  }

  get environment(): Io["env"] {
    return this.#io.env;
  }

  pause(milliseconds: number): Promise<void> {
    return this.#io.clock.sleep(milliseconds);
  }

  now(): number {
    return this.#io.clock.now();
  }

  /** A load on a ceiling's route. */
  async loadCeiling(path: string, subject: Subject, bounds: LoadBounds): Promise<LoadResult> {
    return await this.load({ host: CEILING_HOST, port: this.#ceilingPort, path }, subject, bounds, false);
  }

  async load(
    to: Pick<Load, "host" | "port" | "path">,
    subject: Subject,
    { connections, seconds = Number.POSITIVE_INFINITY, requests = Number.POSITIVE_INFINITY }: LoadBounds,
    acknowledges: boolean,
  ): Promise<LoadResult> {
    const { host, port, path } = to;
    const load = { host, port, path, connections, subject, seconds, requests, acknowledges };
    const result = await this.#generator.call("run", load);
    this.requestErrors += result.errors;
    for (const sample of result.errorSamples) {
      if (this.errorSamples.length < ERROR_SAMPLES) this.errorSamples.push(sample);
    }
    return result;
  }

  /** Milliseconds of each append of 4 KiB with fdatasync. */
  async append(seconds: number): Promise<Float64Array> {
    return await this.#ceilings.call("append", { folder: this.folder, seconds });
  }

  async growTable(entries: number, group: number): Promise<TableGrowth> {
    return await this.#table.call("grow", { folder: this.folder, entries, group });
  }

  /** A new, empty log in a folder of its own; `settings` are variables beside the bench's. */
  async startLog(settings: Io["env"] = {}): Promise<LogUnderLoad> {
    const folder = join(this.folder, `log-${++this.#serverCount}`);
    await mkdir(folder);
    const server = await Server.start(folder, this.environment, settings);
    this.#servers.add(server);
    const tiles = httpTileSource({ url: server.url, fetch: this.#io.fetch, clock: this.#io.clock });
    return new LogUnderLoad(this, server, folder, (path) => tiles.get(path));
  }

  async stopLog(log: LogUnderLoad): Promise<void> {
    await log.server.stop();
    this.#servers.delete(log.server);
  }

  async removeLog(log: LogUnderLoad): Promise<void> {
    if (!this.settings.keep) await rm(log.folder, { recursive: true, force: true });
  }
}
