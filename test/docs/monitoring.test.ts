import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ServerMetrics } from "../../src/http/metrics.ts";
import { FakeLog } from "../http/fake-log.ts";

/** Names that stand in a text as metrics do. */
function metricsIn(text: string): Set<string> {
  return new Set(text.match(/\b(?:cairn|process)_[a-z_]+\b/g) ?? []);
}

test.each(["alerts.yaml", "dashboard.json"])(
  "docs/monitoring/%s asks only for metrics that there are",
  async (file) => {
    const metrics = new ServerMetrics();
    const log = new FakeLog();
    log.statusNow = {
      ...log.statusNow,
      publishedSize: 1,
      checkpointAgeSeconds: 1,
      witnesses: [{ name: "w", state: "ok", size: 1, lastSuccess: null, lastError: null }],
    };
    metrics.watch(log);
    metrics.committed(1, 1, 1);
    metrics.round({ integrateMs: 1, signMs: 1, witnessMs: 1, publishMs: 1 });
    metrics.storage("get", "ok", 1);
    metrics.refused("internal");
    const { body } = await metrics.text();
    metrics.close();
    const given = new Set(
      body
        .split("\n")
        .filter((line) => line !== "" && !line.startsWith("#"))
        .map((line) => line.split(/[ {]/, 1)[0] ?? ""),
    );
    const text = readFileSync(new URL(`../../docs/monitoring/${file}`, import.meta.url), "utf8");
    const asked = metricsIn(text);
    expect(asked.size).toBeGreaterThan(5);
    for (const name of asked) expect([...given], name).toContain(name);
  },
);
