// Integration: rows become entry bundles and tiles. The right edge lives in memory, so the steady state reads nothing.
// Full tiles and bundles go up as soon as they are full; partial ones only for a size that is about to be signed. The
// work is cut into slices, so that no request waits for a whole round.

import type { BulkHasher } from "../core/bulk-hasher.ts";
import { equalBytes } from "../core/bytes.ts";
import { CairnError } from "../core/errors.ts";
import { HASH_BYTES } from "../core/hash.ts";
import type { Hash } from "../core/hash.ts";
import type { EdgeTile, RightEdge } from "../core/right-edge.ts";
import { entriesPath, tilePath } from "../core/tile-path.ts";
import { TILE_WIDTH, tileEnd } from "../core/tile.ts";
import type { Row } from "../state/state.ts";
import type { Backlog } from "./backlog.ts";
import { fatalError } from "./fatal.ts";
import type { ObjectWriter } from "./objects.ts";

/** Time a slice of integration may take before requests get a turn. */
const SLICE_MS = 3;
const LENGTH_BYTES = 2;

export interface IntegratorOptions {
  readonly backlog: Backlog;
  readonly writer: ObjectWriter;
  readonly hasher: BulkHasher;
  readonly edge: RightEdge;
  /** The framed entries of the bundle that is being filled, from its first entry to the edge. */
  readonly openBundle: Uint8Array;
  /** Called for each full level-0 tile, which readers and duplicates will ask for next. */
  readonly onTile: (path: string, bytes: Uint8Array) => void;
  readonly monotonic: () => number;
  /**
   * Sizes that were signed before this process, at which partial objects are written anew. Objects up to `mendEnd` may
   * stand already, damaged or left over: they are mended rather than created.
   */
  readonly mendSizes: ReadonlySet<number>;
  readonly mendEnd: number;
  /** Full objects up to here are recorded as synced. */
  readonly syncedSize: number;
  /** The newest head that was signed before this process: nothing is integrated beyond it unless our root is the same. */
  readonly signedBefore: { readonly size: number; readonly root: Uint8Array };
  /** Rows could not be read back: the process cannot go on. */
  readonly onFatal: (error: CairnError) => void;
}

interface CutRequest {
  readonly size: number;
  readonly resolve: (cut: Cut) => void;
  readonly reject: (error: Error) => void;
}

/** What stands at a size that is about to be signed. */
export interface Cut {
  readonly size: number;
  readonly root: Hash;
}

export class Integrator {
  readonly #o: IntegratorOptions;
  readonly #edge: RightEdge;
  readonly #bundle: Uint8Array[] = [];
  /** SHA-256 of every full bundle as it was made from rows, until the collector has read it back. */
  readonly #digests = new Map<number, Uint8Array>();
  /** Partial objects of the tiles and bundles that are being filled, by the key of the full one. */
  readonly #partials = new Map<string, string[]>();
  /** The same of those that are full, until the collector has removed them; null where an earlier process may know of more. */
  readonly #superseded = new Map<string, readonly string[] | null>();
  /** Where the next background step must stop, so that a round can cut exactly there. */
  #cut: CutRequest | null = null;
  #running = false;
  #stopped = false;

  constructor(options: IntegratorOptions) {
    this.#o = options;
    this.#edge = options.edge;
    if (options.openBundle.length > 0) this.#bundle.push(options.openBundle);
    this.#passed();
  }

  /** Leaves integrated so far, full tiles of which may still be on their way to the store. */
  get size(): number {
    return this.#edge.size;
  }

  /** SHA-256 of full bundle `index` as made from the rows, or null where this process did not make it. */
  digest(index: number): Uint8Array | null {
    return this.#digests.get(index) ?? null;
  }

  forgetDigest(index: number): void {
    this.#digests.delete(index);
  }

  /**
   * The partial objects of a full tile or bundle; null where this process cannot know them all, so that the store has to be
   * asked.
   */
  superseded(key: string): readonly string[] | null {
    return this.#superseded.get(key) ?? null;
  }

  forgetSuperseded(key: string): void {
    this.#superseded.delete(key);
  }

  /** The leaf hash of an index that the edge's level-0 tile holds, else null. */
  leafHash(index: number): Uint8Array | null {
    return this.#edge.leafHash(index);
  }

  /** Works through what is committed, in slices, writing what becomes full. Returns at once. */
  advance(): void {
    if (this.#running || this.#stopped) return;
    this.#running = true;
    this.#run().then(
      () => {
        this.#running = false;
        if (!this.#stopped && this.#edge.size < this.#limit()) this.advance();
      },
      (error: unknown) => {
        const fatal = fatalError(error);
        if (this.#stopped) return;
        this.stop(fatal);
        this.#o.onFatal(fatal);
      },
    );
  }

  /**
   * Integrates up to exactly `size`, writes the partial tiles and bundle of that size, and resolves once every object
   * below it is in the store.
   */
  async cutAt(size: number): Promise<Cut> {
    if (this.#stopped) throw new CairnError("draining");
    if (size < this.#edge.size) {
      throw new CairnError("internal", { detail: `cut at ${size}, edge at ${this.#edge.size}` });
    }
    const cut = await new Promise<Cut>((resolve, reject) => {
      this.#cut = { size, resolve, reject };
      if (this.#edge.size === size) this.#finishCut();
      else this.advance();
    });
    await this.#o.writer.idle();
    return cut;
  }

  /** Leaves everything as it is; the next start goes on from the rows. */
  stop(reason: CairnError): void {
    this.#stopped = true;
    this.#cut?.reject(reason);
    this.#cut = null;
  }

  #limit(): number {
    return this.#cut?.size ?? this.#o.backlog.end;
  }

  async #run(): Promise<void> {
    let sliceEnd = this.#o.monotonic() + SLICE_MS;
    while (!this.#stopped && this.#edge.size < this.#limit()) {
      await this.#o.writer.room();
      const row = await this.#o.backlog.rowAt(this.#edge.size);
      let position = this.#edge.size - row.first;
      let at = frameOffset(row, position);
      while (!this.#stopped && position < row.count && this.#edge.size < this.#limit()) {
        // To the next bundle boundary, the row's end or the cut, whichever comes first.
        const size = this.#edge.size;
        const take = Math.min(
          TILE_WIDTH - (size % TILE_WIDTH),
          row.count - position,
          this.#limit() - size,
          this.#nextStop(size) - size,
        );
        const end = skipFrames(row.bytes, at, take);
        this.#bundle.push(row.bytes.subarray(at, end));
        this.#edge.append(row.hashes, position * HASH_BYTES, take, (tile) => this.#full(tile));
        position += take;
        at = end;
        this.#passed();
        if (this.#cut !== null && this.#edge.size === this.#cut.size) this.#finishCut();
        if (this.#o.monotonic() > sliceEnd) {
          await new Promise<void>((resolve) => setImmediate(resolve));
          await this.#o.writer.room();
          sliceEnd = this.#o.monotonic() + SLICE_MS;
        }
      }
    }
  }

  /** The next size at which something is to be done. */
  #nextStop(size: number): number {
    const { signedBefore, mendSizes } = this.#o;
    let next = signedBefore.size > size ? signedBefore.size : Number.POSITIVE_INFINITY;
    for (const each of mendSizes) if (each > size && each < next) next = each;
    return next;
  }

  /** What is to be done at the present size: compare with the signed head, and mend its partial objects. */
  #passed(): void {
    const { signedBefore, mendSizes } = this.#o;
    const { size } = this.#edge;
    if (signedBefore.size === size && !equalBytes(signedBefore.root, this.#edge.root()))
      throw new CairnError("root_mismatch", { detail: `at size ${size}` });
    if (mendSizes.has(size)) this.#writePartials();
  }

  #finishCut(): void {
    const cut = this.#cut;
    if (cut === null) return;
    this.#cut = null;
    this.#writePartials();
    cut.resolve({ size: this.#edge.size, root: this.#edge.root() });
  }

  #full(tile: EdgeTile): void {
    const path = tilePath(tile.level, tile.index);
    if (tile.level === 0) {
      // The bundle before its tile: what points comes after what it points to.
      const bytes = concatBundle(this.#bundle);
      this.#bundle.length = 0;
      this.#digests.set(tile.index, this.#o.hasher.tree.sha256(bytes));
      this.#write(entriesPath(tile.index), bytes, tileEnd(0, tile.index, TILE_WIDTH), true);
      this.#becameFull(entriesPath(tile.index), 0, tile.index);
      this.#o.onTile(path, tile.bytes);
    }
    this.#write(path, tile.bytes, tileEnd(tile.level, tile.index, tile.width), true);
    this.#becameFull(path, tile.level, tile.index);
  }

  #becameFull(key: string, level: number, index: number): void {
    const isAllOurs = tileEnd(level, index, 0) >= this.#o.mendEnd;
    this.#superseded.set(key, isAllOurs ? (this.#partials.get(key) ?? []) : null);
    this.#partials.delete(key);
  }

  #writePartials(): void {
    for (const tile of this.#edge.partials()) {
      const { level, index, width } = tile;
      const end = tileEnd(level, index, width);
      if (level === 0) {
        const key = entriesPath(index, width);
        if (this.#isNew(entriesPath(index), key)) this.#write(key, concatBundle(this.#bundle), end);
      }
      const key = tilePath(level, index, width);
      if (this.#isNew(tilePath(level, index), key)) this.#write(key, tile.bytes, end);
    }
  }

  /** False for a partial object that this process wrote for an earlier size: a tile above grows more rarely than rounds come. */
  #isNew(full: string, partial: string): boolean {
    const keys = this.#partials.get(full);
    if (keys === undefined) this.#partials.set(full, [partial]);
    else if (keys.includes(partial)) return false;
    else keys.push(partial);
    return true;
  }

  #write(key: string, bytes: Uint8Array, end: number, isFull = false): void {
    const { mendEnd, syncedSize } = this.#o;
    const mode = end > mendEnd ? "create" : isFull && end <= syncedSize ? "keep" : "mend";
    this.#o.writer.write({ key, bytes, end, mode });
  }
}

/** The byte at which entry `position` of a row begins. */
export function frameOffset(row: Row, position: number): number {
  return skipFrames(row.bytes, 0, position);
}

/** The byte after `count` framed entries from byte `at`. */
function skipFrames(bytes: Uint8Array, at: number, count: number): number {
  let end = at;
  for (let i = 0; i < count; i++) {
    if (end + LENGTH_BYTES > bytes.length) throw new CairnError("bad_bundle", { detail: "a row is torn" });
    end += LENGTH_BYTES + (((bytes[end] as number) << 8) | (bytes[end + 1] as number));
  }
  if (end > bytes.length) throw new CairnError("bad_bundle", { detail: "a row is torn" });
  return end;
}

function concatBundle(parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
