// What a log's folder holds, read without any of the log's own code for reading: the published entries, the heads that
// were signed, and what lies there that should not.

import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { decodeBundle } from "../../src/core/bundle.ts";
import { parseCheckpoint } from "../../src/core/checkpoint.ts";
import { toHex } from "../../src/core/bytes.ts";
import { openNote, parseNote } from "../../src/core/note.ts";
import { entriesPath, parseTilePath, tilePath } from "../../src/core/tile-path.ts";
import { TILE_WIDTH, partialTiles, tileEnd } from "../../src/core/tile.ts";
import { naiveLeaf, naiveNode, naiveSha256 } from "../core/naive.ts";
import type { Place } from "./place.ts";
import type { Acknowledgements } from "./publishers.ts";

export interface Head {
  readonly size: number;
  readonly root: string;
}

/** A note of ours as size and root. Throws where our key did not sign it. */
export function readHead(place: Place, note: Uint8Array): Head {
  const parsed = parseNote(note);
  openNote(parsed, place.verifiers);
  const { size, root } = parseCheckpoint(parsed.text);
  return { size: Number(size), root: toHex(root) };
}

/** The signed head in `state/head`, or null before creation. */
export async function signedHead(place: Place): Promise<Head | null> {
  const bytes = await readIfThere(join(place.tiles, "state/head"));
  if (bytes === null) return null;
  const { note } = JSON.parse(bytes.toString()) as { note: string };
  return readHead(place, Buffer.from(note));
}

export async function publishedHead(place: Place): Promise<Head | null> {
  const bytes = await readIfThere(join(place.tiles, "checkpoint"));
  return bytes === null ? null : readHead(place, bytes);
}

/** Entries `from` to the end of the tree of `size`. */
export async function readEntries(place: Place, from: number, size: number): Promise<string[]> {
  const entries: string[] = [];
  for (let index = Math.floor(from / TILE_WIDTH); index * TILE_WIDTH < size; index++) {
    const width = Math.min(TILE_WIDTH, size - index * TILE_WIDTH);
    // A partial bundle goes when the full one is published, so one of the two is there.
    const bytes =
      (await readIfThere(join(place.tiles, entriesPath(index)))) ??
      (await readFile(join(place.tiles, entriesPath(index, width))));
    for (const entry of decodeBundle(bytes).slice(0, width)) entries.push(Buffer.from(entry).toString());
  }
  return entries.slice(from % TILE_WIDTH);
}

/** The log as far as it was read: entries never change, so each is read once. */
export class History {
  readonly entries: string[] = [];
  readonly #place: Place;
  /** Perfect subtrees of the tree so far, largest first: [leaves, root]. */
  readonly #stack: { readonly leaves: number; readonly root: Uint8Array }[] = [];
  readonly #roots = new Map<number, string>();
  readonly #index = new Map<string, number>();
  readonly #heads = new Map<number, string>();

  constructor(place: Place) {
    this.#place = place;
  }

  /** A head that was seen somewhere. Throws where another one of its size was. */
  saw(head: Head | null): void {
    if (head === null) return;
    const known = this.#heads.get(head.size);
    if (known !== undefined && known !== head.root)
      throw new Error(`two heads of size ${head.size} were signed`);
    this.#heads.set(head.size, head.root);
  }

  get headCount(): number {
    return this.#heads.size;
  }

  /** Reads what was published since the last time, and checks all that was seen against it. */
  async check(acknowledgements: Acknowledgements): Promise<void> {
    const head = await publishedHead(this.#place);
    if (head === null) return;
    this.saw(head);
    if (head.size < this.entries.length) throw new Error(`the checkpoint went back to ${head.size}`);
    for (const entry of await readEntries(this.#place, this.entries.length, head.size)) {
      if (!acknowledgements.submitted.has(entry)) throw new Error(`nobody submitted "${entry}"`);
      this.#append(entry);
    }
    for (const [entry, index] of acknowledgements.indices) {
      if (index < head.size && this.#index.get(entry) !== index) {
        throw new Error(`"${entry}" was acknowledged at ${index} and stands at ${this.#index.get(entry)}`);
      }
    }
    for (const [size, root] of this.#heads) {
      if (size <= head.size && this.#roots.get(size) !== root && size > 0) {
        throw new Error(`the signed head of size ${size} is not one of this log's`);
      }
    }
  }

  #append(entry: string): void {
    if (this.#index.has(entry)) throw new Error(`"${entry}" stands at ${this.#index.get(entry)} and again`);
    this.#index.set(entry, this.entries.length);
    this.entries.push(entry);
    let node = { leaves: 1, root: naiveLeaf(Buffer.from(entry)) };
    for (let last = this.#stack.at(-1); last?.leaves === node.leaves; last = this.#stack.at(-1)) {
      this.#stack.pop();
      node = { leaves: node.leaves * 2, root: naiveNode(last.root, node.root) };
    }
    this.#stack.push(node);
    // Only sizes at which some head was signed are asked for, and any may be.
    const root = this.#stack.reduceRight<Uint8Array | null>(
      (right, { root: left }) => (right === null ? left : naiveNode(left, right)),
      null,
    );
    this.#roots.set(this.entries.length, toHex(root ?? naiveSha256()));
  }
}

/** What lies under the folder that no reader of the published checkpoint asks for, by its path. */
export async function strays(place: Place): Promise<string[]> {
  const head = await publishedHead(place);
  const size = head?.size ?? 0;
  const needed = new Set(["checkpoint", "state/head", "state/lock", "state/lock-wal", "state/lock-shm"]);
  for (let index = 0; index < Math.floor(size / TILE_WIDTH); index++) needed.add(entriesPath(index));
  for (let level = 0, nodes = Math.floor(size / TILE_WIDTH); nodes > 0; level++) {
    for (let index = 0; index < nodes; index++) needed.add(tilePath(level, index));
    nodes = Math.floor(nodes / TILE_WIDTH);
  }
  for (const { level, index, width } of partialTiles(size)) {
    needed.add(tilePath(level, index, width));
    if (level === 0) needed.add(entriesPath(index, width));
  }
  const found: string[] = [];
  for (const entry of await readdir(place.tiles, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name).slice(place.tiles.length + 1);
    if (needed.has(path) || isRightEdge(path, size)) continue;
    found.push(path);
  }
  return found.sort();
}

/** A partial object of an earlier size whose full one is not there yet. */
function isRightEdge(path: string, size: number): boolean {
  if (!path.startsWith("tile/") || !path.includes(".p/")) return false;
  const { index, width, ...place } = parseTilePath(path);
  const level = place.kind === "tile" ? place.level : 0;
  return tileEnd(level, index, TILE_WIDTH) > size && tileEnd(level, index, width) <= size;
}

async function readIfThere(path: string): Promise<Buffer | null> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return null;
    throw error;
  }
}
