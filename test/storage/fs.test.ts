// The filesystem driver: what every driver promises, and what only files can meet: leftovers, full and read-only disks,
// volumes that go away, processes that are killed.

import { spawn, spawnSync } from "node:child_process";
import { mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { CairnError } from "../../src/core/errors.ts";
import { DurableFiles, nodeFileSystem } from "../../src/storage/durable.ts";
import { openFsStore } from "../../src/storage/fs.ts";
import type { ObjectStore } from "../../src/storage/store.ts";
import { skipUnless } from "../require.ts";
import { expectNotApplied, storageConformance } from "./conformance.ts";
import { temporaryFolder } from "./temporary-folder.ts";
import { mkdtemp } from "node:fs/promises";

storageConformance("the filesystem", async () => {
  const folder = await mkdtemp(join(tmpdir(), "cairn-test-"));
  return {
    open: () => openFsStore(join(folder, "tiles"), { mode: "write" }),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
});

const BYTES = new TextEncoder().encode("some bytes");

describe("opening a folder", () => {
  it("reads an absent folder as empty and makes nothing", async () => {
    const folder = await temporaryFolder();
    for (const mode of ["read", "write"] as const) {
      const store = await openFsStore(join(folder, "absent"), { mode });
      expect(await store.get("checkpoint")).toBeNull();
      expect(await keys(store)).toEqual([]);
      expect(await readdir(folder)).toEqual([]);
    }
  });

  it("refuses a file in the folder's place", async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, "file"), "");
    const error = await expectNotApplied(() => openFsStore(join(folder, "file"), { mode: "write" }));
    expect(error.message).toContain("a file stands where a folder should be");
  });

  it("removes what interrupted writes left, for the writer only", async () => {
    const folder = await temporaryFolder();
    const store = await openFsStore(folder, {
      mode: "write",
      files: new DurableFiles({
        ...nodeFileSystem,
        link: () => Promise.reject(new Error("killed")),
        unlink: () => Promise.reject(new Error("killed")),
      }),
    });
    await expect(store.create("tile/0/000", BYTES)).rejects.toThrow();
    expect(await readdir(join(folder, "state/.tmp"))).toHaveLength(1);
    const reader = await openFsStore(folder, { mode: "read" });
    expect(await keys(reader)).toEqual([]);
    expect(await readdir(join(folder, "state/.tmp"))).toHaveLength(1);
    const writer = await openFsStore(folder, { mode: "write" });
    expect(await readdir(join(folder, "state/.tmp"))).toEqual([]);
    expect((await writer.create("tile/0/000", BYTES)).outcome).toBe("written");
  });

  it("for reading writes nothing at all, and says so", async () => {
    const folder = await temporaryFolder();
    const store = await openFsStore(folder, { mode: "read" });
    for (const write of [
      () => store.create("checkpoint", BYTES),
      () => store.createDurable("checkpoint", BYTES),
      () => store.overwrite("checkpoint", BYTES),
      () => store.remove("checkpoint"),
      () => store.probe(),
    ]) {
      const error = await expectNotApplied(write);
      expect(error.message).toContain("opened for reading only");
      expect(error.retryable).toBe(false);
    }
    expect(await readdir(folder)).toEqual([]);
  });
});

describe("names in the folder", () => {
  it("that no key can have are not listed: the system's, the lock's, unfinished files", async () => {
    const folder = await temporaryFolder();
    const store = await openFsStore(folder, { mode: "write" });
    await store.createDurable("state/head", BYTES);
    await store.create("tile/0/000", BYTES);
    await mkdir(join(folder, "lost+found"), { mode: 0 });
    await writeFile(join(folder, ".DS_Store"), "");
    await writeFile(join(folder, "tile/0/.tmp-1"), "");
    for (const name of ["lock", "lock-wal", "lock-shm"]) await writeFile(join(folder, "state", name), "");
    expect(await keys(store)).toEqual(["state/head", "tile/0/000"]);
  });

  it("of the lock are never opened, since that would release it", async () => {
    const folder = await temporaryFolder();
    const store = await openFsStore(folder, { mode: "write" });
    for (const key of ["state/lock", "state/lock-wal", "state/lock-shm", "state/lock-journal"]) {
      await expectNotApplied(() => store.get(key));
      await expectNotApplied(() => store.remove(key));
    }
  });

  it("may be links to folders elsewhere", async () => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, "root"));
    await mkdir(join(folder, "elsewhere"));
    await symlink(join(folder, "elsewhere"), join(folder, "root/tile"));
    const store = await openFsStore(join(folder, "root"), { mode: "write" });
    await store.create("tile/0/000", BYTES);
    await store.sync(["tile/0/000"]);
    expect(await keys(store)).toEqual(["tile/0/000"]);
  });
});

describe("files", () => {
  it("stand at the public paths, with nothing else beside them", async () => {
    const folder = await temporaryFolder();
    const store = await openFsStore(folder, { mode: "write" });
    await store.create("tile/0/x001/x234/067.p/5", BYTES);
    await store.createDurable("checkpoint", BYTES);
    const version = (await store.get("checkpoint"))?.version;
    if (version === undefined) throw new Error("no checkpoint");
    await store.replace("checkpoint", BYTES, version);
    expect(await readFile(join(folder, "tile/0/x001/x234/067.p/5"))).toEqual(Buffer.from(BYTES));
    expect((await readdir(folder)).sort()).toEqual(["checkpoint", "state", "tile"]);
    expect(await readdir(join(folder, "state"))).toEqual([".tmp"]);
    expect(await readdir(join(folder, "state/.tmp"))).toEqual([]);
  });

  it("that were the last in their folder take it with them", async () => {
    const folder = await temporaryFolder();
    const store = await openFsStore(folder, { mode: "write" });
    await store.create("tile/0/000.p/5", BYTES);
    await store.remove("tile/0/000.p/5");
    expect(await readdir(join(folder, "tile/0"))).toEqual([]);
  });

  it("of mended objects are new ones: a reader that has the old one open keeps it whole", async () => {
    const folder = await temporaryFolder();
    const store = await openFsStore(folder, { mode: "write" });
    await store.create("tile/0/000", BYTES);
    const before = await stat(join(folder, "tile/0/000"));
    await store.overwrite("tile/0/000", BYTES);
    expect((await stat(join(folder, "tile/0/000"))).ino).not.toBe(before.ino);
  });
});

describe("what stands in the way", () => {
  it("a file where a folder should be: an error in words, never absence, and nothing half-done", async () => {
    const folder = await temporaryFolder();
    const store = await openFsStore(folder, { mode: "write" });
    await store.create("tile/0", BYTES);
    for (const call of [
      () => store.get("tile/0/000"),
      () => store.create("tile/0/000", BYTES),
      () => store.overwrite("tile/0/000", BYTES),
    ]) {
      const error = await expectNotApplied(call);
      expect(error.message).toContain("a file stands where a folder should be");
      expect(error.message).not.toContain("\n");
      expect(error.retryable).toBe(false);
    }
    expect(await keys(store)).toEqual(["tile/0"]);
    expect(await readdir(join(folder, "state/.tmp"))).toEqual([]);
  });

  it("a folder where an object should be: an error in words, never absence", async () => {
    const folder = await temporaryFolder();
    const store = await openFsStore(folder, { mode: "write" });
    await store.create("checkpoint/5", BYTES);
    const error = await expectNotApplied(() => store.get("checkpoint"));
    expect(error.message).toContain("a folder stands where a file should be");
    expect(await store.create("checkpoint", BYTES)).toEqual({ outcome: "refused" });
    await expectNotApplied(() => store.overwrite("checkpoint", BYTES));
  });

  it("a volume that is gone, or another in its place: errors, never absence and never a new log", async () => {
    const folder = await temporaryFolder();
    const root = join(folder, "volume");
    const store = await openFsStore(root, { mode: "write" });
    await store.createDurable("state/head", BYTES);
    await rename(root, join(folder, "unmounted"));
    const calls = [
      () => store.get("state/head"),
      () => keys(store),
      () => store.create("tile/0/000", BYTES),
      () => store.createDurable("checkpoint", BYTES),
    ];
    for (const call of calls) {
      expect((await expectNotApplied(call)).message).toContain("check that its volume is mounted");
    }
    await mkdir(root);
    for (const call of calls.filter((_, index) => index !== 1)) {
      expect((await expectNotApplied(call)).message).toContain("check that its volume is mounted");
    }
    expect(await readdir(root)).toEqual([]);
    await rm(root, { recursive: true });
    await rename(join(folder, "unmounted"), root);
    expect((await store.get("state/head"))?.bytes).toEqual(BYTES);
  });

  it("a failed sync: every later write is refused with it, and reads go on", async () => {
    const folder = await temporaryFolder();
    let failing = false;
    let asked = 0;
    const store = await openFsStore(folder, {
      mode: "write",
      files: new DurableFiles({
        ...nodeFileSystem,
        syncFile(path) {
          if (!failing) return nodeFileSystem.syncFile(path);
          asked++;
          return Promise.reject(new CairnError("sync_failed", { detail: path }));
        },
      }),
    });
    await store.create("tile/0/000", BYTES);
    failing = true;
    const failed = { code: "sync_failed" };
    await expect(store.sync(["tile/0/000"])).rejects.toMatchObject(failed);
    failing = false;
    await expect(store.sync(["tile/0/000"])).rejects.toMatchObject(failed);
    await expect(store.create("tile/0/001", BYTES)).rejects.toMatchObject(failed);
    await expect(store.createDurable("checkpoint", BYTES)).rejects.toMatchObject(failed);
    await expect(store.overwrite("tile/0/000", BYTES)).rejects.toMatchObject(failed);
    await expect(store.remove("tile/0/000")).rejects.toMatchObject(failed);
    expect(asked).toBe(1);
    expect((await store.get("tile/0/000"))?.bytes).toEqual(BYTES);
    expect(await keys(store)).toEqual(["tile/0/000"]);
  });

  it.each(["link", "rename"] as const)(
    "an input/output error in a %s: nobody knows, and it says so",
    async (step) => {
      const folder = await temporaryFolder();
      const broken = (): Promise<never> => Promise.reject(Object.assign(new Error("EIO"), { code: "EIO" }));
      const store = await openFsStore(folder, {
        mode: "write",
        files: new DurableFiles({ ...nodeFileSystem, [step]: broken }),
      });
      const call =
        step === "link" ? store.createDurable("state/head", BYTES) : store.overwrite("state/head", BYTES);
      await expect(call).rejects.toMatchObject({ outcome: "unknown", retryable: false });
    },
  );
});

// A small file system of its own, in a user namespace where this one allows it.
const inNamespace = ["-rm", "sh", "-c"];
const probe = spawnSync("unshare", [...inNamespace, "mount -t tmpfs -o size=1m tmpfs /mnt"], {
  encoding: "utf8",
});
const noNamespace = probe.status === 0 ? null : (probe.stderr ?? String(probe.error)).trim();
const noOwnDisk = skipUnless(
  noNamespace === null,
  `tests on a file system of their own (unshare: ${noNamespace})`,
);

describe.skipIf(noOwnDisk)("on a file system of its own", () => {
  it("that is full: noSpace, nothing half-done, and it goes on when there is room", async () => {
    const folder = await temporaryFolder();
    const result = await runChild("full", folder, `mount -t tmpfs -o size=1m tmpfs ${folder}`);
    expect(result).toEqual({
      created: { outcome: "not_applied", noSpace: true, retryable: true, words: true },
      createdDurably: { outcome: "not_applied", noSpace: true, retryable: true, words: true },
      replaced: { outcome: "not_applied", noSpace: true, retryable: true, words: true },
      headAfter: "head",
      wholeBefore: true,
      leftovers: [],
      afterRoom: "written",
    });
  }, 60_000);

  it("that is read-only: an error in words at once", async () => {
    const folder = await temporaryFolder();
    const result = await runChild("read-only", folder, `mount -t tmpfs -o size=1m tmpfs ${folder}`);
    expect(result).toEqual({
      outcome: "not_applied",
      noSpace: false,
      retryable: false,
      words: true,
      read: "head",
    });
  }, 60_000);
});

describe("a process that is killed", () => {
  it("leaves every object it was told of whole, and no torn one at any key", async () => {
    const folder = await temporaryFolder();
    const told = new Set<string>();
    const size = 40_000;
    for (let round = 0; round < 3; round++) {
      const child = spawn(
        process.execPath,
        ["--import", "tsx", CHILD, "write", join(folder, "tiles"), `${round}`],
        {
          stdio: ["ignore", "pipe", "inherit"],
        },
      );
      const ended = new Promise((resolve) => child.on("close", resolve));
      let text = "";
      for await (const chunk of child.stdout) {
        text += String(chunk);
        if (text.split("\n").length > 60) child.kill("SIGKILL");
      }
      await ended;
      for (const key of text.split("\n").slice(0, -1)) told.add(key);
    }
    expect(told.size).toBeGreaterThanOrEqual(180);
    const store = await openFsStore(join(folder, "tiles"), { mode: "write" });
    const found = await keys(store);
    for (const key of told) expect(found).toContain(key);
    for (const key of found) expect((await store.get(key))?.bytes.length).toBe(size);
    expect(await readdir(join(folder, "tiles/state/.tmp"))).toEqual([]);
  }, 60_000);
});

const CHILD = fileURLToPath(new URL("fs-child.ts", import.meta.url));

async function runChild(what: string, folder: string, prepare: string): Promise<unknown> {
  const script = `${prepare} && exec "${process.execPath}" --import tsx "${CHILD}" ${what} "${folder}"`;
  const child = spawn("unshare", [...inNamespace, script], { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  for await (const chunk of child.stdout) text += String(chunk);
  return JSON.parse(text) as unknown;
}

async function keys(store: ObjectStore): Promise<string[]> {
  const found: string[] = [];
  for await (const key of store.list("")) found.push(key);
  return found;
}
