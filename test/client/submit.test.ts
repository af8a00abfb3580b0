import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { nodeHasher } from "../../src/cli/node-hasher.ts";
import { BATCH_MAX_BYTES, BATCH_MAX_ENTRIES, batches, submitter } from "../../src/client/submit.ts";
import { encodeBase64 } from "../../src/core/base64.ts";
import { parseTlogProof, verifyTlogProof } from "../../src/core/tlog-proof.ts";
import { refusal } from "../core/refusal.ts";
import { testTrust, textEntry } from "./build-log.ts";
import { answerJson, answerProblem, type LogServer, startLogServer, stillClock } from "./log-server.ts";

let server: LogServer;

beforeEach(async () => {
  server = await startLogServer([textEntry(0), textEntry(1)]);
});
afterEach(async () => await server.close());

function log(apiKey?: string) {
  const options = { url: server.url, hasher: nodeHasher, clock: stillClock() };
  return submitter(apiKey === undefined ? options : { ...options, apiKey });
}

test("an entry gets its index, and the same one again when it is sent again", async () => {
  const entry = textEntry(2);
  const leafHash = nodeHasher.leaf(entry);
  expect(await log().add(entry)).toEqual({ index: 2, leafHash, duplicate: false });
  expect(await log().add(entry)).toEqual({ index: 2, leafHash, duplicate: true });
});

test("a batch gets an outcome for each entry, in order", async () => {
  const results = await log().addBatch([textEntry(5), new Uint8Array(0), textEntry(1)]);
  expect(results).toEqual([
    { index: 2, leafHash: nodeHasher.leaf(textEntry(5)), duplicate: false },
    refusal("entry_empty"),
    { index: 1, leafHash: nodeHasher.leaf(textEntry(1)), duplicate: true },
  ]);
});

test("an entry comes back with a proof that verifies offline", async () => {
  const entry = textEntry(3);
  const proof = parseTlogProof(await log().addWithProof(entry));
  const verified = verifyTlogProof(proof, nodeHasher.leaf(entry), testTrust(), nodeHasher);
  expect(verified).toMatchObject({ index: 2n, size: 3n });
});

test("a proof is fetched by index", async () => {
  const proof = parseTlogProof(await log().proof(1));
  expect(verifyTlogProof(proof, nodeHasher.leaf(textEntry(1)), testTrust(), nodeHasher).index).toBe(1n);
  await log().proof(1, 2);
  expect(server.requests.at(-1)?.path).toBe("/proof/1?size=2");
  await expect(log().proof(9)).rejects.toThrow(refusal("not_published"));
});

test("the key goes with writes, and no other header names the publisher", async () => {
  await log("s3cret").add(textEntry(2));
  expect(server.requests[0]?.headers.authorization).toBe("Bearer s3cret");
  await log("s3cret").proof(0);
  expect(server.requests[1]?.headers.authorization).toBeUndefined();
});

test("a full queue is waited for and the entry sent again", async () => {
  let full = true;
  server.intercept = (_request, response) => {
    if (!full) return false;
    full = false;
    answerProblem(response, 503, "queue_full", { "retry-after": "1" });
    return true;
  };
  expect((await log().add(textEntry(2))).index).toBe(2);
});

describe("an answer that is not a receipt for what was sent is refused", () => {
  const hash = encodeBase64(nodeHasher.leaf(textEntry(2)));
  const other = encodeBase64(nodeHasher.leaf(textEntry(3)));

  test.each([
    ["of another entry", { index: 2, leafHash: other, duplicate: false }],
    ["with a negative index", { index: -1, leafHash: hash, duplicate: false }],
    ["with a broken index", { index: 1.5, leafHash: hash, duplicate: false }],
    ["with an index in words", { index: "2", leafHash: hash, duplicate: false }],
    ["without duplicate", { index: 2, leafHash: hash }],
    ["that is a number", 2],
  ])("%s", async (_what, value) => {
    server.intercept = ({ path }, response) => {
      answerJson(response, path === "/add" ? value : { results: [value] });
      return true;
    };
    await expect(log().add(textEntry(2))).rejects.toThrow(refusal("unexpected_answer"));
    await expect(log().addBatch([textEntry(2)])).rejects.toThrow(refusal("unexpected_answer"));
  });

  test("with too few or too many results", async () => {
    for (const results of [[], [1, 2]]) {
      server.intercept = (_request, response) => {
        answerJson(response, { results });
        return true;
      };
      await expect(log().addBatch([textEntry(2)])).rejects.toThrow(refusal("unexpected_answer"));
    }
  });

  test("with an error whose code nobody knows", async () => {
    server.intercept = (_request, response) => {
      answerJson(response, { results: [{ error: { code: "made_up" } }] });
      return true;
    };
    expect(await log().addBatch([textEntry(2)])).toEqual([refusal("unexpected_answer")]);
  });
});

describe("batches", () => {
  async function sizesOf(lengths: readonly number[]): Promise<number[]> {
    const sizes: number[] = [];
    for await (const batch of batches(lengths.map((length) => new Uint8Array(length)))) {
      sizes.push(batch.length);
    }
    return sizes;
  }

  test("hold exactly as many entries as a log accepts", async () => {
    const lengths = (count: number) => new Array<number>(count).fill(1);
    expect(await sizesOf(lengths(BATCH_MAX_ENTRIES))).toEqual([BATCH_MAX_ENTRIES]);
    expect(await sizesOf(lengths(BATCH_MAX_ENTRIES + 1))).toEqual([BATCH_MAX_ENTRIES, 1]);
    expect(await sizesOf([])).toEqual([]);
  });

  test("hold exactly as many bytes as a log accepts, framing included", async () => {
    const half = 32_768 - 2;
    const full = BATCH_MAX_BYTES / 32_768;
    expect(await sizesOf(new Array<number>(full).fill(half))).toEqual([full]);
    expect(await sizesOf([...new Array<number>(full).fill(half), 1])).toEqual([full, 1]);
    expect(await sizesOf([...new Array<number>(full - 1).fill(half), half + 1])).toEqual([full - 1, 1]);
  });

  test("over the limits are refused before they are sent", async () => {
    const many = new Array<Uint8Array>(BATCH_MAX_ENTRIES + 1).fill(textEntry(0));
    await expect(log().addBatch(many)).rejects.toThrow(refusal("batch_too_large"));
    const large = new Array<Uint8Array>(129).fill(new Uint8Array(65_535));
    await expect(log().addBatch(large)).rejects.toThrow(refusal("batch_too_large"));
    await expect(log().addBatch([])).rejects.toThrow(refusal("bad_framing"));
    await expect(log().addBatch([new Uint8Array(65_536)])).rejects.toThrow(refusal("entry_too_large"));
    expect(server.requests).toEqual([]);
  });
});
