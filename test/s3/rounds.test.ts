// What a log asks of a bucket: each object once, the fewest that the format allows, and nothing behind anybody's back.

import { expect, it } from "vitest";
import { entriesOf } from "../log/doubles/entries.ts";
import { Bucket, type BucketLog } from "./bucket-log.ts";

async function created(bucket: Bucket): Promise<BucketLog> {
  const log = await bucket.start({ create: true });
  await log.quiet();
  return log;
}

async function roundOf(bucket: Bucket, log: BucketLog, from: number, count: number): Promise<string[]> {
  const before = bucket.server.requests.length;
  await log.addBatch(entriesOf(from, count));
  await log.quiet();
  return bucket.server.written(before).sort();
}

it("writes exactly these objects in a round, and none of them twice", async () => {
  const bucket = await Bucket.make();
  const log = await created(bucket);
  expect(await roundOf(bucket, log, 0, 1)).toEqual([
    "checkpoint",
    "state/head",
    "tile/0/000.p/1",
    "tile/entries/000.p/1",
  ]);
  expect(await roundOf(bucket, log, 1, 254)).toEqual([
    "checkpoint",
    "state/head",
    "tile/0/000.p/255",
    "tile/entries/000.p/255",
  ]);
  expect(await roundOf(bucket, log, 255, 1)).toEqual([
    "checkpoint",
    "state/head",
    "tile/0/000",
    "tile/1/000.p/1",
    "tile/entries/000",
  ]);
  expect(await roundOf(bucket, log, 256, 300)).toEqual([
    "checkpoint",
    "state/head",
    "tile/0/001",
    "tile/0/002.p/44",
    "tile/1/000.p/2",
    "tile/entries/001",
    "tile/entries/002.p/44",
  ]);
  // The tile above has no new hash.
  expect(await roundOf(bucket, log, 556, 1)).toEqual([
    "checkpoint",
    "state/head",
    "tile/0/002.p/45",
    "tile/entries/002.p/45",
  ]);
  // A duplicate is no entry, so there is no round.
  expect(await roundOf(bucket, log, 0, 300)).toEqual([]);
  await log.end();
  const immutable = bucket.server.written().filter((key) => key.startsWith("tile/"));
  expect(new Set(immutable).size).toBe(immutable.length);
  // Nothing was asked in vain either: each write went through at the first attempt.
  const refused = bucket.server.requests.filter(
    ({ operation, key, status }) => operation === "put" && status !== 200 && !key.startsWith("state/probe/"),
  );
  expect(refused).toEqual([]);
  await bucket.check();
});

it("makes every write conditional: what is immutable is created, head and checkpoint are replaced", async () => {
  const bucket = await Bucket.make();
  const log = await created(bucket);
  const before = bucket.server.requests.length;
  await roundOf(bucket, log, 0, 300);
  await roundOf(bucket, log, 300, 300);
  await log.end();
  const puts = bucket.server.requests.slice(before).filter(({ operation }) => operation === "put");
  expect(puts.length).toBeGreaterThan(10);
  for (const { key, condition } of puts) {
    expect(condition, key).toBe(key.startsWith("tile/") ? "if-none-match" : "if-match");
  }
  const first = bucket.server.requests.slice(0, before).filter(({ operation }) => operation === "put");
  expect(first.map(({ key, condition }) => [key.replace(/[0-9a-f]{16}$/, "…"), condition])).toEqual(
    expect.arrayContaining([
      ["state/head", "if-none-match"],
      ["checkpoint", "if-none-match"],
    ]),
  );
  expect(first.every(({ condition }) => condition !== null)).toBe(true);
});

it("reads the head before the first write of a round and before publishing, and lists nothing", async () => {
  const bucket = await Bucket.make();
  const log = await created(bucket);
  const before = bucket.server.requests.length;
  await log.addBatch(entriesOf(0, 10));
  await log.quiet();
  expect(bucket.server.requests.slice(before).map(({ operation, key }) => `${operation} ${key}`)).toEqual([
    "get state/head",
    expect.stringMatching(/^put tile\/(0|entries)\/000\.p\/10$/),
    expect.stringMatching(/^put tile\/(0|entries)\/000\.p\/10$/),
    "put state/head",
    "get state/head",
    "put checkpoint",
  ]);
});

it("adopts what stands after a restart, and writes none of it again", async () => {
  const bucket = await Bucket.make();
  const first = await created(bucket);
  for (let i = 0; i < 6; i++) await roundOf(bucket, first, i * 100, 100);
  await first.end();
  const before = bucket.server.requests.length;
  const second = await bucket.start();
  await second.quiet();
  const tiles = bucket.server.written(before).filter((key) => key.startsWith("tile/"));
  expect(tiles).toEqual([]);
  expect(await roundOf(bucket, second, 600, 1)).toEqual(
    ["checkpoint", "state/head", "tile/0/002.p/89", "tile/1/000.p/2", "tile/entries/002.p/89"].filter(
      (key) => key !== "tile/1/000.p/2",
    ),
  );
  await second.end();
  await bucket.check();
});

it("collapses many readers of one object that is not at hand into one read of the bucket", async () => {
  const bucket = await Bucket.make();
  const first = await created(bucket);
  await roundOf(bucket, first, 0, 600);
  await first.end();
  const second = await bucket.start();
  await second.quiet();
  const before = bucket.server.requests.length;
  const reads = Array.from({ length: 100 }, async () => second.log.read("entries", 0, 0, 256));
  for (const object of await Promise.all(reads)) expect(object.bytes.length).toBeGreaterThan(256);
  await second.log.read("entries", 0, 0, 256);
  expect(bucket.server.requests.slice(before).map(({ key }) => key)).toEqual(["tile/entries/000"]);
});
