import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createKeyFile } from "../../src/cli/key-file.ts";
import { policy } from "../../src/cli/policy.ts";
import { encodeUtf8 } from "../../src/core/bytes.ts";
import { cosignatureVkey } from "../../src/core/cosignature.ts";
import { generatePrivateKey } from "../../src/core/note-key.ts";
import { parsePolicy } from "../../src/core/policy.ts";
import { printVkey, SIGNATURE_TYPE } from "../../src/core/vkey.ts";
import { ORIGIN, testSigner } from "../client/build-log.ts";
import { answerJson, type LogServer, startLogServer } from "../client/log-server.ts";
import { run, temporaryFolder } from "./test-io.ts";

let server: LogServer;
beforeEach(async () => {
  server = await startLogServer();
});
afterEach(async () => await server.close());

test("a log without witnesses gives a policy with its key and no quorum", async () => {
  const result = await run(policy, [server.url]);
  expect(result.exit).toBe(0);
  expect(result.stdout).toBe(`log ${testSigner().vkey} ${server.url}\n\nquorum none\n`);
  expect(result.stderr).toMatch(/compare it/);
});

test("a log with witnesses gives its policy, with its own key in it", async () => {
  const witness = printVkey(cosignatureVkey(generatePrivateKey("w.example", new Uint8Array(32).fill(3))));
  server.policy = `witness w ${witness}\nquorum w\n`;
  const result = await run(policy, [server.url, "--json"]);
  const [value] = result.json();
  expect(value?.origin).toBe(ORIGIN);
  const read = parsePolicy(encodeUtf8(value?.policy as string));
  expect(read.logs.map(({ key }) => printVkey(key))).toEqual([testSigner().vkey]);
  expect(read.quorum).toBe("w");
});

test("a local key gives the policy of its log", async () => {
  const file = join(temporaryFolder(), "log.key");
  const key = await createKeyFile(file, "log.example", SIGNATURE_TYPE.ed25519);
  const { stdout } = await run(policy, ["--key-file", file, "--url", "https://log.example/"]);
  const read = parsePolicy(encodeUtf8(stdout));
  expect(read.logs).toMatchObject([{ key: { keyId: key.keyId }, url: "https://log.example/" }]);
});

test("an answer that is not a log's is refused", async () => {
  for (const vkeys of [[], ["nonsense"], [testSigner(7, "other.example").vkey]]) {
    server.intercept = (_request, response) => {
      answerJson(response, { origin: ORIGIN, vkeys, policy: null });
      return true;
    };
    expect((await run(policy, [server.url])).exit).toBe(2);
  }
});

test.each([
  ["nothing", []],
  ["both", ["http://127.0.0.1:1", "--key-file", "x"]],
  ["two addresses", ["http://127.0.0.1:1", "http://127.0.0.1:2"]],
  ["an address for an address", ["http://127.0.0.1:1", "--url", "http://127.0.0.1:1"]],
])("%s is refused", async (_what, argv) => {
  expect((await run(policy, [...argv, "--json"])).json()).toMatchObject([{ error: { code: "usage" } }]);
});

test("a key file that holds no key is refused and not quoted", async () => {
  const file = join(temporaryFolder(), "log.key");
  writeFileSync(file, "hunter2");
  const result = await run(policy, ["--key-file", file]);
  expect(result.exit).toBe(2);
  expect(result.stderr).toMatch(/bad_private_key/);
  expect(result.stderr).not.toContain("hunter2");
});
