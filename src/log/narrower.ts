// Partial objects of earlier sizes at the right edge. They were never synced, so a power loss may have torn any of them,
// and whoever serves the folder itself still hands them out. Each is the beginning of the newest one of its tile.

import { bundleOffsets } from "../core/bundle.ts";
import { equalBytes } from "../core/bytes.ts";
import { HASH_BYTES } from "../core/hash.ts";
import { entriesPath, tilePath } from "../core/tile-path.ts";
import { partialTiles, tileEnd } from "../core/tile.ts";
import type { ObjectStore } from "../storage/store.ts";
import type { ObjectToWrite } from "./objects.ts";

/**
 * Compares every partial object that is narrower than the one of its tile at `size`, which is right, and has those that
 * differ written anew.
 */
export async function mendNarrower(
  store: Pick<ObjectStore, "get" | "list">,
  size: number,
  write: (object: ObjectToWrite) => void,
): Promise<void> {
  for (const { level, index, width } of partialTiles(size)) {
    const mend = async (
      pathOf: (width: number) => string,
      cut: (whole: Uint8Array, width: number) => number,
    ) => {
      const newest = pathOf(width);
      const whole = (await store.get(newest))?.bytes;
      if (whole === undefined) return;
      for await (const key of store.list(newest.slice(0, newest.lastIndexOf("/") + 1))) {
        const narrower = Number(key.slice(key.lastIndexOf("/") + 1));
        if (!(narrower >= 1 && narrower < width)) continue;
        const bytes = whole.slice(0, cut(whole, narrower));
        const there = await store.get(key);
        if (there === null || equalBytes(there.bytes, bytes)) continue;
        write({ key, bytes, end: tileEnd(level, index, narrower), mode: "mend" });
      }
    };
    await mend(
      (each) => tilePath(level, index, each),
      (_, each) => each * HASH_BYTES,
    );
    if (level > 0) continue;
    await mend(
      (each) => entriesPath(index, each),
      (bundle, each) => bundleOffsets(bundle)[each] as number,
    );
  }
}
