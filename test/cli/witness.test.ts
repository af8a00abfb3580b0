// `cairn witness` as its operator meets it: real processes on a file, the commands beside them, and what a signal does.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { Agent } from "node:http";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createKeyFile } from "../../src/cli/key-file.ts";
import { witness } from "../../src/cli/witness.ts";
import { encodeUtf8 } from "../../src/core/bytes.ts";
import { cosignatureVkey, noblePrimitives, verifierFor } from "../../src/core/cosignature.ts";
import { parseSignatureLines } from "../../src/core/note.ts";
import { generatePrivateKey, type PrivateKey, printPrivateKey } from "../../src/core/note-key.ts";
import { parseVkey, printVkey } from "../../src/core/vkey.ts";
import { CAIRN } from "../witness/cairn-command.ts";
import { send } from "../witness/conformance/case.ts";
import { logList, PLAIN, sha256, TestLog } from "../witness/conformance/test-log.ts";
import { run, temporaryFolder } from "./test-io.ts";

const PROCESS_MS = 60_000;
const log = new TestLog("log.example/cli", { keys: ["ed25519", "ed25519"] }, "cli");
const other = new TestLog("other.example/cli", PLAIN, "cli's other");
const [first = "", second = ""] = log.vkeys;
const [otherKey = ""] = other.vkeys;

let folder: string;
let database: string;
let keyFile: string;
let key: PrivateKey;
const running: Running[] = [];

beforeEach(async () => {
  folder = temporaryFolder();
  database = join(folder, "data", "witness.db");
  keyFile = join(folder, "witness.key");
  key = await createKeyFile(keyFile, "witness.example/cli", 0x01);
});
afterEach(async () => {
  for (const { child, ended } of running.splice(0)) {
    child.kill("SIGKILL");
    await ended;
  }
});

interface Running {
  readonly child: ChildProcess;
  readonly url: string;
  readonly ended: Promise<number | null>;
  stdout(): string;
  stderr(): string;
  /** Resolves once the process has written something that matches. */
  says(pattern: RegExp): Promise<void>;
}

/** A witness that listens. */
async function start(
  options: readonly string[] = [`--log=${log.origin}=${first}`],
  env: NodeJS.ProcessEnv = {},
): Promise<Running> {
  const started = launch(["--listen=127.0.0.1:0", `--database-url=sqlite:${database}`, ...options], env);
  await started.says(/listening on http/);
  return Object.assign(started, { url: /listening on (http\S+)/.exec(started.stdout())?.[1] ?? "" });
}

function launch(args: readonly string[], env: NodeJS.ProcessEnv = {}): Running {
  const [program = "", ...before] = CAIRN;
  const child = spawn(program, [...before, "witness", ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
  });
  let stdout = "";
  let stderr = "";
  const waiting = new Set<() => void>();
  const heard = () => {
    for (const check of waiting) check();
  };
  child.stdout.on("data", (chunk: Buffer) => {
    stdout += chunk.toString();
    heard();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk.toString();
    heard();
  });
  const ended = once(child, "exit").then(([code]) => {
    heard();
    return code as number | null;
  });
  const self: Running = {
    child,
    url: "",
    ended,
    stdout: () => stdout,
    stderr: () => stderr,
    says: (pattern) =>
      new Promise((resolve, reject) => {
        const check = () => {
          if (pattern.test(stdout + stderr)) resolve();
          else if (child.exitCode !== null) reject(new Error(`it ended: ${stdout}${stderr}`));
          else return;
          waiting.delete(check);
        };
        waiting.add(check);
        check();
      }),
  };
  running.push(self);
  return self;
}

const withKey = () => [`--private-key-file=${keyFile}`];
const add = ({ url }: Running, body: string, agent?: Agent) =>
  send(`${url}/add-checkpoint`, { method: "POST", body, ...(agent ? { agent } : {}) });
const beside = (...args: string[]) => run(witness, ["logs", ...args, "--database-url", `sqlite:${database}`]);

describe("running", () => {
  test(
    "it makes its database, cosigns, stops at SIGTERM with idle connections open, and goes on where it stood",
    async () => {
      const one = await start([...withKey(), `--log=${log.origin}=${first}`]);
      expect(one.stderr()).toMatch(/database_created/);
      const agent = new Agent({ keepAlive: true });
      const answer = await add(one, log.request(0, 5), agent);
      const [signature] = parseSignatureLines(answer.text);
      const verifier = verifierFor(cosignatureVkey(key), noblePrimitives);
      expect(verifier.verify(encodeUtf8(log.text(5)), signature?.signature ?? new Uint8Array())).toBe(true);
      one.child.kill("SIGTERM");
      expect(await one.ended).toBe(0);
      agent.destroy();

      const two = await start([...withKey(), `--log=${log.origin}=${first}`]);
      expect(two.stderr()).not.toMatch(/database_created/);
      expect((await add(two, log.request(0, 9))).text).toBe("5\n");
      expect((await add(two, log.request(5, 9))).status).toBe(200);
    },
    PROCESS_MS,
  );

  test(
    "a second process on the same database is refused, and told who holds it",
    async () => {
      const one = await start([...withKey()]);
      const two = launch([...withKey(), "--listen=127.0.0.1:0", `--database-url=sqlite:${database}`]);
      expect(await two.ended).toBe(2);
      expect(two.stderr()).toContain(`process ${one.child.pid}`);
      expect(two.stderr()).toMatch(/\[locked\]/);
    },
    PROCESS_MS,
  );

  test(
    "as the published suite starts it: an empty file for a database, the key on the command line, with a warning",
    async () => {
      mkdirSync(join(folder, "data"));
      writeFileSync(database, "");
      const one = launch([
        "--database-url",
        `sqlite://${database}`,
        "--listen",
        "0.0.0.0:0",
        "--private-key",
        printPrivateKey(key),
        "--log",
        `${log.origin}=${first}`,
      ]);
      await one.says(/listening on/);
      expect(one.stderr()).toMatch(/others can read it/);
      expect(one.stdout() + one.stderr()).not.toContain("PRIVATE+KEY");
      const url = (/listening on (http\S+)/.exec(one.stdout())?.[1] ?? "").replace("0.0.0.0", "127.0.0.1");
      expect((await send(`${url}/health`)).status).toBe(200);
      expect((await send(`${url}/add-checkpoint`, { method: "POST", body: log.request(0, 1) })).status).toBe(
        200,
      );
    },
    PROCESS_MS,
  );

  test(
    "several keys, from files and the environment, and the page for those who look for a witness",
    async () => {
      const mldsaFile = join(folder, "mldsa.key");
      await createKeyFile(mldsaFile, "witness.example/cli", 0x06);
      const third = generatePrivateKey("witness.example/cli", sha256("third"));
      const one = await start(
        [
          ...withKey(),
          `--private-key-file=${mldsaFile}`,
          `--log=${log.origin}=${first}`,
          "--url=https://w.example/x/",
        ],
        { WITNESS_PRIVATE_KEY: printPrivateKey(third) },
      );
      expect(parseSignatureLines((await add(one, log.request(0, 1))).text)).toHaveLength(3);
      const about = await send(`${one.url}/about`);
      expect(about.text).toContain("https://w.example/x/add-checkpoint\n");
      expect(about.text).toContain(printVkey(cosignatureVkey(third)));
      const printed = await run(witness, [
        "about",
        "--url",
        "https://w.example/x",
        "--private-key-file",
        keyFile,
      ]);
      expect(printed.stdout).toContain(printVkey(cosignatureVkey(key)));
    },
    PROCESS_MS,
  );

  test(
    "it keeps the rates that it is told, for an address and for an origin",
    async () => {
      const rates = ["--address-rate=0.001/4", "--origin-rate=0.001/1"];
      const one = await start([...withKey(), `--log=${log.origin}=${first}`, ...rates]);
      expect((await add(one, log.request(0, 1))).status).toBe(200);
      const refused = await add(one, log.request(1, 2));
      expect([refused.status, refused.text]).toEqual([429, expect.stringContaining("this origin")]);
      for (const status of [400, 400]) expect((await add(one, "x")).status).toBe(status);
      const last = await add(one, "x");
      expect([last.status, last.text]).toEqual([429, expect.stringContaining("this address")]);
    },
    PROCESS_MS,
  );

  test(
    "behind a proxy it counts by the address that the proxy gives, and by nothing that a client adds before it",
    async () => {
      const one = await start([...withKey(), "--address-rate=0.001/1", "--client-address-header=X-Real-IP"]);
      const from = async (address: string) => {
        const headers = { "x-real-ip": address };
        return (await send(`${one.url}/add-checkpoint`, { method: "POST", body: "x", headers })).status;
      };
      expect([await from("192.0.2.1"), await from("192.0.2.1")]).toEqual([400, 429]);
      expect([await from("192.0.2.2"), await from("198.51.100.7, 192.0.2.2")]).toEqual([400, 429]);
    },
    PROCESS_MS,
  );
});

describe("lists of logs", () => {
  test(
    "are read at the start and at SIGHUP; what is new is added, what is known never changes, a bad list changes nothing",
    async () => {
      const listFile = join(folder, "logs.txt");
      writeFileSync(listFile, logList([new TestLog(log.origin, PLAIN, "cli")]));
      const one = await start([...withKey(), `--logs=${listFile}`]);
      expect((await add(one, log.request(0, 1))).status).toBe(200);
      expect((await add(one, other.request(0, 1))).status).toBe(404);

      appendFileSync(
        listFile,
        `vkey ${otherKey}\nqpd 24\ncontact somebody\n\nvkey ${second}\norigin ${log.origin}\nqpd 1\n`,
      );
      one.child.kill("SIGHUP");
      await one.says(/"listed":2,"added":1/);
      await one.says(/list_differs/);
      expect((await add(one, other.request(0, 1))).status).toBe(200);
      // A list that names another key for a known log does not make it trusted: that is for the operator to say.
      expect((await add(one, log.request(1, 2, { signers: log.signers.slice(1) }))).status).toBe(403);

      writeFileSync(listFile, "logs/v0\n");
      one.child.kill("SIGHUP");
      await one.says(/"listed":0,"added":0/);
      expect((await add(one, log.request(1, 2))).status).toBe(200);

      writeFileSync(listFile, "logs/v1\n");
      one.child.kill("SIGHUP");
      await one.says(/list_refused/);
      expect((await add(one, log.request(2, 3))).status).toBe(200);
    },
    PROCESS_MS,
  );

  test(
    "a list that cannot be read, or is none, keeps the witness from starting",
    async () => {
      const bad = join(folder, "bad.txt");
      writeFileSync(bad, "logs/v0\nvkey nonsense\n");
      for (const [file, code] of [
        [bad, "bad_log_list"],
        [join(folder, "absent"), "file_unreadable"],
      ]) {
        const one = launch([...withKey(), `--database-url=sqlite:${database}`, `--logs=${file}`]);
        expect(await one.ended).toBe(2);
        expect(one.stderr()).toContain(`[${code}]`);
      }
    },
    PROCESS_MS,
  );
});

describe("the commands beside it", () => {
  test(
    "add, change keys, pause and resume count from the next request on",
    async () => {
      const one = await start(withKey());
      expect((await add(one, log.request(0, 1))).status).toBe(404);
      expect((await beside("add", first, "--origin", log.origin, "--contact", "somebody")).exit).toBe(0);
      expect((await add(one, log.request(0, 1))).status).toBe(200);

      const signers = log.signers.slice(1);
      expect((await add(one, log.request(1, 2, { signers }))).status).toBe(403);
      expect((await beside("add", second)).exit).toBe(0);
      expect((await add(one, log.request(1, 2, { signers }))).status).toBe(200);
      expect((await beside("drop-key", first)).exit).toBe(0);
      expect((await add(one, log.request(2, 3))).status).toBe(403);
      expect((await beside("drop-key", second)).exit).toBe(2);

      expect((await beside("pause", log.origin)).exit).toBe(0);
      expect((await add(one, log.request(2, 3, { signers }))).status).toBe(404);
      expect((await send(`${one.url}/${log.originHash}/checkpoint`)).status).toBe(200);
      expect((await beside("resume", log.origin)).exit).toBe(0);
      expect((await add(one, log.request(2, 3, { signers }))).status).toBe(200);

      const listed = await beside("list", "--json");
      expect(listed.json()).toEqual([
        {
          origin: log.origin,
          keys: [second],
          paused: false,
          qpd: null,
          contact: "somebody",
          cosigned_size: "3",
        },
      ]);
      expect((await beside("list")).stdout).toMatch(/^active {2}size 3 {2}log\.example\/cli\n/);
    },
    PROCESS_MS,
  );

  test(
    "a log of the command line can be paused, and stays so at the next start",
    async () => {
      const one = await start([...withKey(), `--log=${log.origin}=${first}`]);
      expect((await beside("pause", log.origin)).exit).toBe(2);
      await add(one, log.request(0, 1));
      expect((await beside("pause", log.origin)).exit).toBe(0);
      expect((await add(one, log.request(1, 2))).status).toBe(404);
      one.child.kill("SIGTERM");
      await one.ended;
      const two = await start([...withKey(), `--log=${log.origin}=${first}`]);
      expect((await add(two, log.request(1, 2))).status).toBe(404);
    },
    PROCESS_MS,
  );

  test("without a database, and for logs that are not there, they say so", async () => {
    const none = await beside("list");
    expect([none.exit, none.stderr]).toEqual([2, expect.stringContaining("[witness_absent]")]);
    expect(existsSync(database)).toBe(false);
  });

  test.each([
    ["no vkey", ["add"], "usage"],
    ["two vkeys", ["add", first, second], "usage"],
    ["a vkey that is none", ["add", "nonsense"], "bad_vkey"],
    ["an origin with a line break", ["add", first, "--origin", "a\nb"], "usage"],
  ])("%s is refused", async (_, args, code) => {
    const result = await beside(...args);
    expect([result.exit, result.stderr]).toEqual([2, expect.stringContaining(`[${code}]`)]);
  });
});

describe("what it refuses before it touches anything", () => {
  test.each([
    ["no key", [], "usage"],
    ["a log that does not read", ["--log", "nonsense"], "usage"],
    ["an address that does not read", ["--listen", "nowhere"], "usage"],
    ["a database that is no file", ["--database-url", "postgres://x"], "usage"],
    ["a rate that does not read", ["--address-rate", "fast"], "usage"],
    ["a rate of zero", ["--origin-rate", "0"], "usage"],
    ["a URL that is none", ["--url", "w.example"], "usage"],
    ["a further word", ["serve"], "usage"],
    ["a key file that is not there", ["--private-key-file", "/nonexistent/key"], "file_unreadable"],
    ["a key that is none", ["--private-key", "PRIVATE+KEY+x"], "bad_private_key"],
    ["a key where no key belongs", ["--log", "PRIVATE+KEY+x"], "usage"],
    ["a key beside the option for one", ["--private-key=x", "PRIVATE+KEY+x"], "usage"],
  ])("%s", async (name, args, code) => {
    const keys = name === "no key" || name.startsWith("a key") ? [] : withKey();
    const place = args.includes("--database-url") ? [] : ["--database-url", `sqlite:${database}`];
    const result = await run(witness, [...keys, ...place, ...args]);
    expect([result.exit, result.stderr]).toEqual([2, expect.stringContaining(`[${code}]`)]);
    expect(result.stderr).not.toContain("PRIVATE+KEY+x");
    expect(existsSync(join(folder, "data"))).toBe(false);
  });

  test("a file where its folder should be", async () => {
    writeFileSync(join(folder, "data"), "a file");
    const blocked = await run(witness, [...withKey(), "--database-url", `sqlite:${database}`]);
    expect([blocked.exit, blocked.stderr]).toEqual([
      2,
      expect.stringMatching(/data is a file.*\[file_unwritable\]/),
    ]);
    expect(blocked.stderr).not.toMatch(/\n {4}at /);
    expect(readFileSync(join(folder, "data"), "utf8")).toBe("a file");
  });
});

test("every verifier key that it prints can be parsed", async () => {
  const result = await run(witness, [
    "about",
    "--url",
    "https://w.example",
    "--private-key-file",
    keyFile,
    "--json",
  ]);
  const [value] = result.json();
  const vkeys = value?.vkeys as string[];
  expect(vkeys.map((vkey) => parseVkey(vkey).type)).toEqual([0x04]);
});
