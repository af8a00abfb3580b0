import { spawnSync } from "node:child_process";
import { defineConfig } from "vitest/config";
import { skipUnless } from "./test/require.ts";

// A real S3 server: the storage suite, the end-to-end tests and the crash loop again, unchanged, in buckets. Apart from the
// other tests, since it takes minutes and builds the server and the package first. What a slow store costs comes before them,
// with the machine to itself.
const isSkipped = skipUnless(
  spawnSync("go", ["version"]).status === 0,
  "the tests on an S3 server need Go, which builds versitygw from its module",
);

const MEASURED = "test/s3/delay.e2e.ts";

export default defineConfig({
  test: {
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: "forks",
    projects: [
      {
        extends: true,
        test: { name: "measured", include: [MEASURED], sequence: { groupOrder: 0 } },
      },
      {
        extends: true,
        test: {
          name: "versitygw",
          include: isSkipped
            ? []
            : [
                "test/s3/**/*.e2e.ts",
                "test/crash/{sigkill,many-processes}.crash.ts",
                "test/e2e/{golden-log,publication,real-input,recover,start,stop}.e2e.ts",
              ],
          exclude: [MEASURED],
          globalSetup: isSkipped ? [] : ["test/e2e/package.ts", "test/s3/setup.ts"],
          // npm run test:crash has many more, on a folder.
          env: {
            CRASH_CYCLES: process.env.CRASH_CYCLES ?? "15",
            CRASH_ITERATIONS: process.env.CRASH_ITERATIONS ?? "8",
          },
          sequence: { groupOrder: 1 },
          // Each log, and the gateway, is a process of its own already.
          maxWorkers: 2,
        },
      },
    ],
  },
});
