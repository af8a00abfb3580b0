// A log with a quorum of real witnesses: our own and an independent implementation, each its own process. One killed, one
// slow, one lying, one with an old size: publication goes on or stops exactly as the policy says.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { rm, writeFile } from "node:fs/promises";
import { createServer, type Server as HttpServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { EXIT_CLASSES } from "../../src/cli/exit-classes.ts";
import { cosignatureVkey } from "../../src/core/cosignature.ts";
import { generatePrivateKey, printPrivateKey } from "../../src/core/note-key.ts";
import { parseNote } from "../../src/core/note.ts";
import { printVkey } from "../../src/core/vkey.ts";
import { skipUnless } from "../require.ts";
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

let seed = 0;

/** `cairn witness`, knowing the log of `vkey`. */
async function ourWitness(name: string, vkey: string): Promise<Witness> {
  const folder = await temporaryFolder();
  const key = generatePrivateKey(`${name}.example`, new Uint8Array(32).fill(++seed));
  await writeFile(join(folder, "w.key"), `${printPrivateKey(key)}\n`, { mode: 0o600 });
  const port = await freePort();
  const argv = [
    program(),
    "witness",
    `--listen=127.0.0.1:${port}`,
    `--database-url=sqlite:${join(folder, "w.db")}`,
    `--private-key-file=${join(folder, "w.key")}`,
    `--log=${ORIGIN}=${vkey}`,
  ];
  let child = start(argv);
  await listens(port);
  return {
    name,
    url: `http://127.0.0.1:${port}`,
    vkey: printVkey(cosignatureVkey(key)),
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

async function witnessStates(server: Server): Promise<Record<string, string>> {
  const ready = (await (await fetch(`${server.url}/ready`)).json()) as {
    witnesses: { name: string; state: string }[];
  };
  return Object.fromEntries(ready.witnesses.map(({ name, state }) => [name, state]));
}

async function setUp(quorum: number): Promise<{ place: Place; witnesses: Witness[]; server: Server }> {
  const place = await newPlace();
  const witnesses = await Promise.all(["a", "b", "c"].map((name) => ourWitness(name, place.vkey)));
  const server = await create(place, settings(witnesses, quorum));
  return { place, witnesses, server };
}

describe("our witnesses", () => {
  test("the proof carries a quorum of cosignatures and verifies under the policy of /log.json", async () => {
    const { server } = await setUp(2);
    const proof = await addWithProof(server, "an entry");
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
    const { server, witnesses } = await setUp(2);
    await addWithProof(server, "one");
    await witnesses[0]?.kill();
    await addWithProof(server, "two");
    expect((await published(server)).signers).toEqual([ORIGIN, "b.example", "c.example"]);
    expect((await fetch(`${server.url}/ready`)).status).toBe(200);

    await witnesses[1]?.kill();
    await add(server, "three");
    await eventually("both are known to fail", async () => {
      const states = await witnessStates(server);
      return states.a === "failing" && states.b === "failing";
    });
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
    const began = performance.now();
    await addWithProof(server, "one");
    await addWithProof(server, "two");
    expect(performance.now() - began).toBeLessThan(15_000);
    expect((await published(server)).signers).toEqual([ORIGIN, "a.example", "b.example", "c.example"]);
    expect((await witnessStates(server)).liar).toBe("claims_larger");
  });

  test("a witness that restarts with an older state is given a proof from there", async () => {
    const { server, witnesses } = await setUp(3);
    await addWithProof(server, "one");
    for (let i = 0; i < 5; i++) await addWithProof(server, `entry ${i}`);
    // An answer of 409 with any smaller size is met with a proof from that size in the same round.
    await witnesses[2]?.kill();
    await witnesses[2]?.again();
    await addWithProof(server, "last");
    expect((await published(server)).signers).toHaveLength(4);
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

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
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
