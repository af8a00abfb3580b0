// A log with a quorum of real witnesses: our own and an independent implementation, each its own process. One killed, one
// slow, one lying, one with an old size: publication goes on or stops exactly as the policy says.

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { Agent, createServer, type Server as HttpServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { freePort } from "../free-port.ts";
import { EXIT_CLASSES } from "../../src/cli/exit-classes.ts";
import { cosignatureVkey } from "../../src/core/cosignature.ts";
import { generatePrivateKey, printPrivateKey } from "../../src/core/note-key.ts";
import { parseNote } from "../../src/core/note.ts";
import { printVkey, SIGNATURE_TYPE } from "../../src/core/vkey.ts";
import { WITNESS_TIMEOUT_MS } from "../../src/witness/client/exchange.ts";
import { skipUnless } from "../require.ts";
import { cairnWitness } from "../witness/cairn-command.ts";
import { send } from "../witness/conformance/case.ts";
import { startTarget } from "../witness/conformance/target.ts";
import { PLAIN, TestLog } from "../witness/conformance/test-log.ts";
import { buildOmniwitness, OMNIWITNESS_BUILD_MS } from "../witness/peers/omniwitness.ts";
import {
  cairn,
  copyPlace,
  create,
  eventually,
  newPlace,
  open,
  ORIGIN,
  type Place,
  program,
  serve,
  type Server,
  start,
  temporaryFolder,
} from "./server.ts";

interface Witness {
  readonly name: string;
  readonly url: string;
  readonly vkey: string;
  kill(): Promise<void>;
  /** Starts it again on the same state and address. */
  again(): Promise<void>;
}

interface OurWitness extends Witness {
  /** Of its ML-DSA-44 key. */
  readonly mldsaVkey: string;
  /** Where its database is. */
  readonly folder: string;
}

/** Ten thousand keys are made, and as many requests answered. */
const MANY_LOGS_MS = 180_000;

let seed = 0;

/** `cairn witness`, knowing the log of `vkeys`, with a key of each type. */
async function ourWitness(name: string, ...vkeys: readonly string[]): Promise<OurWitness> {
  const folder = await temporaryFolder();
  const secret = new Uint8Array(32).fill(++seed);
  const key = generatePrivateKey(`${name}.example`, secret);
  const mldsaKey = generatePrivateKey(`${name}.example`, secret, SIGNATURE_TYPE.mldsa44);
  await writeFile(join(folder, "w.key"), `${printPrivateKey(key)}\n`, { mode: 0o600 });
  await writeFile(join(folder, "w-mldsa.key"), `${printPrivateKey(mldsaKey)}\n`, { mode: 0o600 });
  const port = await freePort();
  const argv = [
    program(),
    "witness",
    `--listen=127.0.0.1:${port}`,
    `--database-url=sqlite:${join(folder, "w.db")}`,
    `--private-key-file=${join(folder, "w.key")}`,
    `--private-key-file=${join(folder, "w-mldsa.key")}`,
    ...vkeys.map((vkey) => `--log=${ORIGIN}=${vkey}`),
  ];
  let child = start(argv);
  await listens(port);
  return {
    name,
    url: `http://127.0.0.1:${port}`,
    vkey: printVkey(cosignatureVkey(key)),
    mldsaVkey: printVkey(cosignatureVkey(mldsaKey)),
    folder,
    async kill() {
      child.process.kill("SIGKILL");
      await child.exited;
    },
    async again() {
      child = start(argv);
      await listens(port);
    },
  };
}

/** A port that answers as `answer` says: for a witness that is slow or lies. */
async function oddWitness(name: string, answer: Parameters<typeof createServer>[1]): Promise<Witness> {
  const server: HttpServer = createServer(answer);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const key = generatePrivateKey(`${name}.example`, new Uint8Array(32).fill(++seed));
  const { port } = server.address() as AddressInfo;
  const nothing = async (): Promise<void> => {};
  return {
    name,
    url: `http://127.0.0.1:${port}`,
    vkey: printVkey(cosignatureVkey(key)),
    kill: nothing,
    again: nothing,
  };
}

function settings(witnesses: readonly Witness[], quorum: number): Record<string, string> {
  return {
    EXTERNAL_WITNESSES: witnesses.map(({ name, url, vkey }) => `${name}=${url}=${vkey}`).join(","),
    WITNESS_QUORUM: String(quorum),
    CHECKPOINT_INTERVAL: "0.1",
  };
}

async function published(server: Server): Promise<{ size: number; signers: string[] }> {
  const note = parseNote(new Uint8Array(await (await fetch(`${server.url}/checkpoint`)).arrayBuffer()));
  return { size: Number(note.text.split("\n")[1]), signers: note.signatures.map(({ name }) => name) };
}

async function addWithProof(server: Server, text: string): Promise<string> {
  const response = await fetch(`${server.url}/add?proof=true`, { method: "POST", body: text });
  expect(response.status).toBe(200);
  return response.text();
}

async function add(server: Server, text: string): Promise<void> {
  expect((await fetch(`${server.url}/add`, { method: "POST", body: text })).status).toBe(200);
}

interface Ready {
  readonly reasons: readonly { readonly code: string }[];
  readonly witnesses: readonly {
    readonly name: string;
    readonly state: string;
    readonly last_error: string;
  }[];
}

async function readiness(server: Server): Promise<Ready & { readonly status: number }> {
  const response = await fetch(`${server.url}/ready`);
  return { status: response.status, ...((await response.json()) as Ready) };
}

async function witnessStates(server: Server): Promise<Record<string, string>> {
  const ready = await readiness(server);
  return Object.fromEntries(ready.witnesses.map(({ name, state }) => [name, state]));
}

async function setUp(
  quorum: number,
  more: Record<string, string> = {},
): Promise<{ place: Place; witnesses: OurWitness[]; server: Server }> {
  const place = await newPlace();
  const witnesses = await Promise.all(["a", "b", "c"].map((name) => ourWitness(name, place.vkey)));
  const server = await create(place, { ...settings(witnesses, quorum), ...more });
  return { place, witnesses, server };
}

describe("our witnesses", () => {
  test("the proof carries a quorum of cosignatures and verifies under the policy of /log.json", async () => {
    const { server } = await setUp(2);
    const proof = await addWithProof(server, "an entry");
    // Made again later from the tiles, it carries them too.
    expect(await (await fetch(`${server.url}/proof/0`)).text()).toBe(proof);
    const folder = await temporaryFolder();
    await writeFile(join(folder, "p"), proof);
    await writeFile(join(folder, "e"), "an entry");
    const { policy } = (await (await fetch(`${server.url}/log.json`)).json()) as { policy: string };
    await writeFile(join(folder, "policy"), policy);
    const verify = (...args: string[]) => cairn(["verify", join(folder, "p"), join(folder, "e"), ...args]);
    expect(await verify("--policy", join(folder, "policy"), "--max-age", "1h")).toMatchObject({ code: 0 });
    // A stricter policy than the log's refuses it, and so does the log's own once a line is gone.
    await writeFile(join(folder, "all"), policy.replace(/group (\S+) 2 /, "group $1 all "));
    expect(await verify("--policy", join(folder, "all"))).toMatchObject({ code: 1 });
    const lines = proof.trimEnd().split("\n");
    await writeFile(join(folder, "p"), `${lines.slice(0, -1).join("\n")}\n`);
    expect(await verify("--policy", join(folder, "policy"))).toMatchObject({ code: 1 });
  });

  test("with two of three, one that is killed costs nothing and two stop publication until one is back", async () => {
    const { server, witnesses } = await setUp(2, { READY_MAX_LAG: "1" });
    await addWithProof(server, "one");
    await witnesses[0]?.kill();
    await addWithProof(server, "two");
    expect((await published(server)).signers).toEqual([ORIGIN, "b.example", "c.example"]);
    expect((await fetch(`${server.url}/ready`)).status).toBe(200);

    await witnesses[1]?.kill();
    await add(server, "three");
    // Whoever is called at night finds out which witnesses are missing, and why.
    const ready = await eventually("publication is late", async () => {
      const now = await readiness(server);
      return now.status === 503 && now;
    });
    expect(ready.reasons.map(({ code }) => code)).toEqual(["publication_late"]);
    expect(ready.witnesses.map(({ name, state }) => `${name} ${state}`)).toEqual([
      "a failing",
      "b failing",
      "c ok",
    ]);
    expect(ready.witnesses.map(({ last_error }) => last_error)).toEqual([
      expect.stringContaining("ECONNREFUSED"),
      expect.stringContaining("ECONNREFUSED"),
      null,
    ]);
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    expect(metrics).toContain('cairn_witness_up{witness="b",state="failing"} 0');
    expect(metrics).toContain('cairn_witness_up{witness="c",state="ok"} 1');
    expect(server.stderr()).toMatch(/witness_failing.*b: .*ECONNREFUSED/);
    expect((await published(server)).size).toBe(2);

    await witnesses[1]?.again();
    await eventually("published with a quorum again", async () => (await published(server)).size === 3);
    expect((await published(server)).signers).toEqual([ORIGIN, "b.example", "c.example"]);
  });

  test("the log goes on where a witness never answers, and where one lies about its size", async () => {
    const place = await newPlace();
    const good = await Promise.all(["a", "b", "c"].map((name) => ourWitness(name, place.vkey)));
    const slow = await oddWitness("slow", () => {});
    const liar = await oddWitness("liar", (request, response) => {
      request.resume();
      response.writeHead(409, { "Content-Type": "text/x.tlog.size" }).end("1000000\n");
    });
    const server = await create(place, settings([...good, slow, liar], 3));
    // The first signature of a start waits until each witness has answered or had its five seconds; no other round does.
    await addWithProof(server, "one");
    const began = performance.now();
    await addWithProof(server, "two");
    expect(performance.now() - began).toBeLessThan(WITNESS_TIMEOUT_MS - 1000);
    expect((await published(server)).signers).toEqual([ORIGIN, "a.example", "b.example", "c.example"]);
    expect((await witnessStates(server)).liar).toBe("claims_larger");
  });

  test("a witness that restarts with an older state is given a proof from there", async () => {
    const { server, witnesses } = await setUp(3);
    const [, , rewound] = witnesses as [OurWitness, OurWitness, OurWitness];
    const shows = async () => {
      const origin = createHash("sha256").update(ORIGIN).digest("hex");
      return (await (await fetch(`${rewound.url}/${origin}/checkpoint`)).text()).split("\n")[1];
    };
    const older = await temporaryFolder();
    await addWithProof(server, "one");
    await rewound.kill();
    await cp(rewound.folder, older, { recursive: true });
    await rewound.again();
    for (let i = 0; i < 5; i++) await addWithProof(server, `entry ${i}`);
    expect(await shows()).toBe("6");

    // What an operator must never do; the log does not suffer by it.
    await rewound.kill();
    await rm(rewound.folder, { recursive: true });
    await cp(older, rewound.folder, { recursive: true });
    await rewound.again();
    expect(await shows()).toBe("1");
    await addWithProof(server, "last");
    expect((await published(server)).signers).toHaveLength(4);
    expect(await shows()).toBe("7");
    expect(server.stderr()).not.toContain("witness_claims_larger");
  });

  test("a log and a witness with ML-DSA-44 keys beside their Ed25519 ones sign with both, and either is verified", async () => {
    const place = await newPlace();
    const key = generatePrivateKey(ORIGIN, new Uint8Array(32).fill(201), SIGNATURE_TYPE.mldsa44);
    const logVkey = printVkey(cosignatureVkey(key));
    const witness = await ourWitness("w", place.vkey, logVkey);
    const server = await create(place, {
      ...settings([witness, { ...witness, name: "w-pq", vkey: witness.mldsaVkey }], 2),
      LOG_MLDSA_KEY: printPrivateKey(key),
    });
    const proof = await addWithProof(server, "an entry");
    expect((await published(server)).signers).toEqual([ORIGIN, ORIGIN, "w.example", "w.example"]);
    const folder = await temporaryFolder();
    await writeFile(join(folder, "p"), proof);
    await writeFile(join(folder, "e"), "an entry");
    for (const [log, own] of [
      [place.vkey, witness.vkey],
      [logVkey, witness.mldsaVkey],
    ]) {
      await writeFile(join(folder, "policy"), `log ${log}\nwitness w ${own}\nquorum w\n`);
      const args = ["verify", join(folder, "p"), join(folder, "e"), "--policy", join(folder, "policy")];
      expect(await cairn([...args, "--max-age", "1h"])).toMatchObject({ code: 0 });
    }
  });

  test("a restored copy of database and tiles is stopped by what the witnesses hold", async () => {
    const { place, server, witnesses } = await setUp(2);
    await addWithProof(server, "one");
    await server.stop();
    const restored = await copyPlace(place);
    const original = await serve(place, settings(witnesses, 2));
    for (let i = 0; i < 3; i++) await addWithProof(original, `later ${i}`);
    await original.stop();

    const copy = await open(restored, settings(witnesses, 2));
    await fetch(`${copy.url}/add`, { method: "POST", body: "a second history" }).catch(() => {});
    const { code } = await copy.exited;
    expect(code).toBe(EXIT_CLASSES.violated.exit);
    expect(copy.stderr()).toContain("overtaken");
    expect((await published(await serve(place, settings(witnesses, 2)))).size).toBe(4);
  });

  test("a witness that refuses the empty log does not keep the first entry out", async () => {
    const place = await newPlace();
    const witness = await ourWitness("a", place.vkey);
    const proxy = await oddWitness("proxy", (request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const body = Buffer.concat(chunks);
        if (body.toString().includes(`\n${ORIGIN}\n0\n`))
          return void response.writeHead(400).end("no empty logs\n");
        void fetch(`${witness.url}${request.url}`, { method: "POST", body }).then(async (answer) => {
          response.writeHead(answer.status, {
            "Content-Type": answer.headers.get("content-type") ?? "text/plain",
          });
          response.end(Buffer.from(await answer.arrayBuffer()));
        });
      });
    });
    const server = await open(place, {
      LOG_CREATE: "true",
      ...settings([{ ...proxy, vkey: witness.vkey }], 1),
    });
    await eventually("it says what it waits for", async () => {
      const { reasons } = (await (await fetch(`${server.url}/ready`)).json()) as {
        reasons: { code: string }[];
      };
      return reasons.some(({ code }) => code === "waiting_for_first_entry");
    });
    expect((await fetch(`${server.url}/checkpoint`)).status).toBe(404);
    await addWithProof(server, "the first entry");
    expect((await published(server)).signers).toEqual([ORIGIN, "a.example"]);
  });

  test("an idle log is cosigned anew", async () => {
    const place = await newPlace();
    const witness = await ourWitness("a", place.vkey);
    const server = await create(place, { ...settings([witness], 1), REPUBLISH_INTERVAL: "1" });
    await addWithProof(server, "one");
    const before = await (await fetch(`${server.url}/checkpoint`)).text();
    const after = await eventually("another time on the same size", async () => {
      const now = await (await fetch(`${server.url}/checkpoint`)).text();
      return now === before ? null : now;
    });
    expect(after.split("\n").slice(0, 4)).toEqual(before.split("\n").slice(0, 4));
  });
});

test.skipIf(skipUnless(process.platform === "linux", "memory is read from /proc, which is Linux's"))(
  "one witness of 10,000 logs, each of them cosigned, stays under 200 MB",
  async () => {
    const logs = Array.from(
      { length: 10_000 },
      (_, i) => new TestLog(`many.example/${i}`, PLAIN, `one of many ${i}`),
    );
    const target = await startTarget(cairnWitness(["key"], [process.execPath, program()]), logs);
    onTestFinished(() => target.close());
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (const log of logs) {
      const options = { method: "POST", body: log.request(0, 1), agent };
      expect((await send(`${target.url}/add-checkpoint`, options)).status).toBe(200);
    }
    agent.destroy();
    const status = await readFile(`/proc/${target.pid()}/status`, "utf8");
    const peak = Number(/^VmHWM:\s+([0-9]+) kB$/m.exec(status)?.[1]) * 1024;
    expect(peak).toBeLessThan(200_000_000);
  },
  MANY_LOGS_MS,
);

const built = await buildOmniwitness();
const missing = skipUnless(!("missing" in built), "missing" in built ? built.missing : "");

describe.skipIf(missing)("omniwitness, an independent implementation", () => {
  test(
    "cosigns our log beside our own witness, and both are needed",
    async () => {
      if ("missing" in built) return;
      const place = await newPlace();
      const own = await ourWitness("own", place.vkey);
      const other = await omniwitness(built.path, place.vkey);
      const server = await create(place, settings([own, other], 2));
      for (let i = 0; i < 20; i++) await addWithProof(server, `entry ${i}`);
      expect((await published(server)).signers).toEqual([ORIGIN, "own.example", "omni.example"]);
      await other.kill();
      await add(server, "held back");
      await eventually("it is known to fail", async () => (await witnessStates(server)).omni === "failing");
      expect((await published(server)).size).toBe(20);
      await other.again();
      await eventually("published again", async () => (await published(server)).size === 21);
    },
    OMNIWITNESS_BUILD_MS,
  );
});

async function omniwitness(path: string, vkey: string): Promise<Witness> {
  const folder = await temporaryFolder();
  const key = generatePrivateKey("omni.example", new Uint8Array(32).fill(++seed));
  await writeFile(join(folder, "w.key"), `${printPrivateKey(key)}\n`, { mode: 0o600 });
  await writeFile(
    join(folder, "logs.yaml"),
    `Logs:\n  - Origin: ${ORIGIN}\n    PublicKey: ${vkey}\n    URL: http://127.0.0.1/\n`,
  );
  const port = await freePort();
  const begin = async () => {
    const child = spawn(
      path,
      [
        `--listen=127.0.0.1:${port}`,
        "--metrics_listen=",
        `--db_file=${join(folder, "w.db")}`,
        `--private_key_path=${join(folder, "w.key")}`,
        `--additional_logs=${join(folder, "logs.yaml")}`,
      ],
      { stdio: "ignore" },
    );
    await listens(port);
    return child;
  };
  let child = await begin();
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await rm(folder, { recursive: true, force: true });
  });
  return {
    name: "omni",
    url: `http://127.0.0.1:${port}`,
    vkey: printVkey(cosignatureVkey(key)),
    async kill() {
      child.kill("SIGKILL");
      await once(child, "exit");
    },
    async again() {
      child = await begin();
    },
  };
}

async function listens(port: number): Promise<void> {
  await eventually(`port ${port} takes connections`, async () => {
    const socket = connect(port, "127.0.0.1");
    const outcome = await Promise.race([
      once(socket, "connect").then(() => true),
      once(socket, "error").then(
        () => false,
        () => false,
      ),
    ]).catch(() => false);
    socket.destroy();
    return outcome;
  });
}
