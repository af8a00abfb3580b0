// Runs `cairn` as its operators do: a process with an environment, a data folder, and signals. Every process that a test
// starts ends with the test, by its own id; every folder is removed. What a process wrote is in the failure's message.

import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { inject, onTestFinished } from "vitest";
import { generatePrivateKey, printPrivateKey, privateKeyVkey } from "../../src/core/note-key.ts";
import { printVkey } from "../../src/core/vkey.ts";
import { eventually as waitUntil, within } from "../waiting.ts";
import { bucketAtRest, copyFolder, storeEnv } from "./store.ts";

/** No process of these tests takes longer to start, or to stop, unless it hangs. */
export const PATIENCE_MS = 20_000;

/** What every test log is called. */
export const ORIGIN = "example.com/log";

export type Environment = Readonly<Record<string, string>>;

/** The data of one log: key, database and tiles in a folder of their own. */
export interface Place {
  readonly folder: string;
  readonly keyFile: string;
  readonly vkey: string;
  readonly database: string;
  readonly tiles: string;
  /** What makes `serve` and the other commands work on it. */
  readonly env: Environment;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A command that has ended. */
export interface Ran extends Exit {
  readonly stdout: string;
  readonly stderr: string;
  /** From spawn to exit. */
  readonly ms: number;
}

/** One line of the server's own log. */
export interface LogLine {
  readonly event?: string;
  readonly [member: string]: unknown;
}

export interface Server {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  readonly vkey: string;
  /** Resolves when the process is gone, however it went. */
  readonly exited: Promise<Exit>;
  /** The server's own log so far. */
  log(): readonly LogLine[];
  stdout(): string;
  stderr(): string;
  kill(signal: NodeJS.Signals): void;
  /** SIGTERM, and the exit; fails where that takes longer than `PATIENCE_MS`. */
  stop(): Promise<Exit>;
  /** SIGKILL, and the exit. */
  crash(): Promise<void>;
}

/** The file that `bin.cairn` names. */
export function program(): string {
  return join(inject("cairnPackage"), "dist/cli/main.js");
}

/** An empty folder that is removed after the test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "cairn-e2e-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A key, and where its log will be. Nothing of the log stands yet. */
export async function newPlace(name = ORIGIN): Promise<Place> {
  const folder = await temporaryFolder();
  const key = generatePrivateKey(name, randomBytes(32));
  await writeFile(join(folder, "log.key"), `${printPrivateKey(key)}\n`, { mode: 0o600 });
  return placeAt(folder, printVkey(privateKeyVkey(key)));
}

/** A copy of a place as it stands on the disk: key, database and tiles. */
export async function copyPlace(place: Place): Promise<Place> {
  const folder = await temporaryFolder();
  await copyFolder(place.folder, folder);
  return placeAt(folder, place.vkey);
}

export function placeAt(folder: string, vkey: string): Place {
  const keyFile = join(folder, "log.key");
  const database = join(folder, "log.db");
  const tiles = join(folder, "tiles");
  const env = {
    LOG_PRIVATE_KEY_FILE: keyFile,
    DATABASE_URL: `sqlite:${database}`,
    FS_ROOT: tiles,
    LISTEN_ADDR: "127.0.0.1:0",
    ALLOW_PUBLIC_WRITES: "true",
    CHECKPOINT_INTERVAL: "0.05",
    ...storeEnv(tiles),
  };
  return { folder, keyFile, vkey, database, tiles, env };
}

/** Creates a log in `place` and runs it. */
export function create(place: Place, env: Environment = {}): Promise<Server> {
  return serve(place, { LOG_CREATE: "true", ...env });
}

/** Runs the log in `place`; resolves when it is ready. Fails with what it wrote where it does not start. */
export async function serve(place: Pick<Place, "env">, env: Environment = {}): Promise<Server> {
  const server = await open(place, env);
  await eventually("the log is ready", async () => {
    try {
      return (await fetch(`${server.url}/ready`)).ok;
    } catch (cause) {
      throw new Error(`it does not answer; it wrote:\n${server.stderr()}`, { cause });
    }
  });
  return server;
}

/** As `serve`, but resolves as soon as it listens: it may be starting still, and may never be ready. */
export async function open(place: Pick<Place, "env">, env: Environment = {}): Promise<Server> {
  const child = start([program(), "serve", "--json"], { env: { ...place.env, ...env } });
  return listening(child, () => {
    const [announced] = jsonLines(child.stdout());
    if (typeof announced?.url !== "string") return null;
    return { url: announced.url, vkey: (announced.vkeys as string[])[0] as string };
  });
}

/** A server that is starting, as a server once `find` sees its address in what it wrote. */
export async function listening(
  child: Started,
  find: () => { readonly url: string; readonly vkey: string } | null,
): Promise<Server> {
  const found = await eventually("the server listens", () => {
    if (child.process.exitCode !== null || child.process.signalCode !== null) {
      throw new Error(`it exited with ${child.process.exitCode}: ${child.stdout()}${child.stderr()}`);
    }
    return find();
  });
  const { exited, stdout, stderr } = child;
  const kill = (signal: NodeJS.Signals): void => {
    child.process.kill(signal);
  };
  return {
    ...found,
    port: Number(new URL(found.url).port),
    pid: child.process.pid as number,
    exited,
    stdout,
    stderr,
    log: () => jsonLines(stderr()),
    kill,
    async stop() {
      kill("SIGTERM");
      return within(PATIENCE_MS, () => `exit after SIGTERM; it wrote:\n${stderr()}`, exited);
    },
    async crash() {
      kill("SIGKILL");
      await exited;
      await bucketAtRest();
    },
  };
}

/** Runs a command to its end, in an environment that has nothing but `env` and the path. */
export async function cairn(args: readonly string[], env: Environment = {}): Promise<Ran> {
  return run([program(), ...args], { env });
}

/** Runs a Node script to its end. */
export async function run(argv: readonly string[], options: StartOptions = {}): Promise<Ran> {
  const began = performance.now();
  const child = start(argv, options);
  const exit = await within(
    PATIENCE_MS,
    () => `end of ${argv.join(" ")}; it wrote:\n${child.stdout()}${child.stderr()}`,
    child.exited,
  );
  return { ...exit, stdout: child.stdout(), stderr: child.stderr(), ms: performance.now() - began };
}

export interface StartOptions {
  readonly env?: Environment;
  readonly cwd?: string;
}

export interface Started {
  readonly process: ChildProcess;
  readonly exited: Promise<Exit>;
  stdout(): string;
  stderr(): string;
}

/** Starts Node with `argv`; killed at the end of the test if it still runs. */
export function start(argv: readonly string[], { env = {}, cwd }: StartOptions = {}): Started {
  const child = spawn(process.execPath, argv, {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    ...(cwd === undefined ? {} : { cwd }),
  });
  const output = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output.stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    output.stderr += text;
  });
  // `close` and not `exit`: by then everything that it wrote has been read.
  const exited = once(child, "close").then(([code, signal]): Exit => ({ code, signal }));
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await exited;
  });
  return { process: child, exited, stdout: () => output.stdout, stderr: () => output.stderr };
}

/** How far the log in `place` has come, read from its database beside the server. */
export interface Progress {
  /** Every full tile and bundle up to here is synced. */
  readonly synced: number;
  /** The first entry that the database still holds. */
  readonly firstRetained: number;
}

export function progress(place: Pick<Place, "database">): Progress {
  const database = new Database(place.database, { readonly: true });
  try {
    return database
      .prepare<[], Progress>(
        "SELECT synced_size AS synced, (SELECT min(first) FROM entry_rows) AS firstRetained FROM heads",
      )
      .get() as Progress;
  } finally {
    database.close();
  }
}

/** As waiting.ts, with these tests' patience where none is given. */
export function eventually<T>(
  what: string,
  look: () => T | null | false | Promise<T | null | false>,
  patienceMs = PATIENCE_MS,
): Promise<T> {
  return waitUntil(what, look, patienceMs);
}

function jsonLines(text: string): LogLine[] {
  return text
    .split(/(?<=\n)/)
    .filter((line) => line.startsWith("{") && line.endsWith("\n"))
    .map((line) => JSON.parse(line) as LogLine);
}
