import { defineConfig } from "vitest/config";

// Real processes that are killed, again and again. Apart from the other tests, since it takes minutes.
export default defineConfig({
  test: {
    include: ["test/crash/**/*.crash.ts"],
    globalSetup: ["test/e2e/package.ts"],
    testTimeout: 1_800_000,
    hookTimeout: 60_000,
    pool: "forks",
    // One after another: each of them keeps the machine busy by itself.
    fileParallelism: false,
  },
});
