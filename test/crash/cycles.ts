// The crash loop: a log is started, loaded, and killed at a random moment, over and over, and after each time everything
// that it acknowledged and signed is still so.

import { History, signedHead } from "./folder.ts";
import { eventually, Place, type StoreEnv } from "./place.ts";
import { Acknowledgements, Publishers, type Refusal } from "./publishers.ts";
import type { Random } from "./random.ts";

/** Kills come up to so long after the log listens: at the first commits, or under steady load. */
const LATEST_KILL_MS = 1200;
/** Refusals that a log which is killed and started again and again may give. */
const EXPECTED = new Set(["starting", "draining", "queue_full", "store_unavailable"]);

export interface CyclesReport {
  readonly cycles: number;
  readonly acknowledged: number;
  readonly published: number;
  readonly heads: number;
  /** Kills that came before the log listened. */
  readonly early: number;
}

export async function runCycles(options: {
  readonly program: string;
  readonly cycles: number;
  readonly random: Random;
  /** The share of kills that come while the program is starting, 0 to 1. */
  readonly earlyShare: number;
  /** `cairn fsck` after every so many cycles, and at the end. */
  readonly fsckEvery: number;
  readonly storeEnv?: StoreEnv;
}): Promise<CyclesReport> {
  const { random, cycles } = options;
  const place = await Place.make(options.program, undefined, options.storeEnv);
  try {
    const acknowledgements = new Acknowledgements();
    const history = new History(place);
    let early = 0;
    // How long this machine takes to start the program, so that kills fall before and after it listens.
    let startupMs = performance.now();
    const { child: first } = await place.serve({ LOG_CREATE: "true" });
    startupMs = performance.now() - startupMs;
    await first.kill("SIGTERM");

    for (let cycle = 0; cycle < cycles; cycle++) {
      const child = place.start(["serve", "--json"]);
      const isEarly = random.next() < options.earlyShare;
      const moment = isEarly ? random.next() * startupMs : startupMs + random.next() * LATEST_KILL_MS;
      const kill = new Promise<void>((done) => setTimeout(done, moment));
      const spawned = performance.now();
      let publishers: Publishers | null = null;
      const listening = place.listening(child).then((url) => {
        startupMs = performance.now() - spawned;
        publishers = new Publishers({
          url,
          acknowledgements,
          random: random.fork(),
          label: `${cycle}`,
          workers: 12,
        });
      });
      listening.catch(() => undefined);
      await kill;
      const wasRunning = child.isRunning;
      await child.kill("SIGKILL");
      if (!wasRunning) throw new Error(`the log ended by itself:\n${child.output()}`);
      await listening.catch(() => undefined);
      if (publishers === null) early++;
      // Meant to come later: the machine is busier than it was.
      if (publishers === null && !isEarly) startupMs *= 1.5;
      await stop(publishers);
      history.saw(await signedHead(place));
      await history.check(acknowledgements);
      if ((cycle + 1) % options.fsckEvery === 0) await place.fsck();
    }

    // Quiet at last: everything acknowledged is published, and everything holds.
    const { child, url } = await place.serve();
    await eventually("all is published", async () => {
      const { pending_count, published_size } = (await (await fetch(`${url}/ready`)).json()) as {
        pending_count: number;
        published_size: number;
      };
      return pending_count === 0 && published_size > acknowledgements.largest;
    });
    await child.kill("SIGTERM");
    history.saw(await signedHead(place));
    await history.check(acknowledgements);
    await place.fsck();
    return {
      cycles,
      acknowledged: acknowledgements.indices.size,
      published: history.entries.length,
      heads: history.headCount,
      early,
    };
  } finally {
    await place.remove();
  }
}

async function stop(publishers: Publishers | null): Promise<void> {
  await publishers?.stop();
  const unexpected = (publishers?.refusals ?? []).filter(({ code }: Refusal) => !EXPECTED.has(code));
  if (unexpected.length > 0) throw new Error(`refused: ${JSON.stringify(unexpected[0])}`);
}
