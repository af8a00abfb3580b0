// The log under test: `cairn serve` in a process of its own, on loopback and a data folder of its own, with the product's
// own settings.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { CairnError } from "../../core/errors.ts";
import { SIGNATURE_TYPE } from "../../core/vkey.ts";
import type { LogStatus } from "../../log/api.ts";
import { createKeyFile } from "../key-file.ts";
import { modulePath, nodeArguments } from "./child.ts";

const ORIGIN = "localhost/cairn-bench";
const HOST = "127.0.0.1";
/** How long a start, and a stop, may take. */
const START_MS = 30_000;
const STOP_MS = 60_000;
const READY_POLL_MS = 10;
const REMEMBERED_LINES = 5;
/** Nothing else of the environment reaches the log: its settings are the defaults. */
const PASSED_ON = ["PATH", "HOME", "TMPDIR", "NODE_OPTIONS"];

type Environment = Readonly<Record<string, string | undefined>>;

/** What /ready says, as far as it is used here. */
export interface Progress {
  readonly nextIndex: LogStatus["nextIndex"];
  readonly integratedSize: LogStatus["integratedSize"];
  readonly publishedSize: LogStatus["publishedSize"];
}

export class Server {
  readonly host = HOST;
  readonly port: number;
  readonly pid: number;
  readonly vkey: string;
  /** FS_ROOT. */
  readonly tiles: string;
  readonly #process: ChildProcess;
  readonly #errors: string[];

  /** Creates a log in `folder`, which exists, and waits until it takes entries. `settings` are variables of its own. */
  static async start(folder: string, environment: Environment, settings: Environment = {}): Promise<Server> {
    const keyFile = join(folder, "key");
    await createKeyFile(keyFile, ORIGIN, SIGNATURE_TYPE.ed25519);
    const child = spawn(process.execPath, [...nodeArguments(), modulePath("../main"), "serve", "--json"], {
      env: {
        ...Object.fromEntries(PASSED_ON.map((name) => [name, environment[name]])),
        LISTEN_ADDR: `${HOST}:0`,
        LOG_PRIVATE_KEY_FILE: keyFile,
        LOG_CREATE: "true",
        ALLOW_PUBLIC_WRITES: "true",
        DATABASE_URL: `sqlite:${join(folder, "log.db")}`,
        FS_ROOT: join(folder, "tiles"),
        LOG_LEVEL: "warn",
        ...settings,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const errors: string[] = [];
    createInterface({ input: child.stderr }).on("line", (line) => {
      errors.push(line);
      if (errors.length > REMEMBERED_LINES) errors.shift();
    });
    const late = AbortSignal.timeout(START_MS);
    const lines = createInterface({ input: child.stdout });
    try {
      const [line] = (await Promise.race([
        once(lines, "line", { signal: late }),
        once(child, "close", { signal: late }).then(() => []),
      ])) as string[];
      const { url, vkeys } = JSON.parse(line ?? "{}") as { url?: string; vkeys?: readonly string[] };
      const vkey = vkeys?.[0];
      if (url === undefined || vkey === undefined || child.pid === undefined) throw new Error("no address");
      const port = Number(new URL(url).port);
      const server = new Server(child, errors, port, child.pid, vkey, join(folder, "tiles"));
      // It listens before it takes entries: until then they are refused with `starting`.
      while (!(await server.#isReady(late))) await sleep(READY_POLL_MS);
      return server;
    } catch (cause) {
      child.kill("SIGKILL");
      const said = errors.length === 0 ? String(cause) : errors.join("; ");
      throw new CairnError("bench_failed", { detail: `cairn serve did not start: ${said}`, cause });
    }
  }

  private constructor(
    child: ChildProcess,
    errors: string[],
    port: number,
    pid: number,
    vkey: string,
    tiles: string,
  ) {
    this.#process = child;
    this.#errors = errors;
    this.port = port;
    this.pid = pid;
    this.vkey = vkey;
    this.tiles = tiles;
  }

  get url(): string {
    return `http://${this.host}:${this.port}`;
  }

  async #isReady(signal: AbortSignal): Promise<boolean> {
    const answer = await fetch(`${this.url}/ready`, { signal });
    await answer.arrayBuffer();
    return answer.ok;
  }

  async progress(): Promise<Progress> {
    // A log that is late answers 503 with the same members.
    const answer = await fetch(`${this.url}/ready`);
    const status = (await answer.json()) as Record<string, number | null>;
    const { next_index: nextIndex, integrated_size: integratedSize, published_size: publishedSize } = status;
    if (typeof nextIndex !== "number" || typeof integratedSize !== "number" || publishedSize === undefined) {
      throw new CairnError("bench_failed", {
        detail: `/ready answered ${answer.status} and ${JSON.stringify(status)}`,
      });
    }
    return { nextIndex, integratedSize, publishedSize };
  }

  /** Stops it as an operator would. Throws where it did not stop well. */
  async stop(): Promise<void> {
    const child = this.#process;
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, "exit");
      const late = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
      child.kill("SIGTERM");
      await exited;
      clearTimeout(late);
    }
    if (child.exitCode === 0) return;
    const how = child.signalCode ?? `code ${child.exitCode}`;
    throw new CairnError("bench_failed", {
      detail: `cairn serve ended with ${how}: ${this.#errors.join("; ")}`,
    });
  }

  /** Ends it at once, where the run has failed already. */
  async kill(): Promise<void> {
    const child = this.#process;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  }
}

export interface FsckResult {
  readonly outcome: string;
  readonly entries: number;
  readonly seconds: number;
}

/** Runs `cairn fsck` on a folder of tiles. Throws where it could not check; a difference is in `outcome`. */
export async function runFsck(tiles: string, vkey: string, environment: Environment): Promise<FsckResult> {
  const child = spawn(
    process.execPath,
    [...nodeArguments(), modulePath("../main"), "fsck", tiles, "--vkey", vkey, "--json"],
    {
      env: Object.fromEntries(PASSED_ON.map((name) => [name, environment[name]])),
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  let printed = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    printed += text;
  });
  await once(child, "close");
  try {
    const { outcome, entries, seconds } = JSON.parse(printed) as FsckResult;
    if (outcome !== "clean" && outcome !== "differs") throw new Error(outcome);
    return { outcome, entries, seconds };
  } catch (cause) {
    throw new CairnError("bench_failed", { detail: `cairn fsck: ${printed.trim()}`, cause });
  }
}
