// Builds the program once for all end-to-end tests, laid out as npm installs it, in a folder of its own: so a build that
// goes on in the checkout meanwhile disturbs nothing. CAIRN_E2E_PACKAGE names a package that is built already.

import { execFile } from "node:child_process";
import { cp, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  export interface ProvidedContext {
    /** The folder of the built package: `dist`, `migrations`, `package.json`, `node_modules`. */
    cairnPackage: string;
  }
}

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const FOLDER_PREFIX = join(tmpdir(), "cairn-e2e-package-");
/** What npm installs of the project, besides `dist`. */
const SHIPPED = ["migrations", "package.json"];

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const built = process.env.CAIRN_E2E_PACKAGE;
  if (built !== undefined) {
    project.provide("cairnPackage", built);
    return async () => {};
  }
  const folder = await mkdtemp(FOLDER_PREFIX);
  const compiler = join(ROOT, "node_modules/typescript/bin/tsc");
  const args = [compiler, "-p", join(ROOT, "tsconfig.build.json"), "--outDir", join(folder, "dist")];
  await promisify(execFile)(process.execPath, args, { cwd: ROOT });
  for (const name of SHIPPED) await cp(join(ROOT, name), join(folder, name), { recursive: true });
  await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
  project.provide("cairnPackage", folder);
  return () => rm(folder, { recursive: true, force: true });
}
