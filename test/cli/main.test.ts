// The program as a process: the few things that only a real one shows. Everything else about commands is tested in process.

import { spawn, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { describe, expect, test } from "vitest";
import { printTlogProof } from "../../src/core/tlog-proof.ts";
import { entries, logSigner, proofOf } from "../core/signed-log.ts";
import { temporaryFolder } from "./test-io.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const PROGRAM = ["--import", "tsx", join(ROOT, "src/cli/main.ts")];

function cairn(
  argv: readonly string[],
  input = "",
): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [...PROGRAM, ...argv], { cwd: ROOT, encoding: "utf8", input });
}

test("the version is the package's", () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  expect(cairn(["--version"])).toMatchObject({ status: 0, stdout: `${version}\n` });
});

test("a proof is verified by exit code, standard output and standard input", () => {
  const entry = join(temporaryFolder(), "entry");
  writeFileSync(entry, entries[2] as Uint8Array);
  const proof = Buffer.from(printTlogProof(proofOf(2))).toString();
  const argv = ["verify", "-", entry, "--key", logSigner.vkey];
  expect(cairn(argv, proof)).toMatchObject({ status: 0, stderr: "" });
  expect(cairn(argv, proof.replace("index 2", "index 3"))).toMatchObject({ status: 1, stdout: "" });
  expect(cairn(argv, "").status).toBe(1);
  expect(cairn([]).status).toBe(2);
});

test("a reader that has seen enough ends the command without a complaint", async () => {
  const child = spawn(process.execPath, [...PROGRAM, "fsck", "--help"], { cwd: ROOT });
  child.stdout.destroy();
  let complaint = "";
  child.stderr.on("data", (data: Buffer) => {
    complaint += data.toString();
  });
  await new Promise((resolve) => child.on("close", resolve));
  expect(complaint).toBe("");
});

describe("what a command loads", () => {
  /** The packages and files that loading `entry` loads with it, dynamic imports aside. */
  async function loadedBy(entry: string): Promise<string[]> {
    const { metafile } = await build({
      absWorkingDir: ROOT,
      entryPoints: [entry],
      bundle: true,
      platform: "node",
      format: "esm",
      packages: "external",
      splitting: true,
      outdir: "unwritten",
      write: false,
      metafile: true,
      logLevel: "silent",
    });
    const found = new Set<string>();
    const visit = (path: string) => {
      if (found.has(path)) return;
      found.add(path);
      for (const { path: imported, kind } of metafile.inputs[path]?.imports ?? []) {
        if (kind === "import-statement") visit(imported);
      }
    };
    visit(entry);
    return [...found];
  }

  const SERVER_ONLY = /^(better-sqlite3|fastify|@fastify\/.*|pino|lru-cache|close-with-grace|zod)$/;

  test.each(["main", "verify", "fsck", "add", "prove", "policy", "keygen", "keys"])(
    "%s loads nothing that only a server needs",
    async (name) => {
      const loaded = await loadedBy(`src/cli/${name}.ts`);
      expect(loaded.length).toBeGreaterThan(1);
      expect(loaded.filter((path) => SERVER_ONLY.test(path))).toEqual([]);
    },
  );

  test("and the server does load it, so that the list above can fail", async () => {
    expect(await loadedBy("src/cli/serve.ts")).toEqual(expect.arrayContaining(["fastify", "zod", "pino"]));
  });
});
