// API keys beside a running server: made, used, counted and revoked without a restart.

import { readFile, stat } from "node:fs/promises";
import { expect, test } from "vitest";
import { problem } from "./client.ts";
import { expectSentence } from "./refusal.ts";
import { cairn, create, eventually, newPlace, type Place, type Server, serve } from "./server.ts";

const KEYED = { ALLOW_PUBLIC_WRITES: "false" };

interface AddedKey {
  readonly name: string;
  readonly roles: readonly string[];
  readonly key: string;
}

async function addKey(place: Place, ...args: string[]): Promise<AddedKey> {
  const ran = await cairn(["keys", "add", ...args, "--json"], {
    DATABASE_URL: place.env.DATABASE_URL as string,
  });
  expect(ran.code, ran.stdout + ran.stderr).toBe(0);
  return JSON.parse(ran.stdout) as AddedKey;
}

function keys(place: Place, ...args: string[]) {
  return cairn(["keys", ...args], { DATABASE_URL: place.env.DATABASE_URL as string });
}

function post(server: Server, key: string | null, entry = "entry"): Promise<Response> {
  const headers = key === null ? {} : { Authorization: `Bearer ${key}` };
  return fetch(`${server.url}/add`, { method: "POST", headers, body: entry });
}

async function untilStatus(server: Server, key: string, status: number): Promise<void> {
  await eventually(`the key is answered ${status}`, async () => (await post(server, key)).status === status);
}

test("a key that is added gets in, one that is revoked does not, and the server was never restarted", async () => {
  const place = await newPlace();
  const server = await create(place, KEYED);
  expect(await problem(await post(server, null))).toMatchObject({ status: 401, code: "unauthorized" });

  const alice = await addKey(place, "alice");
  const bob = await addKey(place, "bob");
  await untilStatus(server, alice.key, 200);
  await untilStatus(server, bob.key, 200);
  expect((await post(server, `${alice.key}x`)).status).toBe(401);

  expect(await keys(place, "revoke", "alice")).toMatchObject({ code: 0 });
  await untilStatus(server, alice.key, 401);
  expect((await post(server, bob.key)).status).toBe(200);

  const listed = await keys(place, "list", "--json");
  const lines = listed.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as object);
  expect(lines).toEqual([
    expect.objectContaining({ name: "alice", roles: ["write"], revoked_at: expect.any(String) }),
    expect.objectContaining({ name: "bob", roles: ["write"], revoked_at: null }),
  ]);
  expect(await server.stop()).toMatchObject({ code: 0 });
  const again = await serve(place, KEYED);
  expect((await post(again, alice.key)).status).toBe(401);
  expect((await post(again, bob.key)).status).toBe(200);
});

test("a name is used once, an unknown one cannot be revoked, and no key is kept or printed but the once", async () => {
  const place = await newPlace();
  const server = await create(place, KEYED);
  const { key } = await addKey(place, "alice");
  expectSentence(await keys(place, "add", "alice"), "cairn keys add", "key_name_taken");
  expectSentence(await keys(place, "revoke", "carol"), "cairn keys revoke", "key_unknown", 1);
  await keys(place, "revoke", "alice");
  expectSentence(await keys(place, "add", "alice"), "cairn keys add", "key_name_taken");
  await untilStatus(server, key, 401);

  const file = `${place.database}.keys`;
  expect((await stat(file)).mode & 0o077).toBe(0);
  const { stdout } = await keys(place, "list");
  for (const text of [await readFile(file, "latin1"), stdout, server.stderr()])
    expect(text).not.toContain(key);
});

test("a key's own rate counts for it alone", async () => {
  const place = await newPlace();
  const server = await create(place, { ...KEYED, API_KEY: "from-the-environment" });
  const slow = await addKey(place, "slow", "--rate", "0.1", "--burst", "2");
  await untilStatus(server, slow.key, 200);
  const answers = [await post(server, slow.key), await post(server, slow.key), await post(server, slow.key)];
  const limited = answers.find(({ status }) => status === 429) as Response;
  expect(limited.headers.get("retry-after")).toMatch(/^[1-9][0-9]*$/);
  expect(await problem(limited)).toMatchObject({ status: 429, code: "rate_limited" });
  for (let i = 0; i < 10; i++) expect((await post(server, "from-the-environment")).status).toBe(200);
});

test("beside API_KEY, with no key at all, and with both kinds of writes allowed, the rules are the documented ones", async () => {
  const place = await newPlace();
  const closed = await create(place, KEYED);
  expect((await post(closed, null)).status).toBe(401);
  expect((await post(closed, "anything")).status).toBe(401);
  await closed.stop();
  const open = await serve(place, { ...KEYED, API_KEY: "secret", ALLOW_PUBLIC_WRITES: "true" });
  expect((await post(open, null)).status).toBe(200);
  expect((await post(open, "wrong")).status).toBe(200);
});
