import { defineConfig } from "vitest/config";

// Independent implementations on the other side: built or found by the tests themselves, which takes minutes the first time.
export default defineConfig({
  test: {
    include: ["test/**/*.peer.ts"],
    testTimeout: 60_000,
    hookTimeout: 600_000,
    pool: "forks",
  },
});
