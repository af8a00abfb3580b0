import { defineConfig } from "vitest/config";

// The whole program as its operators run it: real processes, sockets and files. Apart from the other tests, since it takes
// minutes and builds the package first.
export default defineConfig({
  test: {
    include: ["test/e2e/**/*.e2e.ts"],
    globalSetup: ["test/e2e/package.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: "forks",
  },
});
