// The drill of docs/operator.md, "Backup and restore": its own commands, run by a shell, on a log that is written to meanwhile,
// with the machine lost in between.

import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { chmod, cp, mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import {
  addBatch,
  addForProof,
  checkpoint,
  entries,
  expectAt,
  expectClean,
  expectCleanLog,
  readEntries,
  type Receipt,
  untilPublished,
} from "./client.ts";
import { expectRefused } from "./refusal.ts";
import {
  cairn,
  create,
  newPlace,
  type Place,
  placeAt,
  program,
  type Server,
  serve,
  temporaryFolder,
} from "./server.ts";
import { serveFolder } from "./static.ts";

/** A copy beside a running log may miss a partial tile that is replaced meanwhile; the page says to copy again. */
const COPIES = 5;

/** The commands under a bold word of the page's section, all its blocks in turn. */
function commands(part: string): string[] {
  const page = readFileSync(new URL("../../docs/operator.md", import.meta.url), "utf8");
  const section = page.split("\n## ").find((each) => each.startsWith("Backup and restore\n")) ?? "";
  const text = section.split(/^\*\*(?=[A-Z][a-z]+\.\*\*)/m).find((each) => each.startsWith(`${part}.**`));
  const blocks = [...(text ?? "").matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, block]) => block as string);
  if (blocks.length === 0) throw new Error(`the page has no commands for ${part}`);
  return blocks;
}

const [COPY_KEY, COPY] = commands("Copying") as [string, string];
const [RESTORE] = commands("Restoring") as [string];

interface Machine {
  /** Runs commands of the page as its operator would, in a shell that stops at the first failure. */
  operate(script: string): Promise<string>;
}

/** What outlives the machine: folders elsewhere, and where the public log can be had. */
interface Elsewhere {
  readonly offline: string;
  readonly backup: string;
}

async function machineAt(place: Place, { offline, backup }: Elsewhere, mirror = ""): Promise<Machine> {
  const bin = await temporaryFolder();
  await writeFile(join(bin, "cairn"), `#!/bin/sh\nexec "${process.execPath}" "${program()}" "$@"\n`);
  await chmod(join(bin, "cairn"), 0o755);
  const env = {
    ...place.env,
    PATH: `${bin}:${process.env.PATH}`,
    DATA: place.folder,
    VKEY: place.vkey,
    OFFLINE: offline,
    BACKUP: backup,
    MIRROR: mirror,
  };
  return {
    async operate(script) {
      const { stdout, stderr } = await promisify(execFile)("sh", ["-e", "-c", script], { env });
      return stdout + stderr;
    },
  };
}

/** Copies until the copy is clean. */
async function backUp(machine: Machine): Promise<void> {
  for (let left = COPIES - 1; ; left--) {
    try {
      await machine.operate(COPY);
      return;
    } catch (error) {
      if (left === 0) throw error;
    }
  }
}

interface Written {
  readonly all: Uint8Array[];
  readonly receipts: Receipt[];
}

/** Adds batches until `done`, and answers what was acknowledged. */
async function write(server: Server, label: string, done: { yet: boolean }): Promise<Written> {
  const written: Written = { all: [], receipts: [] };
  for (let i = 0; !done.yet; i++) {
    const batch = entries(37, `${label} ${i}`);
    written.receipts.push(...(await addBatch(server, batch)));
    written.all.push(...batch);
  }
  return written;
}

/** A log that was backed up while it was written to, copied once at rest, gone on, and lost with its machine. */
async function lostMachine() {
  const elsewhere = { offline: await temporaryFolder(), backup: await temporaryFolder() };
  const place = await newPlace();
  const machine = await machineAt(place, elsewhere);
  await machine.operate(COPY_KEY);
  const made = await cairn(["keys", "add", "publisher", "--json"], place.env);
  const { key: apiKey } = JSON.parse(made.stdout) as { key: string };

  const server = await create(place);
  const first = entries(600);
  const receipts = await addBatch(server, first);
  await untilPublished(server, first.length);
  const remembered = join(elsewhere.offline, "head");
  const watch = async (url: string) =>
    cairn(["verify", "--log", url, "--key", place.vkey, "--remember", remembered]);
  expect(await watch(server.url)).toMatchObject({ code: 0 });

  const done = { yet: false };
  const writing = write(server, "meanwhile", done);
  await backUp(machine);
  done.yet = true;
  const meanwhile = await writing;
  const before: Written = {
    all: [...first, ...meanwhile.all],
    receipts: [...receipts, ...meanwhile.receipts],
  };
  await untilPublished(server, before.all.length);
  expect(await server.stop()).toMatchObject({ code: 0 });
  // Not a part of the backup: what an operator may have beside it.
  const database = join(elsewhere.offline, "log.db");
  await cp(place.database, database);
  return { elsewhere, machine, place, apiKey, before, database, watch };
}

async function lose(place: Place): Promise<void> {
  await rm(place.folder, { recursive: true });
}

/** Starts what was restored, and shows that it is the log that it was: entries, history, keys, and it goes on. */
async function expectRestored(
  place: Place,
  { all, receipts }: Written,
  apiKey: string,
  watch: (url: string) => Promise<{ code: number | null }>,
): Promise<void> {
  const server = await serve(place, { ALLOW_PUBLIC_WRITES: "false" });
  await untilPublished(server, all.length);
  await expectAt(
    server,
    all,
    receipts.map(({ index }) => index),
  );
  expect(await watch(server.url)).toMatchObject({ code: 0 });
  const headers = { Authorization: `Bearer ${apiKey}` };
  const answer = await fetch(`${server.url}/add`, { method: "POST", headers, body: "after the loss" });
  expect([answer.status, await answer.text()]).toEqual([200, String(all.length)]);
  expect((await fetch(`${server.url}/add`, { method: "POST", body: "without a key" })).status).toBe(401);
  await untilPublished(server, all.length + 1);
  expect(await watch(server.url)).toMatchObject({ code: 0 });
  expect(await expectCleanLog(server, place)).toBe(all.length + 1);
  expect(await server.stop()).toMatchObject({ code: 0 });
}

describe("a machine that is lost", () => {
  test("comes back from the newest copy with everything that was acknowledged before, and the copy was made beside the running log", async () => {
    const { elsewhere, machine, place, apiKey, before, watch } = await lostMachine();
    await machine.operate(COPY);
    await lose(place);
    await mkdir(place.folder);
    const restored = await machineAt(placeAt(place.folder, place.vkey), elsewhere);
    // Nobody has more than the copy, so there is nothing to take it from.
    await restored.operate(RESTORE.replace(' --from "$MIRROR"', ""));
    await expectRestored(place, before, apiKey, watch);
  });

  test("comes back from an older copy and a mirror with everything that was published", async () => {
    const { elsewhere, place, apiKey, before, watch } = await lostMachine();
    // The mirror is made as the page says too: whoever serves such a copy serves a mirror.
    const server = await serve(place);
    const later = entries(300, "later");
    const receipts = await addBatch(server, later);
    expect(await addForProof(server, "the last that was published")).not.toHaveLength(0);
    expect(await watch(server.url)).toMatchObject({ code: 0 });
    const mirrorFolder = await temporaryFolder();
    await backUp(await machineAt(place, { ...elsewhere, backup: mirrorFolder }));
    const newest = await checkpoint(server);
    const logged = await readEntries(server);
    await server.crash();
    await lose(place);
    const older = await expectClean(join(elsewhere.backup, "log"), place.vkey);
    expect(older).toBeLessThan(newest.size);

    const mirror = await serveFolder(join(mirrorFolder, "log"));
    const said = await (await machineAt(place, elsewhere, mirror)).operate(RESTORE);
    expect(said).toContain(newest.size.toLocaleString("en-US"));
    const all = [...before.all, ...later, Buffer.from("the last that was published")];
    expect(logged.map((entry) => Buffer.from(entry).toString())).toEqual(
      all.map((entry) => Buffer.from(entry).toString()),
    );
    const indices = [
      ...before.receipts,
      ...receipts,
      { index: all.length - 1, leafHash: "", duplicate: false },
    ];
    await expectRestored(place, { all, receipts: indices }, apiKey, watch);
  });
});

test("a copy of the database alone is refused in words, beside nothing and beside a newer public log", async () => {
  const { elsewhere, place, before, database } = await lostMachine();
  const server = await serve(place);
  await addBatch(server, entries(10, "after the copy"));
  await untilPublished(server, before.all.length + 10);
  await server.stop();
  await cp(database, place.database);
  expect(await expectRefused(place, "database_older")).toContain("Run cairn recover");

  await lose(place);
  await mkdir(place.folder);
  await cp(join(elsewhere.offline, "log.key"), place.keyFile);
  await cp(database, place.database);
  expect(await expectRefused(place, "head_damaged")).toContain("check first that its volume is mounted");
});
