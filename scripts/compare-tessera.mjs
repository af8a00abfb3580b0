// Single adds of Cairn beside those of Tessera's POSIX server (github.com/transparency-dev/tessera, its conformance server),
// plain and with its antispam, turn by turn on one disk and with one load generator: wrk, one thread, 300-byte unique
// bodies. Absolute figures wander with the machine; the ratios of one run are what counts.
//
//   npm run build && node scripts/compare-tessera.mjs [--data DIR] [--turns 3] [--seconds 10] [--json]
//
// Needs wrk (Debian: apt-get install wrk) and Go, which fetches and builds Tessera once into node_modules/.cache.
// Exit codes: 0 all targets met, 1 one is missed, 2 could not compare.

import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { access, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";

const TESSERA = "github.com/transparency-dev/tessera/cmd/conformance/posix";
const TESSERA_VERSION = "v1.0.4";
const CONNECTIONS = 256;
const WARM_UP_SECONDS = 2;
/** A lone add takes Tessera a second, so a few of them tell. */
const LONE_SECONDS = 5;
const START_MS = 20_000;
const STOP_MS = 20_000;
const BUILD_MS = 600_000;
const POLL_MS = 50;

/** Cairn's rate is at least this many times Tessera's, and its lone add takes at most this share of Tessera's. */
const TARGETS = { plain: 1.3, antispam: 1.6, lone: 0.1 };

const WRK_SCRIPT = `
local run
local count = 0
local filler = string.rep("x", 300 - 32 - 16)
function init(args) run = args[1] end
function request()
  count = count + 1
  return wrk.format("POST", "/add", nil, run .. string.format("%016x", count) .. filler)
end
function done(summary, latency, requests)
  io.write(string.format(
    '\\nRESULT {"requests":%d,"microseconds":%d,"refused":%d,"broken":%d,"p50":%.0f,"p99":%.0f}\\n',
    summary.requests, summary.duration, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
`;

const run = promisify(execFile);

/** What stops a comparison, in words. */
class Missing extends Error {}

try {
  process.exitCode = await compare();
} catch (error) {
  if (!(error instanceof Missing)) throw error;
  process.stderr.write(`compare-tessera: ${error.message}\n`);
  process.exitCode = 2;
}

async function compare() {
  const { data, turns, seconds, json } = options();
  const parts = await findParts();
  await mkdir(data, { recursive: true });
  const folder = await mkdtemp(join(data, "cairn-compare-"));
  const generator = new parts.Child("generator");
  const wrkScript = join(folder, "add.lua");
  const contestants = [
    { name: "Tessera POSIX", start: (place) => startTessera(parts, place, []) },
    { name: "Tessera POSIX, antispam", start: (place) => startTessera(parts, place, ["--antispam"]) },
    { name: "Cairn", start: (place) => startCairn(parts, place) },
  ].map((contestant) => ({ ...contestant, turns: [] }));
  try {
    await writeFile(wrkScript, WRK_SCRIPT);
    for (let turn = 1; turn <= turns; turn++) {
      for (const contestant of contestants) {
        if (process.stderr.isTTY) process.stderr.write(`\r\u001b[Kturn ${turn}: ${contestant.name}`);
        const place = join(folder, `${turn}-${contestant.name.replaceAll(/[^A-Za-z]+/g, "-")}`);
        await mkdir(place);
        const server = await contestant.start(place);
        try {
          const lone = await loneAdds(generator, server.port);
          await loadWithWrk(wrkScript, server.port, WARM_UP_SECONDS);
          contestant.turns.push({ lone, ...(await loadWithWrk(wrkScript, server.port, seconds)) });
        } finally {
          await server.stop();
        }
        await rm(place, { recursive: true });
      }
    }
  } finally {
    if (process.stderr.isTTY) process.stderr.write("\r\u001b[K");
    await generator.stop();
    await rm(folder, { recursive: true, force: true });
  }
  return report(contestants, json);
}

function options() {
  const { values } = parseArgs({
    options: {
      data: { type: "string", default: tmpdir() },
      turns: { type: "string", default: "3" },
      seconds: { type: "string", default: "10" },
      json: { type: "boolean", default: false },
    },
  });
  const [turns, seconds] = [Number(values.turns), Number(values.seconds)];
  if (!Number.isInteger(turns) || turns < 1 || !Number.isInteger(seconds) || seconds < 1) {
    throw new Missing("--turns and --seconds are whole numbers from 1");
  }
  return { data: values.data, turns, seconds, json: values.json };
}

/** All that is needed, or in one sentence what is not there. */
async function findParts() {
  // wrk prints its version and exits with 1.
  const wrk = await run("wrk", ["--version"]).catch((error) => error);
  if (wrk.code === "ENOENT") throw new Missing("wrk is not installed (Debian: apt-get install wrk)");
  const built = async (path) => {
    try {
      return await import(path);
    } catch (cause) {
      if (cause.code !== "ERR_MODULE_NOT_FOUND") throw cause;
      throw new Missing(`Cairn is not built: run npm run build first (${cause.message})`);
    }
  };
  const { Server } = await built("../dist/cli/bench/server.js");
  const { Child } = await built("../dist/cli/bench/child.js");
  const { createKeyFile } = await built("../dist/cli/key-file.js");
  const { SIGNATURE_TYPE } = await built("../dist/core/vkey.js");
  const makeKey = (path) => createKeyFile(path, "localhost/tessera", SIGNATURE_TYPE.ed25519);
  return { Server, Child, makeKey, tessera: await buildTessera() };
}

async function buildTessera() {
  const folder = fileURLToPath(new URL(`../node_modules/.cache/tessera-${TESSERA_VERSION}`, import.meta.url));
  const program = join(folder, "posix");
  try {
    await access(program);
    return program;
  } catch {
    // Not built yet.
  }
  process.stderr.write(`building ${TESSERA}@${TESSERA_VERSION}\n`);
  try {
    await run("go", ["install", `${TESSERA}@${TESSERA_VERSION}`], {
      env: { ...process.env, GOBIN: folder },
      timeout: BUILD_MS,
    });
  } catch (error) {
    if (error.code === "ENOENT") throw new Missing("Go is not installed, so Tessera cannot be built");
    throw new Missing(`Tessera could not be built: ${String(error.stderr || error.message).trim()}`);
  }
  return program;
}

async function startCairn({ Server }, folder) {
  const server = await Server.start(folder, process.env);
  return { port: server.port, stop: () => server.stop() };
}

async function startTessera({ tessera, makeKey }, folder, flags) {
  const key = join(folder, "key");
  await makeKey(key);
  const port = await freePort();
  const storage = join(folder, "log");
  const child = spawn(
    tessera,
    [`--listen=127.0.0.1:${port}`, `--storage_dir=${storage}`, `--private_key=${key}`, ...flags],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text) => {
    said = (said + text).slice(-1000);
  });
  const exited = once(child, "exit");
  const end = Date.now() + START_MS;
  while (!(await answers(`http://127.0.0.1:${port}/checkpoint`))) {
    if (child.exitCode !== null || Date.now() > end) {
      child.kill("SIGKILL");
      throw new Missing(`Tessera did not start: ${said.trim()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return {
    port,
    async stop() {
      const late = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
      child.kill("SIGTERM");
      await exited;
      clearTimeout(late);
    },
  };
}

async function answers(url) {
  try {
    const answer = await fetch(url);
    await answer.arrayBuffer();
    return answer.ok;
  } catch {
    return false;
  }
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** The median milliseconds of adds that nobody else accompanies. */
async function loneAdds(generator, port) {
  const result = await generator.call("run", {
    host: "127.0.0.1",
    port,
    path: "/add",
    connections: 1,
    subject: { kind: "entry", noise: new Uint8Array(randomBytes(300)), first: 0 },
    seconds: LONE_SECONDS,
    requests: Number.POSITIVE_INFINITY,
    acknowledges: true,
  });
  if (result.errors > 0) throw new Missing(`lone adds failed: ${result.errorSamples.join("; ")}`);
  return median(result.latencies);
}

async function loadWithWrk(script, port, seconds) {
  const args = ["--threads", "1", "--connections", String(CONNECTIONS), "--duration", `${seconds}s`];
  const url = `http://127.0.0.1:${port}`;
  const nonce = randomBytes(16).toString("hex");
  const { stdout } = await run("wrk", [...args, "--script", script, url, "--", nonce]);
  const line = /^RESULT (.*)$/m.exec(stdout)?.[1];
  if (line === undefined) throw new Missing(`wrk printed no result: ${stdout.trim()}`);
  const { requests, microseconds, refused, broken, p50, p99 } = JSON.parse(line);
  if (broken > 0) throw new Missing(`${broken} connections of wrk broke`);
  const wholeSeconds = microseconds / 1e6;
  return {
    rate: (requests - refused) / wholeSeconds,
    refused: refused / wholeSeconds,
    p50_ms: p50 / 1000,
    p99_ms: p99 / 1000,
  };
}

function report(contestants, json) {
  const rows = contestants.map(({ name, turns }) => ({
    name,
    adds_per_second: median(turns.map(({ rate }) => rate)),
    turns: turns.map(({ rate }) => Math.round(rate)),
    refused_per_second: median(turns.map(({ refused }) => refused)),
    p50_ms: median(turns.map(({ p50_ms }) => p50_ms)),
    p99_ms: median(turns.map(({ p99_ms }) => p99_ms)),
    lone_add_ms: median(turns.map(({ lone }) => lone)),
  }));
  const [plain, antispam, cairn] = rows;
  const ratios = [
    atLeast("adds ÷ Tessera", cairn.adds_per_second / plain.adds_per_second, TARGETS.plain),
    atLeast(
      "adds ÷ Tessera with antispam",
      cairn.adds_per_second / antispam.adds_per_second,
      TARGETS.antispam,
    ),
    atMost("lone add ÷ Tessera's", cairn.lone_add_ms / plain.lone_add_ms, TARGETS.lone),
  ];
  if (json) process.stdout.write(`${JSON.stringify({ rows, ratios })}\n`);
  else printTable(rows, ratios);
  return ratios.every(({ met }) => met) ? 0 : 1;
}

function printTable(rows, ratios) {
  const lines = [
    `wrk, 1 thread, ${CONNECTIONS} connections, 300-byte unique bodies; medians over turns; Tessera ${TESSERA_VERSION}`,
    "",
    "                           adds/s  refused/s     p50 ms     p99 ms  lone add ms  turns",
    ...rows.map((row) =>
      [
        row.name.padEnd(24),
        whole(row.adds_per_second).padStart(9),
        whole(row.refused_per_second).padStart(10),
        row.p50_ms.toFixed(1).padStart(10),
        row.p99_ms.toFixed(1).padStart(10),
        row.lone_add_ms.toFixed(2).padStart(12),
        ` ${row.turns.map(whole).join(", ")}`,
      ].join(" "),
    ),
    "",
    ...ratios.map(({ name, ratio, bound, met }) => {
      return `${name.padEnd(30)} ${ratio.toPrecision(3).padStart(8)}  ${bound}: ${met ? "met" : "missed"}`;
    }),
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}

function atLeast(name, ratio, limit) {
  return { name, ratio, bound: `at least ${limit}`, met: ratio >= limit };
}

function atMost(name, ratio, limit) {
  return { name, ratio, bound: `at most ${limit}`, met: ratio <= limit };
}

function whole(value) {
  return Math.round(value).toLocaleString("en-US");
}

function median(values) {
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
