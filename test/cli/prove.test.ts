import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { prove } from "../../src/cli/prove.ts";
import { verify } from "../../src/cli/verify.ts";
import { ORIGIN, testSigner, textEntry } from "../client/build-log.ts";
import { type LogServer, startLogServer } from "../client/log-server.ts";
import { run, temporaryFolder } from "./test-io.ts";

let server: LogServer;
let entry: string;
beforeEach(async () => {
  server = await startLogServer(Array.from({ length: 300 }, (_, i) => textEntry(i)));
  entry = join(temporaryFolder(), "entry");
  writeFileSync(entry, textEntry(7));
});
afterEach(async () => await server.close());

const KEY = ["--key", testSigner().vkey];

test("by index, the proof is printed as it came, and verifies", async () => {
  const result = await run(prove, ["--log", server.url, "7"]);
  expect(result.exit).toBe(0);
  expect(result.stdout).toBe(Buffer.from(await server.proof(7)).toString());
  const piped = await run(verify, ["-", entry, ...KEY], { stdin: [result.stdout] });
  expect(piped.exit).toBe(0);
});

test("it is written to a new file, and never over an old one", async () => {
  const file = join(temporaryFolder(), "x.tlog-proof");
  const written = await run(prove, ["--log", server.url, "7", "--out", file]);
  expect(written.stdout).toBe(`wrote ${file}: entry 7 of ${ORIGIN} at size 300\n`);
  const before = readFileSync(file);
  const again = await run(prove, ["--log", server.url, "8", "--out", file, "--json"]);
  expect(again.json()).toMatchObject([{ error: { code: "file_exists" } }]);
  expect(again.exit).toBe(2);
  expect(readFileSync(file)).toEqual(before);
});

test("by the entry's bytes, it is checked before it is given out", async () => {
  const result = await run(prove, ["--log", server.url, "--entry", entry, ...KEY, "--json"]);
  expect(result.json()).toMatchObject([{ origin: ORIGIN, index: 7, size: 300, file: null }]);
  server.intercept = ({ path }, response) => {
    if (path !== "/add?proof=true") return false;
    void server.proof(8).then((proof) => response.end(proof));
    return true;
  };
  const lying = await run(prove, ["--log", server.url, "--entry", entry]);
  expect(lying).toMatchObject({ exit: 1, stdout: "" });
});

test("a key is asked for its signature", async () => {
  const result = await run(prove, ["--log", server.url, "--entry", entry, "--key", testSigner(9).vkey]);
  expect(result).toMatchObject({ exit: 1, stdout: "" });
});

test("an index that is not in the log, or a proof of another, is not given out", async () => {
  const beyond = await run(prove, ["--log", server.url, "300", "--json"]);
  expect(beyond.exit).toBe(2);
  expect(beyond.json()).toMatchObject([{ error: { code: "not_published" } }]);
  const asked = await run(prove, ["--log", server.url, "7", "--size", "299", "--json"]);
  expect(asked.exit).toBe(1);
  expect(asked.json()).toMatchObject([{ error: { code: "bad_proof" } }]);
});

test("the API key goes with the entry only", async () => {
  const env = { API_KEY: "s3cret" };
  await run(prove, ["--log", server.url, "--entry", entry], { env });
  await run(prove, ["--log", server.url, "7"], { env });
  expect(server.requests.map(({ headers }) => headers.authorization)).toEqual(["Bearer s3cret", undefined]);
});

test.each([
  ["no log", ["7"]],
  ["no entry", ["--log", "URL"]],
  ["both", ["--log", "URL", "7", "--entry", "x"]],
  ["two", ["--log", "URL", "7", "8"]],
  ["a negative index", ["--log", "URL", "--", "-7"]],
  ["an index with a zero", ["--log", "URL", "07"]],
  ["an index beyond counting", ["--log", "URL", "9007199254740992"]],
  ["a size in words", ["--log", "URL", "7", "--size", "all"]],
  ["a size with an entry", ["--log", "URL", "--entry", "x", "--size", "9"]],
  ["a key with an index", ["--log", "URL", "7", ...KEY]],
])("%s is a usage error, and nothing is sent", async (_what, argv) => {
  const result = await run(prove, ["--json", ...argv.map((item) => (item === "URL" ? server.url : item))]);
  expect(result.exit).toBe(2);
  expect(result.json()).toMatchObject([{ error: { code: "usage" } }]);
  expect(server.requests).toEqual([]);
});
