import { describe, expect, it } from "vitest";
import { encodeBundle } from "../../src/core/bundle.ts";
import { CairnError } from "../../src/core/errors.ts";
import { BATCH_MAX_BYTES, BATCH_MAX_ENTRIES } from "../../src/http/limits.ts";
import { leafHash } from "./fake-log.ts";
import { expectProblem, startApp } from "./harness.ts";

const FRAMED = { "content-type": "application/octet-stream" };
const LINES = { "content-type": "application/x-ndjson" };

function framed(...entries: (string | Uint8Array)[]): Uint8Array {
  return encodeBundle(entries.map((entry) => Buffer.from(entry as Uint8Array)));
}

describe("POST /add-batch", () => {
  it("answers every entry in request order, in exactly the documented form", async () => {
    const { post } = await startApp();
    await post("/add", "b");
    const response = await post("/add-batch", framed("a", "b", "c", "a"), FRAMED);
    expect(response.statusCode).toBe(200);
    expect(response.headers["content-type"]).toBe("application/json");
    const receipt = (index: number, entry: string, duplicate: boolean) => ({
      index,
      leafHash: Buffer.from(leafHash(Buffer.from(entry))).toString("base64"),
      duplicate,
    });
    expect(response.json()).toEqual({
      results: [receipt(1, "a", false), receipt(0, "b", true), receipt(2, "c", false), receipt(1, "a", true)],
    });
  });

  it("commits the good entries among bad ones, and gives each bad one its own error", async () => {
    const { post, log } = await startApp();
    log.refusedEntries.set("bad", new CairnError("entry_schema", { detail: "“name” is missing" }));
    const long = "x".repeat(65_536);
    const response = await post("/add-batch", `good\n\nbad\n${long}\nlast`, LINES);
    const { results } = response.json<{ results: { index?: number; error?: { code: string } }[] }>();
    expect(results.map((result) => result.index ?? result.error?.code)).toEqual([
      0,
      "entry_empty",
      "entry_schema",
      "entry_too_large",
      1,
    ]);
    expect(results[2]).toEqual({
      error: { code: "entry_schema", detail: expect.stringContaining("“name” is missing") },
    });
    expect(log.entries.map(String)).toEqual(["good", "last"]);
  });

  it.each([
    ["one final LF is optional", "a\nb", ["a", "b"]],
    ["and ends the last line", "a\nb\n", ["a", "b"]],
    ["CR is content", "a\r\nb\r\n", ["a\r", "b\r"]],
    ["so are spaces and what is no JSON", ' {"a": 1} \nnot json\n', [' {"a": 1} ', "not json"]],
  ])("reads lines: %s", async (_rule, body, entries) => {
    const { post, log } = await startApp();
    expect((await post("/add-batch", body, LINES)).statusCode).toBe(200);
    expect(log.entries.map(String)).toEqual(entries);
  });

  it("takes an empty line for an empty entry, also where it is the only one", async () => {
    const { post } = await startApp();
    for (const [body, count] of [
      ["\n", 1],
      ["\n\n", 2],
    ] as const) {
      const { results } = (await post("/add-batch", body, LINES)).json<{ results: unknown[] }>();
      expect(results).toEqual(
        Array(count).fill({ error: { code: "entry_empty", detail: expect.any(String) } }),
      );
    }
  });

  it("takes parameters of the media type and its spelling in any case", async () => {
    const { post } = await startApp();
    const types = ["application/x-ndjson; charset=utf-8", "Application/X-NDJSON ;x=y"];
    for (const type of types) {
      expect((await post("/add-batch", "a\n", { "content-type": type })).statusCode).toBe(200);
    }
    const octets = { "content-type": "application/octet-stream;v=1" };
    expect((await post("/add-batch", framed("b"), octets)).statusCode).toBe(200);
  });

  it.each([
    undefined,
    "",
    "application/json",
    "text/plain",
    "application/octet-streams",
    "multipart/form-data",
  ])("refuses any other content type: %s", async (type) => {
    const { post, log } = await startApp();
    const headers = type === undefined ? {} : { "content-type": type };
    expectProblem(await post("/add-batch", framed("a"), headers), "unsupported_type");
    expect(log.entries).toEqual([]);
  });

  it("refuses any Content-Encoding", async () => {
    const { post } = await startApp();
    const headers = { ...FRAMED, "content-encoding": "identity" };
    expectProblem(await post("/add-batch", framed("a"), headers), "unsupported_encoding");
  });

  it("refuses torn framing and an empty body, and commits nothing of it", async () => {
    const { post, log } = await startApp();
    const whole = framed("good", "torn");
    for (let length = 0; length < whole.length; length++) {
      if (length === 2 + "good".length) continue;
      expectProblem(await post("/add-batch", whole.subarray(0, length), FRAMED), "bad_framing");
    }
    expectProblem(await post("/add-batch", "", LINES), "bad_framing");
    expect(log.entries).toEqual([]);
  });

  it("takes exactly 8 MiB and refuses one byte more", async () => {
    const { post, log } = await startApp();
    const frame = 2 + 65_535;
    const count = Math.floor(BATCH_MAX_BYTES / frame);
    const entries = Array.from({ length: count }, (_, i) => Buffer.alloc(65_535, i));
    entries.push(Buffer.alloc(BATCH_MAX_BYTES - count * frame - 2, 0xff));
    const body = encodeBundle(entries);
    expect(body.length).toBe(BATCH_MAX_BYTES);
    expect((await post("/add-batch", body, FRAMED)).statusCode).toBe(200);
    expect(log.entries).toHaveLength(entries.length);

    const longer = Buffer.concat([body, Buffer.from([0])]);
    expectProblem(await post("/add-batch", longer, FRAMED), "batch_too_large");
  });

  it("takes exactly 10,000 entries and refuses one more, in both forms", async () => {
    const { post, log } = await startApp();
    log.addBatch = async (entries) => entries.map(() => new CairnError("entry_empty"));
    const most = "x\n".repeat(BATCH_MAX_ENTRIES);
    const response = await post("/add-batch", most, LINES);
    expect(response.json<{ results: unknown[] }>().results).toHaveLength(BATCH_MAX_ENTRIES);
    expectProblem(await post("/add-batch", `${most}x`, LINES), "batch_too_large");

    const empties = Buffer.alloc(2 * BATCH_MAX_ENTRIES);
    expect((await post("/add-batch", empties, FRAMED)).statusCode).toBe(200);
    expectProblem(
      await post("/add-batch", Buffer.alloc(2 * BATCH_MAX_ENTRIES + 2), FRAMED),
      "batch_too_large",
    );
  });

  it("refuses the whole request where the log does", async () => {
    const { post, log } = await startApp();
    log.refusal = new CairnError("backlog_full");
    expectProblem(await post("/add-batch", framed("a"), FRAMED), "backlog_full");
    log.refusal = null;
    log.addBatch = async () => {
      throw new CairnError("queue_full");
    };
    expectProblem(await post("/add-batch", framed("a"), FRAMED), "queue_full");
  });

  it("refuses in order: encoding, length, type, back-pressure, content", async () => {
    const { post, log } = await startApp();
    log.refusal = new CairnError("starting");
    const tooLong = Buffer.alloc(BATCH_MAX_BYTES + 1);
    const encoded = { "content-encoding": "gzip" };
    expectProblem(await post("/add-batch", tooLong, encoded), "unsupported_encoding");
    expectProblem(await post("/add-batch", tooLong, {}), "batch_too_large");
    expectProblem(await post("/add-batch", tooLong, FRAMED), "batch_too_large");
    expectProblem(await post("/add-batch", "", {}), "unsupported_type");
    expectProblem(await post("/add-batch", "", FRAMED), "starting");
  });
});
