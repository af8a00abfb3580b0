// Logs at rest, made by running one: filled, grown, copied, and shown to be whole.

import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import {
  addBatch,
  addEach,
  addForProof,
  expectAt,
  expectClean,
  readEntries,
  untilCollected,
  untilPublished,
} from "./client.ts";
import {
  copyPlace,
  create,
  type Environment,
  newPlace,
  type Place,
  placeAt,
  serve,
  type Server,
} from "./server.ts";
import { serveFolder } from "./static.ts";
import { copyFolder } from "./store.ts";

/** Entries of one commit: no multiple of a bundle, so that commits end anywhere in one. */
const COMMIT = 100;

/** After the first round, which comes at once, nothing is published. */
export const NEVER_AGAIN: Environment = { CHECKPOINT_INTERVAL: "3600" };

/** A log of `all`, published, collected and stopped. */
export async function newLog(all: readonly Uint8Array[]): Promise<Place> {
  const place = await newPlace();
  const server = await create(place);
  for (let from = 0; from < all.length; from += COMMIT) {
    await addBatch(server, all.slice(from, from + COMMIT));
  }
  await settle(place, server, all.length);
  return place;
}

/** Runs a log, adds entries one by one, has them published and collected, and stops it. */
export async function grow(place: Place, more: readonly Uint8Array[], env: Environment = {}): Promise<void> {
  const server = await serve(place, env);
  const receipts = await addEach(server, more);
  await settle(place, server, Math.max(...receipts.map(({ index }) => index)) + 1);
}

/** Waits until `size` entries are published and collected, and stops the server. */
export async function settle(place: Place, server: Server, size: number): Promise<void> {
  await untilPublished(server, size);
  await untilCollected(place, size);
  expect(await server.stop()).toMatchObject({ code: 0 });
}

/** What `make` makes, made once for a test file: every call answers a copy of it. */
export function template(make: () => Promise<Place>): () => Promise<Place> {
  const made: { original: Promise<Place> | null } = { original: null };
  const keep = async (): Promise<Place> => {
    const place = await make();
    const folder = await mkdtemp(join(tmpdir(), "cairn-e2e-"));
    await copyFolder(place.folder, folder);
    return placeAt(folder, place.vkey);
  };
  afterAll(async () => {
    if (made.original !== null) await rm((await made.original).folder, { recursive: true, force: true });
  });
  return async () => {
    made.original ??= keep();
    return copyPlace(await made.original);
  };
}

/** The log starts, is clean, holds exactly `all` in that order, knows each of them when it comes again, and goes on. */
export async function expectWhole(place: Place, all: readonly Uint8Array[]): Promise<void> {
  const server = await serve(place);
  await untilPublished(server, all.length);
  await expectAt(server, all, [...all.keys()]);
  const again = all.length === 0 ? [] : await addBatch(server, all);
  expect(again.map(({ index }) => index)).toEqual([...all.keys()]);
  expect(await addForProof(server, `after ${all.length}`)).not.toHaveLength(0);
  expect(await server.stop()).toMatchObject({ code: 0 });
  expect(await expectClean(place.tiles, place.vkey)).toBe(all.length + 1);
}

/** Every entry in a log's folder. */
export async function entriesOf(place: Place): Promise<Uint8Array[]> {
  return readEntries({ url: await serveFolder(place.tiles) });
}

/** Everything of the database: its file and whatever lies beside it under a name that begins with its own. */
export async function loseDatabase(place: Place): Promise<void> {
  for (const name of await readdir(place.folder)) {
    if (name.startsWith("log.db")) await rm(join(place.folder, name));
  }
}

export const headFile = (place: Place): string => join(place.tiles, "state/head");
export const checkpointFile = (place: Place): string => join(place.tiles, "checkpoint");

export async function readHead(place: Place): Promise<Record<string, unknown>> {
  return JSON.parse(await readFile(headFile(place), "utf8")) as Record<string, unknown>;
}
