// Real input: every record of two conda channel indexes, as bytes that nobody chose for a test.

import { existsSync, readFileSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import {
  addBatch,
  addEach,
  type BatchForm,
  checkpoint,
  expectAt,
  expectClean,
  expectCleanLog,
  type Receipt,
  ready,
  untilPublished,
} from "./client.ts";
import { skipWithout } from "../require.ts";
import { create, newPlace, serve, type Server } from "./server.ts";

const FOLDER = fileURLToPath(new URL("../../../shared/data/conda/", import.meta.url));
const FILES = ["r-linux-64.repodata.json", "main-noarch.repodata.json"];
const RECORDS = 4533;
const BATCH = 1000;

const absent = skipWithout(existsSync(FOLDER), `the conda records are not at ${FOLDER}`);

interface Repodata {
  readonly packages?: Readonly<Record<string, unknown>>;
  readonly "packages.conda"?: Readonly<Record<string, unknown>>;
}

function readRecords(): Uint8Array[] {
  return FILES.flatMap((name) => {
    const repodata = JSON.parse(readFileSync(`${FOLDER}${name}`, "utf8")) as Repodata;
    const records = [repodata.packages ?? {}, repodata["packages.conda"] ?? {}].flatMap(Object.values);
    return records.map((record) => Buffer.from(JSON.stringify(record)));
  });
}

const indicesOf = (receipts: readonly Receipt[]): number[] => receipts.map(({ index }) => index);

async function addInBatches(server: Server, all: readonly Uint8Array[], form: BatchForm): Promise<Receipt[]> {
  const receipts: Receipt[] = [];
  for (let from = 0; from < all.length; from += BATCH) {
    receipts.push(...(await addBatch(server, all.slice(from, from + BATCH), form)));
  }
  return receipts;
}

/** The whole set again, by `addAgain`: no new index, no new size, every entry answered with the index it has. */
async function expectKnown(
  server: Server,
  indices: readonly number[],
  addAgain: () => Promise<Receipt[]>,
): Promise<void> {
  const before = await checkpoint(server);
  const again = await addAgain();
  expect(again.every(({ duplicate }) => duplicate)).toBe(true);
  expect(indicesOf(again)).toEqual(indices);
  expect(await ready(server)).toMatchObject({ next_index: before.size, published_size: before.size });
}

describe.skipIf(absent)("every record of two conda channels", () => {
  test("posted one by one is published at the index that was acknowledged, also after restarts with the deduplication table lost or damaged", async () => {
    const records = readRecords();
    expect(records).toHaveLength(RECORDS);
    const place = await newPlace();
    const table = `${place.database}.dedup`;
    let server = await create(place);

    const receipts = await addEach(server, records);
    const indices = indicesOf(receipts);
    expect(receipts.some(({ duplicate }) => duplicate)).toBe(false);
    expect([...indices].sort((a, b) => a - b)).toEqual(records.map((_, i) => i));
    await untilPublished(server, RECORDS);
    expect(await expectCleanLog(server, place)).toBe(RECORDS);
    await expectAt(server, records, indices);
    await expectKnown(server, indices, () => addEach(server, records));
    expect(await server.stop()).toMatchObject({ code: 0 });

    const spoil = [
      async () => expect(existsSync(table)).toBe(true),
      () => rm(table),
      // Its middle, so that the header still reads well.
      async () => {
        const bytes = readFileSync(table);
        bytes.fill(0xa5, bytes.length >> 1, (bytes.length >> 1) + 64);
        await writeFile(table, bytes);
      },
      async () => writeFile(table, readFileSync(table).subarray(0, 1000)),
      () => writeFile(table, "not a table"),
    ];
    for (const step of spoil) {
      await step();
      server = await serve(place);
      await expectKnown(server, indices, () => addInBatches(server, records, "framed"));
      expect(await server.stop()).toMatchObject({ code: 0 });
    }
    expect(await expectClean(place.tiles, place.vkey)).toBe(RECORDS);
  });

  test.each<BatchForm>(["framed", "lines"])(
    "posted in %s batches is published at the index that was acknowledged",
    async (form) => {
      const records = readRecords();
      const place = await newPlace();
      const server = await create(place);
      const indices = indicesOf(await addInBatches(server, records, form));
      expect(indices).toEqual(records.map((_, i) => i));
      await untilPublished(server, RECORDS);
      expect(await expectCleanLog(server, place)).toBe(RECORDS);
      await expectAt(server, records, indices);

      const other = form === "framed" ? "lines" : "framed";
      await expectKnown(server, indices, () => addInBatches(server, records, other));
    },
  );
});
