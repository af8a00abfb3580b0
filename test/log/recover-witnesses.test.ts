// Recovery asks the witnesses too: a head that only they still hold is the log's, whatever older copies of database and tiles
// say, and what a witness merely claims changes nothing.

import { describe, expect, test } from "vitest";
import { printCheckpoint } from "../../src/core/checkpoint.ts";
import { cosignatureVerifier, cosignatureVkey, noblePrimitives } from "../../src/core/cosignature.ts";
import { nobleEd25519 } from "../../src/core/ed25519.ts";
import { type CairnError, isCairnError } from "../../src/core/errors.ts";
import { generatePrivateKey, noteSigner } from "../../src/core/note-key.ts";
import { printNote, signNote } from "../../src/core/note.ts";
import { policyFromQuorum } from "../../src/core/policy.ts";
import { CHECKPOINT_KEY } from "../../src/log/head.ts";
import type { LogWitnesses } from "../../src/log/options.ts";
import { type Mirror, type Recovered, recoverLog } from "../../src/log/recover.ts";
import { createNodeBulkHasher } from "../../src/cli/node-bulk-hasher.ts";
import { settled } from "./doubles/fake-clock.ts";
import { grow } from "./doubles/grow.ts";
import { LogProcess, World } from "./doubles/world.ts";

const READ_AT = "https://read.example/w";
const KEY = generatePrivateKey("w.example", new Uint8Array(32).fill(3));

/** A witness whose monitoring endpoint shows `note` for the log's origin; null: it does not answer. */
function showing(note: Uint8Array | null): { witnesses: LogWitnesses; asked: string[] } {
  const asked: string[] = [];
  const key = cosignatureVkey(KEY);
  const peer = {
    name: "w",
    url: "https://w.example",
    monitorUrl: READ_AT,
    verifier: cosignatureVerifier(key, noblePrimitives),
  };
  const fetch: LogWitnesses["fetch"] = async (url) => {
    asked.push(url);
    if (note === null) throw new TypeError("fetch failed");
    return new Response(note as Uint8Array<ArrayBuffer>);
  };
  return {
    asked,
    witnesses: {
      policy: policyFromQuorum([{ name: "w", key, url: peer.url }], 1),
      peers: [peer],
      ignored: new Set(),
      surplusWaitMs: 0,
      fetch,
    },
  };
}

/** A log of 300 entries; and the same later, with 700. */
async function twoAges(): Promise<{ older: World; newer: World }> {
  const older = new World();
  await grow(older, 300);
  const newer = older.copy();
  await grow(newer, 700);
  return { older, newer };
}

async function recover(
  world: World,
  witnesses: LogWitnesses,
  mirror: Mirror | null = null,
): Promise<{ result: Recovered | CairnError; troubles: readonly string[] }> {
  const process = new LogProcess(world, {});
  world.processes.push(process);
  const recovering = recoverLog({ ...process.options(), witnesses, mirror, fromHead: false });
  try {
    return { result: await settled("recovery", [process.clock], recovering), troubles: process.troubles };
  } catch (error) {
    if (!isCairnError(error)) throw error;
    return { result: error, troubles: process.troubles };
  }
}

function checkpointOf(world: World): Uint8Array {
  return world.memory.contents().get(CHECKPOINT_KEY) as Uint8Array;
}

function mirrorOf(world: World): Mirror {
  const contents = world.memory.copy().contents();
  return { get: async (path) => (path.startsWith("state/") ? null : (contents.get(path) ?? null)) };
}

describe("a restored copy of database and tiles", () => {
  test("is not the log any more where a witness shows a larger head: without the entries there is no recovery", async () => {
    const { older, newer } = await twoAges();
    const before = older.memory.contents();
    const { witnesses, asked } = showing(checkpointOf(newer));
    const { result } = await recover(older, witnesses);
    expect(result).toMatchObject({ code: "log_ended" });
    expect(older.memory.contents()).toEqual(before);
    const originHash = Buffer.from(createNodeBulkHasher().tree.sha256(Buffer.from(older.keys.origin)));
    expect(asked).toEqual([`${READ_AT}/${originHash.toString("hex")}/checkpoint`]);
  });

  test("comes back to the head that the witness shows, with the entries of a mirror that has no checkpoint of it", async () => {
    const { older, newer } = await twoAges();
    const entries = mirrorOf(newer);
    const mirror: Mirror = { get: async (path) => (path === CHECKPOINT_KEY ? null : entries.get(path)) };
    const { result } = await recover(older, showing(checkpointOf(newer)).witnesses, mirror);
    expect(result).toMatchObject({ size: 700, nextIndex: 700, headFrom: "witness w" });
    // Recovered, it goes on from there, under that same history.
    await grow(older, 701);
    expect(older.published).toBe(701);
    expect(older.problems).toEqual([]);
  });
});

describe("what a witness shows changes nothing", () => {
  test("where it is not signed by the log", async () => {
    const { older } = await twoAges();
    const impostor = noteSigner(
      generatePrivateKey(older.keys.origin, new Uint8Array(32).fill(77)),
      nobleEd25519,
    );
    const text = printCheckpoint({
      origin: older.keys.origin,
      size: 1_000_000n,
      root: createNodeBulkHasher().tree.empty(),
      extensions: [],
    });
    const { result, troubles } = await recover(
      older,
      showing(printNote(signNote(text, [impostor]))).witnesses,
    );
    expect(result).toMatchObject({ size: 300 });
    expect(troubles.some((trouble) => trouble.includes("witness w"))).toBe(true);
  });

  test("where it is no larger than what the log has, or nothing at all", async () => {
    const { older, newer } = await twoAges();
    expect((await recover(newer, showing(checkpointOf(older)).witnesses)).result).toMatchObject({
      size: 700,
      mended: [],
    });
    for (const note of [null, new Uint8Array(0), Buffer.from("not a note")]) {
      expect((await recover(older.copy(), showing(note).witnesses)).result).toMatchObject({ size: 300 });
    }
  });
});
