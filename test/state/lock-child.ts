// What lock.test.ts runs in processes of its own: takes a lock, says so, and holds it until it is killed or told to go.

import { takeLock } from "../../src/state/lock.ts";

const [path = "", started = "0"] = process.argv.slice(2);

try {
  const lock = await takeLock(path, { now: () => Number(started) });
  process.stdout.write("taken\n");
  process.stdin.on("data", () => {
    lock.release();
    process.stdout.write("released\n");
    process.exit(0);
  });
} catch (error) {
  process.stdout.write(`refused ${(error as { code?: string }).code} ${(error as Error).message}\n`);
}
