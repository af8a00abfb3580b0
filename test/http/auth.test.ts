import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { CairnError } from "../../src/core/errors.ts";
import { type HashedKey, namedKeys, staticKey, WRITE_ROLE } from "../../src/http/auth.ts";
import { expectProblem, startApp } from "./harness.ts";

const KEY = "correct horse battery staple".replaceAll(" ", "-");
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

function hashed(name: string, key: string, more: Partial<HashedKey> = {}): HashedKey {
  const sha256 = createHash("sha256").update(key).digest();
  return { name, sha256, roles: [WRITE_ROLE], quota: null, ...more };
}

describe("a log whose writes need a key", () => {
  it("takes writes with the key, the scheme in any case", async () => {
    const { post } = await startApp({ keys: staticKey(KEY) });
    expect((await post("/add", "a", bearer(KEY))).statusCode).toBe(200);
    expect((await post("/add", "b", { authorization: `bearer  ${KEY}` })).statusCode).toBe(200);
    const headers = { ...bearer(KEY), "content-type": "application/x-ndjson" };
    expect((await post("/add-batch", "c\n", headers)).statusCode).toBe(200);
  });

  it.each([
    [undefined],
    [""],
    ["Bearer"],
    ["Bearer "],
    [`Bearer ${KEY}x`],
    [`Bearer ${KEY.slice(0, -1)}`],
    [`Bearer ${KEY.toUpperCase()}`],
    [`Basic ${Buffer.from(`x:${KEY}`).toString("base64")}`],
    [KEY],
    [`Bearer ${KEY} ${KEY}`],
  ])("answers 401 with WWW-Authenticate to a missing or wrong one: %s", async (authorization) => {
    const { post, log } = await startApp({ keys: staticKey(KEY) });
    const headers = authorization === undefined ? {} : { authorization };
    for (const [url, type] of [
      ["/add", "x/y"],
      ["/add-batch", "application/x-ndjson"],
    ] as const) {
      const response = await post(url, "a", { ...headers, "content-type": type });
      expectProblem(response, "unauthorized");
      expect(response.headers["www-authenticate"]).toBe("Bearer");
    }
    expect(log.entries).toEqual([]);
  });

  it("takes a key that is not ASCII, as the bytes that a client sends", async () => {
    const { post } = await startApp({ keys: staticKey("schlüssel") });
    const sent = Buffer.from("schlüssel", "utf8").toString("latin1");
    expect((await post("/add", "a", bearer(sent))).statusCode).toBe(200);
  });

  it("judges the key before everything else of the request", async () => {
    const { post, log } = await startApp({ keys: staticKey(KEY) });
    log.refusal = new CairnError("queue_full");
    const headers = { "content-encoding": "gzip" };
    expectProblem(await post("/add", Buffer.alloc(70_000), headers), "unauthorized");
    expectProblem(await post("/add-batch", "", headers), "unauthorized");
  });

  it("leaves reading open", async () => {
    const { get, log } = await startApp({ keys: staticKey(KEY) });
    log.publish(0);
    expect((await get("/checkpoint")).statusCode).toBe(200);
  });

  it("never writes a key into a log line or an answer", async () => {
    const lines: string[] = [];
    const logger = {
      debug: (fields: object, message: string) => lines.push(JSON.stringify(fields) + message),
      error: (fields: object, message: string) => lines.push(JSON.stringify(fields) + message),
    };
    const { post } = await startApp({ keys: staticKey(KEY), logger });
    const wrong = await post("/add", "a", bearer(`${KEY}-wrong`));
    const right = await post("/add", "", bearer(KEY));
    expect(lines).toHaveLength(2);
    expect([...lines, wrong.body, right.body].join()).not.toContain(KEY);
  });
});

describe("named keys", () => {
  it("lets each write, and refuses a key from the moment it is gone", async () => {
    let keys = [hashed("ci", "key-1"), hashed("release", "key-2")];
    const { post } = await startApp({ keys: namedKeys(() => keys) });
    expect((await post("/add", "a", bearer("key-1"))).statusCode).toBe(200);
    expect((await post("/add", "b", bearer("key-2"))).statusCode).toBe(200);
    keys = keys.slice(1);
    expectProblem(await post("/add", "c", bearer("key-1")), "unauthorized");
    expect((await post("/add", "d", bearer("key-2"))).statusCode).toBe(200);
  });

  it("compares all 32 bytes of a hash", () => {
    const right = hashed("ci", "key");
    const check = (sha256: Uint8Array) => namedKeys(() => [{ ...right, sha256 }]).check(Buffer.from("key"));
    expect(check(right.sha256)?.name).toBe("ci");
    for (let i = 0; i < right.sha256.length; i++) {
      const other = Uint8Array.from(right.sha256);
      other[i] = (other[i] ?? 0) ^ 1;
      expect(check(other)).toBeNull();
    }
  });

  it("refuses one without the role to write", async () => {
    const { post } = await startApp({ keys: namedKeys(() => [hashed("reader", "key", { roles: [] })]) });
    expect(expectProblem(await post("/add", "a", bearer("key")), "unauthorized").detail).toContain(
      "may not write",
    );
  });
});
