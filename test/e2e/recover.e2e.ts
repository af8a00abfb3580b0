// What was lost, restored or damaged: refused at start with the way out, and got back by `cairn recover`.

import { copyFile, cp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { ErrorCode } from "../../src/core/errors.ts";
import { entriesPath, tilePath } from "../../src/core/tile-path.ts";
import {
  addBatch,
  checkpoint,
  entries,
  expectAt,
  expectClean,
  expectCleanLog,
  untilPublished,
} from "./client.ts";
import {
  checkpointFile,
  entriesOf,
  expectWhole,
  grow,
  headFile,
  loseDatabase,
  NEVER_AGAIN,
  newLog,
  template,
} from "./log.ts";
import { skipWithout } from "../require.ts";
import { expectRefused, expectSentence, filesIn } from "./refusal.ts";
import { cairn, copyPlace, create, newPlace, type Place, progress, serve } from "./server.ts";
import { serveFolder } from "./static.ts";
import { isInBucket } from "./store.ts";

const inBucket = skipWithout(!isInBucket(), "what was written to a bucket is durable, and no log makes one");

/** Two full bundles and a partial one. */
const ENTRIES = entries(600);
const LATER = entries(300, "later");
const ALL = [...ENTRIES, ...LATER];

/** Each takes another part of the tiles; the first takes all that can be lost. */
const POWER_LOSSES = 3;

/** A log of the first 600 entries. */
const filled = template(() => newLog(ENTRIES));

/** A log that was restarted in between: with what it had at the first stop, and all entries in their order. */
const grown = template(async () => {
  const place = await newLog(ENTRIES);
  await cp(place.database, join(place.folder, "older.db"));
  await cp(headFile(place), join(place.folder, "older-head"));
  await cp(checkpointFile(place), join(place.folder, "older-checkpoint"));
  await grow(place, LATER);
  return place;
});

interface Recovered {
  readonly size: number;
  readonly next_index: number;
  readonly head_from: string;
  readonly mended: readonly string[];
  readonly quarantined: readonly string[];
  readonly set_aside: number;
  readonly newly_set_aside: number;
}

/** `cairn recover` succeeds; answers what it says. */
async function recover(place: Place, ...options: string[]): Promise<Recovered> {
  const ran = await cairn(["recover", ...options, "--json"], place.env);
  expect(ran.code, ran.stdout + ran.stderr).toBe(0);
  return JSON.parse(ran.stdout.split("\n", 1)[0] as string) as Recovered;
}

test("a log of commits that end anywhere is whole after a restart", async () => {
  await expectWhole(await filled(), ENTRIES);
});

describe("the database", () => {
  test("restored from an older copy is refused, and recover gets the log back from its tiles", async () => {
    const place = await grown();
    const logged = await entriesOf(place);
    await cp(join(place.folder, "older.db"), place.database);
    const sentence = await expectRefused(place, "database_older");
    expect(sentence).toContain("a restored copy of the database");
    expect(sentence).toContain("Run cairn recover");
    expect(await recover(place)).toMatchObject({ size: ALL.length, next_index: ALL.length, set_aside: 0 });
    await expectWhole(place, logged);
  });

  test("lost entirely is refused, and recover gets the log back from its tiles", async () => {
    const place = await grown();
    const logged = await entriesOf(place);
    await loseDatabase(place);
    expect(await expectRefused(place, "database_lost")).toContain("run cairn recover");
    expect(await recover(place)).toMatchObject({ size: ALL.length, next_index: ALL.length, set_aside: 0 });
    await expectWhole(place, logged);
  });

  test.each([1, 255, 256, 257, 512])(
    "lost entirely at a size of %i is got back, and the log goes on from there",
    async (size) => {
      const place = await newLog(ALL.slice(0, size));
      await loseDatabase(place);
      expect(await recover(place)).toMatchObject({ size, next_index: size });
      await expectWhole(place, ALL.slice(0, size));
    },
  );

  test("of an empty log that is lost is got back too", async () => {
    const place = await newPlace();
    const server = await create(place);
    await untilPublished(server, 0);
    await server.stop();
    await loseDatabase(place);
    await expectRefused(place, "database_lost");
    expect(await recover(place)).toMatchObject({ size: 0, next_index: 0 });
    await expectWhole(place, []);
  });

  test("damaged is refused, and recover gets the log back once it is moved away", async () => {
    const place = await filled();
    await writeFile(place.database, Buffer.alloc(50_000, "damaged"));
    const sentence = await expectRefused(place, "file_unreadable");
    expect(sentence).toContain("move it away and run cairn recover");
    await loseDatabase(place);
    await recover(place);
    await expectWhole(place, ENTRIES);
  });

  test("that acknowledged entries nobody published keeps them through a recovery of the head", async () => {
    const place = await filled();
    const server = await serve(place, NEVER_AGAIN);
    await addBatch(server, LATER);
    expect((await checkpoint(server)).size).toBe(ENTRIES.length);
    await server.crash();
    await rm(headFile(place));
    await expectRefused(place, "head_damaged");
    expect(await recover(place)).toMatchObject({ size: 600, next_index: ALL.length, set_aside: 0 });
    await expectWhole(place, ALL);
  });
});

describe("state/head and checkpoint", () => {
  interface Damage {
    readonly name: string;
    readonly code: ErrorCode;
    readonly damage: (place: Place) => Promise<void>;
  }

  const damages: readonly Damage[] = [
    { name: "a missing head", code: "head_damaged", damage: (place) => rm(headFile(place)) },
    { name: "an empty head", code: "head_damaged", damage: (place) => truncate(headFile(place)) },
    { name: "a head cut in half", code: "head_damaged", damage: (place) => truncate(headFile(place), 200) },
    {
      name: "a head that is valid and older",
      code: "head_damaged",
      damage: (place) => copyFile(join(place.folder, "older-head"), headFile(place)),
    },
    {
      name: "a head whose note was changed",
      code: "head_damaged",
      damage: async (place) => {
        const head = await readFile(headFile(place), "utf8");
        await writeFile(headFile(place), head.replace(`\\n${ALL.length}\\n`, `\\n${ALL.length - 1}\\n`));
      },
    },
    {
      name: "a checkpoint with a flipped byte",
      code: "checkpoint_damaged",
      damage: async (place) => {
        const bytes = await readFile(checkpointFile(place));
        bytes[bytes.length - 10] = (bytes[bytes.length - 10] as number) ^ 1;
        await writeFile(checkpointFile(place), bytes);
      },
    },
    {
      name: "an empty checkpoint",
      code: "checkpoint_damaged",
      damage: (place) => truncate(checkpointFile(place)),
    },
    {
      name: "a checkpoint of another log",
      code: "checkpoint_damaged",
      damage: async (place) => copyFile(checkpointFile(await newLog(entries(1))), checkpointFile(place)),
    },
  ];

  test.each(damages)("$name is refused, and recover gets the log back", async ({ code, damage }) => {
    const place = await grown();
    const logged = await entriesOf(place);
    await damage(place);
    expect(await expectRefused(place, code)).toContain("Run cairn recover");
    expect(await recover(place)).toMatchObject({ size: ALL.length, next_index: ALL.length, set_aside: 0 });
    await expectWhole(place, logged);
  });

  test("a checkpoint that is missing, or valid and older, is published again at once", async () => {
    const place = await grown();
    const older = await readFile(join(place.folder, "older-checkpoint"));
    const newest = await readFile(checkpointFile(place));
    for (const damage of [() => rm(checkpointFile(place)), () => writeFile(checkpointFile(place), older)]) {
      await damage();
      const server = await serve(place);
      await untilPublished(server, ALL.length);
      expect((await checkpoint(server)).text).toBe(newest.toString());
      await server.stop();
      expect(await readFile(checkpointFile(place))).toEqual(newest);
    }
  });

  test("head, checkpoint and database lost together leave nothing to recover from, and recover says so", async () => {
    const place = await filled();
    await loseDatabase(place);
    await rm(headFile(place));
    await rm(checkpointFile(place));
    const ran = await cairn(["recover"], place.env);
    expect(expectSentence(ran, "cairn recover", "log_absent")).toContain("nothing holds a note");
  });
});

describe("tiles and bundles", () => {
  test("a synced tile that is missing or cut short is made again from its bundle at start", async () => {
    for (const damage of [rm, (path: string) => truncate(path, 100)]) {
      const place = await filled();
      await damage(join(place.tiles, tilePath(0, 0)));
      await expectWhole(place, ENTRIES);
    }
  });

  test("a bundle that is gone with its tile is refused, cannot be recovered here, and is filled from a mirror", async () => {
    const place = await filled();
    const mirror = await copyPlace(place);
    await rm(join(place.tiles, tilePath(0, 0)));
    await rm(join(place.tiles, entriesPath(0)));
    expect(await expectRefused(place, "tile_missing")).toContain("recover --from");
    const alone = await cairn(["recover"], place.env);
    expectSentence(alone, "cairn recover", "log_ended", 1);
    await expectRefused(place, "tile_missing");

    const url = await serveFolder(mirror.tiles);
    expect((await recover(place, "--from", url)).mended).toEqual([entriesPath(0), tilePath(0, 0)]);
    await expectWhole(place, ENTRIES);
  });

  test("a bundle alone that is gone or damaged is found by fsck, and filled from a running copy of the log", async () => {
    const place = await filled();
    const copy = await serve(await copyPlace(place));
    const bundle = join(place.tiles, entriesPath(1));
    const right = await readFile(bundle);
    const flipped = Buffer.from(right);
    flipped[1000] = (flipped[1000] as number) ^ 1;
    for (const damage of [() => rm(bundle), () => truncate(bundle, 300), () => writeFile(bundle, flipped)]) {
      await damage();
      const found = await cairn(["fsck", place.tiles, "--vkey", place.vkey]);
      expect(found.code, found.stdout).toBe(1);
      expect(found.stdout).toContain(entriesPath(1));
      expect((await recover(place, "--from", copy.url)).mended).toEqual([entriesPath(1)]);
      expect(await readFile(bundle)).toEqual(right);
      expect(await expectClean(place.tiles, place.vkey)).toBe(ENTRIES.length);
    }
    await expectWhole(place, ENTRIES);
  });

  // Without its folder a bucket is none, and a log never makes one.
  test.skipIf(inBucket)("everything but the key lost is got back from a mirror", async () => {
    const place = await grown();
    const mirror = await copyPlace(place);
    await loseDatabase(place);
    await rm(place.tiles, { recursive: true });
    await expectRefused(place, "log_absent");
    const logged = await entriesOf(mirror);
    const url = await serveFolder(mirror.tiles);
    expect(await recover(place, "--from", url)).toMatchObject({ size: ALL.length, head_from: "mirror" });
    await expectWhole(place, logged);
  });

  test("a mirror that does not answer, or has other entries, changes nothing that is right", async () => {
    const place = await filled();
    await rm(join(place.tiles, tilePath(0, 0)));
    await rm(join(place.tiles, entriesPath(0)));
    const liar = await copyPlace(place);
    const other = await newLog(entries(600, "other"));
    await cp(join(other.tiles, "tile"), join(liar.tiles, "tile"), { recursive: true });
    const url = await serveFolder(liar.tiles);
    const lied = await cairn(["recover", "--from", url], place.env);
    expect(lied.code, lied.stderr).toBe(1);
    const silent = await cairn(["recover", "--from", "http://127.0.0.1:9"], place.env);
    expectSentence(silent, "cairn recover", "unreachable");
    await expectRefused(place, "tile_missing");
  });

  test("a bundle beyond the database's next index is refused, and recover takes its entries in", async () => {
    const place = await filled();
    const wider = await copyPlace(place);
    await grow(wider, LATER.slice(0, 10));
    const logged = await entriesOf(wider);
    const leftover = entriesPath(2, 98);
    await cp(join(wider.tiles, leftover), join(place.tiles, leftover));
    expect(await expectRefused(place, "database_older")).toContain(leftover);
    expect(await recover(place)).toMatchObject({ size: 600, next_index: 610 });
    await expectWhole(place, logged);
  });
});

describe("two histories", () => {
  /** A log whose database says one thing about the entries from 600 on, acknowledged, and whose signed head another. */
  async function contradicting(): Promise<{ place: Place; signed: Uint8Array[]; lost: Uint8Array[] }> {
    const place = await filled();
    const clone = await copyPlace(place);
    const lost = entries(7, "lost");
    const server = await serve(clone, NEVER_AGAIN);
    await addBatch(server, lost);
    await server.crash();
    await grow(place, entries(5, "signed"));
    const signed = await entriesOf(place);
    for (const suffix of ["", "-wal"]) await cp(`${clone.database}${suffix}`, `${place.database}${suffix}`);
    return { place, signed, lost };
  }

  test("a database that contradicts the signed head is refused with both roots, and recover sets its entries aside only when told", async () => {
    const { place, signed, lost } = await contradicting();
    const sentence = await expectRefused(place, "root_mismatch");
    expect(sentence).toContain("recover --from-head");
    expect(new Set(sentence.match(/\b[0-9a-f]{64}\b/g)).size).toBe(2);

    const cautious = await cairn(["recover"], place.env);
    expectSentence(cautious, "cairn recover", "root_mismatch");
    await expectRefused(place, "root_mismatch");

    const ran = await cairn(["recover", "--from-head"], place.env);
    expect(ran.code, ran.stdout + ran.stderr).toBe(0);
    expect(ran.stdout).toContain("entries acknowledged as 600 to 606");
    expect(ran.stdout).toContain("cairn recover --resubmit adds them anew");
    const server = await serve(place);
    await untilPublished(server, signed.length);
    expect(await expectCleanLog(server, place)).toBe(signed.length);
    await expectAt(server, signed, [...signed.keys()]);
    await server.stop();

    const again = await cairn(["recover", "--resubmit"], place.env);
    expect(again.code, again.stdout + again.stderr).toBe(0);
    expect(again.stdout).toContain(`600 is now ${signed.length}`);
    expect(await recover(place)).toMatchObject({ set_aside: 0 });
    await expectWhole(place, [...signed, ...lost]);
  });

  test("recover --from-head --resubmit does both in one run", async () => {
    const { place, signed, lost } = await contradicting();
    const ran = await cairn(["recover", "--from-head", "--resubmit"], place.env);
    expect(ran.code, ran.stdout + ran.stderr).toBe(0);
    await expectWhole(place, [...signed, ...lost]);
  });

  test("two signed heads of different histories end the log: nothing is signed on top of either", async () => {
    const place = await filled();
    const clone = await copyPlace(place);
    await grow(clone, entries(7, "one"));
    await grow(place, entries(5, "other"));
    await cp(clone.database, place.database);
    await expectRefused(place, "head_damaged");
    const before = await filesIn(place.tiles);
    for (const options of [[], ["--from-head"]]) {
      const ran = await cairn(["recover", ...options], place.env);
      expectSentence(ran, "cairn recover", "inconsistent", 1);
    }
    expect(await filesIn(place.tiles)).toEqual(before);
  });
});

describe("power loss", () => {
  // What a bucket acknowledged is durable.
  test.skipIf(inBucket)("that took any of the tiles that were not synced is mended at start", async () => {
    for (let round = 0; round < POWER_LOSSES; round++) {
      const place = await newPlace();
      const server = await create(place);
      await addBatch(server, ALL.slice(0, 300));
      await untilPublished(server, 300);
      await addBatch(server, ALL.slice(300));
      await untilPublished(server, ALL.length);
      await server.crash();
      await takeTiles(place, progress(place).synced, round);
      await expectWhole(place, ALL);
    }
  });

  /** Takes away, empties, tears or fills with zeros what ends above `synced`: all of it at `round` 0, else some. */
  async function takeTiles(place: Place, synced: number, round: number): Promise<void> {
    const root = join(place.tiles, "tile");
    let seed = round;
    const random = (): number => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      return seed / 2 ** 32;
    };
    for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const path = join(entry.parentPath, entry.name);
      const key = path.slice(place.tiles.length + 1);
      // A partial one that ends below is superseded: nobody reads it, and cairn gc removes it.
      const lowest = /^tile\/(?:0|entries)\/([0-9]{3})(?:\.p\/([0-9]+))?$/.exec(key);
      if (lowest !== null && Number(lowest[1]) * 256 + Number(lowest[2] ?? 256) <= synced) continue;
      if (round > 0 && random() < 0.4) continue;
      const { length } = await readFile(path);
      const form = round === 0 ? 0 : random();
      if (form < 0.25) await rm(path);
      else if (form < 0.5) await truncate(path);
      else if (form < 0.75) await truncate(path, length >> 1);
      else await writeFile(path, Buffer.alloc(length));
    }
  }
});
