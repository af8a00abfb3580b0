// Checks a whole log against itself: rebuilds every tile of every level and the root from the entry bundles and compares
// them with what is stored and with the signed checkpoint. It needs no key but the log's public one and trusts no object:
// where two disagree, the level above says which of them is damaged. Spec: c2sp.org/tlog-tiles.

import { bundleOffsets } from "../core/bundle.ts";
import { equalBytes, toHex } from "../core/bytes.ts";
import { CairnError, type ErrorCode, isCairnError } from "../core/errors.ts";
import type { Hash, TreeHasher } from "../core/hash.ts";
import { perfectRoot } from "../core/merkle.ts";
import type { CheckpointTrust } from "../core/policy.ts";
import { HASH_BYTES, TILE_WIDTH, tileWidthAt } from "../core/tile.ts";
import { entriesPath, tilePath } from "../core/tile-path.ts";
import { rootFromTiles } from "../core/tile-proof.ts";
import { openHead, type TrustedHead } from "./http-log.ts";
import { type ReadBundle, readBundle, readTile, type TileSource } from "./tile-source.ts";

/** Bundles, each with its tile, that are read and hashed at a time. */
export const DEFAULT_CONCURRENCY = 16;
/** Differences, and objects that could not be read, that are described; further ones are only counted. */
export const DEFAULT_MAX_DIFFERENCES = 100;
/** After so many objects in a row that could not be read, whatever holds the log is out of reach and the check ends. */
export const UNREAD_IN_A_ROW = 32;

export interface FsckOptions {
  readonly source: TileSource;
  /** The log's keys; a policy with witnesses makes their cosignatures part of the check. */
  readonly trust: CheckpointTrust;
  readonly hasher: TreeHasher;
  readonly concurrency?: number;
  readonly maxDifferences?: number;
  /** Called after each bundle. */
  readonly onProgress?: (progress: FsckProgress) => void;
}

export interface FsckProgress {
  readonly entries: number;
  readonly size: number;
  readonly differences: number;
}

export interface Difference {
  /** The object that is wrong, or that is one of two of which one is. */
  readonly path: string;
  readonly detail: string;
}

export interface FsckReport {
  /**
   * `clean`: everything that the checkpoint covers is there and equal. `differs`: at least one object is missing or wrong.
   * `could_not_check`: no difference was found in what could be read, and not all of it could.
   */
  readonly outcome: "clean" | "differs" | "could_not_check";
  /** Of the checkpoint; null where it could not be read or trusted. */
  readonly origin: string | null;
  readonly size: number | null;
  /** The checkpoint's root in hexadecimal. */
  readonly root: string | null;
  /** Entries whose bundle and tile were both looked at. */
  readonly entries: number;
  readonly differences: readonly Difference[];
  /** All of them, also those beyond `maxDifferences`. */
  readonly differenceCount: number;
  /** Objects that could not be read, and so were not compared. */
  readonly unread: readonly Difference[];
  readonly unreadCount: number;
  /** Why the check ended early, or what kept the first unread object from being read; else null. */
  readonly failure: CairnError | null;
}

/** What an object is read with that is there and wrong, or of which the log itself says that it has lost it. */
const WRONG: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["bad_tile", "bad_bundle", "object_missing"]);

/** What a difference turned out to be once the level above was heard. */
type Verdict = "tile" | "below" | "unclear";

/** A hash on its way up: what was rebuilt, and where the stored tile says otherwise, what that adds up to. */
interface Candidate {
  /** Null where nothing is left to rebuild it from. */
  readonly rebuilt: Hash | null;
  readonly dispute: Dispute | null;
}

interface Dispute {
  readonly stored: Hash;
  readonly settle: (verdict: Verdict) => void;
}

/** A partial tile at the right edge: its hashes are part of the root itself. */
interface EdgeTile {
  readonly rebuilt: Uint8Array | null;
  readonly dispute: { readonly stored: Uint8Array; readonly settle: (verdict: Verdict) => void } | null;
}

interface CheckedBundle {
  readonly index: number;
  readonly width: number;
  /** The bundle's leaf hashes; null where it is missing or torn, which has been reported. */
  readonly rebuilt: Uint8Array | null;
  /** The level-0 tile; null likewise. */
  readonly stored: Uint8Array | null;
  /** False where one of the two could not be read. */
  readonly complete: boolean;
}

/** Never throws for what is wrong with the log: that is the report. */
export async function fsck(options: FsckOptions): Promise<FsckReport> {
  const { source, trust, maxDifferences = DEFAULT_MAX_DIFFERENCES } = options;
  const differences: Difference[] = [];
  let differenceCount = 0;
  const unread: Difference[] = [];
  let unreadCount = 0;
  let head: TrustedHead | null = null;
  let entries = 0;
  let failure: CairnError | null = null;

  function report(path: string, detail: string): void {
    differenceCount++;
    if (differences.length < maxDifferences) differences.push({ path, detail });
  }

  function reportUnread(path: string, error: CairnError): void {
    failure ??= error;
    unreadCount++;
    if (unread.length < maxDifferences) unread.push({ path, detail: error.message });
  }

  try {
    const note = await source.get("checkpoint");
    if (note === null) throw new CairnError("not_published_yet");
    try {
      head = openHead(note, trust);
    } catch (error) {
      // A checkpoint of another log says nothing about this one: most likely the wrong key was given.
      if (!isCairnError(error) || error.code === "wrong_origin" || error.code === "unsafe_integer")
        throw error;
      report("checkpoint", error.message);
    }
    if (head !== null) {
      const { size } = head;
      await new Rebuild(options, head, report, reportUnread).run((checked) => {
        entries += checked;
        options.onProgress?.({ entries, size, differences: differenceCount });
      });
    }
  } catch (cause) {
    failure ??= coded(cause);
  }
  const outcome = differenceCount > 0 ? "differs" : failure === null ? "clean" : "could_not_check";
  return {
    outcome,
    origin: head?.origin ?? null,
    size: head?.size ?? null,
    root: head === null ? null : toHex(head.root),
    entries,
    differences,
    differenceCount,
    unread,
    unreadCount,
    failure,
  };
}

/** One run over one tree, from the bundles up. */
class Rebuild {
  readonly #source: TileSource;
  readonly #hasher: TreeHasher;
  readonly #concurrency: number;
  readonly #head: TrustedHead;
  readonly #report: (path: string, detail: string) => void;
  readonly #reportUnread: (path: string, error: CairnError) => void;
  #unread = 0;
  #unreadInARow = 0;
  /** Level 1 upwards (index 0 is never used): the hashes of the tile that is being filled. */
  readonly #levels: Candidate[][] = [];
  /** How many tiles each level has completed. */
  readonly #completed: number[] = [];
  /** By level. */
  readonly #edge = new Map<number, EdgeTile>();

  constructor(
    options: FsckOptions,
    head: TrustedHead,
    report: (path: string, detail: string) => void,
    reportUnread: (path: string, error: CairnError) => void,
  ) {
    this.#source = options.source;
    this.#hasher = options.hasher;
    this.#concurrency = options.concurrency ?? DEFAULT_CONCURRENCY;
    this.#head = head;
    this.#report = report;
    this.#reportUnread = reportUnread;
  }

  async run(onEntries: (checked: number) => void): Promise<void> {
    const { size } = this.#head;
    const bundles = Math.ceil(size / TILE_WIDTH);
    // Bundles are read ahead and taken in order, so that each level above is built by appending to it.
    const ahead: Promise<CheckedBundle>[] = [];
    for (let next = 0; next < bundles || ahead.length > 0; ) {
      while (next < bundles && ahead.length < this.#concurrency) {
        const check = this.#checkBundle(next++);
        // Awaited below in its turn; one that fails while an earlier one is awaited must not end the process.
        check.catch(() => {});
        ahead.push(check);
      }
      const checked = await (ahead.shift() as Promise<CheckedBundle>);
      await this.#takeBundle(checked);
      onEntries(checked.complete ? checked.width : 0);
    }
    await this.#finish();
  }

  async #checkBundle(index: number): Promise<CheckedBundle> {
    const width = tileWidthAt(0, index, this.#head.size);
    const read = await Promise.all([this.#bundle(index, width), this.#tile(0, index, width)]);
    const [bundle, stored] = read.map((object) => object ?? null) as [ReadBundle | null, Uint8Array | null];
    const rebuilt = bundle === null ? null : this.#leafHashes(bundle);
    const hashes = rebuilt ?? stored;
    if (bundle !== null) await this.#comparePartialBundles(index, width, bundle.bytes);
    if (hashes !== null) await this.#comparePartialTiles(0, index, width, hashes);
    return { index, width, rebuilt, stored, complete: !read.includes(undefined) };
  }

  #leafHashes(bundle: ReadBundle): Uint8Array {
    const hashes = new Uint8Array(bundle.entries.length * HASH_BYTES);
    bundle.entries.forEach((entry, i) => hashes.set(this.#hasher.leaf(entry), i * HASH_BYTES));
    return hashes;
  }

  async #takeBundle({ index, width, rebuilt, stored }: CheckedBundle): Promise<void> {
    const settle = (verdict: Verdict) => {
      const at = index * TILE_WIDTH + firstDifference(rebuilt as Uint8Array, stored as Uint8Array);
      if (verdict !== "below") {
        this.#report(
          tilePath(0, index, width),
          `hash ${at % TILE_WIDTH} is not the leaf hash of entry ${at}`,
        );
      }
      if (verdict !== "tile") {
        this.#report(entriesPath(index, width), `entry ${at} does not have the leaf hash in its tile`);
      }
    };
    await this.#takeTile(0, width, rebuilt ?? stored, stored, settle);
  }

  /** Passes a tile's outcome up: to the level above where it is full, to the root where it is partial. */
  async #takeTile(
    level: number,
    width: number,
    rebuilt: Uint8Array | null,
    stored: Uint8Array | null,
    settle: (verdict: Verdict) => void,
  ): Promise<void> {
    const disputed = rebuilt !== null && stored !== null && !equalBytes(rebuilt, stored);
    if (width < TILE_WIDTH) {
      this.#edge.set(level, { rebuilt, dispute: disputed ? { stored, settle } : null });
      return;
    }
    await this.#push(level + 1, {
      rebuilt: rebuilt === null ? null : perfectRoot(rebuilt, this.#hasher),
      dispute: disputed ? { stored: perfectRoot(stored, this.#hasher), settle } : null,
    });
  }

  async #push(level: number, candidate: Candidate): Promise<void> {
    const candidates = (this.#levels[level] ??= []);
    candidates.push(candidate);
    if (candidates.length === TILE_WIDTH) await this.#complete(level);
  }

  /** Compares the tile of `level` that has been filled, full or at the end partial, with the stored one. */
  async #complete(level: number): Promise<void> {
    const candidates = this.#levels[level] as Candidate[];
    const index = this.#completed[level] ?? 0;
    this.#levels[level] = [];
    this.#completed[level] = index + 1;
    const width = candidates.length;
    const stored = (await this.#tile(level, index, width)) ?? null;
    const rebuilt = rebuiltTile(candidates, stored);
    if (rebuilt !== null) await this.#comparePartialTiles(level, index, width, rebuilt);
    await this.#takeTile(level, width, rebuilt, stored, (verdict) => {
      const at = firstDifference(rebuilt as Uint8Array, stored as Uint8Array);
      if (verdict !== "below") {
        this.#report(tilePath(level, index, width), `hash ${at} is not the root of the tile below it`);
      }
      if (verdict !== "tile") {
        const below = tilePath(level - 1, index * TILE_WIDTH + at);
        this.#report(below, `with all below it, it adds up to another root than the levels above say`);
      }
    });
  }

  async #finish(): Promise<void> {
    for (let level = 1; level < this.#levels.length; level++) {
      if ((this.#levels[level] as Candidate[]).length > 0) await this.#complete(level);
    }
    const { size, root } = this.#head;
    const edge = [...this.#edge.values()];
    const disputes = edge.flatMap(({ dispute }) => (dispute === null ? [] : [dispute]));
    const incomplete = edge.some(({ rebuilt }) => rebuilt === null);
    if (!incomplete && equalBytes(await this.#rootOf((tile) => tile.rebuilt), root)) {
      for (const { settle } of disputes) settle("tile");
    } else if (
      !incomplete &&
      disputes.length > 0 &&
      equalBytes(await this.#rootOf((tile) => tile.dispute?.stored ?? tile.rebuilt), root)
    ) {
      for (const { settle } of disputes) settle("below");
    } else {
      for (const { settle } of disputes) settle("unclear");
      // What was not read may well hold what is needed.
      if (incomplete && this.#unread > 0) return;
      const why = incomplete ? "cannot be rebuilt" : "is not the root of the entries";
      this.#report("checkpoint", `the root at size ${size} ${why}`);
    }
  }

  async #rootOf(choose: (tile: EdgeTile) => Uint8Array | null): Promise<Hash> {
    return await rootFromTiles(
      this.#head.size,
      async (level) => choose(this.#edge.get(level) as EdgeTile) as Uint8Array,
      this.#hasher,
    );
  }

  async #bundle(index: number, width: number): Promise<ReadBundle | null | undefined> {
    return await this.#object(entriesPath(index, width), () => readBundle(this.#source, index, width));
  }

  async #tile(level: number, index: number, width: number): Promise<Uint8Array | null | undefined> {
    return await this.#object(tilePath(level, index, width), () =>
      readTile(this.#source, level, index, width),
    );
  }

  /** Null where the object is missing or malformed, undefined where that cannot be told; either is reported. */
  async #object<T>(path: string, read: () => Promise<T | null>): Promise<T | null | undefined> {
    try {
      const object = await read();
      this.#unreadInARow = 0;
      if (object === null) this.#report(path, "it is missing");
      return object;
    } catch (error) {
      if (isCairnError(error) && WRONG.has(error.code)) {
        this.#unreadInARow = 0;
        const isLost = error.code === "object_missing";
        this.#report(path, isLost ? "the log says that its storage has lost it" : error.message);
        return null;
      }
      this.#leaveUnread(path, error);
      return undefined;
    }
  }

  #leaveUnread(path: string, cause: unknown): void {
    const error = coded(cause);
    // Given up meanwhile: what was asked for before that tells nothing more.
    if (this.#unreadInARow >= UNREAD_IN_A_ROW) throw error;
    this.#unread++;
    this.#reportUnread(path, error);
    if (++this.#unreadInARow >= UNREAD_IN_A_ROW) throw error;
  }

  async #comparePartialTiles(level: number, index: number, width: number, hashes: Uint8Array): Promise<void> {
    await this.#comparePartials(tilePath(level, index), width, (partial) =>
      hashes.subarray(0, partial * HASH_BYTES),
    );
  }

  async #comparePartialBundles(index: number, width: number, bytes: Uint8Array): Promise<void> {
    await this.#comparePartials(entriesPath(index), width, (partial) =>
      bytes.subarray(0, bundleOffsets(bytes)[partial]),
    );
  }

  /** The narrower versions that a source still holds must be the beginning of the one that was checked. */
  async #comparePartials(
    fullPath: string,
    width: number,
    expected: (partial: number) => Uint8Array,
  ): Promise<void> {
    const widths = (await this.#source.partialWidths?.(fullPath)) ?? [];
    for (const partial of widths) {
      // The checkpoint's own width was checked above; wider ones belong to a later checkpoint.
      if (partial >= width) continue;
      const path = `${fullPath}.p/${partial}`;
      let bytes: Uint8Array | null = null;
      try {
        bytes = await this.#source.get(path);
      } catch (error) {
        this.#leaveUnread(path, error);
      }
      // Superseded ones may go at any moment.
      if (bytes !== null && !equalBytes(bytes, expected(partial))) {
        this.#report(path, "it is not the beginning of the wider one");
      }
    }
  }
}

/**
 * The hashes of a tile from those below it. Where the tile below and what lies under it disagree, the stored tile decides;
 * where nothing is left below, its hash stands in. Null where that fails too.
 */
function rebuiltTile(candidates: readonly Candidate[], stored: Uint8Array | null): Uint8Array | null {
  const hashes = new Uint8Array(candidates.length * HASH_BYTES);
  let complete = true;
  candidates.forEach(({ rebuilt, dispute }, i) => {
    const above = stored?.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES) ?? null;
    let chosen: Uint8Array | null = rebuilt ?? above;
    if (dispute !== null) {
      const agrees = (hash: Uint8Array) => above !== null && equalBytes(above, hash);
      const verdict = agrees(dispute.stored) ? "below" : agrees(rebuilt as Hash) ? "tile" : "unclear";
      if (verdict === "below") chosen = dispute.stored;
      dispute.settle(verdict);
    }
    if (chosen === null) complete = false;
    else hashes.set(chosen, i * HASH_BYTES);
  });
  return complete ? hashes : null;
}

/** The place of the first 32-byte hash in which the two, of one length, differ. */
function firstDifference(a: Uint8Array, b: Uint8Array): number {
  let at = 0;
  while (a[at] === b[at]) at++;
  return Math.floor(at / HASH_BYTES);
}

/** Why something could not be read, as an error with a code. */
function coded(cause: unknown): CairnError {
  return isCairnError(cause) ? cause : new CairnError("unreachable", { detail: String(cause), cause });
}
