// Measures our witness beside omniwitness in one run: add-checkpoint one after the other on one connection, each growing a log
// by one, and the memory of one process that knows many logs. Both record a checkpoint in SQLite with a write-ahead log and
// synchronous=FULL, which is one fsync a request. Prints what docs/witness.md quotes.
//
//   npm run build && node --import tsx scripts/compare-witness.ts [--requests N] [--rounds N] [--logs N] [--cairn FILE]

import { existsSync, readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { cpus, tmpdir } from "node:os";
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
/** What no witness in Node can leave out, and nothing else. */
const FLOOR = fileURLToPath(new URL("./witness-floor.mjs", import.meta.url));
/** A file system in memory, where a sync costs nothing. */
const MEMORY = "/dev/shm";
/** Until the client, the witnesses and their files have reached a steady state. */
const WARM_UP = 1500;
const PEER = "omniwitness";
const HEAD_END = "\r\n\r\n";

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
  readonly connection: Connection;
  size: number;
  /** Answers a second, a round each. */
  readonly rates: number[];
  /** Processor time of the witness for one request, in milliseconds, a round each. */
  readonly costs: number[];
}

/** One connection with no more of HTTP than it takes: what is measured is the witness, and the client costs little. */
class Connection {
  readonly #socket: Socket;
  #received = "";
  #answered: (answer: string) => void = () => {};
  #failed: (error: Error) => void = () => {};

  constructor(url: string) {
    const { hostname, port } = new URL(url);
    this.#socket = connect({ host: hostname, port: Number(port), noDelay: true });
    this.#socket.setEncoding("latin1");
    this.#socket.on("data", (part: string) => this.#take(part));
    this.#socket.on("error", (error) => this.#failed(error));
    this.#socket.on("close", () => this.#failed(new Error("the witness closed the connection")));
  }

  /** Sends prepared bytes and resolves once they are answered with 200. */
  post(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#failed = reject;
      this.#answered = (answer) => {
        if (answer.startsWith("HTTP/1.1 200 ")) resolve();
        else reject(new Error(answer));
      };
      this.#socket.write(bytes);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(part: string): void {
    this.#received += part;
    const head = this.#received.indexOf(HEAD_END);
    if (head < 0) return;
    const length = /\r\ncontent-length: *([0-9]+)/i.exec(this.#received.slice(0, head))?.[1];
    if (this.#received.length < head + HEAD_END.length + Number(length ?? 0)) return;
    const answer = this.#received;
    this.#received = "";
    this.#answered(answer);
  }
}

function prepared(log: TestLog, from: number): Buffer {
  const body = log.request(from, from + 1);
  const head = [
    "POST /add-checkpoint HTTP/1.1",
    "Host: 127.0.0.1",
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  return Buffer.from(`${head.join("\r\n")}${HEAD_END}${body}`);
}

async function contender(name: string, command: StartCommand, folder: string): Promise<Contender> {
  const log = new TestLog("speed.example/log", PLAIN, "speed");
  const target = await startTarget(command, [log], folder);
  return { name, target, log, connection: new Connection(target.url), size: 0, rates: [], costs: [] };
}

/** Sends prepared bodies one after the other and answers how many a second were cosigned. */
async function play(contender: Contender, count: number): Promise<number> {
  const { log, connection, size } = contender;
  const requests = Array.from({ length: count }, (_, i) => prepared(log, size + i));
  const begun = performance.now();
  for (const bytes of requests) await connection.post(bytes);
  const seconds = (performance.now() - begun) / 1000;
  contender.size += count;
  return count / seconds;
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
    const theirs = contenders.find(({ name }) => name === PEER);
    for (const { name, rates } of contenders) {
      if (theirs === undefined || name === PEER) continue;
      const ratios = rates.map((rate, i) => rate / (theirs.rates[i] as number));
      console.log(`  ${name} : ${PEER} = ${median(ratios).toFixed(2)} (median of the rounds)`);
    }
  } finally {
    for (const { connection, target } of contenders) {
      connection.close();
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
  const connection = new Connection(target.url);
  try {
    const idle = resident(target);
    for (const size of [0, 1]) for (const log of logs) await connection.post(prepared(log, size));
    console.log(`\nmemory with ${count} logs (resident, Linux)`);
    console.log(`  started in ${started.toFixed(1)} s from a list of all of them`);
    console.log(`  after the start              ${megabytes(idle)} MB`);
    console.log(`  after two checkpoints of each ${megabytes(resident(target))} MB`);
    console.log(`  peak                         ${megabytes(resident(target, "VmHWM"))} MB`);
  } finally {
    connection.close();
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

const places = [
  ["on disk", tmpdir()],
  ...(existsSync(MEMORY) ? [["in memory, no disk", MEMORY] as const] : []),
] as const;
for (const [place, folder] of places) {
  const contenders = [
    await contender("cairn", cairnWitness(["key"], program), folder),
    await contender("floor", [process.execPath, FLOOR, "{listen}", "{database}"], folder),
  ];
  if (peer !== null) contenders.push(await contender(PEER, omniwitnessCommand(peer), folder));
  await race(`one Ed25519 key, ${place}`, contenders);
}
for (const [title, keys] of [
  ["one ML-DSA-44 key", ["mldsa-key"]],
  ["one key of each type", ["key", "mldsa-key"]],
] as const) {
  const contenders = [await contender("cairn", cairnWitness(keys, program), tmpdir())];
  if (peer !== null) contenders.push(await contender(PEER, omniwitnessCommand(peer, keys), tmpdir()));
  await race(title, contenders);
}
await memory(Number(values.logs));
