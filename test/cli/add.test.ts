import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { add } from "../../src/cli/add.ts";
import { verify } from "../../src/cli/verify.ts";
import { ORIGIN, testSigner, textEntry } from "../client/build-log.ts";
import { answerProblem, type LogServer, startLogServer } from "../client/log-server.ts";
import { run, temporaryFolder } from "./test-io.ts";

let server: LogServer;
beforeEach(async () => {
  server = await startLogServer();
});
afterEach(async () => await server.close());

function files(contents: Readonly<Record<string, string | Uint8Array>>): string[] {
  const folder = temporaryFolder();
  return Object.entries(contents).map(([name, content]) => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  });
}

const logged = () => server.entries.map((entry) => Buffer.from(entry).toString());

describe("files", () => {
  test("get an index each, and the same one when they are sent again", async () => {
    const paths = files({ a: "one", b: "two" });
    const first = await run(add, ["--log", server.url, ...paths]);
    expect(first).toMatchObject({ exit: 0, stdout: `0\t${paths[0]}\tnew\n1\t${paths[1]}\tnew\n` });
    const again = await run(add, ["--log", server.url, ...paths.toReversed()]);
    expect(again.stdout).toBe(`1\t${paths[1]}\tduplicate\n0\t${paths[0]}\tduplicate\n`);
    expect(again.stderr).toBe("2 logged, 2 there already\n");
    expect(logged()).toEqual(["one", "two"]);
  });

  test("are logged byte for byte, up to the largest entry", async () => {
    const largest = new Uint8Array(65_535).map((_, i) => i % 251);
    const [path] = files({ a: largest });
    const [value] = (await run(add, ["--log", server.url, path as string, "--json"])).json();
    expect(value).toMatchObject({ source: path, index: 0, duplicate: false });
    expect(server.entries[0]).toEqual(largest);
  });

  test("that cannot be entries are refused one by one, and the others are logged", async () => {
    const [first, ...rest] = files({
      first: "first",
      empty: "",
      large: new Uint8Array(65_536),
      good: "good",
    });
    const result = await run(add, ["--log", server.url, first as string, ...rest, "--json"]);
    expect(result.exit).toBe(1);
    const outcomes = result
      .json()
      .map(({ source, index, error }) => [
        basename(source as string),
        index ?? (error as { code: string }).code,
      ]);
    // In the order in which they were given.
    expect(outcomes).toEqual([
      ["first", 0],
      ["empty", "entry_empty"],
      ["large", "entry_too_large"],
      ["good", 1],
    ]);
    expect(logged()).toEqual(["first", "good"]);
  });

  test("that cannot be read are no refusal of the log's, and the others are logged", async () => {
    const [good] = files({ good: "good" });
    const absent = join(temporaryFolder(), "absent");
    const result = await run(add, ["--log", server.url, absent, good as string]);
    expect(result.exit).toBe(2);
    expect(result.stderr).toContain("[file_unreadable]");
    expect(logged()).toEqual(["good"]);
  });
});

describe("lines", () => {
  test("are entries without their line feeds, from a stream cut anywhere", async () => {
    const stdin = ['{"a":', '1}\n{"b":2}\r\n{"c"', ":3}"];
    const result = await run(add, ["--log", server.url, "--ndjson"], { stdin });
    expect(result.stdout).toBe("0\tline 1\tnew\n1\tline 2\tnew\n2\tline 3\tnew\n");
    expect(logged()).toEqual(['{"a":1}', '{"b":2}\r', '{"c":3}']);
  });

  test("beyond one batch go in several, and each outcome stands beside its own line", async () => {
    const count = 10_500;
    const stdin = [Array.from({ length: count }, (_, i) => (i === 3 ? "" : `line ${i}`)).join("\n")];
    const result = await run(add, ["--log", server.url, "--ndjson", "--json"], { stdin });
    expect(result.exit).toBe(1);
    const outcomes = result.json();
    expect(outcomes).toHaveLength(count);
    expect(outcomes.find(({ error }) => error !== undefined)).toMatchObject({ source: "line 4" });
    for (const { source, index } of outcomes) {
      if (index === undefined) continue;
      const line = Number((source as string).slice(5)) - 1;
      expect(Buffer.from(server.entries[index as number] as Uint8Array).toString()).toBe(`line ${line}`);
    }
    expect(server.requests.filter(({ path }) => path === "/add-batch")).toHaveLength(2);
  });
});

describe("the API key", () => {
  const sent = () => server.requests[0]?.headers.authorization;

  test("comes from a file, the environment, or a file that it names", async () => {
    const [entry, key] = files({ entry: "x", key: "s3cret\n" }) as [string, string];
    for (const [argv, env] of [
      [["--key-file", key], { API_KEY: "other" }],
      [[], { API_KEY: "s3cret" }],
      [[], { API_KEY_FILE: key }],
    ] as const) {
      server.requests.length = 0;
      await run(add, ["--log", server.url, entry, ...argv], { env });
      expect(sent()).toBe("Bearer s3cret");
    }
    server.requests.length = 0;
    await run(add, ["--log", server.url, entry]);
    expect(sent()).toBeUndefined();
  });

  test("that is wrong ends the command with 2", async () => {
    server.intercept = (_request, response) => {
      answerProblem(response, 401, "unauthorized");
      return true;
    };
    const [entry] = files({ entry: "x" }) as [string];
    const result = await run(add, ["--log", server.url, entry, "--json"], { env: { API_KEY: "bad" } });
    expect(result.exit).toBe(2);
    expect(result.json()).toMatchObject([{ error: { code: "unauthorized" } }]);
  });
});

describe("proofs", () => {
  const key = ["--key", testSigner().vkey];

  test("are written beside the files, and verify offline", async () => {
    const paths = files({ a: "one", b: "two" });
    const result = await run(add, ["--log", server.url, "--proof", ...key, ...paths]);
    expect(result.exit).toBe(0);
    for (const path of paths) {
      expect(result.stdout).toContain(`${path}\t${path}.tlog-proof\n`);
      expect(await run(verify, [`${path}.tlog-proof`, path, ...key])).toMatchObject({ exit: 0 });
    }
  });

  test("of lines are written under their indices", async () => {
    // The folder is made; where it cannot be, nothing is logged.
    const folder = join(temporaryFolder(), "new", "proofs");
    const argv = ["--log", server.url, "--ndjson", "--proof", "--out-dir", folder];
    const [inTheWay] = files({ "in-the-way": "" }) as [string];
    const blocked = ["--log", server.url, "--ndjson", "--proof", "--out-dir", join(inTheWay, "proofs")];
    expect(await run(add, blocked, { stdin: ["one\n"] })).toMatchObject({ exit: 2 });
    expect(server.entries).toHaveLength(0);
    const stdin = [Array.from({ length: 150 }, (_, i) => `line ${i}\n`).join("")];
    const result = await run(add, argv, { stdin });
    expect(result.exit).toBe(0);
    expect(readdirSync(folder)).toHaveLength(150);
    const entry = join(temporaryFolder(), "entry");
    writeFileSync(entry, server.entries[77] as Uint8Array);
    expect(await run(verify, [join(folder, "77.tlog-proof"), entry, ...key])).toMatchObject({ exit: 0 });
  });

  test("of the same entry stay when the command is repeated; another file is not overwritten", async () => {
    const [a, b] = files({ a: "one", b: "two" }) as [string, string];
    await run(add, ["--log", server.url, "--proof", a]);
    const before = readFileSync(`${a}.tlog-proof`);
    writeFileSync(`${b}.tlog-proof`, "precious");
    server.append(textEntry(5));
    const result = await run(add, ["--log", server.url, "--proof", a, b, "--json"]);
    expect(result.exit).toBe(1);
    expect(result.json().find(({ source }) => source === b)).toMatchObject({
      error: { code: "file_exists" },
    });
    expect(readFileSync(`${a}.tlog-proof`)).toEqual(before);
    expect(readFileSync(`${b}.tlog-proof`, "utf8")).toBe("precious");
  });

  test("of another log do not stand in for this one's", async () => {
    const [a] = files({ a: "one" }) as [string];
    await run(add, ["--log", server.url, "--proof", a]);
    const elsewhere = readFileSync(`${a}.tlog-proof`, "utf8").replaceAll(ORIGIN, "log.example/other");
    writeFileSync(`${a}.tlog-proof`, elsewhere);
    const result = await run(add, ["--log", server.url, "--proof", a, "--json"]);
    expect(result.json()).toMatchObject([{ error: { code: "file_exists" } }]);
    expect(readFileSync(`${a}.tlog-proof`, "utf8")).toBe(elsewhere);
  });

  test("that do not verify are not written", async () => {
    const [a] = files({ a: "one" }) as [string];
    const other = await run(add, ["--log", server.url, "--proof", "--key", testSigner(9).vkey, a, "--json"]);
    expect(other.json()).toMatchObject([{ error: { code: "unsigned" } }]);
    server.append(textEntry(1));
    const wrong = await server.proof(1);
    server.intercept = (_request, response) => {
      response.end(wrong);
      return true;
    };
    const lying = await run(add, ["--log", server.url, "--proof", a, "--json"]);
    expect(lying.json()).toMatchObject([{ error: { code: "inclusion_failed" } }]);
    expect([other.exit, lying.exit]).toEqual([1, 1]);
    expect(existsSync(`${a}.tlog-proof`)).toBe(false);
  });

  test("are waited for side by side, but not all at once", async () => {
    let underway = 0;
    let most = 0;
    const fetch = async () => {
      most = Math.max(most, ++underway);
      await new Promise((resolve) => setImmediate(resolve));
      underway--;
      return new Response('{"code":"reserved_shape"}', { status: 400 });
    };
    const stdin = [Array.from({ length: 100 }, (_, i) => `line ${i}\n`).join("")];
    const argv = ["--log", server.url, "--ndjson", "--proof", "--out-dir", temporaryFolder()];
    const result = await run(add, argv, { stdin, fetch });
    expect(result.exit).toBe(1);
    expect(result.stderr).toContain("100 refused");
    expect(most).toBe(64);
  });
});

test("a log that goes away in the middle ends the command with 2, and what was printed is logged", async () => {
  let posts = 0;
  server.intercept = (_request, response) => {
    if (++posts === 1) return false;
    response.destroy();
    return true;
  };
  const stdin = [Array.from({ length: 10_001 }, (_, i) => `line ${i}\n`).join("")];
  const result = await run(add, ["--log", server.url, "--ndjson", "--json"], { stdin });
  expect(result.exit).toBe(2);
  expect(result.json().at(-1)).toMatchObject({ error: { code: "unreachable" } });
  expect(result.json()).toHaveLength(10_001);
  expect(server.entries).toHaveLength(10_000);
});

test.each([
  ["no log", ["file"]],
  ["nothing to log", ["--log", "URL"]],
  ["files and lines", ["--log", "URL", "file", "--ndjson"]],
  ["proofs of lines without a folder", ["--log", "URL", "--ndjson", "--proof"]],
  ["a folder without proofs", ["--log", "URL", "file", "--out-dir", "x"]],
  ["a key without proofs", ["--log", "URL", "file", "--key", testSigner().vkey]],
])("%s is a usage error, and nothing is sent", async (_what, argv) => {
  const result = await run(add, [...argv.map((item) => (item === "URL" ? server.url : item)), "--json"]);
  expect(result.exit).toBe(2);
  expect(result.json()).toMatchObject([{ error: { code: "usage" } }]);
  expect(server.requests).toEqual([]);
});
