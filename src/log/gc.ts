// Garbage: partial tiles and bundles whose full object stands and is synced, wherever in the log they lie. A running log
// removes those it made itself; this finds what crashes and older versions left. It runs instead of a log, not beside it.

import { TILE_WIDTH } from "../core/tile.ts";
import { release, takeHead, takePlaces } from "./log.ts";
import type { LogOptions } from "./options.ts";
import { placeEnd, tilePlace } from "./tile-place.ts";

export interface Garbage {
  /** Partial objects whose full object stands. */
  readonly superseded: number;
  /** Objects in quarantine, which only an operator removes. */
  readonly quarantined: readonly string[];
}

/** Removes superseded partial objects at or below the synced and published size; with `dryRun` only counts them. */
export async function collectGarbage(
  options: Pick<LogOptions, "keys" | "hasher" | "events" | "clock" | "places">,
  { dryRun, progress }: { readonly dryRun: boolean; readonly progress: (seen: number) => void },
): Promise<Garbage> {
  const held = await takePlaces({ ...options, create: false, makeFolders: false });
  try {
    const { judged } = await takeHead(options, held);
    const limit = Math.min(judged.snapshot.syncedSize, judged.published?.size ?? 0);
    let superseded = 0;
    let seen = 0;
    for await (const key of held.patient.list("tile/")) {
      progress(++seen);
      const place = tilePlace(key);
      if (place === null || place.width === TILE_WIDTH) continue;
      const end = placeEnd(place, TILE_WIDTH);
      if (end > limit || (await held.patient.get(key.slice(0, key.lastIndexOf(".p/")))) === null) continue;
      superseded++;
      if (!dryRun) await held.patient.remove(key);
    }
    const quarantined: string[] = [];
    for await (const key of held.patient.list("state/quarantine/")) quarantined.push(key);
    return { superseded, quarantined };
  } finally {
    await release(held);
  }
}
