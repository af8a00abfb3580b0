import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { decodeBundle } from "../../../src/core/bundle.ts";
import {
  batchBody,
  ENTRY_BYTES,
  entryNumber,
  renumber,
  renumberBatch,
  writeEntry,
} from "../../../src/cli/bench/entries.ts";

const noise = new Uint8Array(randomBytes(ENTRY_BYTES));

test("an entry is told again by its number, at any offset and up to the largest safe integer", () => {
  const target = Buffer.alloc(2 * ENTRY_BYTES);
  writeEntry(noise, 7, target, ENTRY_BYTES);
  for (const number of [0, 1, 255, 256, 65_536, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
    renumber(number, target, ENTRY_BYTES);
    expect(entryNumber(noise, target.subarray(ENTRY_BYTES))).toBe(number);
  }
});

test("bytes that are no entry of the run have no number", () => {
  const entry = new Uint8Array(ENTRY_BYTES);
  writeEntry(noise, 7, entry, 0);
  expect(entryNumber(noise, entry.subarray(1))).toBeNull();
  for (const at of [0, 15, 24, ENTRY_BYTES - 1]) {
    const damaged = entry.slice();
    damaged[at] = (damaged[at] as number) ^ 1;
    expect(entryNumber(noise, damaged)).toBeNull();
  }
});

test("a batch is framed as the log reads it, and is renumbered in place behind a head", () => {
  const head = Buffer.from("POST");
  const request = Buffer.concat([head, batchBody(noise, 3)]);
  for (const first of [0, 3, 1000]) {
    renumberBatch(first, 3, request, head.length);
    const entries = decodeBundle(new Uint8Array(request.subarray(head.length)), 3);
    expect(entries.map((entry) => entryNumber(noise, entry))).toEqual([first, first + 1, first + 2]);
  }
});
