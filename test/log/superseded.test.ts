// Partial objects that full ones have replaced: what it takes to remove them, and what does not wait for it.

import { expect, it } from "vitest";
import { entriesOf } from "./doubles/entries.ts";
import { checkOracle } from "./doubles/oracle.ts";
import { type LogProcess, World } from "./doubles/world.ts";

async function grow(log: LogProcess, count: number): Promise<void> {
  await log.addBatch(entriesOf(log.running().status().nextIndex, count));
  await log.quiet();
}

function partialsBelowFull(world: World): string[] {
  const keys = world.memory.contents();
  return [...keys.keys()].filter((key) => key.includes(".p/") && keys.has(key.slice(0, key.indexOf(".p/"))));
}

const lists = (log: LogProcess): string[] => log.effects.filter((effect) => effect.startsWith("list "));

it("a process removes those that it wrote itself without asking the store what there is", async () => {
  const world = new World({ durableOnWrite: true });
  const first = await world.start({ create: true });
  await first.quiet();
  first.effects.length = 0;
  for (let i = 0; i < 14; i++) await grow(first, 100);
  expect(lists(first)).toEqual([]);
  expect(first.effects.filter((effect) => effect.startsWith("remove ")).length).toBeGreaterThan(20);
  expect(partialsBelowFull(world)).toEqual([]);
  await first.close();
  checkOracle(world);
});

it("a process asks the store once for those of a tile that an earlier one began", async () => {
  const world = new World({ durableOnWrite: true });
  const first = await world.start({ create: true });
  for (let i = 0; i < 3; i++) await grow(first, 100);
  await first.close();
  const second = await world.start();
  await second.quiet();
  second.effects.length = 0;
  for (let i = 0; i < 6; i++) await grow(second, 100);
  expect(lists(second)).toEqual(["list tile/entries/001.p/", "list tile/0/001.p/"]);
  expect(partialsBelowFull(world)).toEqual([]);
  await second.close();
  checkOracle(world);
});

it("rows go though partial objects cannot, and these go when they can", async () => {
  const world = new World({ durableOnWrite: true });
  const log = await world.start({ create: true });
  await log.quiet();
  log.store.faults.inject({ form: "F1", operation: "remove", times: Number.POSITIVE_INFINITY });
  for (let i = 0; i < 8; i++) await grow(log, 100);
  expect(world.database.state?.look()).toMatchObject({ firstRetained: 700, syncedSize: 768 });
  expect(log.troubles.some((each) => each.startsWith("collection_retried"))).toBe(true);
  expect(partialsBelowFull(world).length).toBeGreaterThan(0);
  log.store.faults.clear();
  await grow(log, 300);
  expect(partialsBelowFull(world)).toEqual([]);
  expect(log.failure).toBeNull();
  await log.close();
  checkOracle(world);
});
