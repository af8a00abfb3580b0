// What Dockerfile and fly.toml must agree on with the program. scripts/check-dockerfile.ts performs their steps.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { REQUEST_TIMEOUT_MS } from "../src/http/limits.ts";

const fly = readFileSync(new URL("../fly.toml", import.meta.url), "utf8");
const dockerfile = readFileSync(new URL("../Dockerfile", import.meta.url), "utf8");
const serve = readFileSync(new URL("../src/cli/serve.ts", import.meta.url), "utf8");

/** The text of a key in fly.toml, which is unique there. */
function setting(key: string): string | undefined {
  const values = [...fly.matchAll(new RegExp(`^\\s*${key} = "?([^"\\n]*)"?$`, "gm"))];
  expect(values).toHaveLength(1);
  return values[0]?.[1];
}

test("a stop is given more time than it ever takes, a last round and open requests included", () => {
  const stopMaxMs = Number(/const STOP_MAX_MS = ([0-9_]+);/.exec(serve)?.[1]?.replaceAll("_", ""));
  expect(stopMaxMs).toBeGreaterThan(0);
  const killTimeoutMs = Number(setting("kill_timeout")?.replace(/s$/, "")) * 1000;
  expect(killTimeoutMs).toBeGreaterThan(stopMaxMs);
  expect(killTimeoutMs).toBeGreaterThanOrEqual(REQUEST_TIMEOUT_MS);
  expect(setting("kill_signal")).toBe("SIGTERM");
});

test("proxies ask whether the process is up, never whether it is ready", () => {
  expect(setting("path")).toBe("/health");
  expect(dockerfile).toMatch(/^HEALTHCHECK .*\/health/m);
});

test("the machine that holds the volume is never stopped for idling, and there is no second", () => {
  expect(setting("auto_stop_machines")).toBe("off");
  expect(setting("auto_start_machines")).toBe("false");
});

test("no log is ever created by a deployment", () => {
  for (const text of [fly, dockerfile]) expect(text).not.toMatch(/^[^#\n]*LOG_CREATE/m);
});

test("the proxy finds the port that the server listens on, and the volume is where its data is", () => {
  const port = setting("internal_port");
  for (const text of [fly, dockerfile])
    expect(text).toMatch(new RegExp(`LISTEN_ADDR[ =]+"?0\\.0\\.0\\.0:${port}\\b`));
  const folder = setting("destination");
  expect(dockerfile).toContain(`VOLUME ${folder}`);
  for (const text of [fly, dockerfile]) {
    expect(text).toMatch(new RegExp(`DATABASE_URL[ =]+"?sqlite:${folder}/`));
    expect(text).toMatch(new RegExp(`FS_ROOT[ =]+"?${folder}/`));
  }
});

test("the container does not run as root, and has nothing that installs packages", () => {
  expect(dockerfile).toMatch(/^USER node$/m);
  expect(dockerfile).toMatch(/^RUN rm -rf .*\/usr\/local\/bin\/npm /m);
});
