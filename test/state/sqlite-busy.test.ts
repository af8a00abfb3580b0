import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { expect, onTestFinished, test } from "vitest";
import { openSqliteState } from "../../src/state/sqlite.ts";

test("beside somebody's long write a commit is not applied, says that it passes, and works afterwards", async () => {
  const folder = mkdtempSync(join(tmpdir(), "cairn-busy-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "log.db");
  const state = await openSqliteState(path, { mode: "write", create: true });
  const identity = {
    format: 1,
    databaseId: "0".repeat(32),
    origin: "o",
    keys: ["o+00000000"],
    pendingKeys: null,
  };
  await state.create(identity, new Uint8Array(32));
  const row = (first: number) => ({
    first,
    count: 1,
    hashes: new Uint8Array(new ArrayBuffer(32)),
    bytes: Uint8Array.of(0, 1, 65),
  });
  await state.commit(row(0));

  const other = new Database(path);
  other.exec("BEGIN IMMEDIATE");
  await expect(state.commit(row(1))).rejects.toMatchObject({
    outcome: "not_applied",
    busy: true,
    noSpace: false,
  });
  other.exec("ROLLBACK");
  other.close();
  expect((await state.commit(row(1))).first).toBe(1);
  expect((await state.snapshot()).nextIndex).toBe(2);
  expect(await state.bytesFrom(0)).toBe(6);
  expect(await state.bytesFrom(1)).toBe(3);
  await state.close();
});
