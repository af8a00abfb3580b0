// omniwitness, the witness of transparency-dev, as an independent peer: built from the Go module that omniwitness/go.mod pins,
// into a folder of the system's temporary ones that later runs use again. Kept on loopback: it gets no feeder, no distributor
// and no public list.

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { StartCommand } from "../conformance/target.ts";

export const OMNIWITNESS_VERSION = "v0.0.0-20260701145555-54dbcdd14f82";

/** Downloading and building takes about a minute. */
export const OMNIWITNESS_BUILD_MS = 600_000;

const PACKAGE = "github.com/transparency-dev/witness/cmd/omniwitness";
const MODULE = fileURLToPath(new URL("./omniwitness/", import.meta.url));
const MODULE_FILES = ["go.mod", "go.sum"] as const;
const run = promisify(execFile);

/** The path of the program; or why there is none: no `go`, or the module could not be had. */
export async function buildOmniwitness(): Promise<{ path: string } | { missing: string }> {
  const digest = createHash("sha256");
  for (const file of MODULE_FILES) digest.update(readFileSync(join(MODULE, file)));
  const folder = join(tmpdir(), `cairn-omniwitness-${digest.digest("hex").slice(0, 16)}`);
  const path = join(folder, "omniwitness");
  if (existsSync(path)) return { path };
  // Two runs at once build two programs; the one that is renamed last stays.
  const building = `${folder}.${process.pid}`;
  mkdirSync(building, { recursive: true });
  mkdirSync(folder, { recursive: true });
  try {
    for (const file of MODULE_FILES) copyFileSync(join(MODULE, file), join(building, file));
    await run("go", ["build", "-mod=readonly", "-o", "omniwitness", PACKAGE], {
      cwd: building,
      timeout: OMNIWITNESS_BUILD_MS,
    });
    renameSync(join(building, "omniwitness"), path);
    return { path };
  } catch (error) {
    return { missing: `omniwitness cannot be built: ${(error as Error).message.split("\n")[0]}` };
  } finally {
    rmSync(building, { recursive: true, force: true });
  }
}

/** How it is started, with one key of each of the types named. */
export function omniwitnessCommand(
  path: string,
  keys: readonly ("key" | "mldsa-key")[] = ["key"],
): StartCommand {
  return [
    path,
    "--listen={listen}",
    "--metrics_listen=",
    "--db_file={database}",
    ...keys.map((key) => `--private_key_path={${key}}`),
    "--additional_logs={logs-yaml}",
  ];
}
