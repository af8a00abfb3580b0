// The lock that one process holds for life: refused to every other in words, and free as soon as its holder is dead.

import { type ChildProcessByStdio, spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Lock, takeLock } from "../../src/state/lock.ts";

const CHILD = fileURLToPath(new URL("lock-child.ts", import.meta.url));
const STARTED = Date.UTC(2026, 0, 2, 3, 4, 5);

let folder: string;
let path: string;
let children: Child[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "cairn-test-"));
  path = join(folder, "log.db.lock");
  children = [];
});

afterEach(async () => {
  for (const child of children) await child.kill();
  await rm(folder, { recursive: true, force: true });
});

describe("a lock", () => {
  it("is taken in a new folder, given up, and taken again", async () => {
    await mkdir(join(folder, "new"));
    for (let i = 0; i < 3; i++) {
      const lock = await takeLock(join(folder, "new", "lock"));
      lock.release();
    }
    expect(await readdir(join(folder, "new"))).toEqual(["lock"]);
  });

  it("never makes its folder", async () => {
    await expect(takeLock(join(folder, "absent", "lock"))).rejects.toMatchObject({ code: "log_absent" });
    expect(await readdir(folder)).toEqual([]);
  });

  it("is refused in words where a file stands in its folder's place", async () => {
    await writeFile(join(folder, "file"), "");
    await expect(takeLock(join(folder, "file", "lock"))).rejects.toMatchObject({
      code: "file_unreadable",
      message: expect.stringContaining("a file stands where the folder"),
    });
  });

  it("is refused to this process too, and the refusal does not release it", async () => {
    const lock = await takeLock(path, { now: () => STARTED });
    for (let i = 0; i < 3; i++) {
      await expect(takeLock(path)).rejects.toMatchObject({
        code: "locked",
        members: { host: hostname(), pid: process.pid, started: "2026-01-02T03:04:05.000Z" },
      });
    }
    expect((await startChild()).said).toContain("refused locked");
    lock.release();
    lock.release();
    (await takeLock(path)).release();
  });

  it("is refused at once in a sentence that names host, process and start time", async () => {
    const child = await startChild();
    expect(child.said).toBe("taken");
    const began = performance.now();
    const error: unknown = await takeLock(path).catch((caught: unknown) => caught);
    expect(performance.now() - began).toBeLessThan(1000);
    expect((error as Error).message).toBe(
      `Another process holds this log. (${path} is held by process ${child.pid} on ${hostname()}, started 2026-01-02T03:04:05.000Z)`,
    );
  });

  it("is free when its holder gives it up", async () => {
    const child = await startChild();
    expect(await child.release()).toBe("released");
    (await takeLock(path)).release();
  });

  it("is free as soon as its holder was killed, whatever files it left", async () => {
    for (let i = 0; i < 3; i++) {
      const child = await startChild();
      expect(child.said).toBe("taken");
      await child.kill();
      expect((await readdir(folder)).length).toBeGreaterThan(1);
    }
    const lock = await takeLock(path, { now: () => STARTED });
    expect((await startChild()).said).toContain(`held by process ${process.pid} on`);
    lock.release();
  });

  it("goes to one of many processes that come at once, and each other is told who has it", async () => {
    const started = await Promise.all(Array.from({ length: 6 }, () => startChild()));
    const holders = started.filter((child) => child.said === "taken");
    expect(holders).toHaveLength(1);
    for (const child of started) {
      if (child === holders[0]) continue;
      expect(child.said).toContain("refused locked");
      expect(child.said).toContain(`held by process ${(holders[0] as Child).pid} on`);
    }
  }, 60_000);

  it("goes to one of many calls in one process", async () => {
    const results = await Promise.allSettled(Array.from({ length: 10 }, () => takeLock(path)));
    const taken = results.filter(
      (result): result is PromiseFulfilledResult<Lock> => result.status === "fulfilled",
    );
    expect(taken).toHaveLength(1);
    taken[0]?.value.release();
  });

  it("file that is damaged is told of, with what to do", async () => {
    await writeFile(
      path,
      "this is no database, and long enough to be read as the header of one: not at all".repeat(9),
    );
    await expect(takeLock(path)).rejects.toMatchObject({ code: "file_unreadable" });
    await expect(takeLock(path)).rejects.toThrow("is damaged");
  });

  it("file that is a folder is told of", async () => {
    await mkdir(path);
    await expect(takeLock(path)).rejects.toThrow("cannot be used");
  });
});

interface Child {
  readonly pid: number;
  /** Its first line. */
  readonly said: string;
  release(): Promise<string>;
  kill(): Promise<void>;
}

async function startChild(): Promise<Child> {
  const child = spawn(process.execPath, ["--import", "tsx", CHILD, path, String(STARTED)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const nextLine = lines(child);
  const started: Child = {
    pid: child.pid as number,
    said: await nextLine(),
    async release() {
      child.stdin.write("go\n");
      return nextLine();
    },
    async kill() {
      child.kill("SIGKILL");
      await ended;
    },
  };
  children.push(started);
  return started;
}

function lines(child: ChildProcessByStdio<Writable, Readable, null>): () => Promise<string> {
  const found: string[] = [];
  const waiting: ((line: string) => void)[] = [];
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => {
    text += chunk.toString();
    const parts = text.split("\n");
    text = parts.pop() ?? "";
    for (const line of parts) (waiting.shift() ?? ((each: string) => found.push(each)))(line);
  });
  return () => {
    const line = found.shift();
    return line !== undefined ? Promise.resolve(line) : new Promise((resolve) => waiting.push(resolve));
  };
}
