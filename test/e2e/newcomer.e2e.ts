// `npm start`: a running log for whoever wants to see one, whose first start may be interrupted anywhere, and which never
// makes a new log where an old one is missing.

import { execFile, spawnSync } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";
import { cp, mkdir, readFile, rename, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import Database from "better-sqlite3";
import { describe, expect, inject, onTestFinished, test } from "vitest";
import type { ErrorCode } from "../../src/core/errors.ts";
import { add, addForProof, checkpoint, expectClean, untilPublished } from "./client.ts";
import { skipUnless } from "../require.ts";
import { expectSentence, filesIn } from "./refusal.ts";
import {
  type Environment,
  eventually,
  listening,
  run,
  type Server,
  start,
  type Started,
  temporaryFolder,
} from "./server.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** npm beside the Node that runs this. */
const NPM = realpathSync(join(dirname(process.execPath), "npm"));
const ENV: Environment = { LISTEN_ADDR: "127.0.0.1:0", CHECKPOINT_INTERVAL: "0.05" };
/** Moments of a first start at which it is killed, evenly from its beginning to a little after it listens. */
const KILLS = 10;

/** What `npm start` runs after its build. */
function newcomer(): string[] {
  const main = fileURLToPath(new URL("./start-after-build.mjs", import.meta.url));
  return [main, pathToFileURL(join(inject("cairnPackage"), "dist/cli/")).href];
}

/** Runs it until it listens. */
function begin(folder: string, env: Environment = {}): Promise<Server> {
  return running(start(newcomer(), { cwd: folder, env: { ...ENV, ...env } }));
}

function running(child: Started): Promise<Server> {
  return listening(child, () => {
    const url = /^A transparency log is running at (http:\/\/\S+)$/m.exec(child.stdout())?.[1];
    const vkey = /^ {2}vkey +(\S+)$/m.exec(child.stdout())?.[1];
    const isComplete = /^Stop with Ctrl-C/m.test(child.stdout());
    return url === undefined || vkey === undefined || !isComplete ? null : { url, vkey };
  });
}

/** The log in `folder` runs, logs an entry, and starts again with the same key and that entry. */
async function expectRuns(folder: string): Promise<string> {
  const server = await begin(folder);
  expect(existsSync(join(folder, "data/creating"))).toBe(false);
  expect(await add(server, "hello")).toBe(0);
  await untilPublished(server, 1);
  await expectClean(server.url, server.vkey);
  expect(await server.stop()).toMatchObject({ code: 0 });
  return server.vkey;
}

/** Nothing runs, one sentence with `code` says why, and nothing is changed or made. */
async function expectRefused(folder: string, code: ErrorCode, env: Environment = {}): Promise<string> {
  const before = await filesIn(folder);
  const ran = await run(newcomer(), { cwd: folder, env: { ...ENV, ...env } });
  const sentence = expectSentence(ran, "cairn", code);
  expect(ran.stdout).toBe("");
  expect(await filesIn(folder)).toEqual(before);
  return sentence;
}

const noCurl = skipUnless(spawnSync("curl", ["--version"]).status === 0, "curl is not installed");

describe("npm start", () => {
  test.skipIf(noCurl)(
    "builds and runs a log with a new key, and the three commands that it prints work as they stand",
    async () => {
      const folder = await temporaryFolder();
      for (const name of [
        "src",
        "scripts",
        "migrations",
        "package.json",
        "tsconfig.json",
        "tsconfig.build.json",
      ]) {
        await cp(join(ROOT, name), join(folder, name), { recursive: true });
      }
      await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
      const npm = start([NPM, "start"], { cwd: folder, env: ENV });
      const server = await running(npm);
      expect(server.vkey).toMatch(/^localhost\/cairn\+[0-9a-f]{8}\+/);

      const commands = server
        .stdout()
        .split("\n")
        .filter((line) => /^ {2}(printf|curl|node) /.test(line));
      expect(commands).toHaveLength(3);
      const shell = await promisify(execFile)("sh", ["-e", "-c", commands.join("\n")], { cwd: folder });
      expect(shell.stdout).toContain("verified: entry 0 of localhost/cairn");
      // Who stops npm stops the log: nothing is left running without it.
      npm.process.kill("SIGTERM");
      await npm.exited;
      await eventually("the log is gone with npm", async () => {
        return await fetch(`${server.url}/health`).then(
          () => false,
          () => true,
        );
      });
      expect(await (await begin(folder)).stop()).toMatchObject({ code: 0 });
    },
  );

  test("a second start is the same log: same key, same entries, and no creation", async () => {
    const folder = await temporaryFolder();
    const first = await begin(folder);
    await addForProof(first, "hello");
    const published = await checkpoint(first);
    expect(await first.stop()).toMatchObject({ code: 0 });
    const second = await begin(folder);
    expect(second.vkey).toBe(first.vkey);
    expect(await checkpoint(second)).toEqual(published);
    expect(second.stderr()).not.toContain("log_create_set");
    expect(await second.stop()).toMatchObject({ code: 0 });
  });

  test("lets this machine write where nothing is said, not against an explicit no, nor past keys that were given out", async () => {
    const folder = await temporaryFolder();
    const status = async (server: Server): Promise<number> =>
      (await fetch(`${server.url}/add`, { method: "POST", body: "hello" })).status;
    const open = await begin(folder);
    expect(await status(open)).toBe(200);
    expect(await open.stop()).toMatchObject({ code: 0 });
    const closed = await begin(folder, { ALLOW_PUBLIC_WRITES: "false" });
    expect(await status(closed)).toBe(401);
    expect(closed.stdout()).not.toContain("Anyone");
    expect(await closed.stop()).toMatchObject({ code: 0 });
    const withKey = await begin(folder, { API_KEY: "k".repeat(32) });
    expect(await status(withKey)).toBe(401);
    expect(await withKey.stop()).toMatchObject({ code: 0 });

    const database = { DATABASE_URL: `sqlite:${join(folder, "data/log.db")}` };
    const main = join(inject("cairnPackage"), "dist/cli/main.js");
    expect((await run([main, "keys", "add", "alice"], { cwd: folder, env: database })).code).toBe(0);
    const named = await begin(folder);
    expect(await status(named)).toBe(401);
    expect(await named.stop()).toMatchObject({ code: 0 });
    expect((await run([main, "keys", "revoke", "alice"], { cwd: folder, env: database })).code).toBe(0);
    const revoked = await begin(folder);
    expect(await status(revoked)).toBe(401);
    expect(await revoked.stop()).toMatchObject({ code: 0 });
  });

  test("an address in use is said in a sentence, and the first start can be repeated", async () => {
    const folder = await temporaryFolder();
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void other.close());
    const taken = `127.0.0.1:${(other.address() as AddressInfo).port}`;
    const ran = await run(newcomer(), { cwd: folder, env: { ...ENV, LISTEN_ADDR: taken } });
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain(taken);
    expect(ran.stderr).not.toMatch(/^ {4}at /m);
    await expectRuns(folder);
  });
});

describe("a first start that is interrupted", () => {
  test("by SIGKILL at any moment can be repeated, and a key that was made is kept", async () => {
    const whole = await temporaryFolder();
    const began = performance.now();
    const server = await begin(whole);
    const toListen = performance.now() - began;
    await server.stop();
    for (let i = 0; i < KILLS; i++) {
      const folder = await temporaryFolder();
      const child = start(newcomer(), { cwd: folder, env: ENV });
      await new Promise((done) => setTimeout(done, (toListen * 1.2 * (i + 0.5)) / KILLS));
      child.process.kill("SIGKILL");
      await child.exited;
      const keyFile = join(folder, "data/log.key");
      const key = existsSync(keyFile) ? await readFile(keyFile, "utf8") : null;
      const vkey = await expectRuns(folder);
      if (key !== null) expect(await readFile(keyFile, "utf8")).toBe(key);
      expect(vkey).toMatch(/^localhost\/cairn\+/);
    }
  });

  test("after any of its steps can be repeated", async () => {
    const folder = await temporaryFolder();
    const server = await begin(folder);
    await untilPublished(server, 0);
    await server.stop();
    const data = join(folder, "data");
    const database = join(data, "log.db");
    const { id } = query(database, "SELECT database_id AS id FROM identity") as { id: string };

    // From the last step to the first, each taken back.
    const steps: readonly [string, () => Promise<void>][] = [
      ["the log stands, the marker too", () => writeFile(join(data, "creating"), "")],
      [
        "no checkpoint is published",
        async () => {
          await rm(join(data, "tiles/checkpoint"));
          change(database, "UPDATE heads SET published_size = NULL, published_note = NULL");
          change(database, "UPDATE heads SET signed_size = NULL, signed_note = NULL");
        },
      ],
      ["the file with the database's id stands", () => writeFile(join(data, "log.db.creating"), `${id}\n`)],
      [
        "the database has no identity",
        async () => change(database, "DELETE FROM identity; DELETE FROM heads"),
      ],
      ["there is no head", () => rm(join(data, "tiles/state/head"))],
      ["there is no id yet", () => rm(join(data, "log.db.creating"))],
      ["the database is an empty file", () => truncate(database)],
      ["there is no database", () => rm(database)],
      [
        "there are no locks",
        async () => {
          await rm(join(data, "tiles"), { recursive: true });
          await rm(join(data, "log.db.lock"));
        },
      ],
      ["there is no key", () => rm(join(data, "log.key"))],
      ["there is no marker", () => rm(join(data, "creating"))],
      ["there is no folder", () => rm(data, { recursive: true })],
    ];
    for (const [name, takeBack] of steps) {
      await takeBack();
      const copy = await temporaryFolder();
      await cp(folder, copy, { recursive: true });
      await expectRuns(copy).catch((cause: unknown) => {
        throw new Error(`after the step: ${name}`, { cause });
      });
    }
  });

  test("with unfinished files left of its key and its marker can be repeated", async () => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, "data"));
    await writeFile(join(folder, "data/creating.tmp-0123456789abcdef-0"), "a first");
    await writeFile(join(folder, "data/log.key.tmp-0123456789abcdef-1"), "PRIVATE+KEY+loc");
    await expectRuns(folder);
  });
});

describe("a key without its log", () => {
  async function stopped(): Promise<string> {
    const folder = await temporaryFolder();
    const server = await begin(folder);
    await addForProof(server, "hello");
    await server.stop();
    return folder;
  }

  test("beside an empty folder is refused: the volume may not be mounted", async () => {
    const folder = await stopped();
    await rename(join(folder, "data"), join(folder, "volume"));
    await mkdir(join(folder, "data"));
    await cp(join(folder, "volume/log.key"), join(folder, "data/log.key"));
    expect(await expectRefused(folder, "key_without_log")).toContain("volume is mounted");
    // Back again.
    await rm(join(folder, "data"), { recursive: true });
    await rename(join(folder, "volume"), join(folder, "data"));
    const server = await begin(folder);
    expect((await checkpoint(server)).size).toBe(1);
    await server.stop();
  });

  test("whose database and tiles are kept elsewhere, on a volume that is not mounted, is refused", async () => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, "volume"));
    const env = { DATABASE_URL: "sqlite:./volume/log.db", FS_ROOT: "./volume/tiles" };
    const server = await begin(folder, env);
    await addForProof(server, "hello");
    await server.stop();
    await rm(join(folder, "volume"), { recursive: true });
    await expectRefused(folder, "key_without_log", env);
    await mkdir(join(folder, "volume"));
    await expectRefused(folder, "key_without_log", env);
  });

  test("with its tiles and without its database is refused, and so is the database without its tiles", async () => {
    const [withoutDatabase, withoutTiles] = [await stopped(), await stopped()];
    for (const suffix of ["", ".lock", ".dedup", ".reserve"]) {
      await rm(join(withoutDatabase, `data/log.db${suffix}`));
    }
    await expectRefused(withoutDatabase, "key_without_log");
    await rm(join(withoutTiles, "data/tiles"), { recursive: true });
    await expectRefused(withoutTiles, "head_damaged");
  });

  test("the other way round, a log without its key, is refused, and no new key is made", async () => {
    const folder = await stopped();
    await rm(join(folder, "data/log.key"));
    expect(await expectRefused(folder, "log_exists")).toContain("put it back");
  });
});

function change(file: string, sql: string): void {
  const database = new Database(file);
  database.exec(sql);
  database.close();
}

function query(file: string, sql: string): unknown {
  const database = new Database(file, { readonly: true });
  try {
    return database.prepare(sql).get();
  } finally {
    database.close();
  }
}
