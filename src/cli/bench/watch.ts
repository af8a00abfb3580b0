// How far behind acknowledgement integration and publication are: `/ready` is asked again and again while a load runs.

import { type LoadResult, machineTime } from "./load.ts";
import type { Server } from "./server.ts";
import { latencies, type Latencies } from "./statistics.ts";

/** Rare enough to cost the log next to nothing; lags are known to within this. */
const INTERVAL_MS = 50;
/** Longer than any publication takes. */
const PUBLISH_MS = 60_000;

interface Sighting {
  readonly at: number;
  readonly integrated: number;
  readonly published: number;
}

export interface Lags {
  /** Milliseconds from an entry's acknowledgement to the signed head that covers it, and to the published checkpoint. */
  readonly integration: Latencies;
  readonly publication: Latencies;
}

export class Watch {
  readonly #server: Server;
  readonly #sightings: Sighting[] = [];
  #stopped = false;
  readonly #running: Promise<void>;

  constructor(server: Server) {
    this.#server = server;
    this.#running = this.#run();
    // Its failure is met in `published` or `stop`.
    this.#running.catch(() => undefined);
  }

  /** Waits until `size` is published; answers when that was first seen (`machineTime`). Throws where it takes too long. */
  async published(size: number): Promise<number> {
    const end = machineTime() + PUBLISH_MS;
    for (;;) {
      const seen = this.#sightings.find(({ published }) => published >= size);
      if (seen !== undefined) return seen.at;
      await Promise.race([this.#running, pause(INTERVAL_MS)]);
      if (machineTime() > end)
        throw new Error(`size ${size} was not published within ${PUBLISH_MS / 1000} s`);
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  /** The lags of a load's entries, which must all have been published before `stop`. */
  lags(...results: readonly LoadResult[]): Lags {
    const integration: number[] = [];
    const publication: number[] = [];
    for (const { indices, acknowledgedAt } of results) {
      for (let place = 0; place < indices.length; place++) {
        const index = indices[place] as number;
        if (index < 0) continue;
        const acknowledged = acknowledgedAt[place] as number;
        push(
          integration,
          this.#firstSight(({ integrated }) => integrated > index),
          acknowledged,
        );
        push(
          publication,
          this.#firstSight(({ published }) => published > index),
          acknowledged,
        );
      }
    }
    return { integration: latencies(integration), publication: latencies(publication) };
  }

  /** When something that stays true was first seen to be: by halving, since there are a million entries to ask for. */
  #firstSight(isTrue: (sighting: Sighting) => boolean): number | null {
    let low = 0;
    let high = this.#sightings.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isTrue(this.#sightings[middle] as Sighting)) high = middle;
      else low = middle + 1;
    }
    return this.#sightings[low]?.at ?? null;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const { integratedSize, publishedSize } = await this.#server.progress();
      this.#sightings.push({ at: machineTime(), integrated: integratedSize, published: publishedSize ?? 0 });
      await pause(INTERVAL_MS);
    }
  }
}

function push(lags: number[], seen: number | null, acknowledged: number): void {
  // The sequencer is ahead of its answers: a head may cover an entry before its client has read the index.
  if (seen !== null) lags.push(Math.max(0, seen - acknowledged));
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
