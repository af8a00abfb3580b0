// `npm start`: builds, then runs a log for a newcomer (src/cli/newcomer.ts).

import { spawnSync } from "node:child_process";

const built = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"], {
  stdio: "inherit",
});
if (built.status !== 0) process.exit(built.status ?? 1);
const { processIo } = await import("../dist/cli/process-io.js");
const { runNewcomer } = await import("../dist/cli/newcomer.js");
process.exitCode = await runNewcomer(processIo());
