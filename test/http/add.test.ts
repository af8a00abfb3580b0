import { describe, expect, it } from "vitest";
import { CairnError, type ErrorCode } from "../../src/core/errors.ts";
import { FAKE_PROOF_PLACES, leafHash } from "./fake-log.ts";
import { expectProblem, startApp } from "./harness.ts";

describe("POST /add", () => {
  it("answers the decimal index and nothing else", async () => {
    const { post } = await startApp();
    await post("/add", "first");
    const response = await post("/add", "second");
    expect(response.statusCode).toBe(200);
    expect(response.rawPayload).toEqual(Buffer.from("1"));
    expect(response.headers["content-type"]).toBe("text/plain; charset=utf-8");
    expect(response.headers["content-length"]).toBe("1");
  });

  it("takes any content type, none, and ones that are malformed, and keeps the bytes as they came", async () => {
    const { post, log } = await startApp();
    const types = [
      undefined,
      "application/json",
      "text/plain; charset=utf-16",
      "x/y",
      "///",
      "",
      ";;=",
      "\x7f?",
    ];
    for (const [i, type] of types.entries()) {
      const bytes = Buffer.from([i, 0xff, 0x00, 0x0a]);
      const response = await post("/add", bytes, type === undefined ? {} : { "content-type": type });
      expect(response.statusCode, String(type)).toBe(200);
      expect(log.entries.at(-1)).toEqual(bytes);
    }
  });

  it("answers a duplicate with the index it has", async () => {
    const { post } = await startApp();
    await post("/add", "one");
    await post("/add", "two");
    expect((await post("/add", "one")).body).toBe("0");
    const response = await post("/add", "one", { accept: "application/json" });
    expect(response.json()).toEqual({
      index: 0,
      leafHash: Buffer.from(leafHash(Buffer.from("one"))).toString("base64"),
      duplicate: true,
    });
  });

  it.each([
    ["application/json", true],
    ["text/html, Application/JSON;q=0.5", true],
    ["application/json;q=0", false],
    ["*/*", false],
    ["application/*", false],
    ["application/problem+json", false],
  ])("answers JSON only where Accept names it: %s", async (accept, json) => {
    const { post } = await startApp();
    const response = await post("/add", "one", { accept });
    expect(response.headers["content-type"]).toBe(json ? "application/json" : "text/plain; charset=utf-8");
    if (json) expect(Object.keys(response.json())).toEqual(["index", "leafHash", "duplicate"]);
    else expect(response.body).toBe("0");
  });

  it("refuses an empty entry, declared or not", async () => {
    const { post, inject } = await startApp();
    expectProblem(await post("/add", ""), "entry_empty");
    expectProblem(await inject({ method: "POST", url: "/add" }), "entry_empty");
  });

  it("takes 65,535 bytes and refuses 65,536", async () => {
    const { post, log } = await startApp();
    expect((await post("/add", Buffer.alloc(65_535, 1))).body).toBe("0");
    expectProblem(await post("/add", Buffer.alloc(65_536, 1)), "entry_too_large");
    expect(log.entries.map((entry) => entry.length)).toEqual([65_535]);
  });

  it.each(["gzip", "identity", "", "br, gzip"])("refuses any Content-Encoding: %j", async (encoding) => {
    const { post, log } = await startApp();
    expectProblem(await post("/add", "x", { "content-encoding": encoding }), "unsupported_encoding");
    expect(log.entries).toEqual([]);
  });

  it.each<[ErrorCode, number]>([
    ["starting", 503],
    ["draining", 503],
    ["queue_full", 503],
    ["backlog_full", 503],
    ["storage_low", 503],
    ["frozen", 403],
  ])("passes on what refuses writes now: %s", async (code, status) => {
    const { post, log } = await startApp();
    log.refusal = new CairnError(code);
    const response = await post("/add", "x");
    expectProblem(response, code);
    expect(response.statusCode).toBe(status);
  });

  it.each<[ErrorCode, number]>([
    ["entry_schema", 422],
    ["reserved_shape", 422],
    ["store_unavailable", 503],
  ])("passes on what the log says of the entry: %s", async (code, status) => {
    const { post, log } = await startApp();
    log.refusedEntries.set("bad", new CairnError(code, { detail: "for this reason" }));
    const response = await post("/add", "bad");
    expect(expectProblem(response, code).detail).toContain("for this reason");
    expect(response.statusCode).toBe(status);
  });

  it("refuses in order: encoding and length, back-pressure, content", async () => {
    const { post, log } = await startApp();
    log.refusal = new CairnError("queue_full");
    const long = Buffer.alloc(65_536);
    expectProblem(await post("/add", long, { "content-encoding": "gzip" }), "unsupported_encoding");
    expectProblem(await post("/add", long), "entry_too_large");
    expectProblem(await post("/add?proof=perhaps", ""), "queue_full");
    log.refusal = null;
    expectProblem(await post("/add?proof=perhaps", ""), "bad_parameter");
  });

  it("never shows the cause of a fault of its own, and logs it under the request id that it shows", async () => {
    const logged: { fields: Record<string, unknown>; message: string }[] = [];
    const { post, log } = await startApp({
      logger: {
        debug: () => {},
        error: (fields, message) => logged.push({ fields: fields as Record<string, unknown>, message }),
      },
    });
    const cause = new Error("secret path");
    log.add = () => {
      throw cause;
    };
    const problem = expectProblem(await post("/add", "x"), "internal");
    expect(JSON.stringify(problem)).not.toContain("secret path");
    expect(logged).toHaveLength(1);
    expect(logged[0]?.fields).toMatchObject({ requestId: problem.request_id, err: cause });
  });
});

describe("POST /add?proof=true", () => {
  it("answers with the proof as text, also where JSON is accepted", async () => {
    const { post } = await startApp();
    for (const headers of [{}, { accept: "application/json" }]) {
      const response = await post("/add?proof=true", "x", headers);
      expect(response.statusCode).toBe(200);
      expect(response.headers["content-type"]).toBe("text/plain; charset=utf-8");
      expect(response.body).toBe("fake proof of 0\n");
    }
    expect((await post("/add?proof=false", "x")).body).toBe("0");
  });

  it("ignores unknown parameters and refuses malformed or repeated ones", async () => {
    const { post, log } = await startApp();
    expect((await post("/add?colour=red&colour=blue", "x")).body).toBe("0");
    for (const query of ["proof=1", "proof=", "proof", "proof=TRUE", "proof=true&proof=true", "proof=%zz"]) {
      expectProblem(await post(`/add?${query}`, "y"), "bad_parameter");
    }
    expect(log.entries).toHaveLength(1);
  });

  it("refuses before sequencing where too many wait", async () => {
    const { post, log } = await startApp();
    const tickets = Array.from({ length: FAKE_PROOF_PLACES }, () => log.reserveProof());
    expectProblem(await post("/add?proof=true", "x"), "queue_full");
    expect(log.entries).toEqual([]);
    for (const ticket of tickets) ticket.release();
    expect((await post("/add?proof=true", "x")).statusCode).toBe(200);
  });

  it("gives its place back whatever the outcome", async () => {
    const { post, log } = await startApp();
    log.refusedEntries.set("bad", new CairnError("entry_schema"));
    expectProblem(await post("/add?proof=true", "bad"), "entry_schema");
    expectProblem(await post("/add?proof=true", ""), "entry_empty");
    log.add = () => {
      throw new CairnError("queue_full");
    };
    expectProblem(await post("/add?proof=true", "x"), "queue_full");
    expect(log.proofsWaiting).toBe(0);
  });

  it("answers 504 with index and retry where no checkpoint comes in time", async () => {
    const { post, log } = await startApp();
    log.proofError = new CairnError("proof_timeout", { members: { index: 7, retry: "safe" } });
    const response = await post("/add?proof=true", "x");
    expect(response.statusCode).toBe(504);
    expect(expectProblem(response, "proof_timeout")).toMatchObject({ index: 7, retry: "safe" });
  });
});
