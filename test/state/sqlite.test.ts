// The SQLite driver: what every driver promises, and what only it can meet: files that are not its own, a disk that is
// full or fails, a process that is killed.

import { spawn, spawnSync } from "node:child_process";
import { copyFile, mkdir, mkdtemp, open, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { openSqliteState } from "../../src/state/sqlite.ts";
import { checkSynchronous, openForReading, openForWriting } from "../../src/state/sqlite-file.ts";
import { loadSqlite, type SqliteConstructor, type SqliteDatabase } from "../../src/state/sqlite-library.ts";
import { SqliteStore } from "../../src/state/sqlite-store.ts";
import { DatabaseThread } from "../../src/state/sqlite-thread.ts";
import { type State, StateError } from "../../src/state/state.ts";
import { skipUnless } from "../require.ts";
import { EMPTY_ROOT, framedRow, IDENTITY, makeRow, stateConformance } from "./conformance.ts";

let folder: string;
let path: string;
let library: SqliteConstructor;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "cairn-test-"));
  path = join(folder, "log.db");
  library = await loadSqlite();
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

stateConformance("SQLite", async () => {
  const own = await mkdtemp(join(tmpdir(), "cairn-test-"));
  return {
    open: () => openSqliteState(join(own, "log.db"), { mode: "write", create: true }),
    remove: () => rm(own, { recursive: true, force: true }),
  };
});

const withState = async <Result>(use: (state: State) => Promise<Result>, create = true): Promise<Result> => {
  const state = await openSqliteState(path, { mode: "write", create });
  try {
    return await use(state);
  } finally {
    await state.close();
  }
};

const created = (): Promise<void> => withState((state) => state.create(IDENTITY, EMPTY_ROOT));

describe("opening a database", () => {
  it.each([{ mode: "write" }, { mode: "write", create: false }, { mode: "read" }] as const)(
    "that is absent is refused, and nothing is made, with %j",
    async (options) => {
      await expect(openSqliteState(path, options as { mode: "write" })).rejects.toMatchObject({
        code: "log_absent",
      });
      expect(await readdir(folder)).toEqual([]);
    },
  );

  it("never makes its folder", async () => {
    const within = join(folder, "absent", "log.db");
    await expect(openSqliteState(within, { mode: "write", create: true })).rejects.toMatchObject({
      code: "file_unreadable",
    });
    expect(await readdir(folder)).toEqual([]);
  });

  it("below a file that stands where a folder should be is refused in words, for writing and for reading", async () => {
    await writeFile(path, "");
    for (const mode of ["write", "read"] as const) {
      await expect(
        openSqliteState(join(path, "log.db"), { mode } as { mode: "write" }),
      ).rejects.toMatchObject({
        code: "file_unreadable",
        message: expect.stringContaining("a file stands where a folder should be"),
      });
    }
  });

  it("that is an empty file counts as absent, and as a place to create one", async () => {
    await writeFile(path, "");
    await expect(openSqliteState(path, { mode: "write" })).rejects.toMatchObject({ code: "log_absent" });
    await expect(openSqliteState(path, { mode: "read" })).rejects.toMatchObject({ code: "log_absent" });
    expect((await stat(path)).size).toBe(0);
    await created();
  });

  it("without an identity gives null for it, and refuses what needs one", async () => {
    await withState(async (state) => expect(await state.identity()).toBeNull());
    await withState(async (state) => {
      expect(await state.identity()).toBeNull();
      await expect(state.snapshot()).rejects.toMatchObject({ outcome: "not_applied" });
      await expect(state.setPendingKeys(["a"])).rejects.toMatchObject({ outcome: "not_applied" });
    }, false);
  });

  it("of another program is refused and left alone", async () => {
    const other = new library(path);
    other.exec("CREATE TABLE theirs (x)");
    other.close();
    const before = await readFile(path);
    for (const options of [{ mode: "write", create: true }, { mode: "write" }, { mode: "read" }] as const) {
      const refused = openSqliteState(path, options as { mode: "write" });
      await expect(refused).rejects.toMatchObject({ code: "identity_mismatch" });
    }
    expect(await readFile(path)).toEqual(before);
  });

  it("of a newer version is refused and left alone", async () => {
    await created();
    const newer = new library(path);
    newer.pragma("user_version = 1000");
    newer.close();
    const before = await readFile(path);
    for (const mode of ["write", "read"] as const) {
      const refused = openSqliteState(path, { mode } as { mode: "write" });
      await expect(refused).rejects.toMatchObject({ code: "format_newer" });
    }
    expect(await readFile(path)).toEqual(before);
  });

  it("of an older version is brought up to date by the writer, and refused in words to a reader", async () => {
    const older = new library(path);
    const first = (await readdir(new URL("../../migrations/", import.meta.url))).sort()[0] as string;
    older.pragma("auto_vacuum = INCREMENTAL");
    older.exec(await readFile(new URL(`../../migrations/${first}`, import.meta.url), "utf8"));
    older.pragma(`application_id = ${0x4361726e}`);
    older.pragma("user_version = 1");
    older.close();
    await expect(openSqliteState(path, { mode: "read" })).rejects.toThrow("start the log once with this one");
    await withState((state) => state.create(IDENTITY, EMPTY_ROOT), false);
    await (await openSqliteState(path, { mode: "read" })).close();
  });

  it("that was made without room to shrink is refused", async () => {
    const other = new library(path);
    other.pragma(`application_id = ${0x4361726e}`);
    other.exec(await readFile(new URL("../../migrations/0001_log.sql", import.meta.url), "utf8"));
    other.pragma("user_version = 1");
    other.close();
    await expect(openSqliteState(path, { mode: "write" })).rejects.toMatchObject({
      code: "identity_mismatch",
    });
  });

  it.each([
    [
      "is no database",
      "this is a text, and long enough to be read as the header of a database file".repeat(20),
    ],
    [
      "is a torn header",
      "SQLite format 3\0 and then something that does not belong here at all, ever".repeat(20),
    ],
  ])("that %s is refused in one line that says what to do", async (_name, content) => {
    await writeFile(path, content);
    for (const options of [{ mode: "write", create: true }, { mode: "read" }] as const) {
      const error = await openSqliteState(path, options as { mode: "write" }).catch(
        (caught: unknown) => caught,
      );
      expect(error).toMatchObject({ code: "file_unreadable" });
      expect((error as Error).message).toContain(
        "is damaged or not a database; move it away and run cairn recover",
      );
      expect((error as Error).message).not.toContain("\n");
    }
    expect(await readFile(path, "latin1")).toBe(content);
  });

  it("that is a folder is refused in one line", async () => {
    await mkdir(path);
    await expect(openSqliteState(path, { mode: "write" })).rejects.toThrow("check that it is a file");
  });

  it("whose name ends in a space is refused, since the library would open another", async () => {
    const refused = openSqliteState(`${path} `, { mode: "write", create: true });
    await expect(refused).rejects.toMatchObject({ code: "bad_config" });
  });

  it("waits for no reader that keeps the write-ahead log from being emptied", async () => {
    await created();
    const reader = openForReading(library, path);
    reader.exec("BEGIN");
    reader.prepare("SELECT * FROM identity").all();
    // A reader keeps the log from being emptied only where it has something to empty.
    const writer = new library(path);
    writer.exec("UPDATE heads SET synced_size = 1");
    await expect(openSqliteState(path, { mode: "write" })).rejects.toMatchObject({ code: "database_locked" });
    reader.close();
    writer.close();
    await withState(async () => {}, false);
  });

  it("empties the write-ahead log that a killed process left, before anything else", async () => {
    await created();
    const killed = join(folder, "killed.db");
    await withState(async (state) => {
      await state.commit(makeRow(0, 5));
      for (const suffix of ["", "-wal"]) await copyFile(path + suffix, killed + suffix);
    });
    expect((await stat(`${killed}-wal`)).size).toBeGreaterThan(0);
    const state = await openSqliteState(killed, { mode: "write" });
    expect((await stat(`${killed}-wal`)).size).toBe(0);
    expect((await state.snapshot()).nextIndex).toBe(5);
    await state.close();
  });

  it("ignores a torn end of the write-ahead log, which nobody was told of", async () => {
    await created();
    const killed = join(folder, "killed.db");
    await withState(async (state) => {
      await state.commit(makeRow(0, 5));
      for (const suffix of ["", "-wal"]) await copyFile(path + suffix, killed + suffix);
      const acknowledged = (await stat(`${killed}-wal`)).size;
      await state.commit(makeRow(5, 500));
      const wal = await readFile(`${path}-wal`);
      expect(wal.length).toBeGreaterThan(acknowledged + 20_000);
      await writeFile(`${killed}-wal`, wal.subarray(0, wal.length - 10_000));
    });
    const state = await openSqliteState(killed, { mode: "write" });
    expect((await state.snapshot()).nextIndex).toBe(5);
    await state.commit(makeRow(5, 1));
    await state.close();
  });
});

describe("reading beside the writer", () => {
  it("sees every acknowledged commit and changes nothing", async () => {
    await created();
    await withState(async (state) => {
      const reader = await openSqliteState(path, { mode: "read" });
      for (let i = 0; i < 5; i++) {
        await state.commit(makeRow(i, 1));
        expect((await reader.snapshot()).nextIndex).toBe(i + 1);
      }
      expect(await reader.identity()).toEqual(IDENTITY);
      expect(await reader.readRows(0, 1)).toHaveLength(1);
      expect(await reader.listSetAside()).toEqual([]);
      await reader.close();
      await state.commit(makeRow(5, 1));
    });
  });

  it("cannot write, whatever is asked of its connection", async () => {
    await created();
    const reader = openForReading(library, path);
    expect(() => reader.exec("DELETE FROM heads")).toThrow("readonly");
    reader.close();
  });
});

describe("a commit", () => {
  it("moves the row's buffers to the database's thread and copies nothing", async () => {
    await created();
    await withState(async (state) => {
      const row = makeRow(0, 100);
      const commit = state.commit(row);
      expect([row.hashes.byteLength, row.bytes.byteLength]).toEqual([0, 0]);
      const back = await commit;
      expect([back.hashes.byteLength, back.bytes.byteLength]).toEqual([3200, 2200]);
    });
  });

  it("with a buffer that was moved away before is refused, and the next goes on", async () => {
    await created();
    await withState(async (state) => {
      const row = makeRow(0, 1);
      await state.commit(row);
      await expect(state.commit({ ...row, first: 1 })).rejects.toMatchObject({ outcome: "not_applied" });
      await state.commit(makeRow(1, 1));
    });
  });

  it("is synced: synchronous is FULL before the first write and after it", () => {
    const database = openForWriting(library, path, { create: true });
    expect(database.pragma("synchronous", { simple: true })).toBe(2);
    const store = new SqliteStore(database, path);
    store.create(IDENTITY, EMPTY_ROOT);
    store.commit(makeRow(0, 1));
    expect(database.pragma("synchronous", { simple: true })).toBe(2);
    expect(database.pragma("journal_mode", { simple: true })).toBe("wal");
    expect(database.pragma("auto_vacuum", { simple: true })).toBe(2);
    expect(database.pragma("trusted_schema", { simple: true })).toBe(0);
    store.close();
  });

  it("that would not be synced ends the writer at the first", () => {
    const database = openForWriting(library, path, { create: true });
    database.pragma("synchronous = NORMAL");
    expect(() => checkSynchronous(database)).toThrow("not synced");
    const store = new SqliteStore(database, path);
    expect(() => store.create(IDENTITY, EMPTY_ROOT)).toThrow("not synced");
    expect(() => store.commit(makeRow(0, 1))).toThrow("not synced");
    store.close();
  });

  it("waits for another process's transaction no longer than is good, and says who", async () => {
    await created();
    await withState(async (state) => {
      const other = new library(path);
      other.exec("BEGIN IMMEDIATE");
      const error = await state.commit(makeRow(0, 1)).catch((caught: unknown) => caught);
      expect(error).toMatchObject({ outcome: "not_applied", noSpace: false });
      expect((error as Error).message).toContain("another process holds");
      other.exec("ROLLBACK");
      other.close();
      await state.commit(makeRow(0, 1));
    });
  });
});

describe("the write-ahead log", () => {
  it("stays small under a long load of large rows, and so does the file behind them", async () => {
    await created();
    await withState(async (state) => {
      const lengths = Array.from({ length: 5000 }, () => 300);
      let most = 0;
      for (let i = 0; i < 60; i++) {
        await state.commit(framedRow(i * 5000, lengths));
        await state.dropRows(Math.max(0, (i - 4) * 5000), 1e9);
        most = Math.max(most, (await stat(`${path}-wal`)).size);
      }
      expect(most).toBeLessThan(20 * 1024 * 1024);
      await state.dropRows(60 * 5000, 1e9);
      while ((await state.shrink(4 * 1024 * 1024)) > 1024 * 1024) continue;
    });
    expect((await stat(path)).size).toBeLessThan(4 * 1024 * 1024);
    expect(await readdir(folder)).toEqual(["log.db"]);
  }, 60_000);

  it("is emptied by nobody while a reader looks at what is in it, and shrinks again afterwards", async () => {
    await created();
    await withState(async (state) => {
      const reader = openForReading(library, path);
      reader.exec("BEGIN");
      reader.prepare("SELECT count(*) FROM entry_rows").get();
      const lengths = Array.from({ length: 5000 }, () => 300);
      let next = 0;
      const commitSome = async (): Promise<void> => {
        for (let i = 0; i < 16; i++, next += 5000) await state.commit(framedRow(next, lengths));
      };
      await commitSome();
      expect((await stat(`${path}-wal`)).size).toBeGreaterThan(20 * 1024 * 1024);
      expect(reader.prepare("SELECT count(*) AS rows FROM entry_rows").get()).toEqual({ rows: 0 });
      reader.close();
      await commitSome();
      expect((await stat(`${path}-wal`)).size).toBeLessThan(20 * 1024 * 1024);
    });
  }, 60_000);
});

/** A database whose statement with this SQL fails, before or after it did its work. */
function failingAt(
  sql: string,
  code: string,
  applied: boolean,
): { database: SqliteDatabase; arm: () => void } {
  const database = openForWriting(library, path, { create: true });
  let armed = false;
  const fail = (): never => {
    throw Object.assign(new Error("injected"), { code });
  };
  const proxy = new Proxy(database, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (name !== "prepare") return typeof value === "function" ? value.bind(target) : value;
      return (source: string) => {
        const statement = target.prepare(source);
        if (source !== sql) return statement;
        return new Proxy(statement, {
          get(inner, method) {
            const call: unknown = Reflect.get(inner, method);
            if (typeof call !== "function") return call;
            return (...args: unknown[]) => {
              if (!armed) return call.apply(inner, args);
              if (applied) call.apply(inner, args);
              return fail();
            };
          },
        });
      };
    },
  });
  return {
    database: proxy,
    arm: () => {
      armed = true;
    },
  };
}

describe("when the disk fails", () => {
  const outcomeOf = (call: () => unknown): Pick<StateError, "outcome" | "noSpace"> => {
    try {
      call();
    } catch (error) {
      expect(error).toBeInstanceOf(StateError);
      expect((error as Error).message).not.toContain("\n");
      return { outcome: (error as StateError).outcome, noSpace: (error as StateError).noSpace };
    }
    throw new Error("it did not fail");
  };

  it.each([
    ["SQLITE_IOERR_FSYNC", false],
    ["SQLITE_IOERR_FSYNC", true],
    ["SQLITE_IOERR_WRITE", false],
    ["SQLITE_IOERR_SHMSIZE", true],
    ["SQLITE_CORRUPT", false],
    ["SQLITE_NOMEM", false],
    // Applied, and yet the disk says that it was full: the same connection reads another newest row.
    ["SQLITE_FULL", true],
  ])(
    "in a commit with %s (applied: %s), the outcome is unknown and nothing is written afterwards",
    (code, applied) => {
      const { database, arm } = failingAt("COMMIT", code, applied);
      const store = new SqliteStore(database, path);
      store.create(IDENTITY, EMPTY_ROOT);
      arm();
      expect(outcomeOf(() => store.commit(makeRow(0, 1)))).toEqual({ outcome: "unknown", noSpace: false });
      for (const later of [
        () => store.commit(makeRow(0, 1)),
        () => store.commit(makeRow(1, 1)),
        () => store.recordSynced(0),
        () => store.dropRows(1, 1),
        () => store.shrink(1e6),
      ]) {
        expect(outcomeOf(later)).toEqual({ outcome: "unknown", noSpace: false });
      }
      store.close();
      const after = openForWriting(library, path, { create: false });
      const rows = after.prepare("SELECT count(*) AS rows FROM entry_rows").get();
      expect(rows).toEqual({ rows: applied ? 1 : 0 });
      after.close();
    },
  );

  it("for want of room, nothing was applied, and it goes on when there is room", () => {
    const { database, arm } = failingAt("COMMIT", "SQLITE_FULL", false);
    const store = new SqliteStore(database, path);
    store.create(IDENTITY, EMPTY_ROOT);
    arm();
    for (let i = 0; i < 3; i++) {
      expect(outcomeOf(() => store.commit(makeRow(0, 1)))).toEqual({ outcome: "not_applied", noSpace: true });
    }
    expect(store.queries.nextIndex()).toBe(0);
    store.close();
  });

  it.each([
    ["SQLITE_IOERR_FSYNC", "unknown"],
    ["SQLITE_IOERR_WRITE", "unknown"],
    ["SQLITE_FULL", "goes on"],
    ["SQLITE_BUSY", "goes on"],
  ])("in a checkpoint with %s, the next commit: %s", (code, follows) => {
    const { database, arm } = failingAt("PRAGMA wal_checkpoint(PASSIVE)", code, false);
    const store = new SqliteStore(database, path);
    store.create(IDENTITY, EMPTY_ROOT);
    const large = framedRow(
      0,
      Array.from({ length: 100 }, () => 65_000),
    );
    store.commit(large);
    arm();
    store.checkpointIfDue();
    const next = (): void => store.commit(makeRow(100, 1));
    if (follows === "goes on") next();
    else expect(outcomeOf(next)).toEqual({ outcome: "unknown", noSpace: false });
    store.close();
  });

  it("a damaged page is told of in words, and never passed off as absence", async () => {
    await created();
    await withState(async (state) => {
      for (let i = 0; i < 40; i++)
        await state.commit(
          framedRow(
            i * 100,
            Array.from({ length: 100 }, () => 300),
          ),
        );
    });
    const file = await open(path, "r+");
    const { size } = await file.stat();
    for (let at = 4096; at < size; at += 4096) await file.write(Buffer.alloc(4000, 0xa5), 0, 4000, at);
    await file.close();
    const state = await openSqliteState(path, { mode: "write" }).catch((caught: unknown) => caught as Error);
    if (state instanceof Error) {
      expect(state.message).toContain("is damaged");
      return;
    }
    await expect(state.snapshot()).rejects.toThrow("is damaged");
    await expect(state.readRows(0, 1)).rejects.toThrow("is damaged");
    await expect(state.commit(makeRow(4000, 1))).rejects.toMatchObject({ outcome: "unknown" });
    await state.close();
  });
});

describe("the database's thread", () => {
  it("that dies takes its calls with it, as unknown", async () => {
    const thread = new DatabaseThread("sqlite-writer");
    const opening = thread.open({ path, create: true });
    await thread.terminate();
    await expect(opening).rejects.toMatchObject({ outcome: "unknown" });
    await expect(thread.call("snapshot", [])).rejects.toMatchObject({ outcome: "unknown" });
    await thread.close();
  });

  it("without the compiled package says what to install", async () => {
    vi.doMock("better-sqlite3", () => {
      throw new Error("Cannot find package 'better-sqlite3'");
    });
    vi.resetModules();
    const fresh = await import("../../src/state/sqlite-library.ts");
    await expect(fresh.loadSqlite()).rejects.toMatchObject({ code: "missing_dependency" });
    await expect(fresh.loadSqlite()).rejects.toThrow("npm install better-sqlite3");
    vi.doUnmock("better-sqlite3");
    vi.resetModules();
  });
});

const CHILD = fileURLToPath(new URL("sqlite-child.ts", import.meta.url));

describe("a process that is killed", () => {
  it("leaves every acknowledged row, whole and without a gap, and at most one that was under way", async () => {
    await created();
    let acknowledged = 0;
    for (let round = 0; round < 4; round++) {
      const child = spawn(process.execPath, ["--import", "tsx", CHILD, "commit", path], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      const ended = new Promise((resolve) => child.on("close", resolve));
      let text = "";
      for await (const chunk of child.stdout) {
        text += String(chunk);
        if (text.split("\n").length > 30 + 20 * round) child.kill("SIGKILL");
      }
      await ended;
      const told = Number(text.split("\n").at(-2));
      expect(told).toBeGreaterThan(acknowledged);
      acknowledged = told;
      await withState(async (state) => {
        const { nextIndex, firstRetained } = await state.snapshot();
        expect(nextIndex).toBeGreaterThanOrEqual(acknowledged);
        let next = firstRetained;
        for (const row of await state.readRows(0, 1e9)) {
          expect(row.first).toBe(next);
          expect(Buffer.compare(row.bytes, makeRow(row.first, row.count).bytes)).toBe(0);
          next += row.count;
        }
        expect(next).toBe(nextIndex);
        acknowledged = nextIndex;
      }, false);
    }
  }, 60_000);
});

const inNamespace = ["-rm", "sh", "-c"];
const probe = spawnSync("unshare", [...inNamespace, "mount -t tmpfs -o size=1m tmpfs /mnt"], {
  encoding: "utf8",
});
const noNamespace = probe.status === 0 ? null : (probe.stderr ?? String(probe.error)).trim();
const noFullDisk = skipUnless(noNamespace === null, `tests on a full disk (unshare: ${noNamespace})`);

describe.skipIf(noFullDisk)("on a full disk", () => {
  const runChild = async (what: string, size: string): Promise<unknown> => {
    const script = `mount -t tmpfs -o size=${size} tmpfs ${folder} && exec "${process.execPath}" --import tsx "${CHILD}" ${what} "${path}"`;
    const child = spawn("unshare", [...inNamespace, script], { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    for await (const chunk of child.stdout) text += String(chunk);
    return JSON.parse(text) as unknown;
  };

  it("a commit is refused for want of room, nothing of it is applied, and the next with room succeeds", async () => {
    expect(await runChild("full", "12m")).toEqual({
      failure: { outcome: "not_applied", noSpace: true, words: true },
      again: { outcome: "not_applied", noSpace: true, words: true },
      nextIndexIsWhatWasAcknowledged: true,
      allThere: true,
    });
  }, 60_000);

  it("opening is refused for want of room, and succeeds with room", async () => {
    expect(await runChild("open-full", "2m")).toEqual({
      creating: { outcome: "not_applied", noSpace: true, words: true },
      opening: { outcome: "not_applied", noSpace: true, words: true },
      afterRoom: "opened",
    });
  }, 60_000);
});
