// What stands where something else should be, a file for a folder or the other way round, is refused in words at a start.

import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { freeze } from "../../src/cli/freeze.ts";
import { gc } from "../../src/cli/gc.ts";
import type { Runnable } from "../../src/cli/group.ts";
import { misplaced } from "../../src/cli/misplaced.ts";
import { recover } from "../../src/cli/recover.ts";
import { rotate } from "../../src/cli/rotate-keys.ts";
import { serve } from "../../src/cli/serve.ts";
import { generatePrivateKey, printPrivateKey } from "../../src/core/note-key.ts";
import { StoreError } from "../../src/storage/store.ts";
import { run, temporaryFolder } from "./test-io.ts";

const LOG_PRIVATE_KEY = printPrivateKey(generatePrivateKey("log.example", new Uint8Array(32).fill(1)));
const COMMANDS: Readonly<Record<string, Runnable>> = { serve, recover, gc, freeze, rotate };

type Places = { readonly folder: string; readonly database: string; readonly tiles: string };

const damages: Readonly<Record<string, (places: Places) => string>> = {
  "the tiles, beside a database": ({ database, tiles }) => {
    writeFileSync(database, "");
    writeFileSync(tiles, "");
    return tiles;
  },
  "the tiles, and no database": ({ tiles }) => {
    writeFileSync(tiles, "");
    return tiles;
  },
  "the tiles' private folder": ({ database, tiles }) => {
    writeFileSync(database, "");
    mkdirSync(tiles);
    writeFileSync(join(tiles, "state"), "");
    return join(tiles, "state");
  },
  "the folder of all": ({ folder }) => {
    writeFileSync(folder, "");
    return folder;
  },
};

describe.each(Object.entries(damages))("a file in the place of %s", (_, damage) => {
  test.each(Object.entries(COMMANDS))(
    "refuses cairn %s as file_unreadable with exit code 2",
    async (_name, command) => {
      const folder = join(temporaryFolder(), "data");
      const places = { folder, database: join(folder, "log.db"), tiles: join(folder, "tiles") };
      if (damage !== damages["the folder of all"]) mkdirSync(folder);
      const named = damage(places);
      const before = readdirSync(join(folder, ".."), { recursive: true });
      const ran = await run(command, [], {
        env: {
          LOG_PRIVATE_KEY,
          DATABASE_URL: `sqlite:${places.database}`,
          FS_ROOT: places.tiles,
          LOG_LEVEL: "silent",
        },
      });
      expect(ran.exit, ran.stderr).toBe(2);
      expect(ran.stderr).toMatch(/a file stands where .* move it away.*\[file_unreadable\]\n$/);
      expect(ran.stderr).toContain(named);
      expect(ran.stderr).not.toMatch(/E(NOTDIR|EXIST)/);
      const after = readdirSync(join(folder, ".."), { recursive: true });
      expect(after.filter((name) => !/\.lock(-shm|-wal)?$/.test(String(name)))).toEqual(before);
    },
  );
});

test("the system's own errors are told apart from coded ones and from others", () => {
  const system = Object.assign(new Error("EISDIR: …"), { code: "EISDIR", path: "/data/checkpoint" });
  expect(misplaced(system)).toMatchObject({
    code: "file_unreadable",
    detail: "a folder stands where a file should be, on the way to /data/checkpoint; move it away",
  });
  const words = "fs:/data: could not read checkpoint: a folder stands where a file should be; move it away";
  const stored = new StoreError(words, { outcome: "not_applied", retryable: false, cause: system });
  expect(misplaced(stored)).toMatchObject({ code: "file_unreadable", detail: words });
  expect(misplaced(misplaced(stored))).toBeNull();
  expect(misplaced(Object.assign(new Error("…"), { code: "ENOENT" }))).toBeNull();
  expect(misplaced("ENOTDIR")).toBeNull();
});
