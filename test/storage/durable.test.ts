// Durable file operations: atomic, durable once they resolve, ended by a failed sync. Power loss is played through on a
// model of a disk after every single step.

import { readdir, readFile, stat, writeFile, mkdir, chmod } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CairnError, isCairnError } from "../../src/core/errors.ts";
import {
  DurableFiles,
  type FileSystem,
  freeBytes,
  makeFolderDurable,
  nodeFileSystem,
  removeFileDurable,
  removeLeftovers,
  SYNC_CONCURRENCY,
  TEMPORARY_MARK,
  writeFileDurable,
} from "../../src/storage/durable.ts";
import { openFsStore } from "../../src/storage/fs.ts";
import { ModelDisk, recordingFiles, type Step } from "../doubles/recording-files.ts";
import { temporaryFolder } from "./temporary-folder.ts";

const ONE = new TextEncoder().encode("the first content");
const TWO = new TextEncoder().encode("the second content, which is longer");

describe("writeFileDurable", () => {
  it("writes a new file and replaces an old one", async () => {
    const path = join(await temporaryFolder(), "file");
    expect(await writeFileDurable(path, ONE)).toBe("written");
    expect(await writeFileDurable(path, TWO)).toBe("written");
    expect(await readFile(path)).toEqual(Buffer.from(TWO));
  });

  it("never overwrites with exclusive, whatever stands there", async () => {
    const folder = await temporaryFolder();
    const path = join(folder, "file");
    expect(await writeFileDurable(path, ONE, { exclusive: true })).toBe("written");
    expect(await writeFileDurable(path, TWO, { exclusive: true })).toBe("refused");
    expect(await readFile(path)).toEqual(Buffer.from(ONE));
    await mkdir(join(folder, "sub"));
    expect(await writeFileDurable(join(folder, "sub"), TWO, { exclusive: true })).toBe("refused");
    expect((await readdir(folder)).sort()).toEqual(["file", "sub"]);
  });

  it("writes chunks one after another, from arrays and from generators", async () => {
    const folder = await temporaryFolder();
    await writeFileDurable(join(folder, "a"), [ONE, TWO]);
    await writeFileDurable(
      join(folder, "b"),
      (async function* () {
        yield ONE;
        yield TWO;
      })(),
    );
    const whole = Buffer.concat([ONE, TWO]);
    expect(await readFile(join(folder, "a"))).toEqual(whole);
    expect(await readFile(join(folder, "b"))).toEqual(whole);
  });

  it("gives the mode that was asked for before the file has its name", async () => {
    const path = join(await temporaryFolder(), "key");
    await writeFileDurable(path, ONE, { exclusive: true, mode: 0o600 });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it("leaves the old file and no temporary one where the content cannot be made", async () => {
    const folder = await temporaryFolder();
    const path = join(folder, "file");
    await writeFileDurable(path, ONE);
    const torn = (function* () {
      yield TWO;
      throw new Error("half-way");
    })();
    await expect(writeFileDurable(path, torn)).rejects.toThrow("half-way");
    expect(await readFile(path)).toEqual(Buffer.from(ONE));
    expect(await readdir(folder)).toEqual(["file"]);
  });

  it("passes the system's error on where the folder is missing", async () => {
    const folder = await temporaryFolder();
    await expect(writeFileDurable(join(folder, "no", "file"), ONE)).rejects.toMatchObject({ code: "ENOENT" });
  });
});

describe("removeFileDurable", () => {
  it("answers whether there was a file", async () => {
    const path = join(await temporaryFolder(), "file");
    await writeFileDurable(path, ONE);
    expect(await removeFileDurable(path)).toBe(true);
    expect(await removeFileDurable(path)).toBe(false);
  });
});

describe("makeFolderDurable", () => {
  it("makes every folder that is missing, and is content with those that stand", async () => {
    const folder = await temporaryFolder();
    await makeFolderDurable(join(folder, "a", "b", "c"));
    await makeFolderDurable(join(folder, "a", "b", "c"));
    expect((await stat(join(folder, "a", "b", "c"))).isDirectory()).toBe(true);
  });

  it("refuses where a file stands in the way", async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, "a"), "");
    await expect(makeFolderDurable(join(folder, "a", "b"))).rejects.toMatchObject({ code: "ENOTDIR" });
  });
});

describe("removeLeftovers", () => {
  it("removes unfinished files that belong to the prefix, and no other file", async () => {
    const folder = await temporaryFolder();
    const names = [
      "log.db",
      "log.db.reserve",
      `log.db.leaves${TEMPORARY_MARK}1-0`,
      `other${TEMPORARY_MARK}1-0`,
    ];
    for (const name of names) await writeFile(join(folder, name), "");
    expect(await removeLeftovers(folder, "log.db")).toBe(1);
    expect((await readdir(folder)).sort()).toEqual(["log.db", "log.db.reserve", `other${TEMPORARY_MARK}1-0`]);
    expect(await removeLeftovers(join(folder, "absent"), "")).toBe(0);
  });

  it("finds what a write leaves when it is cut off", async () => {
    const folder = await temporaryFolder();
    const cutOff = new DurableFiles({
      ...nodeFileSystem,
      rename: () => Promise.reject(new Error("cut off")),
      unlink: () => Promise.reject(new Error("cut off")),
    });
    await expect(cutOff.replace(join(folder, "log.db.leaves"), ONE, { sync: true })).rejects.toThrow(
      "cut off",
    );
    expect(await readdir(folder)).toHaveLength(1);
    expect(await removeLeftovers(folder, "log.db")).toBe(1);
    expect(await readdir(folder)).toEqual([]);
  });
});

describe("freeBytes", () => {
  it("answers for a folder, a file, and a path that does not exist yet", async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, "file"), "");
    for (const path of [folder, join(folder, "file"), join(folder, "not", "yet")]) {
      expect(await freeBytes(path)).toBeGreaterThan(0);
    }
  });
});

describe("a failed sync", () => {
  const failing = (fail: "file" | "folder" | "content"): FileSystem => {
    const failed = (path: string): Promise<never> =>
      Promise.reject(new CairnError("sync_failed", { detail: path }));
    return {
      ...nodeFileSystem,
      ...(fail === "file" ? { syncFile: failed } : {}),
      ...(fail === "folder" ? { syncFolder: failed } : {}),
      ...(fail === "content" ? { writeNew: failed } : {}),
    };
  };

  it.each(["file", "folder", "content"] as const)("of a %s ends the writer for good", async (what) => {
    const folder = await temporaryFolder();
    const path = join(folder, "file");
    await writeFile(path, "");
    const files = new DurableFiles(failing(what));
    const call = {
      file: () => files.syncFiles([path]),
      folder: () => files.syncFolders([folder]),
      content: () => files.create(join(folder, "new"), ONE, { sync: true }),
    }[what];
    await expect(call()).rejects.toMatchObject({ code: "sync_failed" });
    expect(isCairnError(files.failure, "sync_failed")).toBe(true);
    for (const later of [
      () => files.create(join(folder, "later"), ONE, { sync: false }),
      () => files.replace(path, ONE, { sync: false }),
      () => files.remove(path),
      () => files.makeFolder(join(folder, "sub")),
      () => files.syncFiles([path]),
      () => files.syncFolders([folder]),
    ]) {
      await expect(later()).rejects.toBe(files.failure);
    }
    expect(await readdir(folder)).toEqual(["file"]);
  });

  it("is not asked for again, and nothing more is synced after it", async () => {
    const folder = await temporaryFolder();
    const asked: string[] = [];
    const files = new DurableFiles({
      ...nodeFileSystem,
      syncFile(path) {
        asked.push(path);
        return Promise.reject(new CairnError("sync_failed", { detail: path }));
      },
    });
    const paths = Array.from({ length: 100 }, (_, i) => join(folder, `${i}`));
    await expect(files.syncFiles(paths)).rejects.toMatchObject({ code: "sync_failed" });
    await expect(files.syncFiles(paths)).rejects.toMatchObject({ code: "sync_failed" });
    expect(asked.length).toBeLessThanOrEqual(SYNC_CONCURRENCY);
    expect(new Set(asked).size).toBe(asked.length);
  });

  it("is told apart from a file that cannot be opened, which ends nothing", async () => {
    const folder = await temporaryFolder();
    const files = new DurableFiles();
    await expect(files.syncFiles([join(folder, "absent")])).rejects.toMatchObject({ code: "ENOENT" });
    expect(files.failure).toBeNull();
  });
});

describe("syncFiles", () => {
  it(`syncs every path once, at most ${SYNC_CONCURRENCY} at a time`, async () => {
    const synced: string[] = [];
    let underWay = 0;
    let most = 0;
    const files = new DurableFiles({
      ...nodeFileSystem,
      async syncFile(path) {
        most = Math.max(most, ++underWay);
        await new Promise((resolve) => setImmediate(resolve));
        underWay--;
        synced.push(path);
      },
    });
    const paths = Array.from({ length: 100 }, (_, i) => `${i}`);
    await files.syncFiles([...paths, ...paths]);
    expect(synced.sort()).toEqual([...paths].sort());
    expect(most).toBe(SYNC_CONCURRENCY);
  });
});

/** What a scenario has promised about one path. */
interface Claim {
  readonly path: string;
  readonly to: Uint8Array | null;
  /** Until the promise is made, the bytes may be torn as well. */
  readonly mayTear?: boolean;
}

type Event = { step: Step } | { begun: Claim } | { done: Claim };

/** Plays a scenario and records it: `change` says which content a path is about to get, and its promise that it has. */
class Scenario {
  readonly events: Event[] = [];
  readonly files: FileSystem;

  constructor(inner: FileSystem = nodeFileSystem) {
    this.files = recordingFiles(inner, (step) => this.events.push({ step }));
  }

  async change(claim: Claim, act: () => Promise<unknown>): Promise<void> {
    this.events.push({ begun: claim });
    await act();
    this.events.push({ done: claim });
  }
}

const WAYS = 60;

/** Takes the power away after every step and in many ways, and answers every promise that was broken. */
function brokenPromises(events: readonly Event[], root: string): string[] {
  const broken = new Set<string>();
  const random = seeded(7);
  for (let length = 0; length <= events.length; length++) {
    const disk = new ModelDisk(root);
    const held = new Map<string, Uint8Array | null>();
    const open = new Map<string, Claim>();
    for (const event of events.slice(0, length)) {
      if ("step" in event) disk.apply(event.step);
      else if ("begun" in event) open.set(event.begun.path, event.begun);
      else {
        open.delete(event.done.path);
        held.set(event.done.path, event.done.to);
      }
    }
    for (const path of new Set([...held.keys(), ...open.keys()])) {
      const claim = open.get(path);
      for (let way = 0; way < WAYS; way++) {
        const choose = way === 0 ? () => 0 : way === 1 ? (count: number) => count - 1 : random;
        const found = disk.afterPowerLoss(path, choose);
        const allowed = [held.get(path) ?? null, ...(claim === undefined ? [] : [claim.to])];
        const asPromised = allowed.some((each) => same(each, found));
        if (!asPromised && claim?.mayTear !== true) broken.add(path.slice(root.length + 1));
      }
    }
  }
  return [...broken];
}

describe("after a power loss at any step", () => {
  const play = async (root: string, scenario: Scenario): Promise<void> => {
    const files = new DurableFiles(scenario.files);
    const path = join(root, "a", "b", "file");
    await makeFolderDurable(join(root, "a", "b"), files);
    await scenario.change({ path, to: ONE }, () => writeFileDurable(path, ONE, { exclusive: true, files }));
    await scenario.change({ path, to: TWO }, () => writeFileDurable(path, TWO, { files }));
    await scenario.change({ path, to: ONE }, () => writeFileDurable(path, [ONE], { files }));
    await scenario.change({ path, to: null }, () => removeFileDurable(path, files));
  };

  it("a durable file is as it was promised: the old content or the new, never torn, and the new once promised", async () => {
    const root = await temporaryFolder();
    const scenario = new Scenario();
    await play(root, scenario);
    expect(scenario.events.length).toBeGreaterThan(15);
    expect(brokenPromises(scenario.events, root)).toEqual([]);
  });

  const playStore = async (root: string, scenario: Scenario, sync = true): Promise<void> => {
    const store = await openFsStore(join(root, "new", "tiles"), {
      mode: "write",
      files: new DurableFiles(scenario.files),
    });
    const at = (key: string): string => join(root, "new", "tiles", key);
    await scenario.change({ path: at("state/head"), to: ONE }, () => store.createDurable("state/head", ONE));
    const head = await store.get("state/head");
    if (head === null) throw new Error("no head");
    await scenario.change({ path: at("state/head"), to: TWO }, () =>
      store.replace("state/head", TWO, head.version),
    );
    const keys = ["tile/0/000", "tile/0/x001/000", "tile/entries/x001/000.p/7"];
    for (const key of keys) scenario.events.push({ begun: { path: at(key), to: ONE, mayTear: true } });
    for (const key of keys) await store.create(key, ONE);
    if (sync) await store.sync(keys);
    for (const key of keys) scenario.events.push({ done: { path: at(key), to: ONE } });
    // A later object in a folder that is durable by now, and one in a folder that was emptied and made again.
    await store.remove("tile/entries/x001/000.p/7");
    const later = ["tile/0/001", "tile/entries/x001/000.p/9"];
    for (const key of later) {
      await scenario.change({ path: at(key), to: TWO, mayTear: true }, async () => {
        await store.overwrite(key, TWO);
        await store.sync([key]);
      });
    }
    await store.close();
  };

  it("a store's objects are whole once synced, and its replaced objects always", async () => {
    const root = await temporaryFolder();
    const scenario = new Scenario();
    await playStore(root, scenario);
    const removed = "new/tiles/tile/entries/x001/000.p/7";
    expect(brokenPromises(scenario.events, root).filter((path) => path !== removed)).toEqual([]);
  });

  it("folders that an earlier process made and did not sync are synced with the first object in them", async () => {
    const root = await temporaryFolder();
    const scenario = new Scenario();
    for (const folder of ["state", "state/.tmp", "tile", "tile/0"])
      await scenario.files.mkdir(join(root, folder));
    const store = await openFsStore(root, { mode: "write", files: new DurableFiles(scenario.files) });
    await scenario.change({ path: join(root, "tile/0/000"), to: ONE, mayTear: true }, async () => {
      await store.create("tile/0/000", ONE);
      await store.sync(["tile/0/000"]);
    });
    expect(brokenPromises(scenario.events, root)).toEqual([]);
  });

  it.each(["syncFile", "syncFolder", "content"] as const)(
    "the model notices where %s is left out",
    async (left) => {
      const nothing = (): Promise<void> => Promise.resolve();
      const root = await temporaryFolder();
      const scenario = new Scenario();
      const lying: FileSystem = {
        ...scenario.files,
        ...(left === "syncFile" ? { syncFile: nothing } : {}),
        ...(left === "syncFolder" ? { syncFolder: nothing } : {}),
        ...(left === "content"
          ? {
              writeNew: (path, content, options) =>
                scenario.files.writeNew(path, content, { ...options, sync: false }),
            }
          : {}),
      };
      const withLies = Object.assign(new Scenario(), { files: lying, events: scenario.events });
      await play(join(root, "x"), withLies);
      await playStore(join(root, "y"), withLies);
      expect(brokenPromises(scenario.events, root)).not.toEqual([]);
    },
  );

  it("the model notices where an object is relied on without its sync", async () => {
    const root = await temporaryFolder();
    const scenario = new Scenario();
    await playStore(root, scenario, false);
    expect(brokenPromises(scenario.events, root)).toContain("new/tiles/tile/0/000");
  });
});

/** The user that owns nothing. */
const NOBODY = 65_534;

describe("where the parent of a folder may not be read", () => {
  it("an existing folder is accepted", async () => {
    const folder = await temporaryFolder();
    const closed = join(folder, "closed");
    await mkdir(join(closed, "open"), { recursive: true });
    // For root every folder is open, so root looks with the rights of another user.
    const isRoot = process.getuid?.() === 0;
    await chmod(folder, 0o711);
    await chmod(closed, isRoot ? 0o711 : 0o300);
    if (isRoot) process.seteuid?.(NOBODY);
    try {
      await expect(readdir(closed)).rejects.toMatchObject({ code: "EACCES" });
      await makeFolderDurable(join(closed, "open"));
    } finally {
      if (isRoot) process.seteuid?.(0);
      await chmod(closed, 0o700);
    }
  });
});

function same(a: Uint8Array | null, b: Uint8Array | null): boolean {
  return a === null || b === null ? a === b : Buffer.compare(a, b) === 0;
}

function seeded(seed: number): (count: number) => number {
  let state = seed;
  return (count) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * count);
  };
}
