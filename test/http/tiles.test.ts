import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { decodeBundle } from "../../src/core/bundle.ts";
import { leafHash } from "./fake-log.ts";
import { type Dialled, expectProblem, head, startApp, startServer } from "./harness.ts";

const ENTRIES = ["first", "second", "third"];

async function publishedLog() {
  const harness = await startApp();
  for (const entry of ENTRIES) await harness.post("/add", entry);
  harness.log.publish();
  return harness;
}

describe("GET /tile/…", () => {
  it("answers tiles byte for byte, for ever", async () => {
    const { get } = await publishedLog();
    const response = await get("/tile/0/000.p/3");
    expect(response.statusCode).toBe(200);
    expect(response.rawPayload).toEqual(Buffer.concat(ENTRIES.map((entry) => leafHash(Buffer.from(entry)))));
    expect(response.headers).toMatchObject({
      "content-type": "application/octet-stream",
      "content-length": "96",
      "cache-control": "public, max-age=31536000, immutable",
      etag: '"tile-0-0-3"',
      "access-control-allow-origin": "*",
    });
    expect(response.headers).not.toHaveProperty("content-encoding");
    expect(response.headers).not.toHaveProperty("vary");
  });

  it("answers the same where the bytes come later", async () => {
    const { get, log } = await publishedLog();
    for (const path of ["/tile/0/000.p/2", "/tile/entries/000.p/2"]) {
      log.cached = true;
      const now = await get(path);
      log.cached = false;
      const later = await get(path);
      expect({ ...later.headers, date: "" }).toEqual({ ...now.headers, date: "" });
      expect(later.rawPayload).toEqual(now.rawPayload);
    }
    log.readFailure = new Error("disk");
    expectProblem(await get("/tile/0/000.p/2"), "internal");
  });

  it("answers bundles plain or, when accepted, with gzip: other bytes, so another strong tag", async () => {
    const { get } = await publishedLog();
    const plain = await get("/tile/entries/000.p/3");
    expect(decodeBundle(plain.rawPayload).map((entry) => Buffer.from(entry).toString())).toEqual(ENTRIES);
    expect(plain.headers).toMatchObject({ vary: "Accept-Encoding", etag: '"entries-0-0-3"' });
    expect(plain.headers).not.toHaveProperty("content-encoding");

    const compressed = await get("/tile/entries/000.p/3", { "accept-encoding": "gzip" });
    expect(compressed.headers).toMatchObject({
      vary: "Accept-Encoding",
      etag: '"entries-0-0-3-gzip"',
      "content-encoding": "gzip",
      "content-type": "application/octet-stream",
      "content-length": String(compressed.rawPayload.length),
      "cache-control": "public, max-age=31536000, immutable",
    });
    expect(gunzipSync(compressed.rawPayload)).toEqual(plain.rawPayload);

    const refused = await get("/tile/entries/000.p/3", { "accept-encoding": "gzip;q=0" });
    expect(refused.rawPayload).toEqual(plain.rawPayload);
  });

  it("never compresses hash tiles", async () => {
    const { get } = await publishedLog();
    const response = await get("/tile/0/000.p/3", { "accept-encoding": "gzip" });
    expect(response.headers).not.toHaveProperty("content-encoding");
  });

  it("answers 304 to a client that has the bytes", async () => {
    const { get } = await publishedLog();
    for (const [path, headers] of [
      ["/tile/0/000.p/3", {}],
      ["/tile/entries/000.p/3", {}],
      ["/tile/entries/000.p/3", { "accept-encoding": "gzip" }],
    ] as const) {
      const { etag } = (await get(path, headers)).headers;
      const response = await get(path, { ...headers, "if-none-match": `"other", ${etag}` });
      expect(response.statusCode).toBe(304);
      expect(response.body).toBe("");
      expect(response.headers.etag).toBe(etag);
      expect(response.headers["cache-control"]).toBe("public, max-age=31536000, immutable");
      expect((await get(path, { ...headers, "if-none-match": '"other"' })).statusCode).toBe(200);
    }
    const plainTag = { "if-none-match": '"entries-0-0-3"', "accept-encoding": "gzip" };
    expect((await get("/tile/entries/000.p/3", plainTag)).statusCode).toBe(200);
  });

  it("ignores a query", async () => {
    const { get } = await publishedLog();
    expect((await get("/tile/0/000.p/1?x=1&x=2")).statusCode).toBe(200);
    expect((await get("/tile/0/000.p/1?")).statusCode).toBe(200);
  });

  it.each([
    "/tile/0/001",
    "/tile/0/000",
    "/tile/0/000.p/4",
    "/tile/1/000.p/1",
    "/tile/63/000.p/1",
    "/tile/entries/000.p/4",
    "/tile/entries/x123/x456/789",
    "/tile/0/x009/x007/x199/x254/x740/991",
    "/tile/0/x009/x007/x199/x254/x740/992",
    "/tile/0/x999/x999/x999/x999/x999/x999/999.p/255",
    "/tile/entries/x001/x000/x000/x000/x000/x000/000",
  ])("answers 404 to what is well-formed and beyond the published size: %s", async (path) => {
    const { get } = await publishedLog();
    expectProblem(await get(path), "not_published");
  });

  const MALFORMED = [
    "/tile/",
    "/tile/0",
    "/tile/0/",
    "/tile//000",
    "/tile/64/000",
    "/tile/00/000",
    "/tile/01/000",
    "/tile/-1/000",
    "/tile/data/000",
    "/tile/0/0",
    "/tile/0/0000",
    "/tile/0/000/",
    "/tile/0/000.p",
    "/tile/0/000.p/",
    "/tile/0/000.p/0",
    "/tile/0/000.p/01",
    "/tile/0/000.p/256",
    "/tile/0/000.p/1/",
    "/tile/0/x000/001",
    "/tile/0/001/002",
    "/tile/0/x01/002",
    "/tile/0/x001/002.p/x",
    "/tile/0/x000/x000/x000/x000/x000/x000/001",
    "/tile/0/x999/x999/x999/x999/x999/x999/999.p/256",
    "/tile/64/x999/x999/x999/x999/x999/x999/999",
    "/tile/0/..",
    "/tile/../state/head",
    "/tile/0/../../../state/head",
    "/tile/0/..%2f..%2f..%2fetc%2fpasswd",
    "/tile/0/%2e%2e/%2e%2e/state/head",
    "/tile/0/000%00",
    "/tile/0/00%30",
    "/tile/%30/000.p/1",
    "/tile/0%2F000.p/1",
    "/tile/0/000%2Ep/1",
    "/%74ile/0/000.p/1",
    "/tile/0/%zz",
    "/tile/0/000\\..",
    "/tile/0/000;x",
    "/tile/0/000#x",
    "/tile/entries",
    "/tile/entries/",
    "/tile/entries/000.p/0",
    "/tile/ENTRIES/000",
    `/tile/0/${"x000/".repeat(1000)}000`,
  ];

  // Over a socket, since injected requests pass through a URL parser that tidies them first.
  it("answers 400 to every malformed path as it was sent, and looks for nothing", async () => {
    const { dial, log } = await startServer();
    log.read = () => {
      throw new Error("a malformed path reached the log");
    };
    const connection = dial();
    for (const path of MALFORMED) {
      await connection.send(head("GET", path));
      expectProblem(await connection.answer(), "bad_path");
    }
  });

  it("reads the absolute form of a request target", async () => {
    const { dial, log } = await startServer();
    log.entries.push(Buffer.from("x"));
    log.publish();
    const status = async (connection: Dialled, target: string) => {
      await connection.send(head("GET", target));
      return (await connection.answer()).status;
    };
    const connection = dial();
    expect(await status(connection, "http://log.example/tile/0/000.p/1")).toBe(200);
    expect(await status(connection, "http://log.example:80/tile/0/000.p/1?x")).toBe(200);
    expect(await status(connection, "http://log.example/tile/0/%30")).toBe(400);
    expect(await status(connection, "http://log.example/checkpoint")).toBe(200);
  });

  it("answers HEAD with the headers of GET", async () => {
    const { get, inject } = await publishedLog();
    for (const url of ["/tile/0/000.p/3", "/tile/entries/000.p/3"]) {
      const response = await inject({ method: "HEAD", url });
      expect(response.statusCode).toBe(200);
      expect(response.body).toBe("");
      expect({ ...response.headers, date: "" }).toEqual({ ...(await get(url)).headers, date: "" });
    }
  });
});
