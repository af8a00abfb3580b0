import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { isLoopback, readConfig, readDatabasePath, VARIABLES } from "../../src/cli/config.ts";
import { type CairnError, isCairnError } from "../../src/core/errors.ts";
import { generatePrivateKey, printPrivateKey } from "../../src/core/note-key.ts";
import { SIGNATURE_TYPE } from "../../src/core/vkey.ts";
import { refusal } from "../core/refusal.ts";
import { temporaryFolder } from "./test-io.ts";

const key = (name: string, fill: number, type?: typeof SIGNATURE_TYPE.mldsa44) =>
  printPrivateKey(generatePrivateKey(name, new Uint8Array(32).fill(fill), type));

const LOG_PRIVATE_KEY = key("log.example", 1);
const MINIMAL = { LOG_PRIVATE_KEY };

async function problems(env: Record<string, string>): Promise<string[]> {
  try {
    await readConfig(env);
  } catch (error) {
    expect(error).toEqual(refusal("bad_config"));
    return ((error as CairnError).detail ?? "").trim().split("\n  ");
  }
  return [];
}

describe("defaults", () => {
  test("serve a newcomer: with a key and nothing else a log is configured", async () => {
    const config = await readConfig(MINIMAL);
    expect(config).toMatchObject({
      listen: { host: "127.0.0.1", port: 8080 },
      origin: "log.example",
      create: false,
      databasePath: "./data/log.db",
      storage: { backend: "fs", root: "./data/tiles" },
      apiKey: undefined,
      allowPublicWrites: false,
      rateLimit: null,
      clientAddressHeader: null,
      logLevel: "info",
      limits: {
        checkpointIntervalMs: 1000,
        republishIntervalMs: 600_000,
        proofTimeoutMs: 30_000,
        readyMaxLagMs: 31_000,
        backlogMaxBytes: 2 ** 30,
        batchMaxEntries: 10_000,
        batchMaxAgeMs: 0,
      },
    });
    expect(config.keys).toMatchObject({ first: { name: "log.example" }, additional: [], mldsa44: null });
  });

  test("stand in for variables that are set and empty, as compose files set them", async () => {
    const empty = Object.fromEntries(Object.keys(VARIABLES).map((name) => [name, ""]));
    expect(await readConfig({ ...empty, ...MINIMAL })).toEqual(await readConfig(MINIMAL));
  });

  test("leave unknown names alone", async () => {
    expect(await readConfig({ ...MINIMAL, CAIRN_WHATEVER: "1", LOG_COLOUR: "red", PATH: "/bin" })).toEqual(
      await readConfig(MINIMAL),
    );
  });
});

describe("values", () => {
  test.each([
    ["127.0.0.1:0", "127.0.0.1", 0],
    ["0.0.0.0:8080", "0.0.0.0", 8080],
    ["[::1]:65535", "::1", 65_535],
    ["localhost:80", "localhost", 80],
  ])("LISTEN_ADDR %s", async (text, host, port) => {
    expect((await readConfig({ ...MINIMAL, LISTEN_ADDR: text })).listen).toEqual({ host, port });
  });

  test.each([
    ["sqlite:./siglog.db?mode=rwc", "./siglog.db"],
    ["sqlite:/data/log.db", "/data/log.db"],
    ["sqlite:///data/log.db", "/data/log.db"],
    ["sqlite://data/log.db?mode=rw", "data/log.db"],
  ])("DATABASE_URL %s", async (text, path) => {
    expect((await readConfig({ ...MINIMAL, DATABASE_URL: text })).databasePath).toBe(path);
    expect(readDatabasePath({ DATABASE_URL: text })).toBe(path);
  });

  test("seconds may have fractions, and the lag follows the interval", async () => {
    const { limits } = await readConfig({ ...MINIMAL, CHECKPOINT_INTERVAL: "0.25", PROOF_TIMEOUT: "1.5" });
    expect(limits).toMatchObject({ checkpointIntervalMs: 250, proofTimeoutMs: 1500, readyMaxLagMs: 30_250 });
    expect((await readConfig({ ...MINIMAL, READY_MAX_LAG: "5" })).limits.readyMaxLagMs).toBe(5000);
  });

  test.each([
    [{}, null],
    [{ LISTEN_ADDR: "[::1]:80" }, null],
    [{ LISTEN_ADDR: "0.0.0.0:80" }, { perSecond: 200, burst: 400 }],
    [
      { LISTEN_ADDR: "0.0.0.0:80", RATE_LIMIT_BURST_SIZE: "10" },
      { perSecond: 200, burst: 10 },
    ],
    [{ LISTEN_ADDR: "0.0.0.0:80", RATE_LIMIT_PER_SECOND: "0" }, null],
    [{ RATE_LIMIT_PER_SECOND: "0.2" }, { perSecond: 0.2, burst: 1 }],
    [
      { RATE_LIMIT_PER_SECOND: "1000", RATE_LIMIT_BURST_SIZE: "2000" },
      { perSecond: 1000, burst: 2000 },
    ],
  ])("rate limits of %j are %j", async (env, expected) => {
    expect((await readConfig({ ...MINIMAL, ...env })).rateLimit).toEqual(expected);
  });

  test("a header's name is taken in lower case", async () => {
    const { clientAddressHeader } = await readConfig({ ...MINIMAL, CLIENT_ADDRESS_HEADER: "Fly-Client-IP" });
    expect(clientAddressHeader).toBe("fly-client-ip");
  });

  test("further keys of the same name are read, separated by commas or line ends", async () => {
    const more = `${key("log.example", 2)},\n${key("log.example", 3)}\n`;
    const LOG_MLDSA_KEY = key("log.example", 4, SIGNATURE_TYPE.mldsa44);
    const { keys } = await readConfig({ ...MINIMAL, LOG_ADDITIONAL_KEYS: more, LOG_MLDSA_KEY });
    expect(keys.additional.map(({ seed }) => seed[0])).toEqual([2, 3]);
    expect(keys.mldsa44?.type).toBe(6);
  });

  test("loopback is what only this machine reaches", () => {
    expect(["127.0.0.1", "127.9.9.9", "::1", "localhost"].map(isLoopback)).not.toContain(false);
    expect(["0.0.0.0", "::", "10.0.0.1", "127.example", "log.example"].map(isLoopback)).not.toContain(true);
  });
});

describe("secrets", () => {
  test("come from files too, white space at the end ignored", async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "log.key"), `${LOG_PRIVATE_KEY}\r\n\n`);
    writeFileSync(join(folder, "api.key"), "s3cret\n");
    const config = await readConfig({
      LOG_PRIVATE_KEY_FILE: join(folder, "log.key"),
      API_KEY_FILE: join(folder, "api.key"),
    });
    expect(config).toMatchObject({ origin: "log.example", apiKey: "s3cret" });
  });

  test("given twice are refused, and so is a file that cannot be read", async () => {
    expect(await problems({ ...MINIMAL, LOG_PRIVATE_KEY_FILE: "x" })).toEqual([
      "LOG_PRIVATE_KEY: both it and LOG_PRIVATE_KEY_FILE are set",
    ]);
    const absent = join(temporaryFolder(), "absent");
    expect(await problems({ ...MINIMAL, API_KEY_FILE: absent })).toEqual([
      expect.stringContaining(`API_KEY_FILE: The file could not be read. (${absent}: ENOENT)`),
    ]);
  });

  test("are never quoted in a problem", async () => {
    const secret = "hunter2 hunter2";
    const env = {
      LOG_PRIVATE_KEY: secret,
      LOG_ADDITIONAL_KEYS: secret,
      LOG_MLDSA_KEY: secret,
      API_KEY: secret,
    };
    const found = await problems(env);
    expect(found).toHaveLength(4);
    expect(found.join()).not.toContain("hunter2");
  });

  test("only those are read from files that are secrets", async () => {
    expect((await readConfig({ ...MINIMAL, LISTEN_ADDR_FILE: "/absent" })).listen.port).toBe(8080);
  });
});

describe("problems", () => {
  test("are reported all together, each with its variable", async () => {
    const found = await problems({
      LISTEN_ADDR: "8080",
      LOG_ORIGIN: "a b",
      DATABASE_URL: "postgres://db/log",
      STORAGE_BACKEND: "tape",
      ALLOW_PUBLIC_WRITES: "yes",
      CHECKPOINT_INTERVAL: "0",
      BATCH_MAX_SIZE: "1.5",
      LOG_LEVEL: "loud",
    });
    const names = found.map((problem) => problem.split(" ")[0]);
    expect(names).toEqual([
      "LISTEN_ADDR",
      "LOG_ORIGIN",
      "DATABASE_URL",
      "STORAGE_BACKEND",
      "ALLOW_PUBLIC_WRITES",
      "CHECKPOINT_INTERVAL",
      "BATCH_MAX_SIZE",
      "LOG_LEVEL",
      "LOG_PRIVATE_KEY",
    ]);
    expect(found.at(-1)).toContain("cairn keygen makes a key");
  });

  test.each([
    ["LISTEN_ADDR", [":8080", "host", "host:", "host:65536", "::1:80", "[1.2.3.4]:80", "a b:80"]],
    ["DATABASE_URL", ["./log.db", "sqlite:", "sqlite::memory:", "sqlite:a?mode=memory", "sqlite:dir/"]],
    ["STORAGE_BACKEND", ["S3", "FS", "gcs"]],
    ["S3_BUCKET", ["s3://bucket", "bucket/path", "a bucket"]],
    [
      "S3_ENDPOINT",
      ["s3.example.com", "ftp://s3.example.com", "https://u:p@s3.example.com", "https://h/?a=b"],
    ],
    ["S3_REGION", ["eu central", "eu/central"]],
    ["S3_FORCE_PATH_STYLE", ["1", "yes"]],
    ["API_KEY", ["two words", "ümlaut"]],
    ["ALLOW_PUBLIC_WRITES", ["1", "TRUE", "yes"]],
    ["LOG_CREATE", ["1", "True"]],
    ["CHECKPOINT_INTERVAL", ["0", "-1", "1s", "0.001", "86401", "1e3", ".5", "NaN"]],
    ["BATCH_MAX_SIZE", ["0", "-1", "1e3", "200001"]],
    ["BATCH_MAX_AGE_MS", ["-1", "60001", "1.5"]],
    ["BACKLOG_MAX_BYTES", ["0", "1GiB", "9007199254740992"]],
    ["RATE_LIMIT_PER_SECOND", ["-1", "many", "Infinity"]],
    ["RATE_LIMIT_BURST_SIZE", ["0", "1.5"]],
    ["CLIENT_ADDRESS_HEADER", ["X-A, X-B", "a b", "x:y"]],
    ["LOG_LEVEL", ["INFO", "verbose"]],
    ["LOG_PRIVATE_KEY", [key("log.example", 1, SIGNATURE_TYPE.mldsa44), LOG_PRIVATE_KEY.slice(0, -4)]],
    ["LOG_MLDSA_KEY", [key("log.example", 1)]],
    ["LOG_ADDITIONAL_KEYS", ["x", `${key("log.example", 2)} x`]],
  ])("%s refuses what it does not understand", async (name, values) => {
    for (const value of values) {
      const found = await problems({ ...MINIMAL, [name]: value });
      expect([value, found]).toEqual([value, [expect.stringMatching(new RegExp(`^${name} `))]]);
    }
  });

  test("keys of another name than the origin are refused, and a key given twice", async () => {
    expect(await problems({ ...MINIMAL, LOG_ORIGIN: "log.example/2" })).toEqual([
      "LOG_PRIVATE_KEY is a key of log.example, and the origin is log.example/2",
    ]);
    expect(await problems({ ...MINIMAL, LOG_ADDITIONAL_KEYS: key("other.example", 2) })).toHaveLength(1);
    expect(await problems({ ...MINIMAL, LOG_ADDITIONAL_KEYS: LOG_PRIVATE_KEY })).toEqual([
      "LOG_ADDITIONAL_KEYS repeats a key",
    ]);
  });

  test.each([
    "VINDEX_ENABLED",
    "VINDEX_KEY_FIELD",
    "VINDEX_SNAPSHOT_INTERVAL",
    "VINDEX_DIR",
    "VINDEX_ANCHOR_INTERVAL",
    "VINDEX_PRIVATE_KEY",
    "VINDEX_PRIVATE_KEY_FILE",
    "ENTRY_SCHEMA",
  ])("%s promises what this version does not do, so it is refused", async (name) => {
    expect(await problems({ ...MINIMAL, [name]: "x" })).toEqual([expect.stringMatching(`^${name} is set`)]);
    expect(await problems({ ...MINIMAL, [name]: "" })).toEqual([]);
  });

  test("VINDEX_ENABLED=false is no such promise", async () => {
    expect(await problems({ ...MINIMAL, VINDEX_ENABLED: "false" })).toEqual([]);
  });

  test("a database path alone is refused like the rest", () => {
    let caught: unknown;
    try {
      readDatabasePath({ DATABASE_URL: "postgres://db" });
    } catch (error) {
      caught = error;
    }
    expect(isCairnError(caught, "bad_config")).toBe(true);
  });
});

test("docs/configuration.md is what scripts/docs-config.ts writes", () => {
  const root = new URL("../../", import.meta.url);
  execFileSync(process.execPath, ["--import", "tsx", "scripts/docs-config.ts", "--check"], { cwd: root });
});
