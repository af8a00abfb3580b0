// Rates behind a proxy that names its clients, and without one: whom a real server counts, and what nobody can pretend.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { problem } from "./client.ts";
import { create, type Environment, newPlace, type Server } from "./server.ts";

const BURST = 20;
/** A window of twenty seconds, longer than a test takes. */
const LIMITED: Environment = { RATE_LIMIT_PER_SECOND: "1", RATE_LIMIT_BURST_SIZE: String(BURST) };
const FLY = /CLIENT_ADDRESS_HEADER = "(.*)"/.exec(
  readFileSync(new URL("../../fly.toml", import.meta.url), "utf8"),
)?.[1] as string;

/** The statuses of `count` adds with these headers; a refusal says when to come again. */
async function adds(server: Server, count: number, headers: Record<string, string>): Promise<number[]> {
  const statuses: number[] = [];
  for (let i = 0; i < count; i++) {
    const answer = await fetch(`${server.url}/add`, { method: "POST", headers, body: "entry" });
    statuses.push(answer.status);
    if (answer.status === 200) continue;
    expect(await problem(answer)).toMatchObject({ status: 429, code: "rate_limited" });
    expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
  }
  return statuses;
}

const times = (count: number, status: number): number[] => Array.from({ length: count }, () => status);

test("behind fly's proxy each client has a rate of its own, and no header of its own changes whose it is", async () => {
  const server = await create(await newPlace(), { ...LIMITED, CLIENT_ADDRESS_HEADER: FLY });
  const client = { [FLY]: "203.0.113.1" };
  expect(await adds(server, BURST + 1, client)).toEqual([...times(BURST, 200), 429]);
  expect(await adds(server, 1, { [FLY]: "203.0.113.2" })).toEqual([200]);
  for (const pretended of [
    { "X-Forwarded-For": "198.51.100.1" },
    { "X-Real-IP": "198.51.100.1" },
    { Forwarded: "for=198.51.100.1" },
    { "CF-Connecting-IP": "198.51.100.1" },
  ]) {
    expect(await adds(server, 1, { ...client, ...pretended }), JSON.stringify(pretended)).toEqual([429]);
  }
  // Where a proxy only appends, what it wrote is the last.
  expect(await adds(server, 1, { [FLY]: "198.51.100.1, 203.0.113.1" })).toEqual([429]);
  // An IPv6 customer has a whole /64.
  expect(await adds(server, BURST, { [FLY]: "2001:db8:1:2::1" })).toEqual(times(BURST, 200));
  expect(await adds(server, 2, { [FLY]: "2001:db8:1:2:ffff::7" })).toEqual([429, 429]);
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  expect(metrics).toContain('cairn_refused_total{code="rate_limited"} 8');
});

test("without a configured header no header names a client: the peer is counted", async () => {
  const server = await create(await newPlace(), LIMITED);
  const statuses: number[] = [];
  for (let i = 0; i <= BURST; i++) {
    statuses.push(
      ...(await adds(server, 1, { [FLY]: `203.0.113.${i}`, "X-Forwarded-For": `203.0.113.${i}` })),
    );
  }
  expect(statuses).toEqual([...times(BURST, 200), 429]);
});
