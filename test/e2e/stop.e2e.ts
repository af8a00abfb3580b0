// A log's phases, seen from outside: starting, ready, draining, frozen. What was accepted is settled before it stops.

import { execFile } from "node:child_process";
import { link, open as openFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { tilePath } from "../../src/core/tile-path.ts";
import {
  add,
  addBatch,
  addForProof,
  checkpoint,
  entries,
  expectAt,
  expectCleanLog,
  problem,
  ready,
  untilPublished,
} from "./client.ts";
import { headFile, NEVER_AGAIN, newLog, readHead, settle } from "./log.ts";
import { cairn, create, eventually, newPlace, open, serve, temporaryFolder } from "./server.ts";
import { within } from "../waiting.ts";
import { openSocket, parseAnswers } from "./socket.ts";

const WAITING_FOR_PROOFS = 200;
const ADDING = 16;
/** How long a stop waits for a peer that holds back half a request, and a little more. */
const GRACE_MS = 8000;

type Outcome = { readonly entry: string; readonly index: number } | "draining" | "no connection";

test.each(["SIGTERM", "SIGINT"] as const)(
  "%s settles everything in flight: proofs in a last round, adds with an index or a refusal, exit 0",
  async (signal) => {
    const place = await newPlace();
    const server = await create(place, NEVER_AGAIN);
    await untilPublished(server, 0);

    const waiting = entries(WAITING_FOR_PROOFS, "proof of").map((entry) => addForProof(server, entry));
    const outcomes: Outcome[] = [];
    const adding = Array.from({ length: ADDING }, async (_, client) => {
      for (let i = 0; ; i++) {
        const outcome = await addOnce(server.url, `client ${client} entry ${i}`);
        outcomes.push(outcome);
        if (typeof outcome === "string") return;
      }
    });
    await eventually("the proofs are waited for, and the adders add", async () => {
      const { next_index } = await ready(server);
      return next_index >= WAITING_FOR_PROOFS + 100;
    });
    expect((await checkpoint(server)).size).toBe(0);
    server.kill(signal);
    const proofs = await within(GRACE_MS, () => "all proofs", Promise.all(waiting));
    await within(GRACE_MS, () => "all adds are settled", Promise.all(adding));
    expect(await within(GRACE_MS, () => `the exit; ${server.stderr()}`, server.exited)).toMatchObject({
      code: 0,
    });

    const again = await serve(place);
    const added = outcomes.filter((outcome) => typeof outcome !== "string");
    const last = Math.max(...added.map(({ index }) => index));
    await untilPublished(again, last + 1);
    await expectCleanLog(again, place);
    await expectAt(
      again,
      added.map(({ entry }) => Buffer.from(entry)),
      added.map(({ index }) => index),
    );
    // A few, offline: each takes a process of its own.
    const folder = await temporaryFolder();
    for (const i of [0, WAITING_FOR_PROOFS >> 1, WAITING_FOR_PROOFS - 1]) {
      await writeFile(join(folder, "proof"), proofs[i] as Uint8Array);
      await writeFile(join(folder, "entry"), entries(WAITING_FOR_PROOFS, "proof of")[i] as Uint8Array);
      const verified = await cairn([
        "verify",
        join(folder, "proof"),
        join(folder, "entry"),
        "--key",
        place.vkey,
      ]);
      expect(verified, verified.stderr).toMatchObject({ code: 0 });
    }
  },
);

async function addOnce(url: string, entry: string): Promise<Outcome> {
  let response: Response;
  try {
    response = await fetch(`${url}/add`, { method: "POST", body: entry });
  } catch {
    return "no connection";
  }
  if (response.status === 200) return { entry, index: Number(await response.text()) };
  expect(await problem(response)).toMatchObject({ status: 503, code: "draining" });
  return "draining";
}

test("a proof that somebody waits for comes with the last round, and with it the end of the connection", async () => {
  const place = await newPlace();
  const server = await create(place, NEVER_AGAIN);
  await untilPublished(server, 0);
  const peer = await openSocket(server);
  peer.send("POST /add?proof=true HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nentry");
  await eventually("the entry is logged", async () => (await ready(server)).next_index === 1);
  server.kill("SIGTERM");
  await eventually("it drains", () => server.log().some(({ event }) => event === "draining"));
  // Behind the first on the same connection: it is not logged.
  peer.send("POST /add HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nlate");
  const [proof, ...rest] = parseAnswers(await within(GRACE_MS, () => "the end", peer.closed));
  expect(proof?.status).toBe(200);
  expect(proof?.headers.get("connection")).toBe("close");
  expect(proof?.body).toMatch(/^c2sp\.org\/tlog-proof@v1\n/);
  expect(rest).toEqual([]);
  expect(await server.exited).toMatchObject({ code: 0 });
  const again = await serve(place);
  expect((await ready(again)).next_index).toBe(1);
});

test("while a request is under way, a stopping log says to whoever comes that it drains, and closes with its answers", async () => {
  const place = await newPlace();
  const server = await create(place);
  await add(server, "whole");
  const peer = await openSocket(server);
  peer.send("POST /add HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nhalf");
  // Its headers have come: it is answered behind them on the same connection to the process.
  await untilPublished(server, 1);
  server.kill("SIGTERM");
  await eventually("it drains", () => server.log().some(({ event }) => event === "draining"));
  const ask = async (request: string) => {
    const socket = await openSocket(server);
    socket.send(request);
    const [answer] = parseAnswers(await within(GRACE_MS, () => `an answer to ${request}`, socket.closed));
    expect(answer?.headers.get("connection")).toBe("close");
    if (answer?.status === 503) expect(answer.headers.get("retry-after")).toMatch(/^[0-9]+$/);
    return [answer?.status, answer?.body.match(/"draining"/)?.[0]];
  };
  for (let i = 0; i < 5; i++) {
    expect(await ask("GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")).toEqual([503, '"draining"']);
    expect(await ask("GET /checkpoint HTTP/1.1\r\nHost: x\r\n\r\n")).toEqual([200, undefined]);
    const add = "POST /add HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nlate";
    expect(await ask(add)).toEqual([503, '"draining"']);
  }
  peer.send("half");
  const [refused] = parseAnswers(await within(GRACE_MS, () => "the end", peer.closed));
  expect(refused?.body).toContain('"draining"');
  expect(refused?.headers.get("connection")).toBe("close");
  expect(await server.exited).toMatchObject({ code: 0 });
});

test("a peer that holds back half a request does not hold up a stop, and a second signal ends it at once", async () => {
  const place = await newPlace();
  const half = "POST /add HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf";
  const patient = await create(place);
  (await openSocket(patient)).send(half);
  await add(patient, "whole");
  patient.kill("SIGTERM");
  expect(await within(GRACE_MS, () => "the exit", patient.exited)).toMatchObject({ code: 0 });

  const hurried = await serve(place);
  (await openSocket(hurried)).send(half);
  await add(hurried, "whole too");
  hurried.kill("SIGTERM");
  await eventually("it drains", () => hurried.log().some(({ event }) => event === "draining"));
  hurried.kill("SIGTERM");
  expect(await within(GRACE_MS, () => "the exit", hurried.exited)).toMatchObject({ signal: "SIGTERM" });
  const again = await serve(place);
  expect((await ready(again)).next_index).toBe(2);
  await expectCleanLog(again, place);
});

test("while its deduplication table is built, a log answers health and reads, and refuses writes as starting", async () => {
  // One full tile of level 1 and a little more, so that a start needs the first tile of level 0 only for the table. The
  // last commits begin beyond that tile, since a start goes on from the first row that the database still has.
  const all = entries(66_000);
  const ends = [10_000, 20_000, 30_000, 40_000, 50_000, 60_000, 65_700, all.length];
  const place = await newPlace();
  const first = await create(place);
  for (const [i, end] of ends.entries()) await addBatch(first, all.slice(ends[i - 1] ?? 0, end));
  await settle(place, first, all.length);

  await rm(`${place.database}.dedup`);
  const tile = join(place.tiles, tilePath(0, 0));
  await rm(tile);
  // Reading it waits until somebody opens it for writing, which can be done by its other name when this one is gone.
  const pipe = join(place.folder, "pipe");
  await promisify(execFile)("mkfifo", [pipe]);
  await link(pipe, tile);
  const server = await open(place);
  await untilPublished(server, all.length);
  const health = await fetch(`${server.url}/health`);
  expect(health.status).toBe(200);
  const status = await fetch(`${server.url}/ready`);
  expect(status.status).toBe(503);
  expect(status.headers.get("retry-after")).toMatch(/^[0-9]+$/);
  expect(await status.json()).toMatchObject({ ready: false, reasons: [{ code: "starting" }] });
  for (const path of ["/add", "/add?proof=true", "/add-batch"]) {
    const response = await fetch(`${server.url}${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/x-ndjson" },
      body: "early",
    });
    expect(response.headers.get("retry-after")).toMatch(/^[0-9]+$/);
    expect(await problem(response)).toMatchObject({ status: 503, code: "starting" });
  }
  for (const path of ["checkpoint", "tile/entries/000", tilePath(1, 0), `proof/${all.length - 1}`]) {
    expect((await fetch(`${server.url}/${path}`)).status, path).toBe(200);
  }

  await rm(tile);
  await (await openFile(pipe, "w")).close();
  await eventually("the log is ready", async () => (await ready(server)).ready);
  expect(await add(server, all[3] as Uint8Array)).toBe(3);
  expect(await add(server, "new")).toBe(all.length);
  await untilPublished(server, all.length + 1);
  await expectCleanLog(server, place);
});

test("a log whose start is interrupted by a signal stops with exit code 0 and starts again", async () => {
  const place = await newLog(entries(300));
  const server = await open(place);
  expect(await server.stop()).toMatchObject({ code: 0 });
  const again = await serve(place);
  expect((await ready(again)).next_index).toBe(300);
});

test("a frozen log is read and never written: no entry, no signature, whatever waits in its database", async () => {
  const place = await newLog(entries(300));
  const unpublished = await serve(place, NEVER_AGAIN);
  await addBatch(unpublished, entries(5, "unpublished"));
  await unpublished.crash();
  const head = await readHead(place);
  await writeFile(headFile(place), JSON.stringify({ ...head, frozen: true }));

  const server = await open(place);
  await untilPublished(server, 300);
  for (const path of ["/add", "/add?proof=true", "/add-batch"]) {
    const response = await fetch(`${server.url}${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/x-ndjson" },
      body: "late",
    });
    expect(await problem(response)).toMatchObject({ status: 403, code: "frozen" });
  }
  expect(await ready(server)).toMatchObject({ published_size: 300, next_index: 305 });
  await expectCleanLog(server, place);
  expect((await fetch(`${server.url}/proof/299`)).status).toBe(200);
  expect(await server.stop()).toMatchObject({ code: 0 });
  expect(await readHead(place)).toMatchObject({ frozen: true, note: head.note });
});

test("cairn freeze publishes what waits, and then nothing is logged any more", async () => {
  const place = await newLog(entries(300));
  const unpublished = await serve(place, NEVER_AGAIN);
  await addBatch(unpublished, entries(5, "unpublished"));
  await unpublished.crash();
  const ran = await cairn(["freeze"], place.env);
  expect(ran.code, ran.stderr).toBe(0);
  expect(ran.stdout).toContain("frozen at size 305");
  const server = await open(place);
  await untilPublished(server, 305);
  const response = await fetch(`${server.url}/add`, { method: "POST", body: "late" });
  expect(await problem(response)).toMatchObject({ status: 403, code: "frozen" });
  expect(await expectCleanLog(server, place)).toBe(305);
});
