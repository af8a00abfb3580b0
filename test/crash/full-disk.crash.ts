// A really full disk: an actionable sentence, nothing half-done, and the log goes on when there is room again.

import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, inject, it, onTestFinished } from "vitest";
import { skipUnless } from "../require.ts";
import { within } from "../waiting.ts";
import { Child } from "./place.ts";

const SCENARIO = fileURLToPath(new URL("full-disk-scenario.ts", import.meta.url));
const MINUTES = 5 * 60_000;

/** Why a small file system cannot be made here, or null where it can. */
function reasonAgainst(): string | null {
  const folder = fileURLToPath(new URL(".", import.meta.url));
  const tried = spawnSync("unshare", ["-rm", "mount", "-t", "tmpfs", "-o", "size=4096", "tmpfs", folder], {
    encoding: "utf8",
  });
  if (tried.status === 0) return null;
  return tried.error?.message ?? (tried.stderr.trim() || "unshare failed");
}

const reason = reasonAgainst();
const skip = skipUnless(
  reason === null,
  `a small file system that fills up needs unshare (package util-linux) and user namespaces: ${reason}`,
);

it.skipIf(skip).each(["one disk", "a disk of tiles", "a start without room"])(
  "a full disk is survived and told of in words: %s",
  async (scenario) => {
    const folder = await mkdtemp(join(tmpdir(), "cairn-full-disk-"));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const argv = [
      "-rm",
      process.execPath,
      "--import",
      "tsx",
      SCENARIO,
      join(inject("cairnPackage"), "dist/cli/main.js"),
      folder,
      scenario,
    ];
    const child = new Child(argv, { TMPDIR: folder }, undefined, "unshare");
    const { code } = await within(MINUTES, () => `end of ${scenario}`, child.exited);
    expect(code, child.output()).toBe(0);
    const result = JSON.parse(child.stdout.trim().split("\n").at(-1) ?? "") as {
      problem?: { status: number; type: string; body: { code: string; title?: string; detail?: string } };
      acknowledged: number;
      others?: string[];
    };
    process.stdout.write(`full disk, ${scenario}: ${JSON.stringify(result)}\n`);
    if (result.problem !== undefined) {
      expect(result.problem).toMatchObject({ status: 503, body: { code: "storage_low" } });
      expect(result.problem.type).toMatch(/^application\/problem\+json/);
      expect(JSON.stringify(result.problem.body)).toMatch(/disk is nearly full; try again when/);
    }
    // Besides the refusal itself, of a request or of each entry of a batch, only what asks the client to come again.
    for (const other of result.others ?? []) {
      expect([
        "503 storage_low",
        "503 queue_full",
        "503 store_unavailable",
        "503 starting",
        "200 storage_low",
      ]).toContain(other);
    }
  },
);
