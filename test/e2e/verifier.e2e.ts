// A verifier's machine: the package installed without its optional dependencies, so without SQLite and the server. It
// verifies, checks and submits; a command that needs more says in one sentence what to install.

import { cp, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, inject, test } from "vitest";
import { addBatch, addForProof, entries, untilPublished } from "./client.ts";
import { filesIn } from "./refusal.ts";
import { create, newPlace, type Ran, run, temporaryFolder } from "./server.ts";

/** Commands that own a log or its keys, with what they are given. */
const SERVER_COMMANDS = ["serve", "recover", "gc", "keys add publisher", "keys list"];

/** The package as `npm install --omit=optional` leaves it. */
async function installed(): Promise<string> {
  const folder = await temporaryFolder();
  const full = inject("cairnPackage");
  for (const name of ["dist", "migrations", "package.json"]) {
    await cp(join(full, name), join(folder, name), { recursive: true });
  }
  const manifest = JSON.parse(await readFile(join(folder, "package.json"), "utf8")) as {
    dependencies: Record<string, string>;
    optionalDependencies: Record<string, string>;
  };
  expect(Object.keys(manifest.optionalDependencies)).toContain("better-sqlite3");
  for (const name of Object.keys(manifest.dependencies)) {
    await mkdir(join(folder, "node_modules", name, ".."), { recursive: true });
    await symlink(join(full, "node_modules", name), join(folder, "node_modules", name));
  }
  return folder;
}

function cairnAt(folder: string, args: readonly string[], env = {}): Promise<Ran> {
  return run([join(folder, "dist/cli/main.js"), ...args], { cwd: folder, env });
}

test("verify, fsck, prove, add, policy and keygen work without the optional dependencies", async () => {
  const place = await newPlace();
  const server = await create(place);
  await addBatch(server, entries(300));
  const proof = await addForProof(server, "the entry");
  const folder = await installed();
  await writeFile(join(folder, "entry"), "the entry");
  await writeFile(join(folder, "entry.tlog-proof"), proof);
  await writeFile(join(folder, "new-entry"), "a new entry");
  const commands = [
    ["verify", "entry.tlog-proof", "entry", "--key", place.vkey],
    ["verify", "--log", server.url, "--key", place.vkey, "--remember", "head"],
    ["fsck", server.url, "--vkey", place.vkey],
    ["fsck", place.tiles, "--vkey", place.vkey],
    ["prove", "--log", server.url, "7"],
    ["add", "--log", server.url, "new-entry"],
    ["keygen", "--origin", "example.com/x", "--out", "x.key"],
    ["policy", "--help"],
  ];
  for (const args of commands) {
    const ran = await cairnAt(folder, args);
    expect(ran.code, `${args.join(" ")}\n${ran.stdout}${ran.stderr}`).toBe(0);
  }
  await untilPublished(server, 302);

  const altered = Buffer.from(proof);
  altered[40] = (altered[40] as number) ^ 1;
  await writeFile(join(folder, "entry.tlog-proof"), altered);
  const ran = await cairnAt(folder, ["verify", "entry.tlog-proof", "entry", "--key", place.vkey]);
  expect(ran.code).toBe(1);
});

test.each(SERVER_COMMANDS)(
  "cairn %s says in one sentence what to install, and makes nothing",
  async (command) => {
    const folder = await installed();
    const place = await newPlace();
    const before = await filesIn(place.folder);
    const ran = await cairnAt(folder, command.split(" "), { ...place.env, LOG_CREATE: "true" });
    const line = ran.stderr.trim();
    expect(ran.code, line).toBe(2);
    expect(line).toMatch(/^cairn[ a-z]*: .*npm install [a-z0-9-]+.*\[missing_dependency\]$/);
    expect(ran.stdout).toBe("");
    expect(await filesIn(place.folder)).toEqual(before);
  },
);
