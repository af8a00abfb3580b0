import { afterEach, describe, expect, test } from "vitest";
import { ServerMetrics } from "../../src/http/metrics.ts";
import { startApp } from "./harness.ts";

let metrics: ServerMetrics | null = null;

afterEach(() => {
  metrics?.close();
  metrics = null;
});

async function scraped() {
  metrics = new ServerMetrics();
  const harness = await startApp({ metrics });
  const value = async (line: string): Promise<number | undefined> => {
    const { body } = await harness.get("/metrics");
    const found = body.split("\n").find((each) => each.startsWith(`${line} `));
    return found === undefined ? undefined : Number(found.slice(line.length + 1));
  };
  return { ...harness, metrics, value };
}

describe("/metrics", () => {
  test("is Prometheus text that is not cached", async () => {
    const { get } = await scraped();
    const response = await get("/metrics");
    expect(response.statusCode).toBe(200);
    expect(response.headers["content-type"]).toMatch(/^text\/plain; version=0\.0\.4/);
    expect(response.headers["cache-control"]).toBe("no-store");
  });

  test("counts entries by outcome, and commits with their time", async () => {
    const { metrics: m, value } = await scraped();
    m.committed(10, 2, 3);
    m.committed(1, 0, 0.1);
    m.duplicate();
    expect(await value('cairn_adds_total{outcome="added"}')).toBe(11);
    expect(await value('cairn_adds_total{outcome="duplicate"}')).toBe(3);
    expect(await value("cairn_commits_total")).toBe(2);
    expect(await value('cairn_commit_seconds_bucket{le="0.0002"}')).toBe(1);
    expect(await value("cairn_commit_seconds_count")).toBe(2);
  });

  test("counts refusals by their code", async () => {
    const { get, value } = await scraped();
    await get("/nowhere");
    await get("/nowhere-else");
    await get("/tile/0/1");
    expect(await value('cairn_refused_total{code="not_found"}')).toBe(2);
    expect(await value('cairn_refused_total{code="bad_path"}')).toBe(1);
  });

  test("shows how the log stands, and leaves out what is not there yet", async () => {
    const { log, value } = await scraped();
    log.statusNow = {
      ...log.statusNow,
      nextIndex: 12,
      integratedSize: 10,
      queuedEntries: 2,
      backlogBytes: 77,
    };
    expect(await value("cairn_next_index")).toBe(12);
    expect(await value("cairn_integrated_size")).toBe(10);
    expect(await value("cairn_published_size")).toBeUndefined();
    expect(await value("cairn_queue_entries")).toBe(2);
    expect(await value("cairn_backlog_bytes")).toBe(77);
    log.statusNow = { ...log.statusNow, publishedSize: 10, checkpointAgeSeconds: 3, ready: false };
    expect(await value("cairn_published_size")).toBe(10);
    expect(await value("cairn_checkpoint_age_seconds")).toBe(3);
    expect(await value("cairn_ready")).toBe(0);
  });

  test("names each witness with its state", async () => {
    const { log, value } = await scraped();
    log.statusNow = {
      ...log.statusNow,
      witnesses: [
        { name: "a", state: "ok", size: 1, lastSuccess: null, lastError: null },
        { name: "b", state: "failing", size: null, lastSuccess: null, lastError: "down" },
      ],
    };
    expect(await value('cairn_witness_up{witness="a",state="ok"}')).toBe(1);
    expect(await value('cairn_witness_up{witness="b",state="failing"}')).toBe(0);
  });

  test("tells rounds by their parts and storage by operation and outcome", async () => {
    const { metrics: m, value } = await scraped();
    m.round({ integrateMs: 20, signMs: 2, witnessMs: 0, publishMs: 4 });
    m.storage("create", "ok", 1);
    m.storage("create", "unknown", 5000);
    expect(await value('cairn_round_seconds_sum{part="integrate"}')).toBeCloseTo(0.02);
    expect(await value('cairn_storage_seconds_count{operation="create",outcome="unknown"}')).toBe(1);
  });
});

test("without metrics there is no such address", async () => {
  const { get } = await startApp();
  expect((await get("/metrics")).statusCode).toBe(404);
});
