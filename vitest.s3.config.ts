import { spawnSync } from "node:child_process";
import { defineConfig } from "vitest/config";
import { skipUnless } from "./test/require.ts";

// A real S3 server: its own tests, and the golden log again, unchanged, in a bucket. Apart
// from the other tests, since it takes minutes and builds the server and the package first.
const isSkipped = skipUnless(
  spawnSync("go", ["version"]).status === 0,
  "the tests on an S3 server need Go, which builds versitygw from its module",
);

export default defineConfig({
  test: {
    include: isSkipped ? [] : ["test/s3/**/*.e2e.ts", "test/e2e/golden-log.e2e.ts"],
    passWithNoTests: isSkipped,
    globalSetup: isSkipped ? [] : ["test/e2e/package.ts", "test/s3/setup.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: "forks",
    // Each log, and the gateway, is a process of its own already.
    fileParallelism: false,
  },
});
