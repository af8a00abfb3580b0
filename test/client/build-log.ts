// Builds the objects of a log of any size, each handed to `put`: the published tiles, bundles and the signed checkpoint.
// The tree is built by plain recursion over tiles, apart from the code under test.

import { printCheckpoint } from "../../src/core/checkpoint.ts";
import { nobleEd25519 } from "../../src/core/ed25519.ts";
import { encodeBundle } from "../../src/core/bundle.ts";
import type { Hash, TreeHasher } from "../../src/core/hash.ts";
import { printNote, signNote } from "../../src/core/note.ts";
import { generatePrivateKey, noteSigner } from "../../src/core/note-key.ts";
import { NO_QUORUM, trustPolicy, type CheckpointTrust } from "../../src/core/policy.ts";
import { perfectRoot } from "../../src/core/merkle.ts";
import { parseVkey } from "../../src/core/vkey.ts";
import { nodeHasher } from "../../src/cli/node-hasher.ts";

export const ORIGIN = "log.example/test";

export type Put = (path: string, bytes: Uint8Array) => void;

export function testSigner(seedByte = 7, name = ORIGIN) {
  return noteSigner(generatePrivateKey(name, new Uint8Array(32).fill(seedByte)), nobleEd25519);
}

export function testTrust(vkey = testSigner().vkey): CheckpointTrust {
  return trustPolicy({ logs: [{ key: parseVkey(vkey) }], witnesses: [], groups: [], quorum: NO_QUORUM });
}

export function textEntry(index: number): Uint8Array {
  return new TextEncoder().encode(`entry ${index}`);
}

export function signedCheckpoint(size: number, root: Uint8Array, signer = testSigner()): Uint8Array {
  const text = printCheckpoint({ origin: ORIGIN, size: BigInt(size), root: root as Hash, extensions: [] });
  return printNote(signNote(text, [signer]));
}

/** Answers with the root. */
export function buildLog(
  size: number,
  put: Put,
  entryAt: (index: number) => Uint8Array = textEntry,
  hasher: TreeHasher = nodeHasher,
): Hash {
  let level: Uint8Array[] = [];
  for (let start = 0; start < size; start += 256) {
    const entries: Uint8Array[] = [];
    for (let i = start; i < Math.min(size, start + 256); i++) entries.push(entryAt(i));
    put(`tile/entries/${tileName(start / 256, entries.length)}`, encodeBundle(entries));
    level.push(...entries.map((entry) => hasher.leaf(entry)));
    if (level.length % 65_536 === 0) level = level.map((hash) => hash.slice());
  }
  const root = level.length === 0 ? hasher.empty() : perfectRoot(concat(level), hasher);
  for (let number = 0; level.length > 0; number++) {
    const above: Uint8Array[] = [];
    for (let start = 0; start < level.length; start += 256) {
      const hashes = level.slice(start, start + 256);
      const tile = concat(hashes);
      put(`tile/${number}/${tileName(start / 256, hashes.length)}`, tile);
      if (hashes.length === 256) above.push(perfectRoot(tile, hasher));
    }
    level = above;
  }
  put("checkpoint", signedCheckpoint(size, root));
  return root;
}

/** The objects of a log in memory. */
export function memoryLog(size: number, entryAt = textEntry): Map<string, Uint8Array> {
  const objects = new Map<string, Uint8Array>();
  buildLog(size, (path, bytes) => objects.set(path, bytes), entryAt);
  return objects;
}

export function mapSource(objects: ReadonlyMap<string, Uint8Array>) {
  return { get: async (path: string) => objects.get(path) ?? null };
}

function tileName(index: number, width: number): string {
  const groups = String(index)
    .padStart(Math.ceil(String(index).length / 3) * 3, "0")
    .match(/.{3}/g) as string[];
  const name = groups.map((group, i) => (i < groups.length - 1 ? `x${group}` : group)).join("/");
  return width === 256 ? name : `${name}.p/${width}`;
}

function concat(hashes: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(hashes.length * 32);
  hashes.forEach((hash, i) => bytes.set(hash, i * 32));
  return bytes;
}
