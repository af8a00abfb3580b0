// A real S3 server for the tests: versitygw, built by Go from its module into the user's cache, serving folders as buckets.
// An object of a bucket is a file at its key, so a test sees and damages what is stored as it would on a filesystem.

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, symlinkSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { freePort } from "../free-port.ts";
import type { S3Settings } from "../../src/storage/s3-client.ts";

const MODULE = "github.com/versity/versitygw/cmd/versitygw";
const VERSION = "v1.8.0";
/** The first build downloads and compiles for minutes. */
const BUILD_TIMEOUT_MS = 600_000;
const START_TIMEOUT_MS = 20_000;
const POLL_MS = 20;
const ACCESS_KEY = "access-of-tests";
const SECRET_KEY = "secret-of-tests";

/** What it takes to reach a gateway and to lay buckets before it; plain values, so that it travels between processes. */
export interface GatewayPlace {
  readonly program: string;
  /** Each folder in it, or link to one, is a bucket. */
  readonly root: string;
  readonly port: number;
}

export interface Gateway extends GatewayPlace {
  /** Ends the process at once, as a machine that fails. */
  kill(): Promise<void>;
  /** Starts it again, at the same address, over the same buckets. */
  restart(): Promise<void>;
  /** Ends it and removes its buckets. */
  stop(): Promise<void>;
}

/** Builds versitygw where the cache does not have it yet; answers its path. */
export async function buildVersitygw(): Promise<string> {
  const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache");
  const folder = join(cache, "cairn-tests", `versitygw-${VERSION}`);
  const program = join(folder, "versitygw");
  if (existsSync(program)) return program;
  await mkdir(folder, { recursive: true });
  const building = await mkdtemp(`${folder}-`);
  try {
    await promisify(execFile)("go", ["install", `${MODULE}@${VERSION}`], {
      env: { ...process.env, GOBIN: building },
      timeout: BUILD_TIMEOUT_MS,
    });
    await rename(join(building, "versitygw"), program);
  } finally {
    await rm(building, { recursive: true, force: true });
  }
  return program;
}

export async function startGateway(program: string): Promise<Gateway> {
  const root = await mkdtemp(join(tmpdir(), "cairn-versitygw-"));
  const port = await freePort();
  let child = await run(program, root, port);
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  };
  return {
    program,
    root,
    port,
    kill,
    async restart() {
      await kill();
      child = await run(program, root, port);
    },
    async stop() {
      await kill();
      await rm(root, { recursive: true, force: true });
    },
  };
}

/** Makes a bucket, of the folder `tiles` where one is given; answers its name. */
export function makeBucket(gateway: GatewayPlace, tiles?: string): string {
  const bucket = `b${randomBytes(8).toString("hex")}`;
  if (tiles === undefined) {
    mkdirSync(join(gateway.root, bucket));
  } else {
    mkdirSync(tiles, { recursive: true });
    symlinkSync(tiles, join(gateway.root, bucket));
  }
  return bucket;
}

export function bucketSettings(gateway: GatewayPlace, bucket: string): S3Settings {
  return {
    bucket,
    endpoint: endpoint(gateway),
    region: "us-east-1",
    credentials: { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY },
    forcePathStyle: true,
  };
}

/** The variables that make a log use that bucket. */
export function bucketEnv(gateway: GatewayPlace, bucket: string): Readonly<Record<string, string>> {
  return {
    STORAGE_BACKEND: "s3",
    S3_BUCKET: bucket,
    S3_ENDPOINT: endpoint(gateway),
    S3_ACCESS_KEY: ACCESS_KEY,
    S3_SECRET_KEY: SECRET_KEY,
  };
}

export function endpoint({ port }: GatewayPlace): string {
  return `http://127.0.0.1:${port}`;
}

async function run(program: string, root: string, port: number): Promise<ChildProcess> {
  const args = ["--port", `127.0.0.1:${port}`, "--access", ACCESS_KEY, "--secret", SECRET_KEY];
  // Files that a test lays into a bucket itself have no ETag of their own.
  const backend = ["posix", "--bucketlinks", "--default-etag", '"laid-by-hand"', root];
  const child = spawn(program, [...args, "--keep-alive", "--quiet", ...backend], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  const end = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`versitygw ended: ${said}`);
    try {
      await fetch(`http://127.0.0.1:${port}/`);
      return child;
    } catch {
      if (performance.now() > end) throw new Error(`versitygw does not answer: ${said}`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }
}
