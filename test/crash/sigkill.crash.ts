// kill -9 at random moments under load, with a client that remembers every acknowledgement: nothing that was acknowledged is
// ever missing, what is stored is always a whole log, and every head that was ever signed is a head of this one history.
//   CRASH_CYCLES=300 CRASH_SEED=42 npm run test:crash

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createNodeBulkHasher } from "../../src/cli/node-bulk-hasher.ts";
import { encodeBase64 } from "../../src/core/base64.ts";
import { encodeBundle } from "../../src/core/bundle.ts";
import { HASH_BYTES } from "../../src/core/hash.ts";
import { parseCheckpoint } from "../../src/core/checkpoint.ts";
import { parseNote } from "../../src/core/note.ts";
import { RightEdge } from "../../src/core/right-edge.ts";
import { expectClean, expectCleanLog, readEntries, untilPublished } from "../e2e/client.ts";
import { create, newPlace, open, type Place, serve, type Server } from "../e2e/server.ts";

/** Each cycle takes one to two seconds. */
const CYCLES = Number(process.env.CRASH_CYCLES ?? 50);
const SEED = Number(process.env.CRASH_SEED ?? Date.now() % 2 ** 31);
/** fsck reads everything each time, so not after every kill. */
const FSCK_EVERY = 10;
const CLIENTS = 12;
const LONGEST_LIFE_MS = 700;
const BATCH_MAX = 300;
/** One in so many entries is one that was sent before. */
const REPEAT_ONE_IN = 12;

/** A small generator with a seed, so that a run can be repeated (mulberry32). */
function generator(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

class Publishers {
  /** What was acknowledged: the entry's text and its index. */
  readonly acknowledged = new Map<string, number>();
  readonly #random: () => number;
  readonly #sent: string[] = [];
  #count = 0;

  constructor(random: () => number) {
    this.#random = random;
  }

  /** Posts without pause until the server is gone. */
  async storm(server: Server): Promise<void> {
    await Promise.all(Array.from({ length: CLIENTS }, (_, i) => this.#client(server, i % 4 === 0)));
  }

  async #client(server: Server, inBatches: boolean): Promise<void> {
    for (;;) {
      try {
        if (inBatches) await this.#batch(server);
        else await this.#single(server);
      } catch {
        // The connection broke: what was under way is not acknowledged, and may be in the log or not.
        return;
      }
    }
  }

  #entry(): string {
    const old = this.#sent[Math.floor(this.#random() * this.#sent.length)];
    if (old !== undefined && this.#random() * REPEAT_ONE_IN < 1) return old;
    const text = `entry ${this.#count++} ${"x".repeat(Math.floor(this.#random() * 400))}`;
    this.#sent.push(text);
    return text;
  }

  async #single(server: Server): Promise<void> {
    const entry = this.#entry();
    const response = await fetch(`${server.url}/add`, { method: "POST", body: entry });
    const text = await response.text();
    if (response.status === 200) this.#acknowledge(entry, Number(text));
    else await later();
  }

  async #batch(server: Server): Promise<void> {
    const entries = Array.from({ length: 1 + Math.floor(this.#random() * BATCH_MAX) }, () => this.#entry());
    const response = await fetch(`${server.url}/add-batch`, {
      method: "POST",
      headers: { "Content-Type": "application/octet-stream" },
      body: Buffer.from(encodeBundle(entries.map((entry) => Buffer.from(entry)))),
    });
    const text = await response.text();
    if (response.status !== 200) return later();
    const { results } = JSON.parse(text) as { results: { index: number }[] };
    for (const [i, { index }] of results.entries()) this.#acknowledge(entries[i] as string, index);
  }

  #acknowledge(entry: string, index: number): void {
    const before = this.acknowledged.get(entry);
    if (before !== undefined && before !== index) {
      throw new Error(`one entry was acknowledged at ${before} and at ${index}`);
    }
    this.acknowledged.set(entry, index);
  }
}

function later(): Promise<void> {
  return new Promise((done) => setTimeout(done, 5));
}

/** Heads seen on the disk after each kill: signed ones and published ones, by size. */
class Heads {
  readonly #roots = new Map<number, string>();

  async look(place: Place): Promise<void> {
    const { note } = JSON.parse(await readFile(join(place.tiles, "state/head"), "utf8")) as { note: string };
    this.#add(Buffer.from(note));
    const published = await readFile(join(place.tiles, "checkpoint")).catch(() => null);
    if (published !== null) this.#add(published);
  }

  #add(bytes: Uint8Array): void {
    const { size, root } = parseCheckpoint(parseNote(bytes).text);
    const text = encodeBase64(root);
    const before = this.#roots.get(Number(size));
    if (before !== undefined) expect(text, `two roots at size ${size}`).toBe(before);
    this.#roots.set(Number(size), text);
  }

  /** Every head that was ever seen is the root of these entries at its size. */
  expectOf(entries: readonly Uint8Array[]): void {
    const hasher = createNodeBulkHasher();
    const edge = new RightEdge(hasher);
    for (const [size, root] of [...this.#roots].sort(([a], [b]) => a - b)) {
      expect(size).toBeLessThanOrEqual(entries.length);
      const some = entries.slice(edge.size, size);
      const hashes = new Uint8Array(some.length * HASH_BYTES);
      for (const [i, entry] of some.entries()) hashes.set(hasher.tree.leaf(entry), i * HASH_BYTES);
      edge.append(hashes, 0, some.length, () => {});
      expect(encodeBase64(edge.root()), `the head of size ${size}`).toBe(root);
    }
    expect(this.#roots.size).toBeGreaterThan(CYCLES / 4);
  }
}

test(`${CYCLES} kills under load lose nothing and fork nothing (seed ${SEED})`, async () => {
  console.log(`CRASH_SEED=${SEED} CRASH_CYCLES=${CYCLES}`);
  const random = generator(SEED);
  const place = await newPlace();
  const publishers = new Publishers(random);
  const heads = new Heads();
  const env = { CHECKPOINT_INTERVAL: "0.05" };
  await (await create(place, env)).stop();

  for (let cycle = 0; cycle < CYCLES; cycle++) {
    const server = await open(place, env);
    const storm = publishers.storm(server);
    await new Promise((done) => setTimeout(done, random() * LONGEST_LIFE_MS));
    await server.crash();
    await storm;
    await heads.look(place);
    if (cycle % FSCK_EVERY === FSCK_EVERY - 1) {
      // Only a start mends what a kill left half-done, so the whole log is looked at after one.
      const mended = await serve(place, env);
      await expectClean(mended.url, place.vkey);
      await mended.crash();
      await expectClean(place.tiles, place.vkey);
      await heads.look(place);
    }
  }

  const server = await serve(place, env);
  const newest = [...publishers.acknowledged.values()].reduce((most, index) => Math.max(most, index), -1);
  await untilPublished(server, newest + 1);
  const entries = await readEntries(server);
  const missing = [...publishers.acknowledged].filter(([text, index]) => {
    const there = entries[index];
    return there === undefined || Buffer.from(there).toString() !== text;
  });
  expect(missing).toEqual([]);
  expect(new Set(entries.map((entry) => Buffer.from(entry).toString())).size, "no entry stands twice").toBe(
    entries.length,
  );
  heads.expectOf(entries);
  await expectCleanLog(server, place);
  await server.stop();
  expect(publishers.acknowledged.size).toBeGreaterThan(CYCLES * 10);
  console.log(`${publishers.acknowledged.size} acknowledged entries, ${entries.length} in the log`);
});
