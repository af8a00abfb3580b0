// Byte equality with a log that another implementation wrote: Go Tessera's 15 entries, at all 16 sizes.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { nodeHasher } from "../../src/cli/node-hasher.ts";
import { decodeBase64 } from "../../src/core/base64.ts";
import { decodeBundle, encodeBundle } from "../../src/core/bundle.ts";
import { concatBytes, encodeUtf8 } from "../../src/core/bytes.ts";
import type { TreeHasher } from "../../src/core/hash.ts";
import { emptyRoot, perfectRoot, verifyConsistency, verifyInclusion } from "../../src/core/merkle.ts";
import { nobleHasher } from "../../src/core/noble-hasher.ts";
import { entriesPath, parseTilePath, printTilePath, tilePath } from "../../src/core/tile-path.ts";
import { consistencyProof, inclusionProof, rootFromTiles } from "../../src/core/tile-proof.ts";
import type { TileReader } from "../../src/core/tile-proof.ts";
import { skipWithout } from "../require.ts";

const folder = fileURLToPath(new URL("../../../shared/vectors/golden-log/", import.meta.url));
const absent = skipWithout(existsSync(folder), `the golden log is not at ${folder}`);

const ENTRIES = "one two three four five six seven eit nain ten ileven twelf threeten fourten fivten"
  .split(" ")
  .map(encodeUtf8);
const SIZES = Array.from({ length: ENTRIES.length + 1 }, (_, size) => size);

function golden(path: string): Uint8Array {
  return new Uint8Array(readFileSync(`${folder}${path}`));
}

/** Size and root of a checkpoint, read by hand: the second and third line of the note. */
function goldenHead(name: string): { size: number; root: Uint8Array } {
  const lines = new TextDecoder().decode(golden(name)).split("\n");
  return { size: Number(lines[1]), root: decodeBase64(lines[2] as string) };
}

const read: TileReader = async (level, index, width) => golden(tilePath(level, index, width));

describe.skipIf(absent).each<[string, TreeHasher]>([
  ["node:crypto", nodeHasher],
  ["noble", nobleHasher],
])("the golden log with %s", (_, hasher) => {
  const leafHashes = ENTRIES.map((entry) => hasher.leaf(entry));

  test.each(SIZES)("size %i: tile, bundle and root are the same bytes", async (size) => {
    const head = goldenHead(`checkpoint.${size}`);
    expect(head.size).toBe(size);
    if (size === 0) {
      expect(head.root).toEqual(emptyRoot(hasher));
    } else {
      const tile = concatBytes(...leafHashes.slice(0, size));
      expect(tile).toEqual(golden(tilePath(0, 0, size)));
      expect(perfectRoot(tile, hasher)).toEqual(head.root);
      expect(encodeBundle(ENTRIES.slice(0, size))).toEqual(golden(entriesPath(0, size)));
      expect(decodeBundle(golden(entriesPath(0, size)), size)).toEqual(ENTRIES.slice(0, size));
    }
    expect(await rootFromTiles(size, read, hasher)).toEqual(head.root);
  });

  test.each(SIZES)("size %i: every inclusion and consistency proof from its tiles verifies", async (size) => {
    const { root } = goldenHead(`checkpoint.${size}`);
    for (let index = 0; index < size; index++) {
      const proof = await inclusionProof(index, size, read, hasher);
      const leafHash = leafHashes[index] as Uint8Array;
      expect(verifyInclusion({ leafHash, index, size, proof, root }, hasher)).toBe(true);
    }
    for (let size1 = 0; size1 <= size; size1++) {
      const proof = await consistencyProof(size1, size, read, hasher);
      const root1 = goldenHead(`checkpoint.${size1}`).root;
      expect(verifyConsistency({ size1, root1, size2: size, root2: root, proof }, hasher)).toBe(true);
    }
  });
});

describe.skipIf(absent)("the golden log's files", () => {
  test("are exactly the tiles and bundles of sizes 1 to 15, under paths that read and print the same", () => {
    const files = readdirSync(`${folder}tile`, { recursive: true, withFileTypes: true })
      .filter((file) => file.isFile())
      .map((file) => `${file.parentPath}/${file.name}`.slice(folder.length));
    for (const path of files) expect(printTilePath(parseTilePath(path))).toBe(path);
    const expected = SIZES.slice(1).flatMap((size) => [tilePath(0, 0, size), entriesPath(0, size)]);
    expect(files.sort()).toEqual(expected.sort());
  });

  test("the published checkpoint is the last one", () => {
    expect(goldenHead("checkpoint")).toEqual(goldenHead("checkpoint.15"));
  });
});
