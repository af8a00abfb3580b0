import { Agent } from "node:http";
import { connect } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { nodeEd25519 } from "../../../src/cli/node-ed25519.ts";
import { noblePrimitives } from "../../../src/core/cosignature.ts";
import { nobleHasher } from "../../../src/core/noble-hasher.ts";
import { generatePrivateKey } from "../../../src/core/note-key.ts";
import type { CosignedCheckpoint, WitnessState } from "../../../src/state/witness-state.ts";
import { BODY_MAX_BYTES } from "../../../src/witness/service/limits.ts";
import { KnownLogs } from "../../../src/witness/service/logs.ts";
import { WitnessMetrics } from "../../../src/witness/service/metrics.ts";
import {
  createWitnessServer,
  type WitnessServer,
  type WitnessServerOptions,
} from "../../../src/witness/service/server.ts";
import { Witness } from "../../../src/witness/service/witness.ts";
import { type SendOptions, send } from "../conformance/case.ts";
import { PLAIN, sha256, TestLog } from "../conformance/test-log.ts";

const primitives = { ...noblePrimitives, ed25519: nodeEd25519 };
const log = new TestLog("log.example/http", PLAIN, "http");
const key = generatePrivateKey("witness.example/http", sha256("http"));
const mldsaKey = generatePrivateKey("witness.example/http", sha256("http"), 0x06);

/** What a witness remembers, in memory. */
function memoryState(): WitnessState {
  let newest: (CosignedCheckpoint & { note: Uint8Array }) | null = null;
  return {
    location: "memory",
    cosigned: () => newest,
    advance(_origin, _hash, _from, to) {
      newest = to;
      return true;
    },
    note: () => newest?.note ?? null,
    logs: () => [],
    changed: () => false,
    discover: () => [],
    putLog: () => {},
    cosignedCount: () => (newest === null ? 0 : 1),
    close: () => {},
  };
}

let server: WitnessServer;
let url: string;
let errors: unknown[];
let now: number;

async function start(
  options: Partial<WitnessServerOptions> & { keys?: (typeof key)[]; state?: WitnessState } = {},
): Promise<void> {
  const state = options.state ?? memoryState();
  const logs = new KnownLogs(
    [{ origin: log.origin, vkey: log.vkeys[0] as string, qpd: null, contact: null }],
    state,
    primitives,
  );
  const witness = new Witness({
    keys: options.keys ?? [key],
    logs,
    state,
    primitives,
    hasher: nobleHasher,
    now: () => 1_700_000_000,
    events: { inconsistent: () => {}, failed: () => {} },
  });
  const metrics = new WitnessMetrics();
  server = createWitnessServer({
    witness,
    metrics,
    gauges: () => ({ logs: logs.counts(), cosigned: state.cosignedCount(), residentBytes: 1 }),
    about: null,
    addressLimit: null,
    originLimit: null,
    clientAddress: () => "one",
    monotonic: () => now,
    onError: (error) => errors.push(error),
    ...options,
  });
  url = `http://127.0.0.1:${await server.listen("127.0.0.1", 0)}`;
}

beforeEach(() => {
  errors = [];
  now = 0;
});
afterEach(async () => await server?.close());

const add = (body: string | Uint8Array, options: SendOptions = {}) =>
  send(`${url}/add-checkpoint`, { method: "POST", body, ...options });

/** Sends bytes on a connection of its own and answers everything that comes back until it is closed. */
function raw(text: string | Uint8Array): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    let received = "";
    socket.on("data", (chunk) => {
      received += chunk.toString();
    });
    socket.on("error", reject);
    socket.on("close", () => resolve(received));
    socket.write(text);
  });
}

describe("add-checkpoint", () => {
  test("answers cosignatures as text", async () => {
    await start();
    const { status, headers, text } = await add(log.request(0, 5));
    expect(status).toBe(200);
    expect(headers["content-type"]).toBe("text/plain; charset=utf-8");
    expect(text).toMatch(/^\u2014 witness\.example\/http [A-Za-z0-9+/=]+\n$/);
  });

  test("answers a conflict with exactly the type of a size, and the size", async () => {
    await start();
    await add(log.request(0, 5));
    const { status, headers, text } = await add(log.request(0, 9));
    expect([status, headers["content-type"], text]).toEqual([409, "text/x.tlog.size", "5\n"]);
  });

  test("answers each refusal with one line of text and no cache", async () => {
    await start();
    const stranger = new TestLog("stranger.example", PLAIN, "stranger");
    for (const [status, body] of [
      [400, "garbage"],
      [404, stranger.request(0, 1)],
      [403, log.request(0, 1, { signers: [stranger.signer] })],
      [422, log.request(0, 0, { root: new Uint8Array(32) })],
    ] as const) {
      const response = await add(body);
      expect(response.status).toBe(status);
      expect(response.text).toMatch(/^[^\n]+\n$/);
      expect(response.headers["cache-control"]).toBe("no-store");
    }
  });

  test("takes POST and nothing else", async () => {
    await start();
    for (const method of ["GET", "HEAD", "PUT", "DELETE", "PATCH"]) {
      const { status, headers } = await send(`${url}/add-checkpoint`, { method });
      expect([status, headers.allow]).toEqual([405, "POST"]);
    }
  });

  test("takes a body of the longest length, and refuses one byte more, with its length told or not", async () => {
    await start();
    expect(BODY_MAX_BYTES).toBe(128 * 1024);
    const request = log.request(0, 5);
    for (const chunked of [false, true]) {
      expect((await add("x".repeat(BODY_MAX_BYTES), { chunked })).status).toBe(400);
      expect((await add("x".repeat(BODY_MAX_BYTES + 1), { chunked })).status).toBe(413);
    }
    expect((await add(request)).status).toBe(200);
  });

  test("refuses a body that is announced as too long before it is sent", async () => {
    await start();
    const head = `POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 999999999\r\nExpect: 100-continue\r\n\r\n`;
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    const first = await new Promise<string>((resolve) => {
      socket.once("data", (chunk) => resolve(chunk.toString()));
      socket.write(head);
    });
    socket.destroy();
    expect(first).toMatch(/^HTTP\/1\.1 413 /);
  });

  test("asks a client that waits to be asked for its body", async () => {
    await start();
    const body = log.request(0, 5);
    const length = Buffer.byteLength(body);
    const head = `POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: ${length}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n`;
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    let received = "";
    socket.write(head);
    await new Promise<void>((resolve) => {
      socket.on("data", (chunk) => {
        received += chunk.toString();
        if (received === "HTTP/1.1 100 Continue\r\n\r\n") socket.write(body);
      });
      socket.on("close", () => resolve());
    });
    expect(received).toMatch(/HTTP\/1\.1 200 /);
  });

  test("a refusal of a long body closes nothing: the next request on the connection is answered", async () => {
    await start();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    expect((await add("x".repeat(3 * BODY_MAX_BYTES), { agent })).status).toBe(413);
    expect((await add(log.request(0, 5), { agent })).status).toBe(200);
    agent.destroy();
  });

  test("a body that is cut short is never looked at", async () => {
    const state = memoryState();
    await start({ state });
    const body = log.request(0, 5);
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    await new Promise<void>((resolve) => {
      socket.on("close", () => resolve());
      socket.write(
        `POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: ${body.length + 10}\r\n\r\n${body}`,
      );
      socket.end();
      socket.resume();
    });
    expect(state.cosignedCount()).toBe(0);
  });
});

describe("other addresses", () => {
  test("the checkpoint for monitors, by the origin's hash in lower case", async () => {
    await start();
    const address = `${url}/${log.originHash}/checkpoint`;
    expect((await send(address)).status).toBe(404);
    await add(log.request(0, 5));
    const { status, headers, text } = await send(address);
    expect([status, headers["content-type"]]).toEqual([200, "text/plain; charset=utf-8"]);
    expect(text.startsWith(log.text(5))).toBe(true);
    expect(headers["access-control-allow-origin"]).toBe("*");
    expect((await send(`${address}?x=1`)).status).toBe(200);
    const head = await send(address, { method: "HEAD" });
    expect([head.status, head.text]).toEqual([200, ""]);
    expect((await send(address, { method: "POST", body: "" })).status).toBe(405);
    for (const path of [
      `/${log.originHash.toUpperCase()}/checkpoint`,
      `/${log.originHash}/checkpoint/`,
      `/${log.originHash.slice(1)}/checkpoint`,
      `//${log.originHash}/checkpoint`,
      `/%6${log.originHash.slice(1)}/checkpoint`,
    ]) {
      expect((await send(`${url}${path}`)).status, path).toBe(404);
    }
  });

  test("health, metrics and what is not there", async () => {
    await start();
    expect(await send(`${url}/health`)).toMatchObject({ status: 200, text: "ok\n" });
    expect((await send(`${url}/`)).status).toBe(404);
    expect((await send(`${url}/about`)).status).toBe(404);
    await add(log.request(0, 5));
    await add("garbage");
    const { headers, text } = await send(`${url}/metrics`);
    expect(headers["content-type"]).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(text).toContain('cairn_witness_requests_total{route="add-checkpoint",status="200"} 1\n');
    expect(text).toContain('cairn_witness_requests_total{route="add-checkpoint",status="400"} 1\n');
    expect(text).toContain('cairn_witness_requests_total{route="unknown",status="404"} 2\n');
    expect(text).toContain('cairn_witness_logs{state="active"} 1\n');
    expect(text).toContain("cairn_witness_cosigned_logs 1\n");
    expect(text).toContain("cairn_witness_add_checkpoint_seconds_count 2\n");
    for (const line of text.trimEnd().split("\n")) {
      expect(line).toMatch(
        /^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.e+-]+)$/,
      );
    }
  });

  test("the about page, where there is one", async () => {
    await start({ about: "a witness\n" });
    expect(await send(`${url}/about`)).toMatchObject({ status: 200, text: "a witness\n" });
  });

  test("sign-subtree is there only where a key can sign subtrees", async () => {
    await start();
    expect((await send(`${url}/sign-subtree`, { method: "POST", body: "" })).status).toBe(404);
    await server.close();
    await start({ keys: [key, mldsaKey] });
    expect((await send(`${url}/sign-subtree`, { method: "POST", body: "" })).status).toBe(400);
    expect((await send(`${url}/sign-subtree`)).status).toBe(405);
  });
});

test("bytes that are no request are answered with 400, and the connection ends", async () => {
  await start();
  expect(await raw("this is not HTTP\r\n\r\n")).toMatch(/^HTTP\/1\.1 400 [\s\S]*Connection: close/);
  expect(await raw("POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: x\r\n\r\n")).toMatch(
    /^HTTP\/1\.1 400 /,
  );
});

test("a fault of our own is 500, reported, and not told to the client", async () => {
  const state = memoryState();
  await start({
    state: {
      ...state,
      cosigned() {
        throw new Error("a secret about the disk");
      },
    },
  });
  const { status, text } = await add(log.request(0, 5));
  expect(status).toBe(500);
  expect(text).not.toMatch(/secret/);
  expect(errors).toEqual([new Error("a secret about the disk")]);
});

describe("rates", () => {
  test("of one address are counted before a body is read, reading is not counted", async () => {
    await start({ addressLimit: { perSecond: 0.5, burst: 2 } });
    expect([(await add("x")).status, (await add("x")).status]).toEqual([400, 400]);
    const refused = await add(log.request(0, 5));
    expect([refused.status, refused.headers["retry-after"]]).toEqual([429, "2"]);
    expect((await send(`${url}/health`)).status).toBe(200);
    now += 2000;
    expect((await add(log.request(0, 5))).status).toBe(200);
  });

  test("of one origin are counted by what it signed itself", async () => {
    await start({ originLimit: { perSecond: 1, burst: 2 } });
    const stranger = new TestLog("stranger.example", PLAIN, "stranger");
    for (let i = 0; i < 5; i++)
      expect((await add(log.request(0, 1, { signers: [stranger.signer] }))).status).toBe(403);
    expect((await add(log.request(0, 1))).status).toBe(200);
    expect((await add(log.request(1, 2))).status).toBe(200);
    const refused = await add(log.request(2, 3));
    expect([refused.status, refused.headers["retry-after"]]).toEqual([429, "1"]);
    now += 1000;
    expect((await add(log.request(2, 3))).status).toBe(200);
  });
});

describe("closing", () => {
  test("answers what is under way, then ends every connection, idle ones too", async () => {
    await start();
    const agent = new Agent({ keepAlive: true });
    await add(log.request(0, 1), { agent });

    const body = log.request(1, 2);
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    let received = "";
    socket.on("data", (chunk) => {
      received += chunk.toString();
    });
    const ended = new Promise<void>((resolve) => socket.on("close", () => resolve()));
    const half = Buffer.from(body).subarray(0, 20);
    const rest = Buffer.from(body).subarray(20);
    await new Promise<void>((resolve) => {
      socket.write(
        `POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n`,
      );
      socket.write(half, () => resolve());
    });
    // A request on another connection is answered only after the server has seen the first one's head.
    await send(`${url}/health`);
    const closed = server.close();
    socket.write(rest);
    await ended;
    await closed;
    expect(received).toMatch(/^HTTP\/1\.1 200 [\s\S]*Connection: close/);
    await expect(send(`${url}/health`)).rejects.toThrow();
    agent.destroy();
  });
});
