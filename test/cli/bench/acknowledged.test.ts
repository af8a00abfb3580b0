import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { encodeBundle } from "../../../src/core/bundle.ts";
import { entriesPath } from "../../../src/core/tile-path.ts";
import { Acknowledged, mergeChecks } from "../../../src/cli/bench/acknowledged.ts";
import { ENTRY_BYTES, writeEntry } from "../../../src/cli/bench/entries.ts";

const noise = new Uint8Array(randomBytes(ENTRY_BYTES));
const SIZE = 300;

function entry(number: number): Uint8Array {
  const bytes = new Uint8Array(ENTRY_BYTES);
  writeEntry(noise, number, bytes, 0);
  return bytes;
}

/** A log of SIZE entries in which `numbers[i]` stands at index i. */
function bundles(numbers: readonly number[]): Map<string, Uint8Array> {
  const entries = numbers.map(entry);
  return new Map([
    [entriesPath(0), encodeBundle(entries.slice(0, 256))],
    [entriesPath(1, SIZE - 256), encodeBundle(entries.slice(256))],
  ]);
}

const inOrder = Array.from({ length: SIZE }, (_, i) => i);
const indices = Float64Array.from(inOrder);

async function check(acknowledged: Acknowledged, published: Map<string, Uint8Array>, size = SIZE) {
  return await acknowledged.check(size, async (path) => published.get(path) ?? null);
}

test("entries that stand where they were acknowledged are no errors", async () => {
  const acknowledged = new Acknowledged(noise);
  acknowledged.add({ first: 0, indices });
  expect(acknowledged.entries).toBe(SIZE);
  expect(await check(acknowledged, bundles(inOrder))).toEqual({ entries: SIZE, errors: 0, examples: [] });
});

test("numbers need not follow the indices, and unacknowledged entries may stand between", async () => {
  const acknowledged = new Acknowledged(noise);
  const swapped = inOrder.map((i) => i ^ 1);
  // Entry 5 had no answer; it stands in the log all the same.
  const answered = Float64Array.from(swapped);
  answered[5] = -1;
  acknowledged.add({ first: 0, indices: answered });
  expect(await check(acknowledged, bundles(swapped))).toEqual({ entries: SIZE - 1, errors: 0, examples: [] });
});

describe("what is wrong is counted", () => {
  test("an index that holds another entry than the acknowledged one", async () => {
    const acknowledged = new Acknowledged(noise);
    const wrong = indices.slice();
    wrong[258] = 259;
    wrong[259] = 258;
    acknowledged.add({ first: 0, indices: wrong });
    const { errors, examples } = await check(acknowledged, bundles(inOrder));
    expect(errors).toBe(2);
    expect(examples).toEqual([
      "index 258: acknowledged for entry 259, and it holds entry 258",
      "index 259: acknowledged for entry 258, and it holds entry 259",
    ]);
  });

  test("an index that was acknowledged for two entries", async () => {
    const acknowledged = new Acknowledged(noise);
    acknowledged.add({ first: 0, indices });
    acknowledged.add({ first: SIZE, indices: Float64Array.of(17) });
    const { entries, errors, examples } = await check(acknowledged, bundles(inOrder));
    expect([entries, errors]).toEqual([SIZE + 1, 1]);
    expect(examples).toEqual(["index 17: acknowledged for entry 17 and for entry 300"]);
  });

  test("an index at or beyond the log's end", async () => {
    const acknowledged = new Acknowledged(noise);
    acknowledged.add({ first: 0, indices });
    acknowledged.add({ first: SIZE, indices: Float64Array.of(SIZE) });
    const { errors, examples } = await check(acknowledged, bundles(inOrder));
    expect(errors).toBe(1);
    expect(examples).toEqual(["index 300: acknowledged for entry 300, and the log ends at 300"]);
  });

  test.each([
    ["missing", null],
    ["torn", encodeBundle([entry(256)]).subarray(0, 100)],
  ])("every entry of a bundle that is %s", async (_, bundle) => {
    const acknowledged = new Acknowledged(noise);
    acknowledged.add({ first: 0, indices });
    const published = bundles(inOrder);
    if (bundle === null) published.delete(entriesPath(1, SIZE - 256));
    else published.set(entriesPath(1, SIZE - 256), bundle);
    expect((await check(acknowledged, published)).errors).toBe(SIZE - 256);
  });

  test("bytes that are no entry of this run", async () => {
    const acknowledged = new Acknowledged(noise);
    acknowledged.add({ first: 0, indices });
    const published = bundles(inOrder);
    const foreign = inOrder.slice(256).map(entry);
    foreign[3] = new Uint8Array([1, 2, 3]);
    published.set(entriesPath(1, SIZE - 256), encodeBundle(foreign));
    const { errors, examples } = await check(acknowledged, published);
    expect(errors).toBe(1);
    expect(examples).toEqual(["index 259: acknowledged for entry 259, and it holds other bytes"]);
  });
});

test("checks of several logs add up", () => {
  const one = { entries: 3, errors: 1, examples: ["a"] };
  expect(mergeChecks([one, one])).toEqual({ entries: 6, errors: 2, examples: ["a", "a"] });
});
