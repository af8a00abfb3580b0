import { describe, expect, test } from "vitest";
import { encodeBundle } from "../../src/core/bundle.ts";
import { entriesPath, tilePath } from "../../src/core/tile-path.ts";
import { CACHE_MAX_BYTES, LOST_KEPT, Reader } from "../../src/log/reader.ts";
import type { ObjectStore } from "../../src/storage/store.ts";
import { MemoryStore } from "../doubles/memory-store.ts";

const BUNDLE = encodeBundle(Array.from({ length: 256 }, (_, i) => new Uint8Array(100).fill(i)));
const TILE = new Uint8Array(8192).map((_, i) => i * 7);

async function setUp(published: number | null = 600) {
  const store = new MemoryStore();
  let gets = 0;
  const lost: string[] = [];
  const counted = new Proxy(store, {
    get(target, name: keyof MemoryStore) {
      if (name === "get") gets++;
      const value = target[name];
      return typeof value === "function" ? (value as (...args: unknown[]) => unknown).bind(target) : value;
    },
  });
  const reader = new Reader({
    store: counted,
    publishedSize: () => published,
    etagPrefix: "abc",
    inFlight: () => null,
    onLost: (key) => lost.push(key),
  });
  await store.create(entriesPath(0), BUNDLE);
  await store.create(tilePath(0, 0), TILE);
  await store.create(tilePath(0, 2, 88), TILE.subarray(0, 88 * 32));
  return { reader, store, lost, gets: () => gets };
}

describe("reads", () => {
  test("what is cached is answered at once, and concurrent misses are one read", async () => {
    const { reader, gets } = await setUp();
    const [a, b] = await Promise.all([reader.read("tile", 0, 0, 256), reader.read("tile", 0, 0, 256)]);
    expect(a).toBe(b);
    expect(gets()).toBe(1);
    expect(reader.read("tile", 0, 0, 256)).toBe(a);
    expect(a.bytes).toEqual(TILE);
  });

  test("what is kept in memory stays within its bytes, and the least recently read goes first", async () => {
    const bundle = encodeBundle(Array.from({ length: 256 }, () => new Uint8Array(32_000)));
    const count = Math.ceil(CACHE_MAX_BYTES / bundle.length) + 1;
    const asked: string[] = [];
    const store = {
      get: async (key: string) => {
        asked.push(key);
        return { bytes: bundle, version: "1" };
      },
    } as unknown as ObjectStore;
    const reader = new Reader({
      store,
      publishedSize: () => count * 256,
      etagPrefix: "abc",
      inFlight: () => null,
      onLost: () => undefined,
    });
    for (let index = 0; index < count; index++) await reader.read("entries", 0, index, 256);
    expect(asked).toHaveLength(count);
    await reader.read("entries", 0, count - 1, 256);
    expect(asked).toHaveLength(count);
    await reader.read("entries", 0, 0, 256);
    expect(asked.slice(count)).toEqual([entriesPath(0)]);
  });

  test("narrower widths are views of the one object, whoever asks for how many of them", async () => {
    const { reader, gets } = await setUp();
    const whole = await reader.read("entries", 0, 0, 256);
    for (let width = 1; width < 256; width++) {
      const part = await reader.read("entries", 0, 0, width);
      expect(part.bytes.buffer).toBe(whole.bytes.buffer);
      expect(part.bytes).toHaveLength(width * 102);
      expect(part.gzip).toBeUndefined();
    }
    expect(gets()).toBe(1);
  });

  test("each path has a tag of its own, the same at every read, that names the log", async () => {
    const { reader } = await setUp();
    const tags = new Set<string>();
    for (const width of [1, 2, 255, 256]) tags.add((await reader.read("tile", 0, 0, width)).etag);
    expect(tags.size).toBe(4);
    for (const tag of tags) expect(tag).toMatch(/^"abc-[\x21\x23-\x7e]+"$/);
    expect((await reader.read("tile", 0, 0, 2)).etag).toBe((await reader.read("tile", 0, 0, 2)).etag);
  });

  test("the widest partial object answers for every narrower width of it", async () => {
    const { reader } = await setUp();
    expect((await reader.read("tile", 0, 2, 5)).bytes).toEqual(TILE.subarray(0, 160));
    expect((await reader.read("tile", 0, 2, 88)).bytes).toEqual(TILE.subarray(0, 88 * 32));
  });

  test("beyond the published size nothing is read, not even what is there", async () => {
    const { reader, gets } = await setUp();
    expect(() => reader.read("tile", 0, 2, 89)).toThrow(expect.objectContaining({ code: "not_published" }));
    expect(() => reader.read("tile", 0, 3, 1)).toThrow(expect.objectContaining({ code: "not_published" }));
    const { reader: fresh } = await setUp(null);
    expect(() => fresh.read("tile", 0, 0, 1)).toThrow(expect.objectContaining({ code: "not_published" }));
    expect(gets()).toBe(0);
  });

  test("a bundle is compressed once", async () => {
    const { reader } = await setUp();
    const object = await reader.read("entries", 0, 0, 256);
    const [a, b] = await Promise.all([object.gzip?.(), object.gzip?.()]);
    expect(a).toBe(b);
    expect(a?.[0]).toBe(0x1f);
  });

  test("a torn object is the store's fault, and is not served", async () => {
    const { reader, store, lost } = await setUp();
    store.plant(tilePath(0, 0), TILE.subarray(0, 100));
    await expect(reader.read("tile", 0, 0, 256)).rejects.toMatchObject({ code: "store_unavailable" });
    expect(lost).toEqual([]);
  });

  test("a published object that is gone is named as missing, told of once, and forgotten when it is back", async () => {
    const { reader, store, lost } = await setUp();
    for (const width of [256, 3]) {
      await expect(reader.read("entries", 0, 1, width)).rejects.toMatchObject({
        code: "object_missing",
        detail: entriesPath(1),
      });
    }
    await expect(reader.read("entries", 0, 2, 5)).rejects.toMatchObject({
      code: "object_missing",
      detail: entriesPath(2, 88),
    });
    await expect(reader.full("tile", 0, 1)).rejects.toMatchObject({ code: "tile_missing" });
    expect(lost).toEqual([entriesPath(1), entriesPath(2, 88), tilePath(0, 1)]);
    expect(reader.lost).toEqual(lost);
    await store.create(entriesPath(1), BUNDLE);
    // The partial one was lost; by now the full one stands.
    await store.create(entriesPath(2), BUNDLE);
    await reader.read("entries", 0, 1, 256);
    await reader.read("entries", 0, 2, 5);
    expect(reader.lost).toEqual([tilePath(0, 1)]);
  });

  test("no more than some lost objects are remembered and told of, and all are refused", async () => {
    const lost: string[] = [];
    const reader = new Reader({
      store: new MemoryStore(),
      publishedSize: () => 256 * (LOST_KEPT + 5),
      etagPrefix: "abc",
      inFlight: () => null,
      onLost: (key) => lost.push(key),
    });
    for (let index = 0; index < LOST_KEPT + 5; index++) {
      await expect(reader.read("entries", 0, index, 256)).rejects.toMatchObject({ code: "object_missing" });
    }
    expect(lost).toHaveLength(LOST_KEPT);
  });
});
