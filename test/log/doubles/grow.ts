// Worlds whose logs have published something and stopped.

import { entriesOf } from "./entries.ts";
import { World } from "./world.ts";

/** Runs the log until it published each of these sizes, one after another, and closes it. */
export async function grow(world: World, ...sizes: readonly number[]): Promise<World> {
  const log = await world.start({ create: world.memory.contents().size === 0 });
  await log.quiet();
  for (const size of sizes) {
    const next = log.running().status().nextIndex;
    await log.addBatch(entriesOf(next, size - next));
    await log.quiet();
  }
  await log.close();
  return world;
}

/** A new world whose log did so. */
export async function grown(...sizes: readonly number[]): Promise<World> {
  return grow(new World(), ...sizes);
}
