// When a log publishes: at its interval, at once after a pause, again when idle; and what it says while it does not.

import { join } from "node:path";
import { expect, test } from "vitest";
import { add, addForProof, checkpoint, entries, problem, ready, untilPublished } from "./client.ts";
import { NEVER_AGAIN } from "./log.ts";
import { cairn, create, eventually, newPlace, type Server, serve, temporaryFolder } from "./server.ts";

/** Two publications may seem closer than they are, since each is logged a moment after it was made. */
const LOGGED_LATE_MS = 60;

/** When the server said that it published, in milliseconds since the epoch. */
function publications(server: Server): number[] {
  return server
    .log()
    .filter(({ event }) => event === "published")
    .map(({ time }) => time as number);
}

test("publications stand one interval apart, a fraction of a second too, however many entries come", async () => {
  const server = await create(await newPlace(), { CHECKPOINT_INTERVAL: "0.4" });
  const began = performance.now();
  for (let i = 0; performance.now() - began < 2500; i++) await add(server, `entry ${i}`);
  const times = publications(server);
  const gaps = times.slice(1).map((time, i) => time - (times[i] as number));
  expect(gaps.length).toBeGreaterThanOrEqual(3);
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(400 - LOGGED_LATE_MS);
});

test("after a pause an entry is published at once, and does not wait for the interval", async () => {
  const server = await create(await newPlace(), { CHECKPOINT_INTERVAL: "3" });
  await untilPublished(server, 0);
  await new Promise((done) => setTimeout(done, 3000));
  const began = performance.now();
  await addForProof(server, "alone");
  expect(performance.now() - began).toBeLessThan(1500);
});

test("entries that come one after another are each in a later checkpoint, and every one extends those before it", async () => {
  const place = await newPlace();
  const server = await create(place);
  const remembered = join(await temporaryFolder(), "head");
  for (const entry of entries(4)) {
    await addForProof(server, entry);
    const args = ["verify", "--log", server.url, "--key", place.vkey, "--remember", remembered];
    const verified = await cairn(args);
    expect(verified, verified.stderr).toMatchObject({ code: 0 });
  }
});

test("an idle log is published again at REPUBLISH_INTERVAL, so that its checkpoint stays fresh", async () => {
  const server = await create(await newPlace(), { REPUBLISH_INTERVAL: "1" });
  await addForProof(server, "the only one");
  const { text } = await checkpoint(server);
  const before = publications(server).length;
  await eventually("it is published twice more", () => publications(server).length >= before + 2);
  expect((await ready(server)).checkpoint_age_seconds).toBeLessThanOrEqual(1);
  expect((await checkpoint(server)).text).toBe(text);
  const [previous, last] = publications(server).slice(-2) as [number, number];
  expect(last - previous).toBeGreaterThanOrEqual(1000 - LOGGED_LATE_MS);
});

test("a log whose entries wait longer than READY_MAX_LAG says so, and is ready again once they are published", async () => {
  const server = await create(await newPlace(), { CHECKPOINT_INTERVAL: "2", READY_MAX_LAG: "0.2" });
  await untilPublished(server, 0);
  await add(server, "waiting");
  const late = await eventually("it is late", async () => {
    const response = await fetch(`${server.url}/ready`);
    return response.status === 503 && response;
  });
  expect(await late.json()).toMatchObject({
    ready: false,
    next_index: 1,
    published_size: 0,
    reasons: [{ code: "publication_late" }],
  });
  await eventually("it is ready", async () => (await fetch(`${server.url}/ready`)).ok);
  expect(await ready(server)).toMatchObject({ ready: true, published_size: 1, pending_count: 0 });
});

test("a proof that takes longer than PROOF_TIMEOUT is 504 with the index, and asking again is safe", async () => {
  const place = await newPlace();
  const server = await create(place, { ...NEVER_AGAIN, PROOF_TIMEOUT: "0.3" });
  await untilPublished(server, 0);
  for (let i = 0; i < 2; i++) {
    const response = await fetch(`${server.url}/add?proof=true`, { method: "POST", body: "patience" });
    expect(await problem(response)).toMatchObject({
      status: 504,
      code: "proof_timeout",
      index: 0,
      retry: "safe",
    });
  }
  expect((await ready(server)).next_index).toBe(1);
  await server.stop();
  const again = await serve(place);
  expect(Buffer.from(await addForProof(again, "patience")).toString()).toContain("\nindex 0\n");
});

test("a restart publishes the stored note again, byte for byte", async () => {
  const place = await newPlace();
  const first = await create(place);
  await addForProof(first, "entry");
  const { text } = await checkpoint(first);
  await first.crash();
  const second = await serve(place);
  await untilPublished(second, 1);
  expect((await checkpoint(second)).text).toBe(text);
});
