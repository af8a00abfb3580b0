// A witness under test: where it listens, which keys it should sign with, and, where it was started here, its process.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../free-port.ts";
import { cosignatureVkey } from "../../../src/core/cosignature.ts";
import { generatePrivateKey, printPrivateKey } from "../../../src/core/note-key.ts";
import { printVkey, SIGNATURE_TYPE } from "../../../src/core/vkey.ts";
import { logList, logYaml, sha256, type TestLog } from "./test-log.ts";

export interface Target {
  /** The submission prefix, without a final slash. */
  readonly url: string;
  /** The monitoring prefix, likewise. */
  readonly monitoringUrl: string;
  /** Its cosignature keys. */
  readonly vkeys: readonly string[];
  /** Kills it with SIGKILL at once; null where it was not started here. */
  readonly kill: (() => void) | null;
  /** Starts it again after `kill`, on the same state; null likewise. */
  readonly start: (() => Promise<void>) | null;
}

/**
 * How to start a witness. In each argument `{listen}` stands for HOST:PORT, `{database}` for a file's path, `{key}` and
 * `{mldsa-key}` for files with a private key in Go's note form, `{logs}` for a list of logs (logs/v0) and `{logs-yaml}` for the
 * same in omniwitness' form. Which keys it should sign with follows from which of the two are named.
 */
export type StartCommand = readonly string[];

export interface StartedTarget extends Target {
  /** What the process wrote, for whoever looks into a failure. */
  output(): string;
  /** The resident memory of the process in bytes, as Linux counts it. */
  readonly pid: () => number;
  close(): Promise<void>;
}

const START_TIMEOUT_MS = 60_000;
const POLL_MS = 20;
const OUTPUT_KEPT = 64 * 1024;

/** Starts a witness that knows `logs`, its files in a new folder below `parent`, and waits until it takes connections. */
export async function startTarget(
  command: StartCommand,
  logs: readonly TestLog[],
  parent = tmpdir(),
): Promise<StartedTarget> {
  const folder = mkdtempSync(join(parent, "witness-conformance-"));
  const known = logs.filter(({ unknown }) => !unknown);
  const port = await freePort();
  const listen = `127.0.0.1:${port}`;
  const name = "witness.example/under-test";
  const plain = generatePrivateKey(name, sha256("the witness's Ed25519 key"));
  const mldsa = generatePrivateKey(name, sha256("the witness's ML-DSA-44 key"), SIGNATURE_TYPE.mldsa44);
  const file = (fileName: string, content: string) => {
    const path = join(folder, fileName);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  };
  const values: Readonly<Record<string, string>> = {
    listen,
    database: join(folder, "witness.db"),
    key: file("witness.key", `${printPrivateKey(plain)}\n`),
    "mldsa-key": file("witness-mldsa.key", `${printPrivateKey(mldsa)}\n`),
    logs: file("logs.txt", logList(known)),
    "logs-yaml": file("logs.yaml", logYaml(known)),
  };
  const [program = "", ...args] = command.map((part) =>
    part.replace(/\{([a-z-]+)\}/g, (whole, key: string) => values[key] ?? whole),
  );
  const uses = (key: string) => command.some((part) => part.includes(`{${key}}`));
  const vkeys = [
    ...(uses("key") ? [printVkey(cosignatureVkey(plain))] : []),
    ...(uses("mldsa-key") ? [printVkey(cosignatureVkey(mldsa))] : []),
  ];

  let child: ChildProcess | null = null;
  let ended: Promise<void> = Promise.resolve();
  let output = "";

  async function start(): Promise<void> {
    await ended;
    const started = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    child = started;
    let exited = false;
    ended = new Promise((resolve) => {
      started.once("error", (error) => {
        output += `${error}\n`;
        exited = true;
        resolve();
      });
      started.once("exit", (code, signal) => {
        output += `[ended: ${code ?? signal}]\n`;
        exited = true;
        resolve();
      });
    });
    for (const stream of [started.stdout, started.stderr]) {
      stream.on("data", (chunk: Buffer) => {
        output = (output + chunk.toString()).slice(-OUTPUT_KEPT);
      });
    }
    const deadline = Date.now() + START_TIMEOUT_MS;
    while (!(await takesConnections(port))) {
      if (exited || Date.now() > deadline) throw new Error(`the witness did not start:\n${output}`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  const target: StartedTarget = {
    url: `http://${listen}`,
    monitoringUrl: `http://${listen}`,
    vkeys,
    kill: () => void child?.kill("SIGKILL"),
    start,
    output: () => output,
    pid: () => child?.pid ?? 0,
    async close() {
      child?.kill("SIGKILL");
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
  try {
    await start();
  } catch (error) {
    await target.close();
    throw error;
  }
  return target;
}

function takesConnections(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
