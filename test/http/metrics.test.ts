import { afterEach, describe, expect, test } from "vitest";
import { ServerMetrics } from "../../src/http/metrics.ts";
import { startApp, startServer } from "./harness.ts";

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

  test("counts each entry of a batch that is refused while others are logged", async () => {
    const { post, value } = await scraped();
    const answer = await post("/add-batch", "one\n\n\ntwo\n", { "content-type": "application/x-ndjson" });
    expect(answer.json<{ results: object[] }>().results.filter((result) => "error" in result)).toHaveLength(
      2,
    );
    expect(await value('cairn_refused_total{code="entry_empty"}')).toBe(2);
  });

  test("counts what is refused before there is a request, once a connection, and gives it an id and a line", async () => {
    metrics = new ServerMetrics();
    const lines: Record<string, unknown>[] = [];
    const logger = { debug: (fields: object) => void lines.push({ ...fields }), error: () => undefined };
    const times = { headersTimeout: 100, requestTimeout: 100, checkingInterval: 20, closeGrace: 100 };
    const { dial, get } = await startServer({ metrics, logger, times });
    const answers = [];
    for (const bytes of [
      "no HTTP at all\r\n\r\nand more of it\r\n\r\n",
      "GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n",
      "GET /health HTTP/1.1\r\nX: half a head",
      "CONNECT other.example:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    ]) {
      const connection = dial();
      await connection.send(bytes);
      answers.push(await connection.answer());
    }
    expect(answers.map(({ status }) => status)).toEqual([400, 400, 408, 405]);
    const { body } = await get("/metrics");
    expect(
      body
        .split("\n")
        .filter((line) => line.startsWith("cairn_refused_total{"))
        .sort(),
    ).toEqual([
      'cairn_refused_total{code="bad_request"} 2',
      'cairn_refused_total{code="method_not_allowed"} 1',
      'cairn_refused_total{code="request_timeout"} 1',
    ]);
    const ids = answers.map(
      ({ body: problem }) => (JSON.parse(problem) as { request_id: string }).request_id,
    );
    expect(new Set(ids).size).toBe(4);
    expect(lines.map(({ requestId }) => requestId)).toEqual(ids);
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
