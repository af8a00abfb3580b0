import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSqliteState } from "../../src/state/sqlite.ts";
import { stateConformance } from "./conformance.ts";

stateConformance("SQLite", async () => {
  const folder = await mkdtemp(join(tmpdir(), "cairn-test-"));
  return {
    open: () => openSqliteState(join(folder, "log.db"), { mode: "write", create: true }),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
});
