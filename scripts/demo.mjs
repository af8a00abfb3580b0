// `npm run demo`: a log from nothing to a proof, with the program as a user has it. Builds, starts a log of its own on a free
// port in a temporary folder, logs every package of package-lock.json, waits until all are published, stops the log, and
// verifies a proof without it; then flips one byte and shows the refusal. Ends with 0 only if each step did what it should.

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const CAIRN = join(ROOT, "dist/cli/main.js");
const ORIGIN = "localhost/demo";

/** For publication, which takes a second. */
const PUBLISHED_WITHIN_MS = 30_000;
const POLL_MS = 100;

const folder = mkdtempSync(join(tmpdir(), "cairn-demo-"));
let server = null;

process.on("exit", () => {
  server?.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

try {
  await demo();
} catch (error) {
  console.error(`\nThe demo failed: ${error.message}`);
  process.exit(1);
}

async function demo() {
  const compiler = join(ROOT, "node_modules/typescript/bin/tsc");
  const built = spawnSync(process.execPath, [compiler, "-p", "tsconfig.build.json"], {
    cwd: ROOT,
    stdio: "inherit",
  });
  if (built.status !== 0) throw new Error("it does not build");

  say("A key for the log");
  const key = join(folder, "log.key");
  await cairn(["keygen", "--origin", ORIGIN, "--out", key]);

  say("A log, on this machine");
  const { url, vkeys } = await start(key);
  const vkey = vkeys[0];
  console.log(`listening on ${url}`);

  const packages = lockedPackages();
  const lines = join(folder, "packages.ndjson");
  writeFileSync(lines, packages.map((line) => `${line}\n`).join(""));
  say(`Every package of package-lock.json, ${packages.length} of them, one entry each`);
  await cairn(["add", "--log", url, "--ndjson"], { input: lines, show: 5 });

  say("Published, under one signed checkpoint");
  await published(url, packages.length);
  await cairn(["verify", "--log", url, "--key", vkey, "--remember", join(folder, "head")]);

  const index = Math.floor(packages.length / 2);
  const entry = join(folder, "entry.json");
  const proof = join(folder, "entry.tlog-proof");
  writeFileSync(entry, packages[index]);
  say("The proof of one of them");
  await cairn(["prove", "--log", url, "--entry", entry, "--key", vkey, "--out", proof]);
  console.log(readFileSync(proof, "utf8"));

  say("The log is stopped; the proof still verifies");
  await stop();
  await cairn(["verify", proof, entry, "--key", vkey]);

  say("One flipped bit in the entry, and it does not");
  const flipped = readFileSync(entry);
  flipped[flipped.length >> 1] ^= 1;
  writeFileSync(entry, flipped);
  await cairn(["verify", proof, entry, "--key", vkey], { expect: 1 });

  say("The whole log, rebuilt from its entries");
  await cairn(["fsck", join(folder, "tiles"), "--vkey", vkey]);
}

/** Starts the log and answers with what it says once it listens. */
async function start(key) {
  server = spawn(process.execPath, [CAIRN, "serve", "--json"], {
    cwd: folder,
    stdio: ["ignore", "pipe", "inherit"],
    env: {
      PATH: process.env.PATH,
      LOG_PRIVATE_KEY_FILE: key,
      LOG_CREATE: "true",
      LISTEN_ADDR: "127.0.0.1:0",
      DATABASE_URL: `sqlite:${join(folder, "log.db")}`,
      FS_ROOT: join(folder, "tiles"),
      ALLOW_PUBLIC_WRITES: "true",
      LOG_LEVEL: "error",
    },
  });
  const output = createInterface({ input: server.stdout });
  const [line] = await Promise.race([
    once(output, "line"),
    once(server, "exit").then(() => {
      throw new Error("the log did not start");
    }),
  ]);
  const said = JSON.parse(line);
  if (said.error !== undefined) throw new Error(said.error.message);
  return said;
}

/** Lets the log settle what it accepted and end. */
async function stop() {
  if (server === null || server.exitCode !== null || server.signalCode !== null) return;
  const exit = once(server, "exit");
  server.kill("SIGTERM");
  const [code] = await exit;
  if (code !== 0) throw new Error(`the log ended with ${code}`);
}

async function published(url, size) {
  const deadline = Date.now() + PUBLISHED_WITHIN_MS;
  for (;;) {
    const { published_size } = await (await fetch(`${url}/ready`)).json();
    if (published_size >= size) return;
    if (Date.now() > deadline) throw new Error(`only ${published_size} of ${size} entries were published`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Runs a command, shows it with the first `show` lines of what it prints, and wants its exit code to be `expect`. */
async function cairn(argv, { input, show = Number.POSITIVE_INFINITY, expect = 0 } = {}) {
  const shown = argv.map((argument) => argument.replace(`${folder}/`, ""));
  console.log(
    `$ cairn ${shown.join(" ")}${input === undefined ? "" : ` < ${input.replace(`${folder}/`, "")}`}`,
  );
  const stdin = input === undefined ? "ignore" : openSync(input, "r");
  const child = spawn(process.execPath, [CAIRN, ...argv], { stdio: [stdin, "pipe", "inherit"] });
  let count = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    if (++count <= show) console.log(line.replaceAll(`${folder}/`, ""));
  }
  if (count > show) console.log("…");
  if (child.exitCode === null) await once(child, "exit");
  if (child.exitCode !== expect) throw new Error(`cairn ${argv[0]} ended with ${child.exitCode}`);
}

/** One line of JSON for each package that the lockfile pins, in the order of the lockfile. */
function lockedPackages() {
  const { packages } = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8"));
  const lines = Object.entries(packages)
    .filter(([path]) => path !== "")
    .map(([path, { version, resolved, integrity }]) => {
      const name = path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
      return JSON.stringify({ name, version, resolved, integrity });
    });
  // One package in two places is one entry; a log would answer the second with the index of the first.
  return [...new Set(lines)];
}

function say(text) {
  console.log(`\n— ${text}\n`);
}
