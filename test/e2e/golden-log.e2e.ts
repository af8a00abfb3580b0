// The log that Go Tessera wrote from 15 entries, written again by a running server: the same bytes at every size.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { entriesPath, tilePath } from "../../src/core/tile-path.ts";
import { addForProof, checkpoint, expectCleanLog, readCheckpoint, untilPublished } from "./client.ts";
import { skipWithout } from "../require.ts";
import { create, newPlace } from "./server.ts";

const FOLDER = fileURLToPath(new URL("../../../shared/vectors/golden-log/", import.meta.url));
const ENTRIES = "one two three four five six seven eit nain ten ileven twelf threeten fourten fivten".split(
  " ",
);

const absent = skipWithout(existsSync(FOLDER), `the golden log is not at ${FOLDER}`);

const golden = (path: string): Buffer => readFileSync(join(FOLDER, path));
const goldenHead = (size: number) => readCheckpoint(golden(`checkpoint.${size}`).toString());

describe.skipIf(absent)("the golden log's entries, posted one at a time and published after each", () => {
  test("make its roots at all 16 sizes and its tiles and bundles byte for byte, as served and as stored", async () => {
    const place = await newPlace();
    const server = await create(place, { CHECKPOINT_INTERVAL: "0.01" });
    await untilPublished(server, 0);
    expect(await checkpoint(server)).toMatchObject(goldenHead(0));
    for (const [index, entry] of ENTRIES.entries()) {
      await addForProof(server, entry);
      expect(await checkpoint(server)).toMatchObject(goldenHead(index + 1));
    }

    for (let size = 0; size <= ENTRIES.length; size++) {
      const kept = await (await fetch(`${server.url}/checkpoint/${size}`)).text();
      expect(readCheckpoint(kept)).toEqual(goldenHead(size));
      if (size === 0) continue;
      for (const path of [tilePath(0, 0, size), entriesPath(0, size)]) {
        const served = await fetch(`${server.url}/${path}`);
        expect(Buffer.from(await served.arrayBuffer()), path).toEqual(golden(path));
        expect(readFileSync(join(place.tiles, path)), path).toEqual(golden(path));
      }
    }
    expect(await expectCleanLog(server, place)).toBe(ENTRIES.length);
  });
});
