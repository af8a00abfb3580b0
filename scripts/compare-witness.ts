// Measures our witness beside omniwitness in one run: add-checkpoint one after the other on one connection, each growing a log
// by one, and the memory of one process that knows many logs. Prints what docs/witness.md quotes.
//
//   npm run build && node --import tsx scripts/compare-witness.ts [--requests N] [--rounds N] [--logs N] [--cairn FILE]

import { readFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { cairnWitness } from "../test/witness/cairn-command.ts";
import { type StartCommand, type StartedTarget, startTarget } from "../test/witness/conformance/target.ts";
import { PLAIN, TestLog } from "../test/witness/conformance/test-log.ts";
import {
  buildOmniwitness,
  OMNIWITNESS_VERSION,
  omniwitnessCommand,
} from "../test/witness/peers/omniwitness.ts";

const BUILT = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));
/** Until the client, the witnesses and their files have reached a steady state. */
const WARM_UP = 1500;

const { values } = parseArgs({
  options: {
    requests: { type: "string", default: "500" },
    rounds: { type: "string", default: "7" },
    logs: { type: "string", default: "10000" },
    cairn: { type: "string", default: BUILT },
  },
});
const requests = Number(values.requests);
const rounds = Number(values.rounds);
const program = [process.execPath, values.cairn];

interface Contender {
  readonly name: string;
  readonly target: StartedTarget;
  readonly log: TestLog;
  readonly agent: Agent;
  size: number;
  /** Answers a second, a round each. */
  readonly rates: number[];
  /** Processor time of the witness for one request, in milliseconds, a round each. */
  readonly costs: number[];
}

async function contender(name: string, command: StartCommand): Promise<Contender> {
  const log = new TestLog("speed.example/log", PLAIN, "speed");
  const target = await startTarget(command, [log]);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  return { name, target, log, agent, size: 0, rates: [], costs: [] };
}

/** Sends prepared bodies one after the other and answers how many a second were cosigned. */
async function play(contender: Contender, count: number): Promise<number> {
  const { log, agent, target, size } = contender;
  const bodies = Array.from({ length: count }, (_, i) => Buffer.from(log.request(size + i, size + i + 1)));
  const url = new URL(`${target.url}/add-checkpoint`);
  const begun = performance.now();
  for (const body of bodies) await post(url, body, agent);
  const seconds = (performance.now() - begun) / 1000;
  contender.size += count;
  return count / seconds;
}

function post(url: URL, body: Buffer, agent: Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      url,
      { method: "POST", agent, headers: { "content-length": body.length } },
      (incoming) => {
        let text = "";
        incoming.setEncoding("utf8");
        incoming.on("data", (part: string) => {
          text += part;
        });
        incoming.on("end", () => {
          if (incoming.statusCode === 200) resolve();
          else reject(new Error(`${incoming.statusCode}: ${text}`));
        });
      },
    );
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1] as number;
}

async function race(title: string, contenders: Contender[]): Promise<void> {
  try {
    for (const each of contenders) await play(each, WARM_UP);
    // In turn, so that whatever else the machine does slows all of them.
    for (let round = 0; round < rounds; round++) {
      for (const each of contenders) {
        const before = processorMilliseconds(each.target);
        each.rates.push(await play(each, requests));
        each.costs.push((processorMilliseconds(each.target) - before) / requests);
      }
    }
    console.log(`\n${title}: ${rounds} rounds of ${requests} requests each, in turn`);
    for (const { name, rates, costs } of contenders) {
      const spread = `${Math.min(...rates).toFixed(0)} to ${Math.max(...rates).toFixed(0)}`;
      const cost = `${median(costs).toFixed(2)} ms of processor time each`;
      console.log(`  ${name.padEnd(12)} ${median(rates).toFixed(0)}/s (${spread}), ${cost}`);
    }
    const [ours, theirs] = contenders;
    if (ours !== undefined && theirs !== undefined) {
      const ratios = ours.rates.map((rate, i) => rate / (theirs.rates[i] as number));
      console.log(`  ratio        ${median(ratios).toFixed(2)} (median of the rounds)`);
    }
  } finally {
    for (const { agent, target } of contenders) {
      agent.destroy();
      await target.close();
    }
  }
}

async function memory(count: number): Promise<void> {
  const logs = Array.from(
    { length: count },
    (_, i) => new TestLog(`memory.example/${i}`, PLAIN, `memory ${i}`),
  );
  const begun = performance.now();
  const target = await startTarget(cairnWitness(["key"], program), logs);
  const started = (performance.now() - begun) / 1000;
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  try {
    const idle = resident(target);
    const url = new URL(`${target.url}/add-checkpoint`);
    for (const [size, next] of [
      [0, 1],
      [1, 2],
    ] as const) {
      for (const log of logs) await post(url, Buffer.from(log.request(size, next)), agent);
    }
    console.log(`\nmemory with ${count} logs (resident, Linux)`);
    console.log(`  started in ${started.toFixed(1)} s from a list of all of them`);
    console.log(`  after the start              ${megabytes(idle)} MB`);
    console.log(`  after two checkpoints of each ${megabytes(resident(target))} MB`);
    console.log(`  peak                         ${megabytes(resident(target, "VmHWM"))} MB`);
  } finally {
    agent.destroy();
    await target.close();
  }
}

function resident(target: StartedTarget, field = "VmRSS"): number {
  const status = readFileSync(`/proc/${target.pid()}/status`, "utf8");
  return Number(new RegExp(`^${field}:\\s+([0-9]+) kB`, "m").exec(status)?.[1]) * 1024;
}

/** User and system time of a process, as Linux counts it, in steps of 10 ms. */
function processorMilliseconds(target: StartedTarget): number {
  const fields = readFileSync(`/proc/${target.pid()}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

function megabytes(bytes: number): string {
  return (bytes / 1_000_000).toFixed(0).padStart(4);
}

console.log(`Node ${process.version}, ${cpus().length} processors, ${cpus()[0]?.model ?? "unknown"}`);
const built = await buildOmniwitness();
const peer = "path" in built ? built.path : null;
if ("missing" in built) console.log(built.missing);
else console.log(`omniwitness ${OMNIWITNESS_VERSION}`);

for (const [title, keys] of [
  ["one Ed25519 key", ["key"]],
  ["one ML-DSA-44 key", ["mldsa-key"]],
  ["one key of each type", ["key", "mldsa-key"]],
] as const) {
  const contenders = [await contender("cairn", cairnWitness(keys, program))];
  if (peer !== null) contenders.push(await contender("omniwitness", omniwitnessCommand(peer, keys)));
  await race(title, contenders);
}
await memory(Number(values.logs));
