import { chmodSync, existsSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  ApiKeyFile,
  apiKeysPath,
  KEY_POLL_MS,
  type WatchedKeys,
  watchApiKeys,
} from "../../src/cli/api-keys.ts";
import { keys } from "../../src/cli/keys.ts";
import { namedKeys } from "../../src/http/auth.ts";
import type { Clock } from "../../src/log/clock.ts";
import { refusal } from "../core/refusal.ts";
import { run, temporaryFolder } from "./test-io.ts";

let database: string;
let env: Record<string, string>;

beforeEach(() => {
  database = join(temporaryFolder(), "log.db");
  writeFileSync(database, "");
  env = { DATABASE_URL: `sqlite:${database}` };
});

const call = (...argv: string[]) => run(keys, argv, { env });
const call2 = async (...argv: string[]) => (await call(...argv, "--json")).json();

async function makeKey(name: string, ...more: string[]): Promise<string> {
  const [value] = await call2("add", name, ...more);
  return value?.key as string;
}

describe("the commands", () => {
  test("a key is made, listed without itself, and revoked", async () => {
    const made = await call("add", "ci");
    expect(made.exit).toBe(0);
    expect(made.stdout).toMatch(/^cairn_[A-Za-z0-9_-]{43}\n$/);
    const listed = await call("list");
    expect(listed.stdout).toMatch(/^ci\twrite\tlog's rate\tmade 2026-01-01T00:00:00\.000Z\tvalid\n$/);
    expect(await call("revoke", "ci")).toMatchObject({ exit: 0, stdout: "revoked ci\n" });
    expect((await call("list")).stdout).toMatch(/revoked 2026/);
    expect(await call2("list")).toMatchObject([{ name: "ci", roles: ["write"], quota: null }]);
  });

  test("the key itself is nowhere in the file, whose owner alone may read it", async () => {
    const key = await makeKey("ci");
    const file = apiKeysPath(database);
    expect(file).toBe(`${database}.keys`);
    expect(readFileSync(file).includes(key.slice(6, 30))).toBe(false);
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  test("a key may have a rate of its own", async () => {
    await makeKey("ci", "--rate", "2.5", "--burst", "10");
    expect(await call2("list")).toMatchObject([{ quota: { per_second: 2.5, burst: 10 } }]);
  });

  test("a name is used once, also after it was revoked", async () => {
    await call("add", "ci");
    expect(await call2("add", "ci")).toMatchObject([{ error: { code: "key_name_taken" } }]);
    await call("revoke", "ci");
    expect((await call("add", "ci")).exit).toBe(2);
  });

  test("revoking what is not there exits with 1", async () => {
    expect((await call("revoke", "nobody")).exit).toBe(1);
    await call("add", "ci");
    await call("revoke", "ci");
    expect(await call("revoke", "ci")).toMatchObject({ exit: 1 });
    expect(await call2("revoke", "ci")).toMatchObject([{ error: { code: "key_unknown" } }]);
  });

  test("listing none makes no file", async () => {
    expect(await call("list")).toMatchObject({ exit: 0, stdout: "" });
    expect(existsSync(apiKeysPath(database))).toBe(false);
  });

  test("a database that is not there is remarked upon, and a folder that is not there refused", async () => {
    rmSync(database);
    expect((await call("add", "ci")).stderr).toMatch(/There is no database at/);
    env = { DATABASE_URL: `sqlite:${join(temporaryFolder(), "absent", "log.db")}` };
    const refused = await call("add", "ci", "--json");
    expect(refused.exit).toBe(2);
    expect(refused.json()).toMatchObject([{ error: { code: "file_unwritable" } }]);
  });

  test("a file of a newer version is refused in words and left alone", async () => {
    await call("add", "ci");
    const file = new Database(apiKeysPath(database));
    file.pragma("user_version = 99");
    file.close();
    for (const argv of [["add", "other"], ["list"], ["revoke", "ci"]]) {
      expect(await call2(...argv)).toMatchObject([{ error: { code: "format_newer" } }]);
    }
  });

  test.each([
    ["no name", ["add"]],
    ["two names", ["add", "a", "b"]],
    ["a name with a space", ["add", "a b"]],
    ["the name of the environment's key", ["add", "API_KEY"]],
    ["a name too long", ["add", "a".repeat(65)]],
    ["an unknown role", ["add", "a", "--role", "admin"]],
    ["a rate without a burst", ["add", "a", "--rate", "5"]],
    ["a burst without a rate", ["add", "a", "--burst", "5"]],
    ["a rate of nothing", ["add", "a", "--rate", "0", "--burst", "5"]],
    ["a rate in words", ["add", "a", "--rate", "some", "--burst", "5"]],
    ["a broken burst", ["add", "a", "--rate", "5", "--burst", "1.5"]],
    ["a name to list", ["list", "a"]],
    ["an unknown command", ["remove", "a"]],
    ["no command", []],
  ])("%s is a usage error, and nothing is made", async (_what, argv) => {
    const result = await call(...argv, "--json");
    expect(result.exit).toBe(2);
    expect(result.stdout + result.stderr).toMatch(/usage/);
    expect((await call("list")).stdout).toBe("");
  });

  test("a wrong DATABASE_URL is a problem of the configuration", async () => {
    env = { DATABASE_URL: "postgres://db/log" };
    expect(await call2("list")).toMatchObject([{ error: { code: "bad_config" } }]);
  });
});

describe("a running server", () => {
  let clock: Clock & { tick(): Promise<void>; pending: number };
  let watched: WatchedKeys | undefined;
  let errors: unknown[];

  beforeEach(() => {
    let now = Date.now();
    let next: (() => void) | null = null;
    errors = [];
    clock = {
      now: () => now,
      monotonic: () => now,
      after(ms, run) {
        expect(ms).toBe(KEY_POLL_MS);
        next = run;
        return () => {
          next = null;
        };
      },
      get pending() {
        return next === null ? 0 : 1;
      },
      // A second goes by: the poll that was due runs to its end, which is when it asks for the next.
      async tick() {
        now += KEY_POLL_MS;
        const due = next;
        next = null;
        due?.();
        while (next === null) await new Promise((resolve) => setImmediate(resolve));
      },
    };
  });
  afterEach(() => watched?.close());

  async function watch(apiKey?: string): Promise<(key: string) => string | null> {
    watched = await watchApiKeys({
      path: apiKeysPath(database),
      apiKey,
      clock,
      onError: (error) => errors.push(error),
    });
    const { keys: current } = watched;
    const checker = namedKeys(current);
    return (key) => checker.check(Buffer.from(key))?.name ?? null;
  }

  test("takes the key of the environment, and no other", async () => {
    const who = await watch("s3cret");
    expect(who("s3cret")).toBe("API_KEY");
    expect(who("s3cret ")).toBeNull();
    expect(who("")).toBeNull();
  });

  test("takes no key where there is none", async () => {
    const who = await watch();
    expect(who("")).toBeNull();
    expect(who("undefined")).toBeNull();
  });

  test("knows a key within a second of its making, though there was no file before", async () => {
    const who = await watch("s3cret");
    const key = await makeKey("ci");
    expect(who(key)).toBeNull();
    await clock.tick();
    expect(who(key)).toBe("ci");
    expect(who("s3cret")).toBe("API_KEY");
  });

  test("refuses a key within a second of its end, and keeps the others", async () => {
    const [a, b] = [await makeKey("a"), await makeKey("b")];
    const who = await watch();
    expect([who(a), who(b)]).toEqual(["a", "b"]);
    await call("revoke", "a");
    await clock.tick();
    expect([who(a), who(b)]).toEqual([null, "b"]);
  });

  test("sees a second change that left the file's time and length as they were", async () => {
    const a = await makeKey("a");
    const file = apiKeysPath(database);
    const tick = new Date();
    utimesSync(file, tick, tick);
    const before = statSync(file, { bigint: true });
    const who = await watch();
    await call("revoke", "a");
    utimesSync(file, tick, tick);
    const { ino, size, mtimeNs } = statSync(file, { bigint: true });
    expect({ ino, size, mtimeNs }).toEqual({ ino: before.ino, size: before.size, mtimeNs: before.mtimeNs });
    await clock.tick();
    expect(who(a)).toBeNull();
  });

  test("does not read a file again that lies still", async () => {
    await makeKey("a");
    const old = new Date(clock.now() - 60_000);
    utimesSync(apiKeysPath(database), old, old);
    await watch();
    const { keys: current } = watched as WatchedKeys;
    const before = current();
    await clock.tick();
    expect(current()).toBe(before);
  });

  test("keeps what it knows while the file cannot be read, says so once, and follows again", async () => {
    const a = await makeKey("a");
    const who = await watch();
    const file = apiKeysPath(database);
    const good = readFileSync(file);
    writeFileSync(file, "not a database, but long enough to be looked at as one".repeat(20));
    await clock.tick();
    await clock.tick();
    expect(who(a)).toBe("a");
    expect(errors).toEqual([refusal("file_unreadable")]);
    writeFileSync(file, good);
    await call("revoke", "a");
    await clock.tick();
    expect(who(a)).toBeNull();
    expect(errors).toHaveLength(1);
  });

  test("knows no key of a file that was taken away", async () => {
    const a = await makeKey("a");
    const who = await watch();
    rmSync(apiKeysPath(database));
    await clock.tick();
    expect(who(a)).toBeNull();
  });

  test("does not start on a file that it cannot read", async () => {
    writeFileSync(apiKeysPath(database), "not a database, but long enough to be looked at as one".repeat(20));
    await expect(watch()).rejects.toThrow(refusal("file_unreadable"));
  });

  test("never changes the file, and leaves no timer when it is closed", async () => {
    await makeKey("a");
    const file = apiKeysPath(database);
    chmodSync(file, 0o400);
    const before = readFileSync(file);
    await watch();
    await clock.tick();
    expect(readFileSync(file)).toEqual(before);
    watched?.close();
    expect(clock.pending).toBe(0);
  });
});

test("a file that is being made is not yet one to read", async () => {
  const path = apiKeysPath(database);
  writeFileSync(path, "");
  await expect(ApiKeyFile.open(path, "read")).rejects.toThrow(refusal("file_unreadable"));
});
