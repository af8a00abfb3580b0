// The disk is watched: below LOG_RESERVE admission stops while what makes room goes on. A ballast file beside the
// database is given up when a start finds no room at all (architecture, section 3, Disk).

import { stat } from "node:fs/promises";
import { removeFileDurable, writeFileDurable } from "../storage/durable.ts";
import type { Clock } from "./clock.ts";
import type { LogPlaces } from "./options.ts";

/** Bytes that must stay free for integration, publication and collection. */
export const LOG_RESERVE = 256 * 1024 * 1024;
/** Admission starts again a little above, so that it does not flap. */
const RECOVERED = LOG_RESERVE + 16 * 1024 * 1024;
const BALLAST_BYTES = 16 * 1024 * 1024;
/** Below this a start gives the ballast up. */
const NO_ROOM_BYTES = 4 * 1024 * 1024;
const WATCH_MS = 5000;

export function ballastPath(databasePath: string): string {
  return `${databasePath}.reserve`;
}

/** Removes the ballast where there is no room left to start in; true where it did. */
export async function giveUpBallast(places: Pick<LogPlaces, "databasePath" | "freeBytes">): Promise<boolean> {
  const { database } = await places.freeBytes();
  return database < NO_ROOM_BYTES && (await removeFileDurable(ballastPath(places.databasePath)));
}

/** Lays the ballast where it is missing and there is room. */
export async function layBallast(places: Pick<LogPlaces, "databasePath" | "freeBytes">): Promise<void> {
  const path = ballastPath(places.databasePath);
  const { database } = await places.freeBytes();
  if (database < LOG_RESERVE + BALLAST_BYTES) return;
  const there = await stat(path).catch(() => null);
  if (there?.size === BALLAST_BYTES) return;
  // Not zeros alone: a file system that compresses would keep no room for them.
  const block = new Uint8Array(1024 * 1024).map((_, i) => (i * 2_654_435_761) >>> 13);
  await writeFileDurable(path, Array<Uint8Array>(BALLAST_BYTES / block.length).fill(block), { mode: 0o600 });
}

export interface SpaceWatchOptions {
  readonly clock: Clock;
  readonly places: Pick<LogPlaces, "freeBytes">;
  /** Pages that are free inside the database count as free. */
  readonly freeInside: () => Promise<number>;
  readonly onChange: (low: boolean) => void;
  readonly onTrouble: (error: unknown) => void;
}

export class SpaceWatch {
  readonly #o: SpaceWatchOptions;
  #low = false;
  #cancel: (() => void) | null = null;
  #stopped = false;

  constructor(options: SpaceWatchOptions) {
    this.#o = options;
  }

  start(): void {
    void this.#look();
  }

  /** The database has just said that it has no room. */
  noSpace(): void {
    this.#set(true);
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
  }

  async #look(): Promise<void> {
    try {
      const { database, store } = await this.#o.places.freeBytes();
      const inside = await this.#o.freeInside();
      const free = Math.min(database + inside, store ?? Number.POSITIVE_INFINITY);
      if (free < LOG_RESERVE) this.#set(true);
      else if (free >= RECOVERED) this.#set(false);
    } catch (error) {
      if (!this.#stopped) this.#o.onTrouble(error);
    }
    if (!this.#stopped) this.#cancel = this.#o.clock.after(WATCH_MS, () => void this.#look());
  }

  #set(low: boolean): void {
    if (low === this.#low || this.#stopped) return;
    this.#low = low;
    this.#o.onChange(low);
  }
}
