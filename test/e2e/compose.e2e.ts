// docs/deploy/compose.yaml without an engine: its commands and environments as processes of this machine, set up by the steps
// of docs/operator.md. Names of services become addresses here, and volumes folders.

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { freePort } from "../free-port.ts";
import { readCompose } from "../deploy/compose.ts";
import { skipUnless } from "../require.ts";
import { buildVersitygw } from "../s3/versitygw.ts";
import { checkpoint, expectClean } from "./client.ts";
import { cairn, eventually, program, serve, start, temporaryFolder } from "./server.ts";

/** The first build downloads and compiles for minutes. */
const BUILD_MS = 600_000;
const skip = skipUnless(
  spawnSync("go", ["version"]).status === 0,
  "the store of the compose file needs Go, which builds versitygw from its module",
);
const built = { versitygw: "" };

beforeAll(async () => {
  if (!skip) built.versitygw = await buildVersitygw();
}, BUILD_MS);

const OPERATOR = readFileSync(new URL("../../docs/operator.md", import.meta.url), "utf8");
const DOCKERFILE = readFileSync(new URL("../../Dockerfile", import.meta.url), "utf8");

/** What a step of the page gives a service's program to do. */
function step(service: string, command: string): string[] {
  const line = new RegExp(`docker compose run --rm --no-deps ${service} (${command} .*)`).exec(OPERATOR)?.[1];
  if (line === undefined) throw new Error(`no step ${command} of ${service}`);
  return line.trim().split(" ");
}

test.skipIf(skip)(
  "its log, store and witness start, publish with a cosignature, and start again",
  async () => {
    const folder = await temporaryFolder();
    const [storePort, witnessPort, logPort] = [await freePort(), await freePort(), await freePort()];
    for (const name of ["log", "witness", "store"]) await mkdir(join(folder, name));
    const here = (service: string, text: string): string =>
      text
        .replaceAll("/data", join(folder, service))
        .replaceAll("/buckets", join(folder, "store"))
        .replaceAll("http://store:7070", `http://127.0.0.1:${storePort}`)
        .replaceAll("http://witness:2026", `http://127.0.0.1:${witnessPort}`)
        .replace("--port=:7070", `--port=127.0.0.1:${storePort}`)
        .replaceAll("0.0.0.0:2026", `127.0.0.1:${witnessPort}`)
        .replaceAll("0.0.0.0:8080", `127.0.0.1:${logPort}`);

    const logKey = await cairn(step("log", "keygen").map((word) => here("log", word)));
    const witnessKey = await cairn(step("witness", "keygen").map((word) => here("witness", word)));
    const vkey = /^vkey +(\S+)$/m.exec(logKey.stdout)?.[1] as string;
    const { services } = readCompose({
      STORE_ACCESS_KEY: "store",
      STORE_SECRET_KEY: "a-secret-of-the-store",
      LOG_API_KEY: "a-key-of-the-log",
      LOG_ORIGIN: vkey.split("+")[0] as string,
      LOG_VKEY: vkey,
      WITNESS_VKEY: /^cosignature +(\S+)$/m.exec(witnessKey.stdout)?.[1] as string,
    });

    const [make, ...args] = (services.bucket.entrypoint ?? []).map((word) => here("bucket", word));
    expect(spawnSync(make as string, args).status).toBe(0);
    const store = spawn(
      built.versitygw,
      (services.store.command ?? []).map((word) => here("store", word)),
      { env: { PATH: process.env.PATH, ...services.store.environment }, stdio: "ignore" },
    );
    const ended = once(store, "exit");
    onTestFinished(async () => {
      store.kill("SIGKILL");
      await ended;
    });
    await healthy(`http://127.0.0.1:${storePort}/health`);
    start([program(), ...(services.witness.command ?? []).map((word) => here("witness", word))]);
    await healthy(`http://127.0.0.1:${witnessPort}/health`);

    const image = [...DOCKERFILE.matchAll(/^ENV (.*)$/gm)].flatMap(([, pairs]) =>
      (pairs as string).split(" ").map((pair) => pair.split("=") as [string, string]),
    );
    const variables = { ...Object.fromEntries(image), ...services.log.environment };
    const place = {
      env: Object.fromEntries(Object.entries(variables).map(([name, value]) => [name, here("log", value)])),
    };
    const headers = { Authorization: "Bearer a-key-of-the-log" };
    for (const index of [0, 1]) {
      const server = await serve(place, index === 0 ? { LOG_CREATE: "true" } : {});
      const url = `${server.url}/add?proof=true`;
      expect((await fetch(url, { method: "POST", body: "without a key" })).status).toBe(401);
      const answer = await fetch(url, { method: "POST", headers, body: `entry ${index}` });
      expect(answer.status, await answer.clone().text()).toBe(200);
      const { size, text } = await checkpoint(server);
      expect(size).toBe(index + 1);
      // The log's own line and the witness's.
      expect(text.split("\n").filter((line) => line.startsWith("— "))).toHaveLength(2);
      expect(await expectClean(server.url, vkey)).toBe(index + 1);
      expect(await server.stop()).toMatchObject({ code: 0 });
    }
  },
);

function healthy(url: string): Promise<true> {
  return eventually(`${url} answers`, async () => {
    const answer = await fetch(url).catch(() => null);
    return answer?.ok === true;
  });
}
