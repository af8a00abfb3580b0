// A long run of what CI runs briefly: servers killed under load, hundreds of times. Stops by itself.
//   node scripts/soak.mjs [CYCLES]      default 100, about three minutes
//   CRASH_SEED=42 node scripts/soak.mjs 500

import { spawnSync } from "node:child_process";

const DEFAULT_CYCLES = 100;
const cycles = process.argv[2] === undefined ? DEFAULT_CYCLES : Number(process.argv[2]);
if (!Number.isInteger(cycles) || cycles < 1) {
  process.stderr.write("usage: node scripts/soak.mjs [CYCLES]\n");
  process.exit(2);
}
const { status } = spawnSync(
  process.execPath,
  ["node_modules/vitest/vitest.mjs", "run", "--config", "vitest.crash.config.ts", "sigkill"],
  { stdio: "inherit", env: { ...process.env, CRASH_CYCLES: String(cycles) } },
);
process.exitCode = status ?? 1;
