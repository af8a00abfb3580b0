// A process for each class of fatal error: it ends with that class's exit code, by which its supervisor decides.

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import Database from "better-sqlite3";
import { expect, onTestFinished, test } from "vitest";
import { EXIT_CLASSES, FATAL_CODES } from "../../src/cli/exit-classes.ts";
import type { ErrorCode } from "../../src/core/errors.ts";
import { skipUnless } from "../require.ts";
import { add, addBatch, entries, untilPublished } from "./client.ts";
import { headFile, NEVER_AGAIN, newLog, readHead } from "./log.ts";
import {
  cairn,
  create,
  eventually,
  newPlace,
  program,
  PATIENCE_MS,
  type Server,
  serve,
  start,
} from "./server.ts";
import { within } from "../waiting.ts";

/** A start asks a store for this long, and some time goes by around it. */
const STORE_PATIENCE_MS = 45_000;

// Whether strace is there and may attach to a process that it did not start itself.
const ATTACH =
  "sleep 9 & slept=$!; strace -p $slept -o /dev/null & traced=$!; sleep 0.5; kill -0 $traced; attached=$?; kill $traced $slept; exit $attached";
const strace = spawnSync("sh", ["-c", ATTACH], { encoding: "utf8" });
const withoutStrace = skipUnless(
  strace.status === 0,
  `a sync is made to fail by strace, which is missing or may not attach: ${strace.stderr.trim()}`,
);

/** The server ends by itself, with this code's class and a last line that names it. */
async function expectEnd(server: Server, code: ErrorCode): Promise<void> {
  const exit = await within(PATIENCE_MS, () => `the end; it wrote:\n${server.stderr()}`, server.exited);
  expect(exit, server.stderr()).toMatchObject({ code: exitOf(code), signal: null });
  expect(server.log().at(-1)).toMatchObject({ level: 60, event: "stopped", code });
}

function exitOf(code: ErrorCode): number {
  const name = FATAL_CODES[code];
  if (name === undefined) throw new Error(`${code} has no class`);
  return EXIT_CLASSES[name].exit;
}

test("stopped: a signal ends it with 0", async () => {
  const server = await create(await newPlace());
  expect(await server.stop()).toMatchObject({ code: EXIT_CLASSES.stopped.exit });
});

test("refused: wrong configuration, an address in use, and a log that is absent end a start with 2", async () => {
  const place = await newPlace();
  const wrong = await cairn(["serve"], { ...place.env, CHECKPOINT_INTERVAL: "soon" });
  expect(wrong.stderr).toContain("[bad_config]");
  const absent = await cairn(["serve"], place.env);
  expect(absent.stderr).toContain("[log_absent]");
  const server = await create(place);
  const other = await newPlace();
  const taken = { LISTEN_ADDR: `127.0.0.1:${server.port}`, LOG_CREATE: "true" };
  const inUse = await cairn(["serve"], { ...other.env, ...taken });
  expect(inUse.stderr).toMatch(/LISTEN_ADDR.*EADDRINUSE.*\[bad_config\]/);
  expect([wrong.code, absent.code, inUse.code]).toEqual(Array(3).fill(exitOf("bad_config")));
  expect(exitOf("bad_config")).toBe(2);
});

test("violated: a log that another process has taken over ends with 65, before it signs anything", async () => {
  const place = await newPlace();
  const server = await create(place);
  await add(server, "ours");
  await untilPublished(server, 1);
  const theirs = { ...(await readHead(place)), epoch: 7, holder: "f".repeat(32) };
  await writeFile(headFile(place), JSON.stringify(theirs));
  await fetch(`${server.url}/add`, { method: "POST", body: "too late" }).catch(() => undefined);
  await expectEnd(server, "fenced");
  expect(exitOf("fenced")).toBe(65);
  expect(JSON.parse(await readFile(headFile(place), "utf8"))).toEqual(theirs);
});

test("violated: a log that is found to be taken over in the last round of its stop ends with 65 too", async () => {
  const place = await newPlace();
  const server = await create(place, NEVER_AGAIN);
  await untilPublished(server, 0);
  await add(server, "for the last round");
  const theirs = { ...(await readHead(place)), epoch: 7, holder: "f".repeat(32) };
  await writeFile(headFile(place), JSON.stringify(theirs));
  server.kill("SIGTERM");
  await expectEnd(server, "fenced");
});

test("unavailable: a database that something reads ends a start with 69, and the next start is a log", async () => {
  const place = await newLog(entries(10));
  const crashed = await serve(place);
  await addBatch(crashed, entries(10, "later"));
  await crashed.crash();
  // Its snapshot needs the write-ahead log, which a start must bring into the database.
  const reader = new Database(place.database, { readonly: true });
  onTestFinished(() => void reader.close());
  reader.exec("BEGIN");
  reader.prepare("SELECT count(*) FROM entry_rows").get();
  const ran = await cairn(["serve"], place.env);
  expect(ran.stderr).toContain("[database_locked]");
  expect(ran.code).toBe(exitOf("database_locked"));
  expect(ran.code).toBe(69);
  reader.close();
  expect(await (await serve(place)).stop()).toMatchObject({ code: 0 });
});

test("unavailable: a store that does not answer ends a start with 69 after half a minute, not before", async () => {
  const place = await newPlace();
  const began = performance.now();
  const away = start([program(), "serve"], {
    env: {
      ...place.env,
      STORAGE_BACKEND: "s3",
      S3_BUCKET: "tiles",
      S3_ENDPOINT: "http://127.0.0.1:9",
      S3_ACCESS_KEY: "key",
      S3_SECRET_KEY: "secret",
    },
  });
  const exit = await within(STORE_PATIENCE_MS, () => `the end: ${away.stderr()}`, away.exited);
  expect(away.stderr()).toContain("[store_unreachable]");
  expect(exit.code).toBe(exitOf("store_unreachable"));
  expect(performance.now() - began).toBeGreaterThan(25_000);
});

test.skipIf(withoutStrace)(
  "unsettled: a sync that fails ends it with 75, the add is not acknowledged, and the next start is a log",
  async () => {
    const place = await newPlace();
    const server = await create(place);
    await add(server, "synced");
    await untilPublished(server, 1);
    const fails = ["-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:error=EIO"];
    const tracer = spawn("strace", ["-f", "-p", String(server.pid), "-o", "/dev/null", ...fails], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    const ended = once(tracer, "exit");
    onTestFinished(async () => {
      tracer.kill("SIGKILL");
      await ended;
    });
    let said = "";
    tracer.stderr.on("data", (text: Buffer) => {
      said += text.toString();
    });
    await eventually("strace is attached", () => said.includes("attached"));
    const answer = await fetch(`${server.url}/add`, { method: "POST", body: "not synced" });
    expect(answer.status).toBe(503);
    await expectEnd(server, "commit_unknown");
    expect(exitOf("commit_unknown")).toBe(75);
    const again = await serve(place);
    await add(again, "after");
    expect(await again.stop()).toMatchObject({ code: 0 });
  },
);

test("fault: an error that nobody expected ends it with 1, and the next start is a log", async () => {
  const place = await newPlace();
  // It is thrown into the running process, as a mistake of the program's own would be.
  const bomb = "process.on('SIGUSR2', () => { throw new Error('nobody expected this') })";
  const server = await create(place, { NODE_OPTIONS: `--import=data:text/javascript,${encodeURI(bomb)}` });
  await add(server, "before");
  server.kill("SIGUSR2");
  const exit = await within(PATIENCE_MS, () => "the end", server.exited);
  expect(exit).toMatchObject({ code: EXIT_CLASSES.fault.exit, signal: null });
  const line = server.log().at(-1);
  expect(line).toMatchObject({ level: 60, event: "stopped", code: "internal" });
  expect(JSON.stringify(line)).toContain("nobody expected this");
  expect(await (await serve(place)).stop()).toMatchObject({ code: 0 });
});
