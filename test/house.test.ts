// The rules of the house, checked from the source text: which room may import which, and what a file must or must not do.
// CONTRIBUTING.md has the same rules in words.

import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { join, posix } from "node:path";
import { describe, expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

interface Room {
  /** Folders or single files (without extension) below src/ that this room may import, beside itself. */
  readonly rooms: readonly string[];
  /** False: no Node module, no `Buffer`, no `process`, since it runs in a browser too. */
  readonly node: boolean;
  /** npm packages; null: any. */
  readonly packages: readonly string[] | null;
}

const CORE_PACKAGES = ["@noble/ed25519", "@noble/hashes", "@noble/post-quantum", "@scure/base"];

/** An arrow points only downwards. */
const HOUSE: Readonly<Record<string, Room>> = {
  cli: {
    rooms: [
      "http",
      "monitor",
      "import",
      "conda",
      "vindex",
      "log",
      "witness",
      "state",
      "storage",
      "client",
      "core",
    ],
    node: true,
    packages: null,
  },
  http: { rooms: ["log", "vindex", "witness", "core"], node: true, packages: null },
  monitor: { rooms: ["log", "client", "vindex", "core"], node: true, packages: null },
  import: { rooms: ["log", "client", "vindex", "core"], node: true, packages: null },
  conda: { rooms: ["log", "client", "vindex", "core"], node: true, packages: null },
  vindex: { rooms: ["core", "storage/durable"], node: true, packages: null },
  log: { rooms: ["state", "storage", "witness/client", "core"], node: true, packages: ["lru-cache"] },
  witness: { rooms: ["state", "core"], node: true, packages: null },
  // esbuild makes the database threads where the sources themselves are run, in tests.
  state: { rooms: ["core"], node: true, packages: ["better-sqlite3", "esbuild"] },
  storage: { rooms: ["core"], node: true, packages: null },
  client: { rooms: ["core"], node: false, packages: [] },
  core: { rooms: [], node: false, packages: CORE_PACKAGES },
};

/** Where a durable file operation may be called: the module that owns them, and the bench, which measures the bare one. */
const DURABLE = /^src\/(?:storage\/durable\.ts$|cli\/bench\/)/;
const DURABLE_CALLS = /\b(?:rename|link|symlink|fsync|fdatasync)(?:Sync)?\b(?=\s*\()|\.datasync\(/;
const ENTRY_POINTS = ["src/core/index.ts", "src/client/index.ts"];
/** Names that say nothing about what is inside. */
const EMPTY_NAMES = /(?:^|[/-])(?:utils?|helpers?|common|misc|manager|shared)(?:[.-]|\/)/;

/** What breaks a rule in one file; `path` is relative to the repository, with slashes. */
function faults(path: string, source: string): string[] {
  const found: string[] = [];
  const [, name = ""] = path.split("/");
  const room = HOUSE[name];
  if (room === undefined) return [`${path} lies in no room`];
  const { code, withoutComments } = strip(source);

  for (const specifier of imports(withoutComments)) {
    if (specifier.startsWith(".")) {
      const target = posix.join(posix.dirname(path), specifier);
      if (!specifier.endsWith(".ts")) found.push(`imports ${specifier} without .ts`);
      if (!mayImport(name, room, target)) found.push(`imports ${target}`);
      if (target.endsWith("/index.ts") && name !== "cli") found.push(`imports a barrel, ${target}`);
    } else if (specifier.startsWith("node:")) {
      if (!room.node) found.push(`imports ${specifier}`);
    } else if (room.packages !== null && !room.packages.some((each) => isPart(specifier, each))) {
      found.push(`imports the package ${specifier}`);
    }
  }
  if (!room.node && /\bBuffer\b/.test(code)) found.push("uses Buffer");
  if (!room.node && /\bprocess\b\s*\./.test(code)) found.push("uses process");
  if (name !== "cli" && /\bprocess\.env\b/.test(code)) found.push("reads the environment");
  if (!DURABLE.test(path) && DURABLE_CALLS.test(code)) found.push("calls a durable file operation");
  if (/^export\s+default\b|\bas\s+default\b/m.test(code)) found.push("has a default export");
  if (/^(?:export\s+)?let\b/m.test(code)) found.push("has mutable state at module level");
  if (/(?:^|\/)index\.ts$/.test(path) && !ENTRY_POINTS.includes(path)) found.push("is a barrel");
  if (EMPTY_NAMES.test(path.slice("src/".length))) found.push("has a name that says nothing");
  if (!/^(?:#!.*\n)?\/\/ \S/.test(source)) found.push("has no header");
  return found.map((fault) => `${path} ${fault}`);
}

function mayImport(name: string, room: Room, target: string): boolean {
  const inside = target.replace(/^src\//, "").replace(/\.ts$/, "");
  return target.startsWith("src/") && [name, ...room.rooms].some((each) => isPart(inside, each));
}

function isPart(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

function imports(code: string): string[] {
  const statements = /(?:\bfrom|\bimport)\s*\(?\s*"([^"]+)"/g;
  const modules = /\bnew URL\(\s*"([^"]+\.ts)"\s*,\s*import\.meta\.url/g;
  return [...code.matchAll(statements), ...code.matchAll(modules)].map(
    ([, specifier]) => specifier as string,
  );
}

/** The source without comments, and without the contents of strings and regular expressions too. */
function strip(source: string): { code: string; withoutComments: string } {
  const token =
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\[\s\S]|[^`\\])*`|(?<=[(,=:[!&|?{};]\s*)\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\/[a-z]*/g;
  const isComment = (text: string): boolean => text.startsWith("//") || text.startsWith("/*");
  return {
    withoutComments: source.replace(token, (text) => (isComment(text) ? "" : text)),
    // Template literals keep their text: code stands in them.
    code: source.replace(token, (text) => (isComment(text) ? "" : text.startsWith("`") ? text : '""')),
  };
}

function filesBelow(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => posix.join(entry.parentPath.slice(ROOT.length).replaceAll("\\", "/"), entry.name))
    .sort();
}

test("every file of src/ keeps the rules of the house", () => {
  const files = filesBelow("src");
  expect(files.length).toBeGreaterThan(100);
  expect(files.flatMap((path) => faults(path, readFileSync(join(ROOT, path), "utf8")))).toEqual([]);
});

test("every file of tests and scripts that is no test itself says what it is for", () => {
  const files = [...filesBelow("test"), ...filesBelow("scripts")].filter(
    (path) => !/\.(?:test|e2e|peer)\.ts$/.test(path),
  );
  const silent = files.filter((path) => !/^(?:#!.*\n)?\/\/ \S/.test(readFileSync(join(ROOT, path), "utf8")));
  expect(silent).toEqual([]);
});

test("a test that may be skipped says so through test/require.ts", () => {
  const wild = filesBelow("test").filter((path) => {
    const { code } = strip(readFileSync(join(ROOT, path), "utf8"));
    const asked = [...code.matchAll(/\b(\w+) = skip(?:Unless|Without)\(/g)].map(([, name]) => name);
    const skips = [...code.matchAll(/\.(?:skipIf|runIf)\((\w*)/g)].map(([, what]) => what as string);
    return (
      /\.(?:skip|todo|only)\b/.test(code) ||
      skips.some((what) => !/^skip(?:Unless|Without)$/.test(what) && !asked.includes(what))
    );
  });
  expect(wild).toEqual([]);
});

describe("a broken rule is found", () => {
  const HEADER = "// What it is for.\n";

  test.each([
    ["src/core/x.ts", 'import { readFile } from "node:fs/promises";'],
    ["src/core/x.ts", 'import type { Log } from "../log/api.ts";'],
    ["src/core/x.ts", 'import { z } from "zod";'],
    ["src/core/x.ts", "const b = Buffer.alloc(1);"],
    ["src/client/x.ts", 'const fs = await import("node:fs");'],
    ["src/client/x.ts", 'export { a } from "../state/state.ts";'],
    ["src/storage/x.ts", 'import { takeLock } from "../state/lock.ts";'],
    ["src/state/x.ts", 'import { writeFileDurable } from "../storage/durable.ts";'],
    ["src/log/x.ts", 'import { createApp } from "../http/app.ts";'],
    ["src/log/x.ts", 'import { serve } from "../witness/service/app.ts";'],
    ["src/vindex/x.ts", 'import { openFsStore } from "../storage/fs.ts";'],
    ["src/http/x.ts", 'import { readConfig } from "../cli/config.ts";'],
    ["src/http/x.ts", "const port = process.env.PORT;"],
    ["src/log/x.ts", 'import { a } from "./a";'],
    ["src/log/x.ts", 'import { a } from "../core/index.ts";'],
    ["src/log/x.ts", "await rename(from, to);"],
    ["src/storage/fs.ts", "fs.fsyncSync(fd);"],
    ["src/log/x.ts", "export default 1;"],
    ["src/log/x.ts", "let cache = null;"],
    ["src/log/index.ts", 'export { a } from "./a.ts";'],
    ["src/log/utils.ts", "export const a = 1;"],
    ["src/elsewhere/x.ts", "export const a = 1;"],
  ])("%s: %s", (path, line) => {
    expect(faults(path, `${HEADER}${line}\n`)).toHaveLength(1);
  });

  test("a missing header", () => {
    expect(faults("src/core/x.ts", "export const a = 1;\n")).toEqual(["src/core/x.ts has no header"]);
  });

  test.each([
    ["src/log/x.ts", 'import { writeFileDurable } from "../storage/durable.ts";'],
    ["src/log/x.ts", 'import { gather } from "../witness/client/gather.ts";'],
    ["src/storage/durable.ts", "await fs.rename(from, to);"],
    ["src/log/x.ts", "// never calls rename() or fsync()"],
    ["src/log/x.ts", 'const text = "let it be, rename(x)";'],
    ["src/core/x.ts", 'import { sha256 } from "@noble/hashes/sha2.js";'],
  ])("and a kept one is not: %s: %s", (path, line) => {
    expect(faults(path, `${HEADER}${line}\n`)).toEqual([]);
  });
});
