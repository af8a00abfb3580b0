import { afterEach, beforeEach, expect, test } from "vitest";
import { nodeHasher } from "../../src/cli/node-hasher.ts";
import { describeLog, httpLog, httpTileSource } from "../../src/client/http-log.ts";
import { encodeUtf8 } from "../../src/core/bytes.ts";
import { printNote, signNote } from "../../src/core/note.ts";
import { refusal } from "../core/refusal.ts";
import { ORIGIN, signedCheckpoint, testSigner, testTrust, textEntry } from "./build-log.ts";
import { answerJson, type LogServer, startLogServer, stillClock } from "./log-server.ts";

let server: LogServer;

beforeEach(async () => {
  server = await startLogServer(Array.from({ length: 300 }, (_, i) => textEntry(i)));
});
afterEach(async () => await server.close());

function reader(trust = testTrust(), origin?: string) {
  const options = { url: server.url, trust, hasher: nodeHasher, clock: stillClock() };
  return httpLog(origin === undefined ? options : { ...options, origin });
}

function serve(note: Uint8Array): void {
  server.objects.set("checkpoint", note);
}

test("a head is verified and its tree is read over HTTP", async () => {
  const log = reader();
  const head = await log.head();
  expect(head).toMatchObject({ origin: ORIGIN, size: 300, cosignatures: [] });
  expect(head.note).toEqual(server.objects.get("checkpoint"));
  expect(await log.tree(head).entry(299)).toEqual(textEntry(299));
});

test("bulk reads ask for plain bytes, since Node's fetch would ask for gzip", async () => {
  const log = reader();
  await log.tree(await log.head()).entry(0);
  const asked = server.requests.filter(({ path }) => path.startsWith("/tile/"));
  expect(asked.length).toBeGreaterThan(2);
  for (const { headers } of asked) expect(headers["accept-encoding"]).toBe("identity");
});

test("a log without a checkpoint says so", async () => {
  server.objects.delete("checkpoint");
  await expect(reader().head()).rejects.toThrow(refusal("not_published_yet"));
});

test.each([
  ["by another key", () => signedCheckpoint(300, new Uint8Array(32), testSigner(8)), "unsigned"],
  ["whose text was changed", () => tamper("\n300\n", "\n301\n"), "bad_signature"],
  ["that is no note", () => encodeUtf8("hello"), "bad_note"],
  ["that is no checkpoint", () => printNote(signNote("hello\n", [testSigner()])), "bad_checkpoint"],
] as const)("a checkpoint %s is refused", async (_what, note, code) => {
  serve(note());
  await expect(reader().head()).rejects.toThrow(refusal(code));
});

test("a checkpoint of another origin than the one asked for is refused", async () => {
  await expect(reader(testTrust(), "log.example/other").head()).rejects.toThrow(refusal("wrong_origin"));
});

test("a size that JavaScript cannot count is refused", async () => {
  serve(signedCheckpoint(300, new Uint8Array(32)));
  serve(signedCheckpointOf("9007199254740992"));
  await expect(reader().head()).rejects.toThrow(refusal("unsafe_integer"));
});

test("a log describes itself", async () => {
  server.policy = "quorum none\n";
  const description = await describeLog({ url: server.url });
  expect(description).toEqual({ origin: ORIGIN, vkeys: [testSigner().vkey], policy: "quorum none\n" });
});

test.each([
  ["a list", []],
  ["no keys", { origin: ORIGIN, policy: null }],
  ["keys that are not text", { origin: ORIGIN, vkeys: [1], policy: null }],
  ["no policy", { origin: ORIGIN, vkeys: [] }],
])("a description with %s is refused", async (_what, value) => {
  server.intercept = (_request, response) => {
    answerJson(response, value);
    return true;
  };
  await expect(describeLog({ url: server.url })).rejects.toThrow(refusal("unexpected_answer"));
});

test("the raw source tells absence from failure", async () => {
  const source = httpTileSource({ url: server.url, clock: stillClock(), retry: { attempts: 1 } });
  expect(await source.get("tile/7/000")).toBeNull();
  server.intercept = (_request, response) => {
    response.writeHead(500).end();
    return true;
  };
  await expect(source.get("tile/7/000")).rejects.toThrow(refusal("unexpected_answer"));
});

function tamper(from: string, to: string): Uint8Array {
  const text = new TextDecoder().decode(server.objects.get("checkpoint"));
  expect(text).toContain(from);
  return encodeUtf8(text.replace(from, to));
}

function signedCheckpointOf(size: string): Uint8Array {
  const text = `${ORIGIN}\n${size}\n${"A".repeat(43)}=\n`;
  return printNote(signNote(text, [testSigner()]));
}
