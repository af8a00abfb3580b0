// An acknowledged row survives power loss: the system calls that SQLite makes for this driver are recorded, and files are
// put together as a disk may hold them that lost its power anywhere in between, with whatever was not synced dropped,
// kept or kept in part. Every one of them opens, holds every acknowledged row, and nothing else than rows.

import { spawn, spawnSync } from "node:child_process";
import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openForWriting } from "../../src/state/sqlite-file.ts";
import { loadSqlite, type SqliteConstructor } from "../../src/state/sqlite-library.ts";
import { SqliteStore } from "../../src/state/sqlite-store.ts";
import { skipUnless } from "../require.ts";
import { framedRow } from "./conformance.ts";

const CHILD = fileURLToPath(new URL("power-loss-child.ts", import.meta.url));
const CALLS = "openat,close,pwrite64,write,fsync,fdatasync,ftruncate,unlink,rename";
/** Moments drawn at random, besides every one right after a promise: as many as take some seconds. */
const MOMENTS = 60;

const strace = spawnSync("strace", ["-e", "trace=none", "true"]);
const skip = skipUnless(
  strace.status === 0,
  "power loss under SQLite is played from a trace of strace, which is missing",
);

type Step =
  | { readonly do: "write"; readonly file: Inode; readonly at: number; readonly bytes: Buffer }
  | { readonly do: "truncate"; readonly file: Inode; readonly length: number }
  | { readonly do: "sync"; readonly file: Inode }
  | { readonly do: "syncFolder" }
  | { readonly do: "name"; readonly name: string; readonly file: Inode | null }
  | { readonly do: "say"; readonly promise: Promised };

interface Promised {
  readonly next: number;
  readonly integrated: number;
}

interface Inode {
  readonly number: number;
}

let folder: string;
let library: SqliteConstructor;

describe.skipIf(skip)("a database that lost its power", () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "cairn-test-"));
    library = await loadSqlite();
  });

  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  it("opens with every acknowledged row, at whatever moment and with whatever was not synced", async () => {
    const steps = await trace("synced");
    const said = steps.filter((step) => step.do === "say").length;
    expect(said).toBeGreaterThan(60);
    expect(steps.filter((step) => step.do === "sync").length).toBeGreaterThan(said);
    const random = seeded(11);
    const moments = Array.from({ length: MOMENTS }, () => random(steps.length + 1));
    // Right after each promise is when least may have been synced since.
    steps.forEach((step, index) => {
      if (step.do === "say") moments.push(index + 1);
    });
    const broken: string[] = [];
    for (const [i, moment] of moments.entries()) {
      // Nothing unsynced survives, all of it, or a part: in turn.
      const keep = [() => false, () => true, () => random(2) === 0][i % 3] as () => boolean;
      const fault = await faultAfter(steps.slice(0, moment), keep);
      if (fault !== null) broken.push(`after step ${moment} of ${steps.length}: ${fault}`);
    }
    expect(broken).toEqual([]);
  }, 120_000);

  it("would lose rows without FULL synchronisation, which shows that this test can tell", async () => {
    const steps = await trace("unsynced");
    let lost = 0;
    for (const [index, step] of steps.entries()) {
      if (step.do !== "say" || lost > 0) continue;
      if ((await faultAfter(steps.slice(0, index + 1), () => false)) !== null) lost++;
    }
    expect(lost).toBe(1);
  }, 120_000);
});

/** What is wrong with the database after these steps and a power loss; `keep` decides about each unsynced change. */
async function faultAfter(steps: readonly Step[], keep: () => boolean): Promise<string | null> {
  const place = join(folder, "crashed");
  await rm(place, { recursive: true, force: true });
  await mkdir(place);
  const promised = steps.findLast((step) => step.do === "say")?.promise;
  for (const [name, bytes] of filesAfter(steps, keep)) await writeFile(join(place, name), bytes);
  if (promised === undefined) return null;
  const path = join(place, "log.db");
  try {
    const store = new SqliteStore(openForWriting(library, path, { create: false }), path);
    try {
      const { nextIndex, firstRetained, integrated: head } = store.queries.snapshot();
      if (nextIndex < promised.next) return `next index ${nextIndex}, promised ${promised.next}`;
      if (head.size < promised.integrated) return `integrated ${head.size}, promised ${promised.integrated}`;
      let next = firstRetained;
      for (const row of store.queries.readRows(0, Number.MAX_SAFE_INTEGER)) {
        const expected = framedRow(
          next,
          Array.from({ length: row.count }, () => 250),
        );
        if (row.first !== next || Buffer.compare(row.bytes, expected.bytes) !== 0)
          return `row ${row.first} is wrong`;
        next += row.count;
      }
      return next === nextIndex ? null : `rows end at ${next} of ${nextIndex}`;
    } finally {
      store.close();
    }
  } catch (error) {
    return String(error);
  }
}

/** The files of the folder as a disk may hold them. Nothing is assumed but that what was synced is there. */
function filesAfter(steps: readonly Step[], keep: () => boolean): Map<string, Buffer> {
  const synced = new Map<Inode, Buffer>();
  const unsynced = new Map<Inode, Step[]>();
  const durableNames = new Map<string, Inode | null>();
  const newNames = new Map<string, (Inode | null)[]>();
  for (const step of steps) {
    switch (step.do) {
      case "write":
      case "truncate":
        if (unsynced.get(step.file)?.push(step) === undefined) unsynced.set(step.file, [step]);
        break;
      case "sync":
        synced.set(step.file, changed(synced.get(step.file), unsynced.get(step.file) ?? []));
        unsynced.delete(step.file);
        break;
      case "name":
        newNames.set(step.name, [...(newNames.get(step.name) ?? []), step.file]);
        break;
      case "syncFolder":
        for (const [name, files] of newNames) durableNames.set(name, files.at(-1) ?? null);
        newNames.clear();
        break;
      case "say":
        break;
    }
  }
  const files = new Map<string, Buffer>();
  for (const name of new Set([...durableNames.keys(), ...newNames.keys()])) {
    let file = durableNames.get(name) ?? null;
    for (const later of newNames.get(name) ?? []) if (keep()) file = later;
    if (file === null) continue;
    files.set(name, changed(synced.get(file), (unsynced.get(file) ?? []).filter(keep)));
  }
  return files;
}

function changed(before: Buffer | undefined, steps: readonly Step[]): Buffer {
  let bytes = before ?? Buffer.alloc(0);
  const resize = (length: number): void => {
    const resized = Buffer.alloc(length);
    bytes.copy(resized);
    bytes = resized;
  };
  if (steps.length > 0) bytes = Buffer.from(bytes);
  for (const step of steps) {
    if (step.do === "truncate") resize(step.length);
    if (step.do !== "write") continue;
    if (bytes.length < step.at + step.bytes.length) resize(step.at + step.bytes.length);
    step.bytes.copy(bytes, step.at);
  }
  return bytes;
}

/** Runs the child under strace and answers what it did to the files of its folder, in order. */
async function trace(how: string): Promise<Step[]> {
  const place = join(folder, how);
  await mkdir(place);
  const output = join(folder, `${how}.trace`);
  const options = ["-f", "-xx", "-s", "1000000", "-e", `trace=${CALLS}`, "-o", output];
  const child = spawn(
    "strace",
    [...options, process.execPath, "--import", "tsx", CHILD, join(place, "log.db"), how],
    {
      stdio: ["ignore", "ignore", "inherit"],
    },
  );
  expect(await new Promise((resolve) => child.on("close", resolve))).toBe(0);
  const steps: Step[] = [];
  const open = new Map<number, Inode | "folder">();
  const names = new Map<string, Inode>();
  const begun = new Map<string, string>();
  let inodes = 0;
  for await (const line of createInterface({ input: createReadStream(output) })) {
    const found = /^(\d+) +(.*)$/.exec(line);
    if (found === null) continue;
    const [, thread = "", text = ""] = found;
    const unfinished = / <unfinished \.\.\.>$/.exec(text);
    if (unfinished !== null) {
      begun.set(thread, text.slice(0, unfinished.index));
      continue;
    }
    const resumed = /^<\.\.\. \w+ resumed>/.exec(text);
    const whole = resumed === null ? text : `${begun.get(thread)}${text.slice(resumed[0].length)}`;
    const call = /^(\w+)\((.*)\) += (-?\d+)/.exec(whole);
    if (call === null || Number(call[3]) < 0) continue;
    const [, name = "", args = "", result = ""] = call;
    const strings = [...args.matchAll(/"((?:\\x[0-9a-f]{2})*)"/g)].map((match) => unescape(match[1] ?? ""));
    const fd = Number(args.split(",")[0]);
    const file = open.get(fd);
    if (name === "openat") {
      const path = strings[0]?.toString() ?? "";
      if (path === place) open.set(Number(result), "folder");
      if (dirname(path) !== place || path.endsWith("-shm")) continue;
      let inode = names.get(path);
      if (inode === undefined) {
        inode = { number: inodes++ };
        names.set(path, inode);
        steps.push({ do: "name", name: basename(path), file: inode });
      }
      open.set(Number(result), inode);
    } else if (name === "unlink") {
      const path = strings[0]?.toString() ?? "";
      if (names.delete(path)) steps.push({ do: "name", name: basename(path), file: null });
    } else if (name === "rename") {
      throw new Error("a rename is not modelled");
    } else if (name === "close") {
      open.delete(fd);
    } else if (name === "write" && fd === 1) {
      for (const each of String(strings[0]).split("\n")) {
        if (each.startsWith("{")) steps.push({ do: "say", promise: JSON.parse(each) as Promised });
      }
    } else if (file === "folder") {
      if (name === "fsync") steps.push({ do: "syncFolder" });
    } else if (file !== undefined) {
      if (name === "pwrite64") {
        steps.push({
          do: "write",
          file,
          at: Number(args.split(", ").at(-1)),
          bytes: strings[0] ?? Buffer.alloc(0),
        });
      } else if (name === "ftruncate") {
        steps.push({ do: "truncate", file, length: Number(args.split(", ")[1]) });
      } else if (name === "fsync" || name === "fdatasync") {
        steps.push({ do: "sync", file });
      }
    }
  }
  return steps;
}

function unescape(escaped: string): Buffer {
  return Buffer.from(escaped.replaceAll("\\x", ""), "hex");
}

function seeded(seed: number): (count: number) => number {
  let state = seed;
  return (count) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * count);
  };
}
