// A log's data folder and the processes on it: started as operators start them, killed by their own ids.

import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nodeEd25519 } from "../../src/cli/node-ed25519.ts";
import {
  generatePrivateKey,
  noteVerifier,
  printPrivateKey,
  privateKeyVkey,
} from "../../src/core/note-key.ts";
import type { NoteVerifier } from "../../src/core/note.ts";
import { printVkey } from "../../src/core/vkey.ts";
import { eventually as waitUntil, within } from "../waiting.ts";

export const ORIGIN = "example.com/crash";
/** No process here takes longer to start, or to stop, unless it hangs; generous, since tests share machines. */
export const PATIENCE_MS = 60_000;

export type Environment = Readonly<Record<string, string>>;
/** Variables that make a log keep its tiles in a bucket which is the folder `tiles`; none where it is only a folder. */
export type StoreEnv = (tiles: string) => Environment;

/** A process that was started here. */
export class Child {
  readonly process: ChildProcess;
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  #stdout = "";
  #stderr = "";

  constructor(
    argv: readonly string[],
    env: Environment,
    input?: string | Uint8Array,
    command: string = process.execPath,
  ) {
    this.process = spawn(command, argv, {
      env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
      stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    });
    this.process.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.#stdout += text;
    });
    this.process.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr += text;
    });
    if (input !== undefined) {
      // A killed child does not read to the end.
      this.process.stdin?.on("error", () => undefined);
      this.process.stdin?.end(input);
    }
    // `close` and not `exit`: by then everything that it wrote has been read.
    this.exited = once(this.process, "close").then(([code, signal]) => ({ code, signal }));
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  get isRunning(): boolean {
    return this.process.exitCode === null && this.process.signalCode === null;
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    this.process.kill(signal);
    await within(PATIENCE_MS, () => `exit after ${signal}; it wrote:\n${this.output()}`, this.exited);
  }

  output(): string {
    return `${this.#stdout}\n${this.#stderr}`;
  }
}

export class Place {
  readonly folder: string;
  readonly program: string;
  readonly vkey: string;
  readonly verifiers: readonly NoteVerifier[];
  readonly database: string;
  readonly tiles: string;
  readonly env: Environment;
  readonly #children = new Set<Child>();

  private constructor(
    folder: string,
    data: string,
    program: string,
    key: ReturnType<typeof generatePrivateKey>,
    storeEnv: StoreEnv,
  ) {
    this.folder = folder;
    this.program = program;
    this.vkey = printVkey(privateKeyVkey(key));
    this.verifiers = [noteVerifier(privateKeyVkey(key), nodeEd25519)];
    this.database = join(data, "log.db");
    this.tiles = join(data, "tiles");
    this.env = {
      LOG_PRIVATE_KEY_FILE: join(folder, "log.key"),
      DATABASE_URL: `sqlite:${this.database}`,
      FS_ROOT: this.tiles,
      LISTEN_ADDR: "127.0.0.1:0",
      ALLOW_PUBLIC_WRITES: "true",
      CHECKPOINT_INTERVAL: "0.05",
      ...storeEnv(this.tiles),
    };
  }

  /**
   * A new key, and a folder for its log; `data` where the data is to lie elsewhere than beside the key, `storeEnv` where the
   * folder of the tiles is a bucket.
   */
  static async make(program: string, data?: string, storeEnv: StoreEnv = () => ({})): Promise<Place> {
    const folder = await mkdtemp(join(tmpdir(), "cairn-crash-"));
    const key = generatePrivateKey(ORIGIN, randomBytes(32));
    await writeFile(join(folder, "log.key"), `${printPrivateKey(key)}\n`, { mode: 0o600 });
    return new Place(folder, data ?? folder, program, key, storeEnv);
  }

  /** Starts a command of the program. */
  start(args: readonly string[], env: Environment = {}, input?: string | Uint8Array): Child {
    const child = new Child([this.program, ...args], { ...this.env, ...env }, input);
    this.#children.add(child);
    void child.exited.then(() => this.#children.delete(child));
    return child;
  }

  /** Runs a command to its end. */
  async run(
    args: readonly string[],
    env: Environment = {},
    input?: string,
  ): Promise<{ code: number | null; output: string }> {
    const child = this.start(args, env, input);
    const what = () => `end of ${args.join(" ")}; it wrote:\n${child.output()}`;
    const { code } = await within(PATIENCE_MS, what, child.exited);
    return { code, output: child.output() };
  }

  /** Starts the log; resolves with its address once it listens. Fails with what it wrote where it ends before. */
  async serve(env: Environment = {}): Promise<{ readonly child: Child; readonly url: string }> {
    const child = this.start(["serve", "--json"], env);
    return { child, url: await this.listening(child) };
  }

  async listening(child: Child): Promise<string> {
    return eventually("the log listens", () => {
      if (!child.isRunning) throw new Error(`it ended with ${child.process.exitCode}:\n${child.output()}`);
      const line = /^\{"url":"([^"]+)"/m.exec(child.stdout);
      return line?.[1] ?? null;
    });
  }

  /** `cairn fsck` of the folder: throws what it found. */
  async fsck(): Promise<void> {
    const { code, output } = await this.run(["fsck", this.tiles, "--vkey", this.vkey]);
    if (code !== 0) throw new Error(`fsck ended with ${code}:\n${output}`);
  }

  async remove(): Promise<void> {
    for (const child of this.#children) await child.kill();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** As waiting.ts, with these tests' patience. */
export function eventually<T>(
  what: string,
  look: () => T | null | false | Promise<T | null | false>,
): Promise<T> {
  return waitUntil(what, look, PATIENCE_MS);
}
