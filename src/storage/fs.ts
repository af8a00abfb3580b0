// The filesystem driver: an object is a file under FS_ROOT at its key. Objects appear whole, a replacement is durable
// when it returns, and what `create` wrote is durable after `sync`. The caller holds the lock `state/lock` (state/lock.ts)
// for as long as it writes: `replace` compares and renames, which the system does not do as one step.

import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { dirname, join, resolve } from "node:path";
import { CairnError } from "../core/errors.ts";
import { call, DurableFiles, errorCode, makeFolderDurable, removeLeftovers } from "./durable.ts";
import { probeStore } from "./probe.ts";
import {
  isObjectKey,
  type ObjectStore,
  type ObjectVersion,
  type StoredObject,
  StoreError,
  type WriteResult,
} from "./store.ts";

/** Unfinished files lie together here, so that a start removes what is left of them without walking the tiles. */
const TEMPORARY_FOLDER = "state/.tmp";

/** The lock and SQLite's files beside it. Opening them here would release the lock (POSIX locks fall with any close). */
const LOCK_FILES = /^state\/lock(-wal|-shm|-journal)?$/;

/** How often a file is tried again because its folder was removed, being empty, while the file was on its way. */
const FOLDER_RETRIES = 3;

/** `read` never writes, not even to tidy up, so it may stand beside a writer. */
export type FsStoreMode = "read" | "write";

/**
 * Opens the folder `root` as an object store. With `write` the caller holds its lock, and what interrupted writes left
 * is removed. The folder may be absent: it reads as empty, and the first write makes it.
 */
export async function openFsStore(
  root: string,
  options: { mode: FsStoreMode; files?: DurableFiles },
): Promise<ObjectStore> {
  const store = new FsStore(resolve(root), options.mode, options.files ?? new DurableFiles());
  await store.start();
  return store;
}

class FsStore implements ObjectStore {
  readonly location: string;
  readonly durableOnWrite = false;
  readonly #root: string;
  readonly #mode: FsStoreMode;
  readonly #files: DurableFiles;
  /** The root folder as it was at open: its device and inode, or null where it was absent. */
  #rootId: string | null = null;
  /** Folders that stand, or are being made. */
  readonly #folders = new Map<string, Promise<void>>();
  /** Folders whose name is known to be durable in their parent. */
  readonly #durableFolders = new Set<string>();
  /** Counts folders removed, so that a sync under way does not call one of them durable afterwards. */
  #foldersRemoved = 0;
  /** The last of the replacements, which go one at a time. */
  #replacing: Promise<unknown> = Promise.resolve();

  constructor(root: string, mode: FsStoreMode, files: DurableFiles) {
    this.location = `fs:${root}`;
    this.#root = root;
    this.#mode = mode;
    this.#files = files;
  }

  async start(): Promise<void> {
    try {
      this.#rootId = await this.#readRootId();
      if (this.#mode === "write") await removeLeftovers(join(this.#root, TEMPORARY_FOLDER), "");
    } catch (error) {
      throw this.#explain(error, "open", "", "not_applied");
    }
  }

  async get(key: string): Promise<StoredObject | null> {
    const path = this.#path(key);
    try {
      const bytes = (await readWhole(path)) ?? ((await this.#rootAppeared()) ? await readWhole(path) : null);
      return bytes === null ? null : versioned({ bytes }, bytes);
    } catch (error) {
      throw this.#explain(error, "read", key, "not_applied");
    }
  }

  create(key: string, bytes: Uint8Array): Promise<WriteResult> {
    return this.#create(key, bytes, false);
  }

  createDurable(key: string, bytes: Uint8Array): Promise<WriteResult> {
    return this.#create(key, bytes, true);
  }

  async replace(key: string, bytes: Uint8Array, version: ObjectVersion): Promise<WriteResult> {
    const replacing = this.#replacing.then(() => this.#replace(key, bytes, version));
    this.#replacing = replacing.catch(() => {});
    return replacing;
  }

  async overwrite(key: string, bytes: Uint8Array): Promise<void> {
    const path = this.#path(key);
    await this.#put(key, path, (temporaryFolder) =>
      this.#files.replace(path, bytes, { sync: false, temporaryFolder }),
    );
  }

  async sync(keys: readonly string[]): Promise<void> {
    const paths = keys.map((key) => this.#path(key));
    try {
      await this.#files.syncFiles(paths);
      await this.#syncNames(paths);
    } catch (error) {
      throw this.#explain(
        error,
        "sync",
        keys.length === 1 ? (keys[0] ?? "") : `${keys.length} files`,
        "unknown",
      );
    }
  }

  async remove(key: string): Promise<void> {
    const path = this.#path(key);
    this.#refuseReadOnly(key);
    try {
      await this.#files.remove(path);
      await this.#removeFolderIfEmpty(dirname(path));
    } catch (error) {
      throw this.#explain(error, "remove", key, outcomeOf(error));
    }
  }

  async *list(prefix: string): AsyncIterable<string> {
    if (prefix !== "" && !prefix.endsWith("/")) throw invalidKey(prefix);
    if (prefix !== "") this.#path(prefix.slice(0, -1));
    yield* this.#list(prefix);
  }

  async probe(): Promise<void> {
    await probeStore(this);
  }

  async close(): Promise<void> {
    await this.#replacing;
  }

  async #create(key: string, bytes: Uint8Array, durable: boolean): Promise<WriteResult> {
    const path = this.#path(key);
    const outcome = await this.#put(key, path, (temporaryFolder) =>
      this.#files.create(path, bytes, { sync: durable, temporaryFolder }),
    );
    if (outcome === "refused") return { outcome };
    if (durable) {
      try {
        await this.#syncNames([path]);
      } catch (error) {
        throw this.#explain(error, "sync", key, "unknown");
      }
    }
    return versioned({ outcome }, bytes);
  }

  async #replace(key: string, bytes: Uint8Array, version: ObjectVersion): Promise<WriteResult> {
    const path = this.#path(key);
    const current = await this.get(key);
    if (current === null || current.version !== version) return { outcome: "refused" };
    await this.#put(key, path, (temporaryFolder) =>
      this.#files.replace(path, bytes, { sync: true, temporaryFolder }),
    );
    try {
      await this.#syncNames([path]);
    } catch (error) {
      throw this.#explain(error, "sync", key, "unknown");
    }
    return { outcome: "written", version: versionOf(bytes) };
  }

  /** Runs `write` with the folders it needs in place, again where one of them was removed under its hands. */
  async #put<Result>(
    key: string,
    path: string,
    write: (temporaryFolder: string) => Promise<Result>,
  ): Promise<Result> {
    this.#refuseReadOnly(key);
    const temporaryFolder = join(this.#root, TEMPORARY_FOLDER);
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#ensureFolder(temporaryFolder);
        await this.#ensureFolder(dirname(path));
        return await write(temporaryFolder);
      } catch (error) {
        if (errorCode(error) === "ENOENT" && attempt < FOLDER_RETRIES) {
          try {
            await this.#rootAppeared();
          } catch (gone) {
            throw this.#explain(gone, "write", key, "not_applied");
          }
          this.#folders.clear();
          this.#durableFolders.clear();
          continue;
        }
        throw this.#explain(error, "write", key, outcomeOf(error));
      }
    }
  }

  #ensureFolder(folder: string): Promise<void> {
    let known = this.#folders.get(folder);
    if (known === undefined) {
      known = this.#makeFolder(folder);
      this.#folders.set(folder, known);
      known.catch(() => this.#folders.delete(folder));
    }
    return known;
  }

  async #makeFolder(folder: string): Promise<void> {
    if (folder === this.#root) {
      if (this.#rootId !== null) return;
      await makeFolderDurable(folder, this.#files);
      this.#rootId = await this.#readRootId();
      return;
    }
    await this.#ensureFolder(dirname(folder));
    // Never in a folder that has come in the place of the one that was opened.
    await this.#rootAppeared();
    await this.#files.makeFolder(folder);
  }

  /**
   * Makes the names of files durable: their folders, and the parent of each folder above them that is not known to be
   * durable, whoever made it.
   */
  async #syncNames(paths: readonly string[]): Promise<void> {
    const toSync = new Set<string>();
    const toKnow = new Set<string>();
    for (const path of paths) {
      let folder = dirname(path);
      toSync.add(folder);
      while (folder !== this.#root && !this.#durableFolders.has(folder) && !toKnow.has(folder)) {
        toKnow.add(folder);
        folder = dirname(folder);
        toSync.add(folder);
      }
    }
    const removedBefore = this.#foldersRemoved;
    await this.#files.syncFolders(toSync);
    if (removedBefore !== this.#foldersRemoved) return;
    for (const folder of toKnow) this.#durableFolders.add(folder);
  }

  /** A partial tile has a folder of its own, which would stay for ever once its partials are collected. */
  async #removeFolderIfEmpty(folder: string): Promise<void> {
    if (folder === this.#root) return;
    // Forgotten first: a write that begins now makes the folder again, or finds it gone and is tried again.
    this.#folders.delete(folder);
    this.#durableFolders.delete(folder);
    this.#foldersRemoved++;
    await this.#files.removeFolderIfEmpty(folder);
  }

  async *#list(prefix: string): AsyncIterable<string> {
    const folder = join(this.#root, prefix);
    let found: fs.Dirent[];
    try {
      found = await call<fs.Dirent[]>((done) => fs.readdir(folder, { withFileTypes: true }, done));
    } catch (error) {
      if (errorCode(error) !== "ENOENT") throw this.#explain(error, "list", prefix, "not_applied");
      const appeared = await this.#rootAppeared().catch((gone: unknown) => {
        throw this.#explain(gone, "list", prefix, "not_applied");
      });
      if (appeared) yield* this.#list(prefix);
      return;
    }
    const names: string[] = [];
    for (const entry of found) {
      if (!isObjectKey(entry.name) || LOCK_FILES.test(prefix + entry.name)) continue;
      const isFolder =
        entry.isDirectory() || (entry.isSymbolicLink() && (await isFolderPath(join(folder, entry.name))));
      names.push(isFolder ? `${entry.name}/` : entry.name);
    }
    // With its slash, a folder stands where its keys stand. The characters allowed are ASCII, so this is byte order.
    names.sort((a, b) => (a < b ? -1 : 1));
    for (const name of names) {
      if (name.endsWith("/")) yield* this.#list(prefix + name);
      else yield prefix + name;
    }
  }

  #path(key: string): string {
    if (!isObjectKey(key) || LOCK_FILES.test(key)) throw invalidKey(key);
    return join(this.#root, key);
  }

  #refuseReadOnly(key: string): void {
    if (this.#mode === "write") return;
    throw new StoreError(`${this.location} was opened for reading only (writing ${key})`, {
      outcome: "not_applied",
      retryable: false,
    });
  }

  async #readRootId(): Promise<string | null> {
    try {
      const stats = await call<fs.Stats>((done) => fs.stat(this.#root, done));
      if (!stats.isDirectory()) throw Object.assign(new Error("not a folder"), { code: "ENOTDIR" });
      return `${stats.dev}:${stats.ino}`;
    } catch (error) {
      if (errorCode(error) === "ENOENT") return null;
      throw error;
    }
  }

  /**
   * To be asked where nothing was found: that is absence only in the folder that was opened, not where its volume has
   * gone or another has taken its place, which throws. True where the folder was absent at open and stands by now, so
   * that the caller has to look again.
   */
  async #rootAppeared(): Promise<boolean> {
    const id = await this.#readRootId();
    if (id === this.#rootId) return false;
    if (this.#rootId === null) {
      this.#rootId = id;
      return true;
    }
    throw new StoreError(
      `${this.#root} is no longer the folder that was opened; check that its volume is mounted`,
      { outcome: "not_applied", retryable: false },
    );
  }

  #explain(error: unknown, action: string, key: string, outcome: "not_applied" | "unknown"): Error {
    if (error instanceof StoreError || error instanceof CairnError) return error;
    const code = errorCode(error);
    const known = code === undefined ? undefined : EXPLANATIONS[code];
    const what = known?.sentence ?? `the system answered ${code ?? String(error)}`;
    return new StoreError(`${this.location}: could not ${action} ${key === "" ? "it" : key}: ${what}`, {
      outcome,
      retryable: known?.retryable ?? false,
      noSpace: known?.noSpace ?? false,
      cause: error,
    });
  }
}

interface Explanation {
  readonly sentence: string;
  readonly retryable?: boolean;
  readonly noSpace?: boolean;
}

const NO_ROOM: Explanation = {
  sentence: "the disk or the quota has no room left; make room",
  retryable: true,
  noSpace: true,
};
const NO_PERMISSION: Explanation = {
  sentence: "no permission; give the user that runs Cairn the right to it (hard links must be allowed too)",
};
const TOO_MANY_FILES: Explanation = {
  sentence: "too many files are open; raise the limit (ulimit -n)",
  retryable: true,
};

const EXPLANATIONS: Readonly<Record<string, Explanation>> = {
  ENOSPC: NO_ROOM,
  EDQUOT: NO_ROOM,
  EACCES: NO_PERMISSION,
  EPERM: NO_PERMISSION,
  EMFILE: TOO_MANY_FILES,
  ENFILE: TOO_MANY_FILES,
  EROFS: { sentence: "the file system is mounted read-only; mount it for writing" },
  ENOTDIR: { sentence: "a file stands where a folder should be; move it away" },
  EISDIR: { sentence: "a folder stands where a file should be; move it away" },
  EXDEV: { sentence: "the folder must lie on one file system as a whole; it spans several" },
  EIO: { sentence: "the disk reported an error; check its health" },
};

/** Only an input/output error leaves open whether a link or a rename came about. */
function outcomeOf(error: unknown): "not_applied" | "unknown" {
  const code = errorCode(error);
  return code === undefined || code === "EIO" ? "unknown" : "not_applied";
}

function invalidKey(key: string): StoreError {
  return new StoreError(`${JSON.stringify(key)} is not a key of this store`, {
    outcome: "not_applied",
    retryable: false,
  });
}

/** Adds the version of `bytes`, worked out when asked for: hashing every tile would cost more than reading it. */
function versioned<Fields extends object>(
  fields: Fields,
  bytes: Uint8Array,
): Fields & { version: ObjectVersion } {
  return Object.defineProperty(fields, "version", {
    enumerable: true,
    get: () => versionOf(bytes),
  }) as Fields & { version: ObjectVersion };
}

function versionOf(bytes: Uint8Array): ObjectVersion {
  return createHash("sha256").update(bytes).digest("hex") as ObjectVersion;
}

async function isFolderPath(path: string): Promise<boolean> {
  try {
    return (await call<fs.Stats>((done) => fs.stat(path, done))).isDirectory();
  } catch {
    return false;
  }
}

/** A file's bytes, or null where there is none. The bytes own their memory, so a caller may transfer them. */
async function readWhole(path: string): Promise<Uint8Array | null> {
  let fd: number;
  try {
    fd = await call<number>((done) => fs.open(path, "r", done));
  } catch (error) {
    if (errorCode(error) === "ENOENT") return null;
    throw error;
  }
  try {
    const { size } = await call<fs.Stats>((done) => fs.fstat(fd, done));
    const bytes = new Uint8Array(Buffer.allocUnsafeSlow(size).buffer);
    let offset = 0;
    while (offset < size) {
      const read = await call<number>((done) => fs.read(fd, bytes, offset, size - offset, null, done));
      if (read === 0) throw new Error(`the file ended at ${offset} of ${size} bytes`);
      offset += read;
    }
    return bytes;
  } finally {
    await call((done) => fs.close(fd, done)).catch(() => {});
  }
}
