// What fs.test.ts runs in processes of its own: writing until killed, and on full and read-only file systems.

import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { openFsStore } from "../../src/storage/fs.ts";
import { type ObjectStore, StoreError } from "../../src/storage/store.ts";

const [what = "", root = "", round = ""] = process.argv.slice(2);

if (what === "write") await writeUntilKilled();
else if (what === "full") print(await onFullDisk());
else print(await onReadOnlyDisk());

/** Prints the key of each object once it was created. */
async function writeUntilKilled(): Promise<void> {
  const store = await openFsStore(root, { mode: "write" });
  const bytes = new Uint8Array(40_000).fill(7);
  for (let i = 0; ; i += 8) {
    await Promise.all(
      Array.from({ length: 8 }, async (_, j) => {
        const key = `tile/${round}/x00${(i + j) % 10}/${i + j}`;
        await store.create(key, bytes);
        process.stdout.write(`${key}\n`);
      }),
    );
  }
}

async function onFullDisk(): Promise<unknown> {
  const store = await openFsStore(root, { mode: "write" });
  await store.createDurable("state/head", text("head"));
  const version = (await store.get("state/head"))?.version;
  if (version === undefined) throw new Error("no head");
  const bytes = new Uint8Array(30_000);
  let written = 0;
  const created = await failureOf(async () => {
    for (; ; written++) await store.create(`tile/0/${written}`, bytes);
  });
  const createdDurably = await failureOf(() => store.createDurable("checkpoint", bytes));
  const replaced = await failureOf(() => store.replace("state/head", new Uint8Array(200_000), version));
  const headAfter = await read(store, "state/head");
  let wholeBefore =
    (await store.get(`tile/0/${written}`)) === null && (await store.get("checkpoint")) === null;
  for (let i = 0; i < written; i++) {
    wholeBefore &&= (await store.get(`tile/0/${i}`))?.bytes.length === bytes.length;
  }
  const leftovers = readdirSync(join(root, "state/.tmp"));
  rmSync(join(root, "tile/0/0"));
  rmSync(join(root, "tile/0/1"));
  const afterRoom = (await store.create("tile/0/again", bytes)).outcome;
  return { created, createdDurably, replaced, headAfter, wholeBefore, leftovers, afterRoom };
}

async function onReadOnlyDisk(): Promise<unknown> {
  const before = await openFsStore(root, { mode: "write" });
  await before.createDurable("state/head", text("head"));
  spawnSync("mount", ["-o", "remount,ro", root]);
  const store = await openFsStore(root, { mode: "write" });
  const failure = await failureOf(() => store.create("tile/0/000", text("a")));
  return { ...failure, read: await read(store, "state/head") };
}

interface Failure {
  outcome: string;
  noSpace: boolean;
  retryable: boolean;
  /** Whether the message tells an operator what to do, in one line. */
  words: boolean;
}

async function failureOf(call: () => Promise<unknown>): Promise<Failure> {
  try {
    await call();
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    const words = /make room|mount it for writing/.test(error.message) && !error.message.includes("\n");
    return { outcome: error.outcome, noSpace: error.noSpace, retryable: error.retryable, words };
  }
  throw new Error("it did not fail");
}

async function read(store: ObjectStore, key: string): Promise<string> {
  return new TextDecoder().decode((await store.get(key))?.bytes);
}

function text(content: string): Uint8Array {
  return new TextEncoder().encode(content);
}

function print(result: unknown): void {
  process.stdout.write(JSON.stringify(result));
}
