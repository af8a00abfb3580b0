import { describe, expect, it } from "vitest";
import { expectProblem, startApp } from "./harness.ts";

const READS = [
  "/checkpoint",
  "/checkpoint/1",
  "/tile/0/000",
  "/tile/entries/000",
  "/proof/1",
  "/log.json",
  "/health",
  "/ready",
];
const WRITES = ["/add", "/add-batch"];

describe("what no route answers", () => {
  it.each([
    "/",
    "/nope",
    "/add/",
    "/add/x",
    "/tile",
    "/Checkpoint",
    "/proof",
    "/proof/1/2",
    "/state/head",
    "/metrics",
  ])("is 404 not_found in the same form, with every method: %s", async (url) => {
    const { inject } = await startApp();
    for (const method of ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] as const) {
      expectProblem(
        await inject({ method, url, payload: "x", headers: { "content-type": "///" } }),
        "not_found",
      );
    }
    expect((await inject({ method: "HEAD", url })).statusCode).toBe(404);
  });

  it.each([...READS, ...WRITES])("is 405 with Allow for other methods: %s", async (url) => {
    const { inject } = await startApp();
    const reads = READS.includes(url);
    const others = reads
      ? (["POST", "PUT", "DELETE", "PATCH", "PROPFIND"] as const)
      : (["GET", "PUT", "DELETE", "PROPFIND"] as const);
    for (const method of others) {
      const response = await inject({ method, url });
      expectProblem(response, "method_not_allowed");
      expect(String(response.headers.allow).split(", ").sort()).toEqual(
        reads ? ["GET", "HEAD", "OPTIONS"] : ["OPTIONS", "POST"],
      );
    }
  });

  it.each([...READS, ...WRITES])("answers the preflight of a browser: %s", async (url) => {
    const { inject } = await startApp();
    const response = await inject({
      method: "OPTIONS",
      url,
      headers: { origin: "https://page.example", "access-control-request-method": "GET" },
    });
    expect(response.statusCode).toBe(204);
    expect(response.body).toBe("");
    expect(response.headers["access-control-allow-origin"]).toBe("*");
    expect(response.headers["access-control-allow-methods"]).toContain(READS.includes(url) ? "GET" : "POST");
    expect(response.headers["access-control-allow-headers"]).toContain("Authorization");
  });

  it("answers HEAD wherever it answers GET", async () => {
    const { inject, log } = await startApp();
    log.publish(0);
    for (const url of ["/checkpoint", "/checkpoint/0", "/log.json", "/health", "/ready"]) {
      const response = await inject({ method: "HEAD", url });
      expect({ url, status: response.statusCode, body: response.body }).toEqual({
        url,
        status: 200,
        body: "",
      });
      expect(Number(response.headers["content-length"])).toBeGreaterThan(0);
    }
  });

  it("is 400 where the address cannot be decoded", async () => {
    const { get } = await startApp();
    expectProblem(await get("/%zz"), "bad_request");
  });
});
