import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  batchSchema,
  healthSchema,
  logSchema,
  OPERATIONS,
  openApiDocument,
  problemSchema,
  readySchema,
  receiptSchema,
} from "../../src/http/contract.ts";
import { ServerMetrics } from "../../src/http/metrics.ts";
import { startApp } from "./harness.ts";

describe("the committed contract", () => {
  test("is what the code says", () => {
    const committed = JSON.parse(readFileSync(new URL("../../docs/openapi.json", import.meta.url), "utf8"));
    expect(committed).toEqual(JSON.parse(JSON.stringify(openApiDocument())));
  });

  test("names only routes that the app has", async () => {
    const metrics = new ServerMetrics();
    const { app } = await startApp({ metrics });
    for (const { method, path } of OPERATIONS) {
      const url = path.startsWith("/tile/") ? "/tile/*" : path.replace(/\{(\w+)\}/g, ":$1");
      expect(app.hasRoute({ method, url }), `${method} ${path}`).toBe(true);
    }
    metrics.close();
  });
});

describe("real answers fit their schemas", () => {
  test("receipts, batches, refusals, readiness, health and the description", async () => {
    const { post, get } = await startApp();
    const json = { accept: "application/json" };
    expect(receiptSchema.safeParse((await post("/add", "entry", json)).json()).error).toBeUndefined();
    const batch = await post("/add-batch", "a\nb\n\n", { "content-type": "application/x-ndjson" });
    expect(batch.statusCode).toBe(200);
    expect(batchSchema.safeParse(batch.json()).error).toBeUndefined();
    expect(batch.json().results[2].error.code).toBe("entry_empty");
    expect(problemSchema.safeParse((await get("/nowhere")).json()).error).toBeUndefined();
    expect(readySchema.safeParse((await get("/ready")).json()).error).toBeUndefined();
    expect(healthSchema.safeParse((await get("/health")).json()).error).toBeUndefined();
    expect(logSchema.safeParse((await get("/log.json")).json()).error).toBeUndefined();
  });
});

test("/openapi.json is the document, and /docs a page without scripts that names every route", async () => {
  const { get } = await startApp();
  expect((await get("/openapi.json")).json()).toEqual(JSON.parse(JSON.stringify(openApiDocument())));
  const page = await get("/docs");
  expect(page.headers["content-type"]).toBe("text/html; charset=utf-8");
  expect(page.body).not.toMatch(/<script|https?:\/\//);
  for (const { path } of OPERATIONS) expect(page.body).toContain(path);
});
