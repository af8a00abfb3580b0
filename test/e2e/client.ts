// What publishers and readers do to a running log, over real HTTP: submit, wait for publication, read entries back, and
// have `cairn fsck` look at all of it.

import { expect } from "vitest";
import { decodeBundle, encodeBundle } from "../../src/core/bundle.ts";
import { TILE_WIDTH } from "../../src/core/tile.ts";
import { entriesPath } from "../../src/core/tile-path.ts";
import { cairn, eventually, type Place, progress, type Server } from "./server.ts";

/** Connections of a client that posts one entry at a time. */
const CONNECTIONS = 32;

export type At = Pick<Server, "url">;

/** As `POST /add` answers it with `Accept: application/json`. */
export interface Receipt {
  readonly index: number;
  readonly leafHash: string;
  readonly duplicate: boolean;
}

export interface Problem {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
}

export interface Ready {
  readonly ready: boolean;
  readonly integrated_size: number;
  readonly next_index: number;
  readonly pending_count: number;
  readonly published_size: number | null;
  readonly checkpoint_age_seconds: number | null;
  readonly reasons: readonly { readonly code: string; readonly detail: string }[];
}

/** `count` different entries. */
export function entries(count: number, label = "entry"): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => Buffer.from(`${label} ${i}`));
}

/** Posts one entry without a content type; answers the index that came back, which is exactly digits. */
export async function add(at: At, entry: Uint8Array | string): Promise<number> {
  const response = await fetch(`${at.url}/add`, { method: "POST", body: Buffer.from(entry) });
  const text = await response.text();
  expect(response.status, text).toBe(200);
  expect(text).toMatch(/^(0|[1-9][0-9]*)$/);
  return Number(text);
}

export async function addJson(at: At, entry: Uint8Array | string): Promise<Receipt> {
  const response = await fetch(`${at.url}/add`, {
    method: "POST",
    headers: { Accept: "application/json" },
    body: Buffer.from(entry),
  });
  expect(response.status).toBe(200);
  return (await response.json()) as Receipt;
}

/** Posts one entry and waits for its proof. */
export async function addForProof(at: At, entry: Uint8Array | string): Promise<Uint8Array> {
  const response = await fetch(`${at.url}/add?proof=true`, { method: "POST", body: Buffer.from(entry) });
  const bytes = new Uint8Array(await response.arrayBuffer());
  expect(response.status, Buffer.from(bytes).toString()).toBe(200);
  return bytes;
}

/** Posts entries one by one over several connections; the receipts are in the order of `all`. */
export function addEach(at: At, all: readonly Uint8Array[]): Promise<Receipt[]> {
  return forEach(all, CONNECTIONS, (entry) => addJson(at, entry));
}

export type BatchForm = "framed" | "lines";

/** Posts one batch whose entries must all be accepted. */
export async function addBatch(
  at: At,
  all: readonly Uint8Array[],
  form: BatchForm = "framed",
): Promise<Receipt[]> {
  const results = await addBatchResults(at, all, form);
  for (const result of results) expect(result).not.toHaveProperty("error");
  return results as Receipt[];
}

export async function addBatchResults(
  at: At,
  all: readonly Uint8Array[],
  form: BatchForm = "framed",
): Promise<(Receipt | { readonly error: Problem })[]> {
  const body =
    form === "framed" ? encodeBundle(all) : Buffer.concat(all.flatMap((entry) => [entry, LINE_FEED]));
  const type = form === "framed" ? "application/octet-stream" : "application/x-ndjson";
  const response = await fetch(`${at.url}/add-batch`, {
    method: "POST",
    headers: { "Content-Type": type },
    body: Buffer.from(body),
  });
  const text = await response.text();
  expect(response.status, text).toBe(200);
  return (JSON.parse(text) as { results: (Receipt | { error: Problem })[] }).results;
}

const LINE_FEED = Buffer.from("\n");

/** Runs `task` for each item, `width` at a time; the results are in order. */
export async function forEach<T, R>(
  items: readonly T[],
  width: number,
  task: (item: T, position: number) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(items.length);
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < items.length) {
      const position = next++;
      results[position] = await task(items[position] as T, position);
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, work));
  return results;
}

export async function ready(at: At): Promise<Ready> {
  return (await (await fetch(`${at.url}/ready`)).json()) as Ready;
}

/** Waits until the published checkpoint covers `size` entries. */
export async function untilPublished(at: At, size: number): Promise<void> {
  await eventually(
    `${size} entries are published`,
    async () => ((await ready(at)).published_size ?? -1) >= size,
  );
}

/** Waits until every row is dropped of which the full bundles up to `size` are synced. */
export async function untilCollected(place: Place, size: number): Promise<void> {
  const end = size - (size % TILE_WIDTH);
  await eventually(`entries up to ${end} are collected`, () => {
    const { synced, firstRetained } = progress(place);
    return synced >= end && firstRetained >= end - TILE_WIDTH;
  });
}

/** The published checkpoint's size and root (base64), read from its text. */
export async function checkpoint(at: At): Promise<{ size: number; root: string; text: string }> {
  const response = await fetch(`${at.url}/checkpoint`);
  const text = await response.text();
  expect(response.status, text).toBe(200);
  return { text, ...readCheckpoint(text) };
}

export function readCheckpoint(text: string): { size: number; root: string } {
  const [, size, root] = text.split("\n");
  return { size: Number(size), root: root as string };
}

/** All published entries, from their bundles. */
export async function readEntries(at: At): Promise<Uint8Array[]> {
  const { size } = await checkpoint(at);
  const bundles = Array.from({ length: Math.ceil(size / TILE_WIDTH) }, (_, index) => index);
  const read = await forEach(bundles, 8, async (index) => {
    const width = Math.min(TILE_WIDTH, size - index * TILE_WIDTH);
    const response = await fetch(`${at.url}/${entriesPath(index, width)}`);
    expect(response.status).toBe(200);
    return decodeBundle(new Uint8Array(await response.arrayBuffer()), width);
  });
  return read.flat();
}

/** Every entry stands at the index that was acknowledged for it. */
export async function expectAt(
  at: At,
  all: readonly Uint8Array[],
  indices: readonly number[],
): Promise<void> {
  const logged = await readEntries(at);
  for (const [i, entry] of all.entries()) {
    const there = logged[indices[i] as number];
    if (there === undefined || !Buffer.from(there).equals(entry)) {
      throw new Error(`entry ${i} was acknowledged at ${indices[i]} and does not stand there`);
    }
  }
}

/** `cairn fsck` finds nothing wrong, over HTTP or in a folder; answers the size that it checked. */
export async function expectClean(where: string, vkey: string): Promise<number> {
  const ran = await cairn(["fsck", where, "--vkey", vkey, "--json"]);
  expect(ran, ran.stdout + ran.stderr).toMatchObject({ code: 0 });
  return (JSON.parse(ran.stdout) as { size: number }).size;
}

/** The log is clean as it is served, and as it lies in its folder. */
export async function expectCleanLog(server: Server, place: Place): Promise<number> {
  await expectClean(place.tiles, place.vkey);
  return expectClean(server.url, place.vkey);
}

/** The problem that a request was refused with. */
export async function problem(response: Response): Promise<Problem> {
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  expect(response.headers.get("cache-control")).toBe("no-store");
  const body = (await response.json()) as Problem;
  expect(body.status).toBe(response.status);
  return body;
}
