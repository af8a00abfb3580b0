// What must be true of a world when its processes are gone, whatever happened to them (O1 to O9 of the fault matrix; O7
// and O8, cosignatures and the index, come with the rooms that make them).

import { expect } from "vitest";
import { decodeBundle, encodeBundle } from "../../../src/core/bundle.ts";
import { toHex } from "../../../src/core/bytes.ts";
import { entriesPath } from "../../../src/core/tile-path.ts";
import { TILE_WIDTH, tileEnd } from "../../../src/core/tile.ts";
import { CHECKPOINT_KEY, HEAD_KEY } from "../../../src/log/head.ts";
import { readOwnCheckpoint } from "../../../src/log/publisher.ts";
import { tilePlace } from "../../../src/log/tile-place.ts";
import { naiveLeaf, naiveNode, naiveSha256, naiveSplit } from "../../core/naive.ts";
import { entryOf } from "./entries.ts";
import { type World, keyOf, objectsUnder } from "./world.ts";

export interface OracleOptions {
  /** Objects under `state/quarantine/` are allowed: the case declares a leftover, damage or a fork of somebody else's. */
  readonly quarantine?: boolean;
  /** Partial objects whose full one stands are allowed: a crash can leave them, and `gc` removes them. */
  readonly superseded?: boolean;
  /** Entries that were acknowledged by a database that was then lost or restored: they may be gone, and only they. */
  readonly lost?: ReadonlySet<string>;
  /** The store told a lie about one write, so a checkpoint may have been public for a while before all was under it. */
  readonly lied?: boolean;
}

/** Leaf hashes of `entry 0`, `entry 1`, ..., with which most logs under test begin, and the nodes over them. */
const commonLeaves: Uint8Array[] = [];
const commonNodes = new Map<string, Uint8Array>();

/** RFC 6962, section 2.1, over entries; what lies over the common beginning is worked out once for all tests of a file. */
class Tree {
  readonly #leaves: Uint8Array[] = [];
  readonly #nodes = new Map<string, Uint8Array>();
  /** Entries that are the common ones. */
  readonly #common: number = 0;

  constructor(entries: readonly Uint8Array[]) {
    for (const [index, entry] of entries.entries()) {
      const isCommon = this.#common === index && Buffer.compare(entry, entryOf(index)) === 0;
      if (isCommon) this.#common = index + 1;
      this.#leaves.push(isCommon ? (commonLeaves[index] ??= naiveLeaf(entry)) : naiveLeaf(entry));
    }
  }

  root(start: number, end: number): Uint8Array {
    if (start === end) return naiveSha256();
    if (end - start === 1) return this.#leaves[start] as Uint8Array;
    const nodes = end <= this.#common ? commonNodes : this.#nodes;
    const key = `${start} ${end}`;
    let node = nodes.get(key);
    if (node === undefined) {
      const middle = start + naiveSplit(end - start);
      node = naiveNode(this.root(start, middle), this.root(middle, end));
      nodes.set(key, node);
    }
    return node;
  }

  tile(level: number, index: number, width: number): Uint8Array {
    const span = TILE_WIDTH ** level;
    const first = index * TILE_WIDTH;
    return Buffer.concat(
      Array.from({ length: width }, (_, i) => this.root((first + i) * span, (first + i + 1) * span)),
    );
  }
}

/** Checks everything. All processes of the world have ended; the newest one went as far as it could. */
export function checkOracle(world: World, options: OracleOptions = {}): void {
  const contents = world.memory.contents();
  const checkpoint = contents.get(CHECKPOINT_KEY);
  if (checkpoint === undefined) throw new Error("nothing was published");
  const { size, root } = readOwnCheckpoint(checkpoint, world.keys.origin, world.keys.verifiers);

  // What was seen on the way: O3 at every publication, O5, and an index given twice.
  const problems = world.problems.filter((problem) => options.lied !== true || !problem.startsWith("O3"));
  expect(problems).toEqual([]);
  // O1
  expect(world.ledger.violations, "O1: a second root was asked for").toEqual([]);

  // O3: the newest checkpoint is fully readable, byte for byte.
  const entries: Uint8Array[] = [];
  for (let index = 0; index * TILE_WIDTH < size; index++) {
    const width = Math.min(TILE_WIDTH, size - index * TILE_WIDTH);
    const bundle = contents.get(entriesPath(index, width));
    if (bundle === undefined) throw new Error(`O3: ${entriesPath(index, width)} is not there`);
    entries.push(...decodeBundle(bundle, width));
  }
  const tree = new Tree(entries);
  expect(toHex(tree.root(0, size)), "O3: the entries lead to the checkpoint's root").toBe(toHex(root));
  for (const path of objectsUnder(size)) if (!contents.has(path)) expect.fail(`O3: ${path} is not there`);

  // O1, O2: every head that was signed is the root of a prefix of what is published now, so each extends the others. A
  // signature that never left its process may be made otherwise by the next one, once its database is gone.
  for (const signed of world.ledger.signed) {
    if (options.lost !== undefined && !world.left.some((each) => each.size === signed.size)) continue;
    if (signed.size > size) expect.fail(`O2: ${signed.size} was signed and ${size} is published`);
    expect(toHex(tree.root(0, signed.size)), `O2: the head of size ${signed.size}`).toBe(signed.root);
  }

  // O4: every acknowledgement is where it was said to be, and nothing stands there twice or was never asked for.
  const indices = new Map<string, number>();
  for (const [index, entry] of entries.entries()) {
    const key = keyOf(entry);
    if (indices.has(key)) expect.fail(`an entry stands at ${indices.get(key)} and at ${index}`);
    if (!world.submitted.has(key)) expect.fail(`the entry at ${index} was never submitted`);
    indices.set(key, index);
  }
  for (const [key, index] of world.acknowledged) {
    if (options.lost?.has(key) === true || indices.get(key) === index) continue;
    expect.fail(`O4: "${key}" was acknowledged at ${index} and stands at ${indices.get(key)}`);
  }

  // O6: no key changed its bytes, every object is the one of its place, and the keys are the ones expected.
  expect(world.memory.violations, "O6: an immutable object changed").toEqual([]);
  const needed = new Set(objectsUnder(size));
  for (const [key, bytes] of contents) {
    if (key === CHECKPOINT_KEY || key === HEAD_KEY) continue;
    if (key.startsWith("state/quarantine/")) {
      if (options.quarantine !== true) expect.fail(`O6: ${key}`);
      continue;
    }
    const place = tilePlace(key);
    if (place === null) throw new Error(`O6: ${key}`);
    const level = place.kind === "tile" ? place.level : 0;
    if (tileEnd(level, place.index, place.width) > size) {
      expect.fail(`O6: ${key} lies beyond the published size ${size}`);
    }
    const first = place.index * TILE_WIDTH;
    const right =
      place.kind === "tile"
        ? tree.tile(level, place.index, place.width)
        : encodeBundle(entries.slice(first, first + place.width));
    if (Buffer.compare(bytes, right) !== 0) expect.fail(`O6: ${key} has other bytes than the tree`);
    // Else a partial object of an earlier size, signed or not, below the next full one.
    if (needed.has(key) || !contents.has(key.slice(0, key.indexOf(".p/")))) continue;
    if (options.superseded !== true) expect.fail(`O6: ${key} is superseded and still there`);
  }

  // O9: nobody waits, nothing ticks.
  for (const [i, process] of world.processes.entries()) {
    if (process.answers.some(({ times }) => times !== 1)) expect.fail(`O9: answers of process ${i}`);
    if (process.clock.pending !== 0) expect.fail(`O9: ${process.clock.pending} timers of process ${i}`);
  }
}
