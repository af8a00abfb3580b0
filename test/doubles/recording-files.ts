// Records the steps of durable file operations, and says what a power loss after each of them could leave: any name
// whose folder was not synced may be there or not, any bytes that were not synced may be torn. Nothing else is assumed
// of the file system, so it is harsher than a real one.

import type { FileContent, FileSystem } from "../../src/storage/durable.ts";

export type Step =
  | { readonly do: "write"; readonly path: string; readonly bytes: Uint8Array; readonly sync: boolean }
  | { readonly do: "syncFile" | "syncFolder" | "unlink" | "mkdir" | "rmdir"; readonly path: string }
  | { readonly do: "link" | "rename"; readonly from: string; readonly path: string };

/** A file system that performs and records each step, once it succeeded. */
export function recordingFiles(inner: FileSystem, record: (step: Step) => void): FileSystem {
  return {
    async writeNew(path, content, options) {
      const bytes = await collect(content);
      await inner.writeNew(path, bytes, options);
      record({ do: "write", path, bytes, sync: options.sync });
    },
    async syncFile(path) {
      await inner.syncFile(path);
      record({ do: "syncFile", path });
    },
    async syncFolder(path) {
      await inner.syncFolder(path);
      record({ do: "syncFolder", path });
    },
    async link(from, path) {
      await inner.link(from, path);
      record({ do: "link", from, path });
    },
    async rename(from, path) {
      await inner.rename(from, path);
      record({ do: "rename", from, path });
    },
    async unlink(path) {
      await inner.unlink(path);
      record({ do: "unlink", path });
    },
    async mkdir(path) {
      await inner.mkdir(path);
      record({ do: "mkdir", path });
    },
    async rmdir(path) {
      await inner.rmdir(path);
      record({ do: "rmdir", path });
    },
  };
}

interface Inode {
  readonly bytes: Uint8Array;
  synced: boolean;
}

type Entry = Inode | "folder";

/** A disk on which steps were carried out, from the folder `root` downwards, which stood before. */
export class ModelDisk {
  readonly #root: string;
  readonly #now = new Map<string, Entry>();
  /** Every entry that a name may have after a power loss, `undefined` for none; one where the name is durable. */
  readonly #possible = new Map<string, Set<Entry | undefined>>();

  constructor(root: string) {
    this.#root = root;
  }

  apply(step: Step): void {
    switch (step.do) {
      case "write":
        return this.#set(step.path, { bytes: step.bytes, synced: step.sync });
      case "mkdir":
        return this.#set(step.path, "folder");
      case "link":
        return this.#set(step.path, this.#entry(step.from));
      case "rename":
        this.#set(step.path, this.#entry(step.from));
        return this.#set(step.from, undefined);
      case "unlink":
      case "rmdir":
        return this.#set(step.path, undefined);
      case "syncFile": {
        const entry = this.#entry(step.path);
        if (entry !== "folder") entry.synced = true;
        return;
      }
      case "syncFolder":
        for (const path of this.#possible.keys()) {
          if (parent(path) === step.path) this.#possible.set(path, new Set([this.#now.get(path)]));
        }
    }
  }

  /**
   * What a reader finds at `path` after a power loss, for one way that the loss can go: `choose(n)` answers which of n
   * possibilities came about. Null: nothing. Torn bytes are shorter.
   */
  afterPowerLoss(path: string, choose: (count: number) => number): Uint8Array | null {
    for (let folder = parent(path); folder.length > this.#root.length; folder = parent(folder)) {
      if (this.#choose(folder, choose) !== "folder") return null;
    }
    const entry = this.#choose(path, choose);
    if (entry === undefined || entry === "folder") return null;
    if (entry.synced || entry.bytes.length === 0) return entry.bytes;
    return [entry.bytes, entry.bytes.slice(0, entry.bytes.length >> 1), new Uint8Array()][choose(3)] ?? null;
  }

  #choose(path: string, choose: (count: number) => number): Entry | undefined {
    const possible = [...(this.#possible.get(path) ?? [undefined])];
    return possible[choose(possible.length)];
  }

  #entry(path: string): Entry {
    const entry = this.#now.get(path);
    if (entry === undefined) throw new Error(`nothing at ${path}`);
    return entry;
  }

  #set(path: string, entry: Entry | undefined): void {
    const possible = this.#possible.get(path) ?? new Set([this.#now.get(path)]);
    this.#possible.set(path, possible.add(entry));
    if (entry === undefined) this.#now.delete(path);
    else this.#now.set(path, entry);
  }
}

function parent(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

async function collect(content: FileContent): Promise<Uint8Array> {
  if (content instanceof Uint8Array) return content.slice();
  const chunks: Uint8Array[] = [];
  for await (const chunk of content) chunks.push(chunk.slice());
  return new Uint8Array(Buffer.concat(chunks));
}
