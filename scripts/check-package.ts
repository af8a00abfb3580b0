// Installs the package as others get it, without its optional dependencies, in an empty folder: there a proof verifies, by
// command and by library, its types are found, and a server command says in one sentence what to install. The proof comes
// from a log that this repository runs for the while.
//   npm run build && npx tsx scripts/check-package.ts

import { type ChildProcess, spawn, spawnSync, type SpawnSyncReturns } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const OWN_CAIRN = join(ROOT, "dist/cli/main.js");
const ENTRY = "an entry that outlives its log";

const LIBRARY_USE = `
import { readFileSync } from "node:fs";
import { NO_QUORUM, noblePrimitives, nobleHasher, parseTlogProof, parseVkey, trustPolicy, verifyTlogProof } from "cairn-log";
import type { TlogProof } from "cairn-log";
import { httpLog } from "cairn-log/client";

const proof: TlogProof = parseTlogProof(readFileSync("entry.tlog-proof"));
const key = parseVkey(readFileSync("vkey", "utf8").trim());
const trust = trustPolicy({ logs: [{ key }], witnesses: [], groups: [], quorum: NO_QUORUM }, noblePrimitives);
const verified = verifyTlogProof(proof, nobleHasher.leaf(readFileSync("entry")), trust, nobleHasher);
console.log(\`library: entry \${verified.index} of \${verified.size}, \${typeof httpLog}\`);
`;

const work = mkdtempSync(join(tmpdir(), "cairn-package-"));
try {
  const user = join(work, "user");
  mkdirSync(user);
  await makeProof(user);
  install(user);

  const cairn = (...argv: string[]) => run(user, join(user, "node_modules/.bin/cairn"), ...argv);
  const vkeyArguments = ["--key", readVkey(user)];
  const good = cairn("verify", "entry.tlog-proof", "entry", ...vkeyArguments);
  expect(good.status === 0 && good.stdout.startsWith("verified: entry 0 "), "a proof verifies", good);
  const bad = cairn("verify", "entry.tlog-proof", "other", ...vkeyArguments);
  expect(bad.status === 1 && bad.stderr.includes("[inclusion_failed]"), "another entry does not", bad);
  const serve = cairn("serve");
  const oneSentence = /^cairn(?: serve)?: .*\binstall .*\[missing_dependency\]\n$/.test(serve.stderr);
  expect(serve.status === 2 && oneSentence, "a server command says what to install", serve);
  console.log(`  ${serve.stderr.trim()}`);

  writeFileSync(join(user, "use.ts"), LIBRARY_USE);
  const compiler = join(ROOT, "node_modules/typescript/bin/tsc");
  const flags = [
    "--module",
    "nodenext",
    "--target",
    "es2022",
    "--types",
    "node",
    "--strict",
    "--skipLibCheck",
    "false",
  ];
  const roots = ["--typeRoots", join(ROOT, "node_modules/@types")];
  const compiled = run(user, process.execPath, compiler, ...flags, ...roots, "use.ts");
  expect(compiled.status === 0, "the library's types are found and check", compiled);
  const used = run(user, process.execPath, "use.js");
  expect(used.stdout.startsWith("library: entry 0 of "), "the library verifies the proof", used);
} finally {
  rmSync(work, { recursive: true, force: true });
}

/** Files `entry`, `other`, `entry.tlog-proof` and `vkey` in `folder`, from a log in a folder of its own. */
async function makeProof(folder: string): Promise<void> {
  writeFileSync(join(folder, "entry"), ENTRY);
  writeFileSync(join(folder, "other"), `${ENTRY}.`);
  const home = join(work, "log");
  mkdirSync(home);
  const made = run(
    home,
    process.execPath,
    OWN_CAIRN,
    "keygen",
    "--origin",
    "log.example/x",
    "--out",
    "log.key",
    "--json",
  );
  expect(made.status === 0, "keygen makes a key", made);
  writeFileSync(join(folder, "vkey"), (JSON.parse(made.stdout) as { vkey: string }).vkey);
  const server = spawn(process.execPath, [OWN_CAIRN, "serve", "--json"], {
    cwd: home,
    env: {
      ...process.env,
      LISTEN_ADDR: "127.0.0.1:0",
      LOG_PRIVATE_KEY_FILE: "log.key",
      LOG_CREATE: "true",
      ALLOW_PUBLIC_WRITES: "true",
      LOG_LEVEL: "warn",
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    const { url } = await firstLine(server.stdout);
    for (;;) {
      const answer = await fetch(`${url}/add?proof=true`, { method: "POST", body: ENTRY });
      if (answer.status === 503) continue;
      expect(answer.ok, `the log gives a proof (${answer.status})`);
      writeFileSync(join(folder, "entry.tlog-proof"), await answer.text());
      return;
    }
  } finally {
    await stop(server);
  }
}

function install(folder: string): void {
  const packed = run(ROOT, "npm", "pack", "--silent", "--pack-destination", work);
  const tarball = readdirSync(work).find((name) => name.endsWith(".tgz"));
  expect(packed.status === 0 && tarball !== undefined, "the package packs", packed);
  writeFileSync(join(folder, "package.json"), '{ "name": "user", "private": true, "type": "module" }\n');
  const installed = run(
    folder,
    "npm",
    "install",
    "--omit=optional",
    "--no-audit",
    "--no-fund",
    join(work, tarball as string),
  );
  expect(installed.status === 0, "it installs without optional dependencies", installed);
  const modules = readdirSync(join(folder, "node_modules"));
  expect(!modules.includes("better-sqlite3") && !modules.includes("fastify"), "and brings no server with it");
}

function readVkey(folder: string): string {
  return run(folder, "cat", "vkey").stdout.trim();
}

async function firstLine(stream: Readable): Promise<{ url: string }> {
  for await (const line of createInterface({ input: stream })) return JSON.parse(line) as { url: string };
  throw new Error("the log did not start");
}

async function stop(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null) return;
  server.kill("SIGTERM");
  await once(server, "exit");
}

function run(cwd: string, program: string, ...argv: string[]): SpawnSyncReturns<string> {
  return spawnSync(program, argv, { cwd, encoding: "utf8" });
}

function expect(holds: boolean, what: string, outcome?: SpawnSyncReturns<string>): void {
  if (holds) {
    console.log(`holds: ${what}`);
    return;
  }
  if (outcome !== undefined)
    console.error(outcome.error ?? `${outcome.stdout}${outcome.stderr}exit ${outcome.status}`);
  throw new Error(`does not hold: ${what}`);
}
