import { createHash } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { namedKeys, staticKey, WRITE_ROLE } from "../../src/http/auth.ts";
import { windowMs } from "../../src/http/rate-limit.ts";
import { expectProblem, type Harness, startApp } from "./harness.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.parse("2026-01-01T00:00:00Z") });
});

afterEach(() => {
  vi.useRealTimers();
});

const LINES = "application/x-ndjson";
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

async function statuses(harness: Harness, count: number, headers: object = {}): Promise<number[]> {
  const all: number[] = [];
  for (let i = 0; i < count; i++) all.push((await harness.post("/add", "x", headers)).statusCode);
  return all;
}

describe("the rate limit", () => {
  it("allows a burst in each window of burst / rate seconds, and says when the next begins", async () => {
    const harness = await startApp({ rateLimit: { perSecond: 2, burst: 6 } });
    expect(windowMs({ perSecond: 2, burst: 6 })).toBe(3000);
    expect(await statuses(harness, 7)).toEqual([200, 200, 200, 200, 200, 200, 429]);
    vi.advanceTimersByTime(1000);
    const refused = await harness.post("/add", "x");
    expectProblem(refused, "rate_limited");
    expect(refused.headers["retry-after"]).toBe("2");
    vi.advanceTimersByTime(1999);
    expect(await statuses(harness, 1)).toEqual([429]);
    vi.advanceTimersByTime(1);
    expect(await statuses(harness, 7)).toEqual([200, 200, 200, 200, 200, 200, 429]);
  });

  it("counts both write routes together, a batch as one request", async () => {
    const { post } = await startApp({ rateLimit: { perSecond: 1, burst: 2 } });
    const batch = () => post("/add-batch", "a\nb\nc\n", { "content-type": LINES });
    expect((await batch()).statusCode).toBe(200);
    expect((await post("/add", "d")).statusCode).toBe(200);
    expectProblem(await batch(), "rate_limited");
    expectProblem(await post("/add", "e"), "rate_limited");
  });

  it("never counts reads", async () => {
    const { get, post, log } = await startApp({ rateLimit: { perSecond: 1, burst: 1 } });
    await post("/add", "x");
    log.publish();
    for (const url of ["/checkpoint", "/tile/0/000.p/1", "/proof/0", "/ready", "/log.json", "/health"]) {
      expect((await get(url)).statusCode, url).toBe(200);
      expect((await get(url)).statusCode, url).toBe(200);
    }
  });

  it("counts by key, whatever the address", async () => {
    const harness = await startApp({ rateLimit: { perSecond: 1, burst: 1 }, keys: staticKey("k") });
    const from = (remoteAddress: string) =>
      harness.inject({ method: "POST", url: "/add", payload: "x", headers: bearer("k"), remoteAddress });
    expect((await from("192.0.2.1")).statusCode).toBe(200);
    expectProblem(await from("192.0.2.2"), "rate_limited");
  });

  it("counts failed authentication for the address, under whichever key it guesses", async () => {
    const harness = await startApp({ rateLimit: { perSecond: 1, burst: 2 }, keys: staticKey("k") });
    const codes = [];
    for (const guess of ["a", "b", "c"])
      codes.push((await harness.post("/add", "x", bearer(guess))).json().code);
    expect(codes).toEqual(["unauthorized", "unauthorized", "rate_limited"]);
    // The key itself is another client, which guesses cannot lock out.
    expect(await statuses(harness, 1, bearer("k"))).toEqual([200]);
  });

  it("comes before everything else of a request", async () => {
    const harness = await startApp({ rateLimit: { perSecond: 1, burst: 1 }, keys: staticKey("k") });
    await harness.post("/add", "x");
    const headers = { "content-encoding": "gzip" };
    expectProblem(await harness.post("/add", Buffer.alloc(70_000), headers), "rate_limited");
  });

  it("counts by address otherwise, and takes a header for it only where one is configured", async () => {
    const limit = { rateLimit: { perSecond: 1, burst: 1 } };
    const direct = await startApp(limit);
    expect(
      await statuses(direct, 1, { "x-forwarded-for": "192.0.2.1", "fly-client-ip": "192.0.2.1" }),
    ).toEqual([200]);
    expect(
      await statuses(direct, 1, { "x-forwarded-for": "192.0.2.2", "fly-client-ip": "192.0.2.2" }),
    ).toEqual([429]);

    const proxied = await startApp({ ...limit, clientAddressHeader: "Fly-Client-IP" });
    expect(await statuses(proxied, 1, { "fly-client-ip": "192.0.2.1" })).toEqual([200]);
    expect(await statuses(proxied, 1, { "fly-client-ip": "192.0.2.2" })).toEqual([200]);
    expect(
      await statuses(proxied, 1, { "fly-client-ip": "192.0.2.1", "x-forwarded-for": "9.9.9.9" }),
    ).toEqual([429]);
  });

  it("gives a key with a quota its own rate, also where the log sets none", async () => {
    const key = (name: string, quota: { perSecond: number; burst: number } | null) => ({
      name,
      quota,
      roles: [WRITE_ROLE],
      sha256: createHash("sha256").update(name).digest(),
    });
    const keys = namedKeys(() => [key("slow", { perSecond: 1, burst: 1 }), key("plain", null)]);
    const unlimited = await startApp({ keys });
    expect(await statuses(unlimited, 2, bearer("slow"))).toEqual([200, 429]);
    expect(await statuses(unlimited, 5, bearer("plain"))).toEqual([200, 200, 200, 200, 200]);

    const limited = await startApp({ keys, rateLimit: { perSecond: 1, burst: 3 } });
    expect(await statuses(limited, 2, bearer("slow"))).toEqual([200, 429]);
    expect(await statuses(limited, 4, bearer("plain"))).toEqual([200, 200, 200, 429]);
  });
});
