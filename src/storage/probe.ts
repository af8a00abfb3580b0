// Proves on a store in use, not by its name, that conditional writes hold. Every driver's `probe` runs this before a log
// is written to it: one that ignores conditions would let two writers each believe it holds the log.

import { randomBytes } from "node:crypto";
import { CairnError } from "../core/errors.ts";
import type { ObjectStore } from "./store.ts";

const PROBE_NAME_BYTES = 8;
/** Racing creates for one key: more than two make a window of a few milliseconds hard to miss. */
const PROBE_RACERS = 4;

/**
 * Lets several creates race for one key and makes one stale replace, under `state/probe/<random>`, and removes them.
 * Throws `store_unsafe` naming what did not hold; what the store itself throws passes through.
 */
export async function probeStore(store: ObjectStore): Promise<void> {
  const key = `state/probe/${randomBytes(PROBE_NAME_BYTES).toString("hex")}`;
  const unsafe = (what: string): CairnError =>
    new CairnError("store_unsafe", { detail: `${store.location}: ${what}` });
  try {
    const contents = Array.from(
      { length: PROBE_RACERS },
      () => new Uint8Array(randomBytes(PROBE_NAME_BYTES)),
    );
    // All of them, also where one fails: what is still on its way could not be removed.
    const races = await Promise.allSettled(contents.map((bytes) => store.create(key, bytes)));
    const failed = races.find((race) => race.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    const winners = contents.filter((_, racer) => {
      const race = races[racer];
      return race?.status === "fulfilled" && race.value.outcome === "written";
    });
    const winner = winners[0];
    if (winners.length !== 1 || winner === undefined) {
      throw unsafe(`${winners.length} of ${PROBE_RACERS} racing creates of one object succeeded`);
    }
    const first = await store.get(key);
    if (first === null || !sameBytes(first.bytes, winner)) {
      throw unsafe("an object just created reads back otherwise");
    }
    const second = new Uint8Array(randomBytes(PROBE_NAME_BYTES));
    if ((await store.replace(key, second, first.version)).outcome !== "written") {
      throw unsafe("a replacement of the version just read was refused");
    }
    if ((await store.replace(key, winner, first.version)).outcome !== "refused") {
      throw unsafe("a replacement of a version that was gone succeeded");
    }
    const last = await store.get(key);
    if (last === null || !sameBytes(last.bytes, second)) {
      throw unsafe("an object just replaced reads back otherwise");
    }
  } finally {
    // What cannot be removed lies under a random name that nothing reads.
    await store.remove(key).catch(() => {});
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
