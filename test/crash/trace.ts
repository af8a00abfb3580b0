// A recorded trace of system calls on a folder's files, and what a power loss after any of them leaves: of each file what
// was there at its last sync, and of what was written since then anything, in whole sectors.

import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import type { Random } from "./random.ts";

interface Written {
  readonly kind: "write";
  readonly path: string;
  readonly offset: number;
  readonly bytes: Buffer;
}

interface Truncated {
  readonly kind: "truncate";
  readonly path: string;
  readonly length: number;
}

export type TraceEvent =
  | Written
  | Truncated
  | { readonly kind: "sync"; readonly path: string }
  | { readonly kind: "unlink"; readonly path: string }
  | { readonly kind: "said"; readonly text: string };

/** What disks write as a whole. */
const SECTOR = 512;
/** The file in which the traced program says what was answered. */
const SAID = "said";
const SYNC = /^f(?:data)?sync\(/;

/**
 * Reads what strace wrote with `-f -y -xx`. A call that another thread interrupted counts where it began, but a sync where
 * it ended: so nothing is called durable too early. Only files in `folder`; what is written to `said` there is no file's.
 */
export async function readTrace(file: string, folder: string): Promise<TraceEvent[]> {
  const events: TraceEvent[] = [];
  const begun = new Map<string, string>();
  const lines = createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY });
  for await (const line of lines) {
    const [, pid, call] = /^(\d+) +(.*)$/.exec(line) ?? [];
    if (pid === undefined || call === undefined) continue;
    if (/^<\.\.\. \w+ resumed>/.test(call)) {
      const first = begun.get(pid) ?? "";
      begun.delete(pid);
      if (SYNC.test(first)) push(events, first, folder);
      continue;
    }
    const unfinished = call.indexOf("<unfinished ...>");
    const start = unfinished < 0 ? call : call.slice(0, unfinished);
    if (unfinished >= 0) begun.set(pid, start);
    if (unfinished < 0 || !SYNC.test(start)) push(events, start, folder);
  }
  return events;
}

function push(events: TraceEvent[], call: string, folder: string): void {
  const [, said, text] = /^write\(\d+<([^>]*)>, "([^"]*)"/.exec(call) ?? [];
  if (said !== undefined && text !== undefined) {
    if (pathOf(said, folder) === SAID) events.push({ kind: "said", text: unescape(text).toString() });
    return;
  }
  const [, file, data, cut, length, offset] =
    /^pwrite64\(\d+<([^>]*)>, "([^"]*)"(\.\.\.)?, (\d+), (\d+)/.exec(call) ?? [];
  if (file !== undefined && data !== undefined) {
    const path = pathOf(file, folder);
    if (path === null) return;
    const bytes = unescape(data);
    if (cut !== undefined || bytes.length !== Number(length))
      throw new Error("the trace cuts what is written");
    events.push({ kind: "write", path, offset: Number(offset), bytes });
    return;
  }
  const [, truncated, end] = /^ftruncate\(\d+<([^>]*)>, (\d+)/.exec(call) ?? [];
  if (truncated !== undefined) {
    const path = pathOf(truncated, folder);
    if (path !== null) events.push({ kind: "truncate", path, length: Number(end) });
    return;
  }
  const [, synced] = /^f(?:data)?sync\(\d+<([^>]*)>/.exec(call) ?? [];
  if (synced !== undefined) {
    const path = pathOf(synced, folder);
    if (path !== null) events.push({ kind: "sync", path });
    return;
  }
  const [, removed] = /^unlink(?:at)?\((?:[^,"]*, )?"([^"]*)"/.exec(call) ?? [];
  if (removed === undefined) return;
  const path = pathOf(removed, folder);
  if (path !== null) events.push({ kind: "unlink", path });
}

/** The path below the folder, or null for another file. */
function pathOf(escaped: string, folder: string): string | null {
  const path = escaped.startsWith("\\x") ? unescape(escaped).toString() : escaped;
  return path.startsWith(`${folder}/`) ? path.slice(folder.length + 1) : null;
}

function unescape(text: string): Buffer {
  return Buffer.from(text.replaceAll("\\x", ""), "hex");
}

interface TracedFile {
  /** As of the last sync; null where the file was never synced and may not even exist. */
  durable: Buffer | null;
  now: Buffer;
  /** Since the last sync, in order. */
  pending: (Written | Truncated)[];
}

/** How much of what was not synced is left. */
export type Loss = "all is lost" | "nothing is lost" | "some is lost" | "some sectors are lost";

/** The files after the first events of a trace. */
export class Disk {
  readonly #files = new Map<string, TracedFile>();

  apply(event: TraceEvent): void {
    if (event.kind === "said") return;
    if (event.kind === "unlink") {
      this.#files.delete(event.path);
      return;
    }
    let file = this.#files.get(event.path);
    if (file === undefined) {
      file = { durable: null, now: Buffer.alloc(0), pending: [] };
      this.#files.set(event.path, file);
    }
    if (event.kind === "sync") {
      file.durable = file.now;
      file.pending = [];
      return;
    }
    file.now = changed(file.now, event);
    file.pending.push(event);
  }

  /** The files as the next start finds them. */
  afterPowerLoss(loss: Loss, random: Random): Map<string, Buffer> {
    const left = new Map<string, Buffer>();
    for (const [path, { durable, now, pending }] of this.#files) {
      if (loss === "nothing is lost") {
        left.set(path, now);
        continue;
      }
      // The name of a file that was never synced may be gone with its bytes.
      if (loss === "all is lost" || (durable === null && random.next() < 0.3)) {
        if (durable !== null) left.set(path, durable);
        continue;
      }
      let bytes: Buffer = durable ?? Buffer.alloc(0);
      for (const event of pending) {
        if (random.next() < 0.5) continue;
        bytes =
          event.kind === "write" && loss === "some sectors are lost"
            ? withSomeSectors(bytes, event, random)
            : changed(bytes, event);
      }
      left.set(path, bytes);
    }
    return left;
  }
}

function changed(bytes: Buffer, event: Written | Truncated): Buffer {
  const length =
    event.kind === "truncate" ? event.length : Math.max(bytes.length, event.offset + event.bytes.length);
  const next = Buffer.alloc(length);
  bytes.copy(next, 0, 0, Math.min(bytes.length, length));
  if (event.kind === "write") event.bytes.copy(next, event.offset);
  return next;
}

/** A write of which any sectors came through. */
function withSomeSectors(bytes: Buffer, event: Written, random: Random): Buffer {
  let next = bytes;
  const end = event.offset + event.bytes.length;
  for (let at = event.offset; at < end; ) {
    const to = Math.min(end, at - (at % SECTOR) + SECTOR);
    const part = event.bytes.subarray(at - event.offset, to - event.offset);
    if (random.next() < 0.5) next = changed(next, { ...event, offset: at, bytes: part });
    at = to;
  }
  return next;
}
