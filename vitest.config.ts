import { defineConfig } from "vitest/config";

// Everything that runs on a bare machine, and quickly. Crashes (test/crash), the whole program as its operators run it
// (test/e2e) and independent peers (*.peer.ts) have configurations of their own.
export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/crash/**", "test/e2e/**"],
    testTimeout: 30_000,
    hookTimeout: 30_000,
    pool: "forks",
    coverage: {
      provider: "v8",
      include: ["src/**/*.ts"],
      // Measured by what they run in processes of their own (test/crash, test/e2e, .ci/run), which this does not see.
      exclude: ["src/cli/bench/**", "src/cli/bench.ts", "src/cli/newcomer.ts", "src/cli/main.ts"],
      reporter: ["text-summary", "json-summary"],
      reportOnFailure: true,
      // A floor, a little below what is reached: it is there to show what a change leaves untested.
      thresholds: { statements: 88, branches: 84, functions: 85, lines: 90 },
    },
  },
});
