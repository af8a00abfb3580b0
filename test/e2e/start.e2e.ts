// Starts: what a log refuses to start on, in which words, and what it mends by itself.

import { existsSync } from "node:fs";
import { cp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { describe, expect, test } from "vitest";
import { addBatch, addEach, checkpoint, entries, expectCleanLog, untilPublished } from "./client.ts";
import {
  checkpointFile,
  expectWhole,
  grow,
  headFile,
  loseDatabase,
  newLog,
  readHead,
  template,
} from "./log.ts";
import { skipWithout } from "../require.ts";
import { expectRefused, expectSentence } from "./refusal.ts";
import { isInBucket, storeOf } from "./store.ts";
import {
  cairn,
  create,
  type Environment,
  eventually,
  newPlace,
  type Place,
  type Server,
  serve,
} from "./server.ts";

const inBucket = skipWithout(!isInBucket(), "a bucket has no lock that keeps two writers apart");

/** Two full bundles and a partial one. */
const ENTRIES = entries(600);

const filled = template(() => newLog(ENTRIES));

describe("where there is no log", () => {
  test("nothing is created in an empty folder without LOG_CREATE, and the refusal says how", async () => {
    const place = await newPlace();
    expect(await expectRefused(place, "log_absent")).toContain("LOG_CREATE=true");
    const elsewhere = { DATABASE_URL: `sqlite:${place.folder}/a/b/log.db`, FS_ROOT: `${place.folder}/c/d` };
    await expectRefused(place, "log_absent", { env: elsewhere });
  });

  test("nothing is created by any other command that owns a log", async () => {
    const place = await newPlace();
    for (const args of [["recover"], ["gc"]]) await expectRefused(place, "log_absent", { args });
  });

  test("a database without its tiles is refused, also with LOG_CREATE, and nothing is made in their place", async () => {
    const place = await filled();
    await rm(place.tiles, { recursive: true });
    const [code, words] = isInBucket()
      ? (["bucket_absent", `s3://${place.env.S3_BUCKET}`] as const)
      : (["head_damaged", "check first that its volume is mounted"] as const);
    for (const env of [{}, { LOG_CREATE: "true" }]) {
      expect(await expectRefused(place, code, { env })).toContain(words);
    }
    if (isInBucket()) return;
    const ended = await cairn(["recover"], place.env);
    expect(expectSentence(ended, "cairn recover", "log_ended", 1)).toContain("volume is mounted");
    expect(await readdir(place.folder)).not.toContain("tiles");
  });

  test("tiles without their database are refused, also with LOG_CREATE, and nothing is made in its place", async () => {
    const place = await filled();
    await loseDatabase(place);
    expect(await expectRefused(place, "database_lost")).toContain("cairn recover");
    const sentence = await expectRefused(place, "log_exists", { env: { LOG_CREATE: "true" } });
    expect(sentence).toContain("cairn recover");
  });

  test("LOG_CREATE on a log that exists warns and changes nothing", async () => {
    const place = await filled();
    const before = await readFile(checkpointFile(place), "utf8");
    const server = await serve(place, { LOG_CREATE: "true" });
    expect(server.log().map(({ event }) => event)).toContain("log_create_set");
    expect((await checkpoint(server)).text).toBe(before);
    expect(await server.stop()).toMatchObject({ code: 0 });
    await expectWhole(place, ENTRIES);
  });
});

describe("one writer", () => {
  test("a second serve on the same data is refused in a sentence that names host and process, and the first goes on", async () => {
    const place = await newPlace();
    const server = await create(place);
    await untilQuiet(place, server);
    const sentence = await expectRefused(place, "locked");
    expect(sentence).toContain(`process ${server.pid} on ${hostname()}`);
    for (const args of [["recover"], ["gc"]]) {
      expect(await expectRefused(place, "locked", { args })).toContain(`process ${server.pid}`);
    }
    await addEach(server, entries(20));
    await untilPublished(server, 20);
    await expectCleanLog(server, place);
  });

  test("a log whose process was killed starts again at once", async () => {
    const place = await newPlace();
    const server = await create(place);
    await addBatch(server, ENTRIES);
    await server.crash();
    await expectWhole(place, ENTRIES);
  });

  test("what a killed process left unfinished beside the database and the tiles is removed", async () => {
    const place = await filled();
    const left = [
      `${place.database}.reserve.tmp-0123456789abcdef-0`,
      `${place.database}.dedup.tmp-0123456789abcdef-1`,
      ...(isInBucket() ? [] : [join(place.tiles, "state/.tmp/000.tmp-0123456789abcdef-2")]),
    ];
    for (const path of left) await writeFile(path, "unfinished");
    const server = await serve(place);
    expect(left.filter((path) => existsSync(path))).toEqual([]);
    await server.stop();
  });

  test("of eight that start at the same moment one runs, and the others are refused", async () => {
    const place = await filled();
    const env = { ...place.env, LOG_CREATE: "false" };
    const started = Array.from({ length: 8 }, () => serve({ env }).catch((error: Error) => error.message));
    const outcomes = await Promise.all(started);
    const refused = outcomes.filter((outcome) => typeof outcome === "string");
    expect(refused).toHaveLength(7);
    for (const said of refused) expect(said).toMatch(/^it exited with 2: \{"error":\{"code":"locked",/);
  });

  // In a bucket no lock keeps writers apart: test/s3/operations.e2e.ts.
  test.skipIf(inBucket).each([
    ["another database", (place: Place): Environment => ({ DATABASE_URL: `sqlite:${place.database}-clone` })],
    ["another tile folder", (place: Place): Environment => ({ FS_ROOT: `${place.tiles}-clone` })],
  ])("a clone with %s is refused while the original runs, and the other way round", async (_, clone) => {
    const place = await filled();
    await cp(place.database, `${place.database}-clone`);
    await cp(place.tiles, `${place.tiles}-clone`, { recursive: true });
    for (const [first, second] of [
      [{}, clone(place)],
      [clone(place), {}],
    ] as const) {
      const server = await serve(place, first);
      await untilQuiet(place, server);
      expect(await expectRefused(place, "locked", { env: second })).toContain(`process ${server.pid}`);
      expect(await server.stop()).toMatchObject({ code: 0 });
    }
  });

  test.each([
    ["original", "clone"],
    ["clone", "original"],
  ])(
    "of two databases with one tile folder the %s signs, and the %s is refused from then on",
    async (first, second) => {
      const place = await filled();
      const databases: Record<string, Environment> = {
        original: {},
        clone: { DATABASE_URL: `sqlite:${place.database}-clone` },
      };
      await cp(place.database, `${place.database}-clone`);
      await grow(place, entries(5, "signed"), databases[first]);
      const sentence = await expectRefused(place, "database_older", { env: databases[second] ?? {} });
      expect(sentence).toContain("cairn recover");
      // Once more each: refusing changed nothing, and the owner still owns it.
      await expectRefused(place, "database_older", { env: databases[second] ?? {} });
      await grow(place, entries(5, "signed later"), databases[first]);
    },
  );
});

describe("data that does not belong together", () => {
  test("another key of the same name is refused", async () => {
    const place = await filled();
    const stranger = await newPlace();
    const sentence = await expectRefused(place, "identity_mismatch", {
      env: { LOG_PRIVATE_KEY_FILE: stranger.keyFile },
    });
    expect(sentence).toContain("keys");
  });

  test("a key of another name is refused, and so is LOG_ORIGIN beside a key of another name", async () => {
    const place = await filled();
    const stranger = await newPlace("example.com/other");
    const sentence = await expectRefused(place, "identity_mismatch", {
      env: { LOG_PRIVATE_KEY_FILE: stranger.keyFile },
    });
    expect(sentence).toContain("example.com/other");
    const ran = await cairn(["serve"], { ...place.env, LOG_ORIGIN: "example.com/other" });
    expect(ran).toMatchObject({ code: 2, stdout: "" });
    expect(ran.stderr).toContain("[bad_config]");
  });

  test("the tiles of another log are refused, under the same key too", async () => {
    const [place, other] = [await filled(), await newLog(entries(10))];
    await expectRefused(place, "identity_mismatch", { env: storeOf(other.env) });
    const twin = await newPlace();
    const env = { LOG_PRIVATE_KEY_FILE: place.keyFile };
    const server = await create(twin, env);
    await server.stop();
    const sentence = await expectRefused(place, "identity_mismatch", { env: storeOf(twin.env) });
    expect(sentence).toContain("state/head's database");
  });

  test("data of a newer format is refused in words, wherever the newer format stands", async () => {
    const place = await filled();
    await changeHead(place, { format: 2 });
    await expectRefused(place, "format_newer");
    await changeHead(place, { format: 1 });
    changeDatabase(place, "UPDATE identity SET format = 2");
    await expectRefused(place, "format_newer");
    changeDatabase(place, "UPDATE identity SET format = 1");
    changeDatabase(place, "PRAGMA user_version = 99");
    expect(await expectRefused(place, "format_newer")).toContain("schema 99");
  });

  test("a database that is none, or another program's, is refused", async () => {
    const place = await filled();
    const other = join(place.folder, "other.db");
    const database = new Database(other);
    database.exec("CREATE TABLE notes (text TEXT)");
    database.close();
    const garbage = join(place.folder, "garbage.db");
    await writeFile(garbage, Buffer.alloc(20_000, "garbage"));
    await expectRefused(place, "identity_mismatch", { env: { DATABASE_URL: `sqlite:${other}` } });
    const sentence = await expectRefused(place, "file_unreadable", {
      env: { DATABASE_URL: `sqlite:${garbage}` },
    });
    expect(sentence).toContain("damaged or not a database");
  });

  test("configuration is refused with all its problems at once, and no secret is repeated", async () => {
    const place = await newPlace();
    const secret = (await readFile(place.keyFile, "utf8")).trim();
    const ran = await cairn(["serve"], {
      ...place.env,
      LOG_PRIVATE_KEY_FILE: "",
      LOG_PRIVATE_KEY: secret.slice(0, -4),
      LISTEN_ADDR: "8080",
      CHECKPOINT_INTERVAL: "soon",
      STORAGE_BACKEND: "tape",
    });
    expect(ran).toMatchObject({ code: 2, stdout: "" });
    for (const name of ["LOG_PRIVATE_KEY", "LISTEN_ADDR", "CHECKPOINT_INTERVAL", "STORAGE_BACKEND"]) {
      expect(ran.stderr).toContain(`\n  ${name} `);
    }
    expect(ran.stderr).not.toContain(secret.split("+").at(-1)?.slice(0, 20));
  });
});

/** Waits until a start has written everything that it writes by itself. */
async function untilQuiet(place: Place, server: Server): Promise<void> {
  await untilPublished(server, 0);
  await eventually("no file is unfinished", async () => {
    const names = await readdir(place.folder);
    return names.some((name) => name.endsWith(".reserve")) && !names.some((name) => name.includes(".tmp-"));
  });
}

async function changeHead(place: Place, change: object): Promise<void> {
  await writeFile(headFile(place), JSON.stringify({ ...(await readHead(place)), ...change }));
}

function changeDatabase(place: Place, sql: string): void {
  const database = new Database(place.database);
  database.exec(sql);
  database.close();
}
