// The server's own log: JSON lines with what its operator needs (a line a round, request ids) and none of what nobody may
// read, at every level and whatever goes wrong.

import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { expect, onTestFinished, test } from "vitest";
import { generatePrivateKey, printPrivateKey } from "../../src/core/note-key.ts";
import { S3Server } from "../doubles/s3-server.ts";
import { addBatch, addForProof, entries, type Problem, untilPublished } from "./client.ts";
import { cairn, create, eventually, newPlace, ORIGIN, open, type Place, type Server } from "./server.ts";
import { openSocket } from "./socket.ts";

const DEBUG = 20;
const INFO = 30;
const ERROR = 50;

/** Requests that are refused, each for another reason, with a secret wherever a client may have put one. */
async function provoke(server: Server, secrets: readonly string[]): Promise<void> {
  for (const secret of secrets) {
    const tries: [string, RequestInit][] = [
      ["/add", { headers: { Authorization: `Bearer ${secret}x` } }],
      ["/add", { headers: { Authorization: `Basic ${secret}` } }],
      ["/add", { headers: { Authorization: `Bearer ${secret} ${secret}` } }],
      [`/add?key=${secret}`, {}],
      [`/nowhere?api_key=${secret}`, {}],
      ["/add-batch", { headers: { "Content-Type": "text/plain", Cookie: secret } }],
      ["/add", { headers: { "Content-Encoding": "gzip", "X-Api-Key": secret } }],
    ];
    for (const [path, init] of tries) {
      const answer = await fetch(`${server.url}${path}`, { method: "POST", body: "x", ...init });
      expect(answer.status).toBeGreaterThanOrEqual(400);
      await answer.arrayBuffer();
    }
    const peer = await openSocket(server);
    peer.send(
      `POST /add HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${secret}\r\nContent-Length: +1\r\n\r\n`,
    );
    await peer.closed;
  }
}

function expectWithheld(what: string, text: string, secrets: readonly string[]): void {
  for (const secret of secrets) {
    // A part of it is one too: nobody logs the first half of a key by accident, but a cut-off line could.
    const part = secret.slice(0, Math.max(12, secret.length >> 1));
    expect(text.includes(part), `${what} holds ${part}`).toBe(false);
  }
}

test("no key of publishers, log or bucket is ever logged, at the most talkative level, also while everything fails", async () => {
  const store = await S3Server.start();
  onTestFinished(() => store.stop());
  const place = await newPlace();
  const bucket = store.env();
  const { key: named } = JSON.parse(
    (await cairn(["keys", "add", "publisher", "--json"], place.env)).stdout,
  ) as { key: string };
  const additional = printPrivateKey(generatePrivateKey(ORIGIN, randomBytes(32)));
  const fixed = randomBytes(24).toString("base64url");
  const first = (await readFile(place.keyFile, "utf8")).trim();
  const { LOG_PRIVATE_KEY_FILE: _, ...others } = place.env;
  const keyed: Place = {
    ...place,
    env: {
      ...others,
      ...bucket,
      LOG_PRIVATE_KEY: first,
      LOG_ADDITIONAL_KEYS: additional,
      API_KEY: fixed,
      ALLOW_PUBLIC_WRITES: "false",
      LOG_LEVEL: "trace",
      READY_MAX_LAG: "0.2",
    },
  };
  const secretOf = (key: string): string => key.split("+").slice(4).join("+");
  const secrets = [named, fixed, secretOf(first), secretOf(additional), bucket.S3_SECRET_KEY as string];

  const server = await create(keyed);
  const write = (key: string, body: string) =>
    fetch(`${server.url}/add`, { method: "POST", headers: { Authorization: `Bearer ${key}` }, body });
  expect((await write(named, "one")).status).toBe(200);
  expect((await write(fixed, "two")).status).toBe(200);
  await provoke(server, secrets);
  await untilPublished(server, 2);

  for (const outage of ["resetting", { status: 403, code: "SignatureDoesNotMatch" }] as const) {
    store.outage = outage;
    expect((await write(fixed, `while it is ${JSON.stringify(outage)}`)).status).toBe(200);
    await eventually("it says that it is late", async () => !(await fetch(`${server.url}/ready`)).ok);
    const status = await (await fetch(`${server.url}/ready`)).text();
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    expectWithheld("/ready", status, secrets);
    expectWithheld("/metrics", metrics, secrets);
    store.outage = null;
    await eventually("it is ready", async () => (await fetch(`${server.url}/ready`)).ok);
  }
  expect(await server.stop()).toMatchObject({ code: 0 });
  expect(server.log().length).toBeGreaterThan(20);
  expectWithheld("its log", server.stderr() + server.stdout(), secrets);

  // Starts that are refused, with these secrets where others belong.
  for (const wrong of [
    { LOG_ADDITIONAL_KEYS: first.slice(0, -3) },
    { API_KEY: `${fixed} ${fixed}` },
    { S3_SECRET_KEY: "", S3_ACCESS_KEY: bucket.S3_SECRET_KEY as string },
    { S3_ENDPOINT: `http://user:${fixed}@127.0.0.1:9` },
    { EXTERNAL_WITNESSES: `w=https://user:${fixed}@w.example=${first}` },
    { EXTERNAL_WITNESSES: first },
    { DATABASE_URL: `postgres://user:${fixed}@db.example/log` },
    { LISTEN_ADDR: fixed, CHECKPOINT_INTERVAL: fixed, LOG_LEVEL: fixed, BATCH_MAX_SIZE: fixed },
  ]) {
    const ran = await cairn(["serve"], { ...keyed.env, ...wrong });
    expect(ran.code, Object.keys(wrong).join()).toBe(2);
    expectWithheld(Object.keys(wrong).join(), ran.stdout + ran.stderr, secrets);
  }
});

test("a round is one line, with the size that it published and the time of its parts", async () => {
  const server = await create(await newPlace());
  for (const label of ["a", "b", "c"]) {
    await addBatch(server, entries(10, label));
    await addForProof(server, `after ${label}`);
  }
  const rounds = server.log().filter(({ event }) => event === "published");
  const sizes = rounds.map(({ size }) => size as number);
  expect(new Set(sizes).size).toBe(sizes.length);
  expect(sizes.toSorted((a, b) => a - b)).toEqual(sizes);
  expect(sizes.at(-1)).toBe(33);
  for (const round of rounds) {
    expect(round).toEqual({
      level: INFO,
      time: expect.any(Number),
      event: "published",
      size: expect.any(Number),
      integrate_ms: expect.any(Number),
      sign_ms: expect.any(Number),
      witness_ms: expect.any(Number),
      publish_ms: expect.any(Number),
      msg: "published",
    });
  }
});

test("each refusal has an id of its own, in its answer and in its one line of the log", async () => {
  const server = await create(await newPlace(), { LOG_LEVEL: "debug" });
  const ids: string[] = [];
  for (const [path, method] of [
    ["/nowhere", "GET"],
    ["/tile/0/1", "GET"],
    ["/add", "PUT"],
    ["/add", "POST"],
    ["/proof/x?size=1", "GET"],
  ] as const) {
    const answer = await fetch(`${server.url}${path}`, { method });
    const { request_id: id, code } = (await answer.json()) as Problem & { request_id: string };
    ids.push(id);
    const lines = await eventually("its line", () => {
      const found = server.log().filter(({ requestId }) => requestId === id);
      return found.length > 0 && found;
    });
    expect(lines).toEqual([
      expect.objectContaining({
        level: DEBUG,
        method,
        path: path.split("?")[0],
        status: answer.status,
        code,
      }),
    ]);
  }
  expect(new Set(ids).size).toBe(ids.length);
});

test("a fault of the log's own has its id in an error's line at every level, and its cause only there", async () => {
  const place = await newPlace();
  const server = await create(place, { LOG_LEVEL: "error" });
  await server.stop();
  // A fault that no code names, thrown by what the process loads beside the program.
  const fault =
    "const { JSON: j } = globalThis; const own = j.stringify; j.stringify = (value, ...rest) => { if (value?.pending_count === 0) throw new TypeError('deep inside'); return own(value, ...rest); };";
  const faulty = await open(place, {
    LOG_LEVEL: "error",
    NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(fault)}`,
  });
  const answer = await fetch(`${faulty.url}/ready`);
  expect(answer.status).toBe(500);
  const body = await answer.text();
  expect(body).not.toContain("deep inside");
  const { request_id: id } = JSON.parse(body) as { request_id: string };
  const [line] = await eventually("its line", () => {
    const found = faulty.log().filter(({ requestId }) => requestId === id);
    return found.length === 1 && found;
  });
  expect(line).toMatchObject({ level: ERROR, code: "internal", path: "/ready" });
  expect(JSON.stringify(line)).toContain("deep inside");
});
