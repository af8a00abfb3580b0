// Recovery where no lock keeps another machine away: a bucket.

import { writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { HEAD_KEY, parseHead, printHead } from "../../src/log/head.ts";
import { recoverLog } from "../../src/log/recover.ts";
import { entriesOf } from "./doubles/entries.ts";
import { settled } from "./doubles/fake-clock.ts";
import { LogProcess, World } from "./doubles/world.ts";

/** Another machine: a database of its own, and the same bucket. */
function elsewhere(world: World): LogProcess {
  const state = world.database.state?.copy();
  if (state === undefined) throw new Error("there is no database yet");
  const databasePath = `${world.databasePath}-elsewhere`;
  writeFileSync(databasePath, "");
  const process = new LogProcess(world, { database: { state }, databasePath });
  world.processes.push(process);
  return process;
}

function recover(process: LogProcess, fromHead = false) {
  return settled("recovery", [process.clock], recoverLog({ ...process.options(), mirror: null, fromHead }));
}

describe("recovery of a bucket", () => {
  it("stops a log that runs elsewhere before anything is changed, and that one signs nothing more", async () => {
    const world = new World({ durableOnWrite: true });
    const running = await world.start({ create: true });
    await running.addBatch(entriesOf(0, 300));
    await running.quiet();
    const other = elsewhere(world);
    const before = world.memory.contents();
    world.memory.take("tile/0/000");
    const recovered = await recover(other);
    expect(recovered.mended).toEqual(["tile/0/000"]);
    const changes = other.effects.filter((effect) =>
      /^(create|replace|overwrite|remove).* (tile|state\/head)/.test(effect),
    );
    expect(changes.slice(0, 2)).toEqual(["replace state/head", "overwrite tile/0/000"]);
    expect([...world.memory.contents().keys()]).toEqual([...before.keys()]);

    const heads = world.left.length;
    await running.addBatch(entriesOf(300, 50));
    await running.until("it stops", () => running.failure !== null);
    expect(running.failure?.code).toBe("fenced");
    // What recovery itself put there is the note that stood there.
    expect(new Set(world.left.slice(heads - 1).map(({ size }) => size))).toEqual(new Set([300]));
    await running.close();
    expect(world.memory.contents().has("tile/entries/001.p/94")).toBe(false);
  });

  it("refuses another log's bucket before it changes anything", async () => {
    const world = new World({ durableOnWrite: true });
    const first = await world.start({ create: true });
    await first.addBatch(entriesOf(0, 300));
    await first.quiet();
    await first.close();
    const record = parseHead(world.memory.contents().get(HEAD_KEY) as Uint8Array);
    world.memory.plant(HEAD_KEY, printHead({ ...record, origin: "example.com/another" }));
    const before = world.memory.contents();
    await expect(recover(elsewhere(world))).rejects.toMatchObject({ code: "identity_mismatch" });
    expect(world.memory.contents()).toEqual(before);
  });

  it("of what an overtaken writer acknowledged is listed, and added anew", async () => {
    const world = new World({ durableOnWrite: true });
    const first = await world.start({ create: true });
    await first.addBatch(entriesOf(0, 300));
    await first.quiet();
    const other = elsewhere(world);
    await other.open();
    await other.addBatch(entriesOf(300, 10));
    await other.until("it is published", () => world.published === 310);
    // Acknowledged by the first, which does not know yet that it was overtaken.
    const lost = entriesOf(1000, 5);
    const outcomes = await first.addBatch(lost);
    expect(Array.isArray(outcomes)).toBe(true);
    await first.until("it stops", () => first.failure !== null);
    expect(first.failure?.code).toBe("fenced");
    await first.close();
    await other.close();

    await expect(world.recover()).rejects.toMatchObject({ code: "root_mismatch" });
    const recovered = await world.recover({ fromHead: true });
    expect(recovered).toMatchObject({ size: 310, setAside: 5, newlySetAside: 5 });
    const log = await world.start();
    const aside = await log.running().setAside();
    expect(aside.map(({ first: from, count }) => [from, count])).toEqual([[300, 5]]);
    await log.addBatch(lost);
    for (const { id } of aside) await log.running().forgetSetAside(id);
    await log.quiet();
    await log.close();
    expect(world.published).toBe(315);
    expect(world.ledger.violations).toEqual([]);
    for (const [i, process] of world.processes.entries()) expect(process.clock.pending, `${i}`).toBe(0);
  });

  it("changes nothing where the signed heads contradict each other, not even the head", async () => {
    const world = new World({ durableOnWrite: true });
    const first = await world.start({ create: true });
    await first.addBatch(entriesOf(0, 300));
    await first.quiet();
    const other = elsewhere(world);
    await first.addBatch(entriesOf(300, 10));
    await first.quiet();
    await first.close();
    // A checkpoint of this key over other entries: somebody ran a copy of everything.
    const fork = new World({ durableOnWrite: true });
    const forked = await fork.start({ create: true });
    await forked.addBatch(entriesOf(1000, 305));
    await forked.quiet();
    await forked.close();
    world.memory.plant("checkpoint", fork.memory.contents().get("checkpoint") as Uint8Array);
    const before = world.memory.contents();
    await expect(recover(other)).rejects.toMatchObject({ code: "inconsistent" });
    expect(world.memory.contents()).toEqual(before);
  });
});
