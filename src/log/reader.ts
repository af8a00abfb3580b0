// Reads of tiles and bundles up to the published size: any width, cut from the full object or from the widest partial
// one that was signed. A byte-bounded cache answers the hot ones at once; concurrent misses for one object are one read.

import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { LRUCache } from "lru-cache";
import { bundleOffsets } from "../core/bundle.ts";
import { CairnError, isCairnError } from "../core/errors.ts";
import { HASH_BYTES } from "../core/hash.ts";
import { entriesPath, tilePath } from "../core/tile-path.ts";
import { TILE_WIDTH, tileWidthAt } from "../core/tile.ts";
import { StoreError } from "../storage/store.ts";
import type { ObjectStore } from "../storage/store.ts";
import type { ReadObject } from "./api.ts";

/** Bytes of tiles and bundles kept in memory. */
export const CACHE_MAX_BYTES = 64 * 1024 * 1024;
/** What an entry of the cache costs beside its bytes. */
const CACHE_ENTRY_BYTES = 400;
/** Compressions at one time: they share the thread pool with the files that are written. */
const GZIPS_AT_ONCE = 2;

/** Lost objects that are remembered and told of by name; more are refused alike. */
export const LOST_KEPT = 100;

const compress = promisify(gzip);

export interface ReaderOptions {
  readonly store: ObjectStore;
  readonly publishedSize: () => number | null;
  /** Begins every entity tag: what tells this log's objects from another's at the same address. */
  readonly etagPrefix: string;
  /** An object that was handed to the store and may not be there yet. */
  readonly inFlight: (key: string) => Uint8Array | null;
  /** An object that was stored is gone: told once for each, while at most `LOST_KEPT` are. */
  readonly onLost: (key: string) => void;
}

export class Reader {
  readonly #o: ReaderOptions;
  readonly #cache = new LRUCache<string, CachedObject>({
    maxSize: CACHE_MAX_BYTES,
    sizeCalculation: (object) => object.bytes.length + object.compressedBytes + CACHE_ENTRY_BYTES,
  });
  readonly #compressing = new Set<Promise<void>>();
  readonly #misses = new Map<string, Promise<CachedObject>>();

  /** By the path of the full object, since any width that is read again will do; with the path that was looked for. */
  readonly #lost = new Map<string, string>();

  constructor(options: ReaderOptions) {
    this.#o = options;
  }

  /** Objects that the store was found without, until they are read again; at most `LOST_KEPT`. */
  get lost(): readonly string[] {
    return [...this.#lost.values()];
  }

  /** See LogRead.read. */
  read(
    kind: "tile" | "entries",
    level: number,
    index: number,
    width: number,
  ): ReadObject | Promise<ReadObject> {
    const published = this.#o.publishedSize();
    const height = kind === "tile" ? level : 0;
    if (published === null || width > tileWidthAt(height, index, published)) {
      throw new CairnError("not_published", { members: { published_size: published ?? 0 } });
    }
    const path = pathOf(kind, level, index, width);
    return this.#cache.get(path) ?? this.#load(kind, level, index, width, path, published);
  }

  /** A level-0 tile that was just made: duplicates and readers ask for the newest first. */
  keep(path: string, bytes: Uint8Array): void {
    this.#remember(path, bytes);
  }

  /** A tile that is in the cache or on its way to the store, else null. */
  atHand(path: string): Uint8Array | null {
    return this.#cache.get(path)?.bytes ?? this.#o.inFlight(path);
  }

  /** The first `width` hashes of a tile as a tree of `size`, whose objects are all stored, left it: published or not. */
  async at(size: number, level: number, index: number, width: number): Promise<Uint8Array> {
    const { object } = await this.#widest("tile", level, index, tileWidthAt(level, index, size));
    return object.bytes.subarray(0, width * HASH_BYTES);
  }

  /**
   * A full tile or bundle, whether published or not, through the cache. Throws `tile_missing` where there is none and
   * `store_unavailable` where the store cannot say.
   */
  async full(kind: "tile" | "entries", level: number, index: number): Promise<Uint8Array> {
    return (await this.#full(kind, level, index)).bytes;
  }

  /** `asked` is the width that should be there. */
  async #full(
    kind: "tile" | "entries",
    level: number,
    index: number,
    asked = TILE_WIDTH,
  ): Promise<CachedObject> {
    const path = pathOf(kind, level, index, TILE_WIDTH);
    const cached = this.#cache.get(path);
    if (cached !== undefined) return cached;
    return this.#once(path, async () => {
      const bytes = await this.#fetch(path);
      if (bytes === null) {
        const lost = pathOf(kind, level, index, asked);
        this.#loses(path, lost);
        throw new CairnError("tile_missing", { detail: lost });
      }
      return checked(kind, path, bytes, TILE_WIDTH);
    });
  }

  #loses(fullPath: string, path: string): void {
    if (this.#lost.has(fullPath) || this.#lost.size >= LOST_KEPT) return;
    this.#lost.set(fullPath, path);
    this.#o.onLost(path);
  }

  async #load(
    kind: "tile" | "entries",
    level: number,
    index: number,
    width: number,
    path: string,
    published: number,
  ): Promise<ReadObject> {
    const widest = tileWidthAt(kind === "tile" ? level : 0, index, published);
    const whole = await this.#widest(kind, level, index, widest);
    if (whole.width === width) return whole.object;
    const { bytes } = whole.object;
    const end = kind === "tile" ? width * HASH_BYTES : (bundleOffsets(bytes)[width] as number);
    // A view, and not kept: a bundle has 255 narrower ones, each of which could be asked for.
    return new CutObject(bytes.subarray(0, end), this.#etagOf(path));
  }

  /** The full object, else the partial one that the published size left. */
  async #widest(
    kind: "tile" | "entries",
    level: number,
    index: number,
    widest: number,
  ): Promise<{ object: CachedObject; width: number }> {
    if (widest < TILE_WIDTH) {
      const path = pathOf(kind, level, index, widest);
      const cached = this.#cache.get(path);
      if (cached !== undefined) return { object: cached, width: widest };
      try {
        const object = await this.#once(path, async () => {
          const bytes = await this.#fetch(path);
          if (bytes === null) throw new CairnError("tile_missing", { detail: path });
          return checked(kind, path, bytes, widest);
        });
        return { object, width: widest };
      } catch (error) {
        // Collected meanwhile: then the full one is there.
        if (!isCairnError(error, "tile_missing")) throw error;
      }
    }
    try {
      return { object: await this.#full(kind, level, index, widest), width: TILE_WIDTH };
    } catch (error) {
      if (!isCairnError(error, "tile_missing")) throw error;
      const { detail = "" } = error;
      throw new CairnError("object_missing", { detail, cause: error });
    }
  }

  async #fetch(path: string): Promise<Uint8Array | null> {
    const flying = this.#o.inFlight(path);
    if (flying !== null) return flying;
    try {
      return (await this.#o.store.get(path))?.bytes ?? null;
    } catch (error) {
      if (error instanceof StoreError) throw new CairnError("store_unavailable", { cause: error });
      throw error;
    }
  }

  #once(path: string, load: () => Promise<Uint8Array>): Promise<CachedObject> {
    const under = this.#misses.get(path);
    if (under !== undefined) return under;
    const miss = load()
      .then((bytes) => this.#remember(path, bytes))
      .finally(() => this.#misses.delete(path));
    this.#misses.set(path, miss);
    return miss;
  }

  #remember(path: string, bytes: Uint8Array): CachedObject {
    if (this.#lost.size > 0) this.#lost.delete(path.replace(/\.p\/\d+$/, ""));
    const object = new CachedObject(bytes, this.#etagOf(path), async () => {
      const compressed = await this.#compress(bytes);
      object.compressedBytes = compressed.length;
      // Set again, so that what was added counts.
      if (this.#cache.peek(path) === object) this.#cache.set(path, object);
      return compressed;
    });
    this.#cache.set(path, object);
    return object;
  }

  /** The bytes at a path never change, so its name is its tag, together with whose log it is. */
  #etagOf(path: string): string {
    return `"${this.#o.etagPrefix}-${path}"`;
  }

  async #compress(bytes: Uint8Array): Promise<Uint8Array> {
    while (this.#compressing.size >= GZIPS_AT_ONCE) await Promise.race(this.#compressing);
    const run = compress(bytes);
    const settled = run.then(
      () => undefined,
      () => undefined,
    );
    this.#compressing.add(settled);
    try {
      return await run;
    } finally {
      this.#compressing.delete(settled);
    }
  }
}

/** The first part of an object that is cached whole. */
class CutObject implements ReadObject {
  readonly bytes: Uint8Array;
  readonly etag: string;

  constructor(bytes: Uint8Array, etag: string) {
    this.bytes = bytes;
    this.etag = etag;
  }
}

class CachedObject extends CutObject {
  /** What the compressed form adds while it is kept. */
  compressedBytes = 0;
  readonly #compress: () => Promise<Uint8Array>;
  #gzip: Promise<Uint8Array> | null = null;

  constructor(bytes: Uint8Array, etag: string, compressed: () => Promise<Uint8Array>) {
    super(bytes, etag);
    this.#compress = compressed;
  }

  gzip(): Promise<Uint8Array> {
    this.#gzip ??= this.#compress().catch((error: unknown) => {
      this.#gzip = null;
      throw error;
    });
    return this.#gzip;
  }
}

function pathOf(kind: "tile" | "entries", level: number, index: number, width: number): string {
  return kind === "tile" ? tilePath(level, index, width) : entriesPath(index, width);
}

/** Only whole objects are served or relied on: a torn one is the store's fault, not the log's word. */
function checked(kind: "tile" | "entries", path: string, bytes: Uint8Array, width: number): Uint8Array {
  try {
    if (kind === "entries") bundleOffsets(bytes, width);
    else if (bytes.length !== width * HASH_BYTES)
      throw new CairnError("bad_tile", { detail: `${bytes.length} bytes` });
  } catch (cause) {
    throw new CairnError("store_unavailable", { detail: `${path} is damaged in the store`, cause });
  }
  return bytes;
}
