// Every durable file operation of the project: nothing else calls link, rename or fsync. What a function here calls
// durable survives power loss once its promise resolves; files appear whole or not at all; and a failed fsync is never
// asked again, since the kernel may have dropped the very pages it could not write: it ends the writer.

import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { CairnError } from "../core/errors.ts";

/** Syncs in flight at once. More than the thread pool takes, so that it is never idle; few enough for open files. */
export const SYNC_CONCURRENCY = 16;

/** Stands in the name of every file that is not finished. What is left of them is removed by `removeLeftovers`. */
export const TEMPORARY_MARK = ".tmp-";

const TEMPORARY_RANDOM_BYTES = 8;
const FILE_MODE = 0o666;

/** What a file is made of: one array, or chunks one after another (for files too large to hold twice). */
export type FileContent = Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/**
 * The system calls below this module, each one step of a durable operation. A value, so that tests can record the steps
 * and take the power away after each. `sync: true` and the two syncs throw `sync_failed` where the fsync itself failed;
 * every other failure is the system's own error with its `code`.
 */
export interface FileSystem {
  /** Makes a file that did not exist and writes all of it; its bytes are durable (its name not yet) with `sync`. */
  writeNew(path: string, content: FileContent, options: { mode: number; sync: boolean }): Promise<void>;
  syncFile(path: string): Promise<void>;
  syncFolder(path: string): Promise<void>;
  link(existing: string, path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  mkdir(path: string): Promise<void>;
  rmdir(path: string): Promise<void>;
}

/** The operating system's files. */
export const nodeFileSystem: FileSystem = {
  async writeNew(path, content, options) {
    const fd = await call<number>((done) => fs.open(path, "wx", options.mode, done));
    try {
      if (content instanceof Uint8Array) await writeAll(fd, content);
      else for await (const chunk of content) await writeAll(fd, chunk);
      if (options.sync) await syncDescriptor(fd, path);
    } catch (error) {
      await call((done) => fs.close(fd, done)).catch(ignore);
      throw error;
    }
    await call((done) => fs.close(fd, done));
  },
  syncFile: syncPath,
  syncFolder: syncPath,
  link: (existing, path) => call((done) => fs.link(existing, path, done)),
  rename: (from, to) => call((done) => fs.rename(from, to, done)),
  unlink: (path) => call((done) => fs.unlink(path, done)),
  mkdir: (path) => call((done) => fs.mkdir(path, done)),
  rmdir: (path) => call((done) => fs.rmdir(path, done)),
};

/** What `create` and `replace` may be told. */
export interface WriteOptions {
  /** Whether the file's bytes are to be durable before it gets its name. The name itself needs `syncFolders`. */
  readonly sync: boolean;
  /** As for open(2), less the umask; 0o666 where absent. */
  readonly mode?: number;
  /** Where the unfinished file lies meanwhile, on the same file system; beside the finished one where absent. */
  readonly temporaryFolder?: string;
}

/**
 * File operations of one writer, in the pieces from which something durable is put together. It remembers the first
 * failed sync: from then on every operation throws that same `sync_failed`. All other errors are the system's own.
 */
export class DurableFiles {
  readonly #files: FileSystem;
  #failure: CairnError | null = null;
  #temporaryCount = 0;
  readonly #temporaryId = randomBytes(TEMPORARY_RANDOM_BYTES).toString("hex");

  constructor(files: FileSystem = nodeFileSystem) {
    this.#files = files;
  }

  /** The failed sync that ended this writer, or null. */
  get failure(): CairnError | null {
    return this.#failure;
  }

  /**
   * Makes a file at `path` unless something stands there already (`refused`), atomically: the finished file is linked
   * to its name. An error means that nothing was made, but for EIO, after which nobody knows.
   */
  async create(path: string, content: FileContent, options: WriteOptions): Promise<"written" | "refused"> {
    const temporary = await this.#writeTemporary(path, content, options);
    try {
      await this.#files.link(temporary, path);
    } catch (error) {
      await this.#files.unlink(temporary).catch(ignore);
      if (errorCode(error) === "EEXIST") return "refused";
      throw error;
    }
    // A temporary that cannot be removed is a second name of a finished file: harmless, and removed as a leftover.
    await this.#files.unlink(temporary).catch(ignore);
    return "written";
  }

  /** Puts a file in the place of whatever file stands at `path`, atomically. Errors as for `create`. */
  async replace(path: string, content: FileContent, options: WriteOptions): Promise<void> {
    const temporary = await this.#writeTemporary(path, content, options);
    try {
      await this.#files.rename(temporary, path);
    } catch (error) {
      await this.#files.unlink(temporary).catch(ignore);
      throw error;
    }
  }

  /** Removes a file; answers whether there was one. */
  async remove(path: string): Promise<boolean> {
    this.#refuseAfterFailure();
    try {
      await this.#files.unlink(path);
      return true;
    } catch (error) {
      if (errorCode(error) === "ENOENT") return false;
      throw error;
    }
  }

  /** Makes one folder in a folder that exists; answers false where it stood already. */
  async makeFolder(path: string): Promise<boolean> {
    this.#refuseAfterFailure();
    try {
      await this.#files.mkdir(path);
      return true;
    } catch (error) {
      if (errorCode(error) !== "EEXIST") throw error;
      return false;
    }
  }

  /** Removes a folder if it is empty. */
  async removeFolderIfEmpty(path: string): Promise<void> {
    this.#refuseAfterFailure();
    // It is tidying up: a folder that stays, for whatever reason, harms nothing.
    await this.#files.rmdir(path).catch(ignore);
  }

  /** Makes the bytes of files durable, `SYNC_CONCURRENCY` at a time, each path once. Their names need `syncFolders`. */
  async syncFiles(paths: Iterable<string>): Promise<void> {
    await this.#syncEach(paths, (path) => this.#files.syncFile(path));
  }

  /** Makes the names inside folders durable, each folder once. */
  async syncFolders(paths: Iterable<string>): Promise<void> {
    await this.#syncEach(paths, (path) => this.#files.syncFolder(path));
  }

  async #syncEach(paths: Iterable<string>, sync: (path: string) => Promise<void>): Promise<void> {
    const queue = new Set(paths).values();
    const drain = async (): Promise<void> => {
      for (const path of queue) {
        this.#refuseAfterFailure();
        await this.#remember(() => sync(path));
      }
    };
    // Settled, not raced: no sync is still under way when the caller learns of a failure.
    const settled = await Promise.allSettled(Array.from({ length: SYNC_CONCURRENCY }, drain));
    if (this.#failure !== null) throw this.#failure;
    for (const result of settled) if (result.status === "rejected") throw result.reason;
  }

  async #writeTemporary(path: string, content: FileContent, options: WriteOptions): Promise<string> {
    this.#refuseAfterFailure();
    const suffix = `${TEMPORARY_MARK}${this.#temporaryId}-${this.#temporaryCount++}`;
    const temporary = join(options.temporaryFolder ?? dirname(path), `${basename(path)}${suffix}`);
    try {
      await this.#remember(() =>
        this.#files.writeNew(temporary, content, { mode: options.mode ?? FILE_MODE, sync: options.sync }),
      );
    } catch (error) {
      await this.#files.unlink(temporary).catch(ignore);
      throw error;
    }
    return temporary;
  }

  async #remember(step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      if (error instanceof CairnError && error.code === "sync_failed") this.#failure ??= error;
      throw error;
    }
  }

  #refuseAfterFailure(): void {
    if (this.#failure !== null) throw this.#failure;
  }
}

/**
 * Writes a file durably, name included: with `exclusive` it is `refused` where something stands at `path`, otherwise it
 * replaces it. Atomic either way. `mode` as for open(2), 0o666 where absent. Throws `sync_failed`, or the system's error.
 * `files` is for a writer with more to write, which a failed sync then ends; so for the two below.
 */
export async function writeFileDurable(
  path: string,
  content: FileContent,
  options: { exclusive?: boolean; mode?: number; files?: DurableFiles } = {},
): Promise<"written" | "refused"> {
  const files = options.files ?? new DurableFiles();
  const write = { sync: true, ...(options.mode === undefined ? {} : { mode: options.mode }) };
  if (options.exclusive === true) {
    if ((await files.create(path, content, write)) === "refused") return "refused";
  } else {
    await files.replace(path, content, write);
  }
  await files.syncFolders([dirname(path)]);
  return "written";
}

/** Removes a file durably; answers whether there was one. */
export async function removeFileDurable(path: string, files = new DurableFiles()): Promise<boolean> {
  const removed = await files.remove(path);
  if (removed) await files.syncFolders([dirname(path)]);
  return removed;
}

/** Makes a folder and those above it that are missing, each synced in its parent. */
export async function makeFolderDurable(path: string, files = new DurableFiles()): Promise<void> {
  const folder = resolve(path);
  const parent = dirname(folder);
  let made: boolean;
  try {
    made = await files.makeFolder(folder);
  } catch (error) {
    if (errorCode(error) !== "ENOENT" || parent === folder) throw error;
    await makeFolderDurable(parent, files);
    made = await files.makeFolder(folder);
  }
  if (parent === folder) return;
  try {
    // Also where the folder stood already: whoever made it may have been killed before this sync.
    await files.syncFolders([parent]);
  } catch (error) {
    const unreadable = errorCode(error) === "EACCES" || errorCode(error) === "EPERM";
    if (made || !unreadable) throw error;
  }
}

/**
 * Removes what interrupted writes left in a folder: files whose name begins with `prefix` and holds `TEMPORARY_MARK`.
 * For the owner only (another process's unfinished file looks the same). An absent folder has none. Answers how many.
 */
export async function removeLeftovers(folder: string, prefix: string): Promise<number> {
  let names: string[];
  try {
    names = await call<string[]>((done) => fs.readdir(folder, done));
  } catch (error) {
    if (errorCode(error) === "ENOENT") return 0;
    throw error;
  }
  const leftovers = names.filter(
    (name) => name.startsWith(prefix) && name.includes(TEMPORARY_MARK, prefix.length),
  );
  for (const name of leftovers) {
    await call((done) => fs.unlink(join(folder, name), done)).catch((error: unknown) => {
      if (errorCode(error) !== "ENOENT") throw error;
    });
  }
  return leftovers.length;
}

/** Bytes that this process may still write on the disk of `path`, or of the nearest folder above it that exists. */
export async function freeBytes(path: string): Promise<number> {
  const absolute = resolve(path);
  try {
    const stats = await call<fs.StatsFs>((done) => fs.statfs(absolute, done));
    return stats.bavail * stats.bsize;
  } catch (error) {
    const parent = dirname(absolute);
    if (errorCode(error) !== "ENOENT" || parent === absolute) throw error;
    return freeBytes(parent);
  }
}

/** The system's name for an error (`ENOENT`), or undefined. */
export function errorCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === "string" ? code : undefined;
}

/** One callback of node:fs as a promise. FileHandle costs several times as much a file, and this path sees 800/s. */
export function call<Result = void>(
  start: (done: (error: Error | null, result?: Result) => void) => void,
): Promise<Result> {
  return new Promise((done, fail) => {
    start((error, result) => (error ? fail(error) : done(result as Result)));
  });
}

async function writeAll(fd: number, bytes: Uint8Array): Promise<void> {
  let offset = 0;
  while (offset < bytes.length) {
    offset += await call<number>((done) => fs.write(fd, bytes, offset, bytes.length - offset, null, done));
  }
}

async function syncDescriptor(fd: number, path: string): Promise<void> {
  try {
    await call((done) => fs.fsync(fd, done));
  } catch (cause) {
    throw new CairnError("sync_failed", { detail: `${path}: ${errorCode(cause) ?? "unknown error"}`, cause });
  }
}

async function syncPath(path: string): Promise<void> {
  const fd = await call<number>((done) => fs.open(path, "r", done));
  try {
    await syncDescriptor(fd, path);
  } finally {
    await call((done) => fs.close(fd, done)).catch(ignore);
  }
}

function ignore(): void {}
