// What must be true of a world when its processes are gone, whatever happened to them (O1 to O9 of the fault matrix; O7
// and O8, cosignatures and the index, come with the rooms that make them).

import { expect } from "vitest";
import { toHex } from "../../../src/core/bytes.ts";
import { decodeBundle } from "../../../src/core/bundle.ts";
import { parseTilePath, entriesPath } from "../../../src/core/tile-path.ts";
import { TILE_WIDTH, tileEnd } from "../../../src/core/tile.ts";
import { encodeBundle } from "../../../src/core/bundle.ts";
import { CHECKPOINT_KEY, HEAD_KEY } from "../../../src/log/head.ts";
import { readOwnCheckpoint } from "../../../src/log/publisher.ts";
import { type NaiveTree, naiveLeaf, naiveTree } from "../../core/naive.ts";
import { type World, keyOf, objectsUnder } from "./world.ts";

export interface OracleOptions {
  /** Objects under `state/quarantine/` are allowed: the case declares a leftover, damage or a fork of somebody else's. */
  readonly quarantine?: boolean;
  /** Partial objects whose full one stands are allowed: a crash can leave them, and `gc` removes them. */
  readonly superseded?: boolean;
  /** Entries that were acknowledged by a database that was then lost or restored: they may be gone, and only they. */
  readonly lost?: ReadonlySet<string>;
}

/** A tree of a world's entries that is kept between calls, since the large ones are made of the same fixture. */
const trees: { leaves: Uint8Array[]; tree: NaiveTree }[] = [];

function treeOf(entries: readonly Uint8Array[]): NaiveTree {
  const leaves = entries.map(naiveLeaf);
  const known = trees.find(
    (each) =>
      each.leaves.length === leaves.length &&
      each.leaves.every((leaf, i) => Buffer.compare(leaf, leaves[i] as Uint8Array) === 0),
  );
  if (known !== undefined) return known.tree;
  const tree = naiveTree(leaves);
  trees.push({ leaves, tree });
  if (trees.length > 4) trees.shift();
  return tree;
}

/** Checks everything. All processes of the world have ended; the newest one went as far as it could. */
export function checkOracle(world: World, options: OracleOptions = {}): void {
  const contents = world.memory.contents();
  const checkpoint = contents.get(CHECKPOINT_KEY);
  if (checkpoint === undefined) throw new Error("nothing was published");
  const { size, root } = readOwnCheckpoint(checkpoint, world.keys.origin, world.keys.verifiers);

  // What was seen on the way: O3 at every publication, O5, and an index given twice.
  expect(world.problems).toEqual([]);
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
  const tree = treeOf(entries);
  expect(toHex(tree.root(0, size)), "O3: the entries lead to the checkpoint's root").toBe(toHex(root));
  for (const path of objectsUnder(size)) if (!contents.has(path)) expect.fail(`O3: ${path} is not there`);

  // O1, O2: every head that was signed is the root of a prefix of what is published now, so each extends the others.
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
    if (options.lost?.has(key) === true) continue;
    expect(indices.get(key), `O4: ${key}`).toBe(index);
  }

  // O6: no key changed its bytes, and the keys are the ones expected.
  expect(world.memory.violations, "O6: an immutable object changed").toEqual([]);
  const needed = new Set(objectsUnder(size));
  const signedSizes = new Set(world.ledger.signed.map((head) => head.size));
  for (const [key, bytes] of contents) {
    if (key === CHECKPOINT_KEY || key === HEAD_KEY) continue;
    if (key.startsWith("state/quarantine/")) {
      if (options.quarantine !== true) expect.fail(`O6: ${key}`);
      continue;
    }
    if (!key.startsWith("tile/")) expect.fail(`O6: ${key}`);
    const place = parseTilePath(key);
    const level = place.kind === "tile" ? place.level : 0;
    const end = tileEnd(level, place.index, place.width);
    if (end > size) expect.fail(`O6: ${key} lies beyond the published size ${size}`);
    const first = place.index * TILE_WIDTH;
    const right =
      place.kind === "tile"
        ? tree.tile(level, place.index, place.width)
        : encodeBundle(entries.slice(first, first + place.width));
    if (Buffer.compare(bytes, right) !== 0) expect.fail(`O6: ${key} has other bytes than the tree`);
    if (needed.has(key)) continue;
    // A partial object of an earlier size, signed or not, below the next full one.
    const isSuperseded = contents.has(
      place.kind === "tile" ? key.slice(0, key.indexOf(".p/")) : key.slice(0, key.indexOf(".p/")),
    );
    if (isSuperseded && options.superseded !== true)
      expect.fail(`O6: ${key} is superseded and still there (${signedSizes.size} heads)`);
  }

  // O9: nobody waits, nothing ticks.
  for (const [i, process] of world.processes.entries()) {
    expect(
      process.answers.map(({ times }) => times),
      `O9: answers of process ${i}`,
    ).toEqual(process.answers.map(() => 1));
    expect(process.clock.pending, `O9: timers of process ${i}`).toBe(0);
  }
}
