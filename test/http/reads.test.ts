import { describe, expect, it } from "vitest";
import { expectProblem, startApp } from "./harness.ts";

describe("GET /checkpoint", () => {
  it("is 404 not_published_yet before the first publication", async () => {
    const { get } = await startApp();
    expectProblem(await get("/checkpoint"), "not_published_yet");
  });

  it("answers the note as published, cacheable for a few seconds", async () => {
    const { get, log } = await startApp();
    log.publish(5);
    const response = await get("/checkpoint");
    expect(response.statusCode).toBe(200);
    expect(response.rawPayload).toEqual(log.published()?.note);
    expect(response.headers).toMatchObject({
      "content-type": "text/plain; charset=utf-8",
      etag: '"c5"',
      "access-control-allow-origin": "*",
    });
    const maxAge = Number(/^public, max-age=(\d+)$/.exec(String(response.headers["cache-control"]))?.[1]);
    expect(maxAge).toBeGreaterThan(0);
    expect(maxAge).toBeLessThan(10);
  });

  it("answers 304 until there is a newer one", async () => {
    const { get, log } = await startApp();
    log.publish(5);
    const response = await get("/checkpoint", { "if-none-match": '"c5"' });
    expect(response.statusCode).toBe(304);
    expect(response.headers.etag).toBe('"c5"');
    log.publish(6);
    expect((await get("/checkpoint", { "if-none-match": '"c5"' })).statusCode).toBe(200);
  });
});

describe("GET /checkpoint/<size>", () => {
  it("answers a kept one, also an older one, and its own 304", async () => {
    const { get, log } = await startApp();
    log.publish(0);
    log.publish(5);
    const response = await get("/checkpoint/0");
    expect(response.rawPayload).toEqual(log.kept.get(0));
    expect(response.headers["content-type"]).toBe("text/plain; charset=utf-8");
    const again = await get("/checkpoint/0", { "if-none-match": String(response.headers.etag) });
    expect(again.statusCode).toBe(304);
  });

  it.each([
    ...["1", "9007199254740991", "9007199254740992", "9".repeat(300)],
    ...["x", "01", "-1", "+1", "1.0", "1e3", "0x1", "%31x", ""],
  ])("is 404 checkpoint_not_kept for anything else: %j", async (size) => {
    const { get, log } = await startApp();
    log.publish(0);
    expectProblem(await get(`/checkpoint/${size}`), "checkpoint_not_kept");
  });

  it("is 400 bad_parameter for an address that is none", async () => {
    const { get } = await startApp();
    expectProblem(await get("/checkpoint/%zz"), "bad_parameter");
  });
});

describe("GET /proof/<index>", () => {
  async function published() {
    const harness = await startApp();
    for (const entry of ["a", "b", "c"]) await harness.post("/add", entry);
    harness.log.publish(2);
    harness.log.publish(3);
    return harness;
  }

  it("answers a tlog-proof as text, in the newest checkpoint or a kept one", async () => {
    const { get } = await published();
    const response = await get("/proof/1");
    expect(response.statusCode).toBe(200);
    expect(response.headers["content-type"]).toBe("text/plain; charset=utf-8");
    expect(response.body).toBe("fake proof of 1 in 3\n");
    expect((await get("/proof/1?size=2&unknown=1&unknown=2")).body).toBe("fake proof of 1 in 2\n");
  });

  it("is 404 not_published with the published size for an index beyond it, however large", async () => {
    const { get } = await published();
    for (const index of ["3", "4", "9007199254740991", "9007199254740992", "9".repeat(200)]) {
      expect(expectProblem(await get(`/proof/${index}`), "not_published").published_size).toBe(3);
    }
  });

  it("is 404 checkpoint_not_kept for a size that is not kept, larger ones too", async () => {
    const { get } = await published();
    for (const [index, size] of [
      ["0", "1"],
      ["0", "4"],
      ["0", "9".repeat(40)],
      ["9".repeat(39), "9".repeat(40)],
    ]) {
      expectProblem(await get(`/proof/${index}?size=${size}`), "checkpoint_not_kept");
    }
  });

  it.each([
    "/proof/x",
    "/proof/01",
    "/proof/-1",
    "/proof/1.0",
    "/proof/%zz",
    "/proof/0?size=x",
    "/proof/0?size=",
    "/proof/0?size",
    "/proof/0?size=03",
    "/proof/0?size=-3",
    "/proof/0?size=3&size=3",
    "/proof/0?size=2&size=3",
    "/proof/0?size=0",
    "/proof/2?size=2",
    "/proof/3?size=2",
    `/proof/${"9".repeat(40)}?size=${"9".repeat(40)}`,
  ])(
    "is 400 bad_parameter for malformed or repeated parameters and a size that cannot hold the index: %s",
    async (url) => {
      const { get } = await published();
      expectProblem(await get(url), "bad_parameter");
    },
  );
});

describe("GET /log.json", () => {
  it("says what to pin, in exactly the documented members, and the limits", async () => {
    const { get, log } = await startApp({
      rateLimit: { perSecond: 200, burst: 400 },
      descriptor: "Every package of this registry.",
    });
    log.policyText = "log x\n";
    const response = await get("/log.json");
    expect(response.headers["content-type"]).toBe("application/json");
    expect(response.json()).toEqual({
      origin: log.origin,
      vkeys: log.vkeys,
      policy: "log x\n",
      limits: {
        entry_max_bytes: 65_535,
        batch_max_bytes: 8 * 1024 * 1024,
        batch_max_entries: 10_000,
        batch_receive_max_bytes: 64 * 1024 * 1024,
        batch_receive_max_bytes_per_client: 16 * 1024 * 1024,
        rate_limit_per_second: 200,
        rate_limit_burst_size: 400,
        headers_timeout_seconds: 10,
        request_timeout_seconds: 60,
      },
      descriptor: "Every package of this registry.",
    });
  });

  it("says null where there is no policy, no descriptor and no rate limit", async () => {
    const { get } = await startApp();
    expect((await get("/log.json")).json()).toMatchObject({
      policy: null,
      descriptor: null,
      limits: { rate_limit_per_second: null, rate_limit_burst_size: null },
    });
  });
});

describe("GET /health and /ready", () => {
  it("says that the process is up without asking the log", async () => {
    const { get, log } = await startApp();
    log.status = () => {
      throw new Error("health asked the log");
    };
    const response = await get("/health");
    expect(response.statusCode).toBe(200);
    expect(response.headers["cache-control"]).toBe("no-store");
  });

  it("answers readiness in exactly the documented members", async () => {
    const { get, log } = await startApp();
    log.statusNow = {
      ready: true,
      integratedSize: 7,
      nextIndex: 10,
      publishedSize: 6,
      checkpointAgeSeconds: 1.5,
      queuedEntries: 4,
      backlogBytes: 1000,
      reasons: [{ code: "waiting_for_first_entry", detail: "…" }],
      witnesses: [
        { name: "w", state: "failing", size: null, lastSuccess: null, lastError: "timeout" },
        { name: "v", state: "ok", size: 6, lastSuccess: "2026-01-01T00:00:00Z", lastError: null },
      ],
    };
    const response = await get("/ready");
    expect(response.statusCode).toBe(200);
    expect(response.headers["cache-control"]).toBe("no-store");
    expect(response.json()).toEqual({
      ready: true,
      integrated_size: 7,
      next_index: 10,
      pending_count: 3,
      published_size: 6,
      checkpoint_age_seconds: 1.5,
      reasons: [{ code: "waiting_for_first_entry", detail: "…" }],
      witnesses: [
        { name: "w", state: "failing", size: null, last_success: null, last_error: "timeout" },
        { name: "v", state: "ok", size: 6, last_success: "2026-01-01T00:00:00Z", last_error: null },
      ],
    });
  });

  it("is 503 with the reason while starting, and reads are served meanwhile", async () => {
    const { get, log } = await startApp();
    log.publish(0);
    log.statusNow = {
      ...log.statusNow,
      ready: false,
      reasons: [{ code: "starting", detail: "reading rows" }],
    };
    const response = await get("/ready");
    expect(response.statusCode).toBe(503);
    expect(response.headers).toMatchObject({ "cache-control": "no-store", "retry-after": "1" });
    expect(response.json()).toMatchObject({ ready: false, reasons: [{ code: "starting" }] });
    expect((await get("/checkpoint")).statusCode).toBe(200);
    expect((await get("/health")).statusCode).toBe(200);
  });
});
