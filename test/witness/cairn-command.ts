// How a test starts our own witness: from its sources, as `cairn witness`.

import { fileURLToPath } from "node:url";
import type { StartCommand } from "./conformance/target.ts";

const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

export const CAIRN = [process.execPath, "--import", "tsx", MAIN];

export function cairnWitness(
  keys: readonly ("key" | "mldsa-key")[] = ["key", "mldsa-key"],
  program: readonly string[] = CAIRN,
): StartCommand {
  return [
    ...program,
    "witness",
    "--listen={listen}",
    "--database-url=sqlite:{database}",
    ...keys.map((key) => `--private-key-file={${key}}`),
    "--logs={logs}",
  ];
}
