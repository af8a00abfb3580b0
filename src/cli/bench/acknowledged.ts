// What was acknowledged, and whether it stands: every index that an answer gave must hold the very entry that was sent.

import { decodeBundle } from "../../core/bundle.ts";
import { isCairnError } from "../../core/errors.ts";
import { TILE_WIDTH } from "../../core/tile.ts";
import { entriesPath } from "../../core/tile-path.ts";
import { entryNumber } from "./entries.ts";
import { Growing } from "./growing.ts";
import type { LoadResult } from "./load.ts";

const EXAMPLES = 5;
const NOTHING = -1;

export interface AcknowledgedCheck {
  /** Entries that were acknowledged. */
  readonly entries: number;
  /** Entries that do not stand where their acknowledgement said, and what else is wrong. */
  readonly errors: number;
  /** The first few, in words. */
  readonly examples: readonly string[];
}

export class Acknowledged {
  readonly #noise: Uint8Array;
  /** By index: the number of the entry that was acknowledged for it. */
  readonly #numbers = new Growing(NOTHING);
  #entries = 0;
  #twice = 0;
  readonly #examples: string[] = [];

  /** `noise` is what the entries of this run are made of. */
  constructor(noise: Uint8Array) {
    this.#noise = noise;
  }

  /** Entries that were acknowledged. */
  get entries(): number {
    return this.#entries;
  }

  add(result: Pick<LoadResult, "first" | "indices">): void {
    for (let place = 0; place < result.indices.length; place++) {
      const index = result.indices[place] as number;
      if (index >= 0) this.#acknowledge(index, result.first + place);
    }
  }

  /** Reads the log's bundles up to `size` and compares. `get` answers null where there is none. */
  async check(size: number, get: (path: string) => Promise<Uint8Array | null>): Promise<AcknowledgedCheck> {
    const examples = [...this.#examples];
    let errors = this.#twice;
    const wrong = (text: string): void => {
      errors++;
      if (examples.length < EXAMPLES) examples.push(text);
    };
    for (let index = size; index < this.#numbers.length; index++) {
      const number = this.#numbers.get(index);
      if (number !== NOTHING)
        wrong(`index ${index}: acknowledged for entry ${number}, and the log ends at ${size}`);
    }
    for (let bundle = 0; bundle * TILE_WIDTH < size; bundle++) {
      const first = bundle * TILE_WIDTH;
      const width = Math.min(TILE_WIDTH, size - first);
      const entries = await this.#entriesOf(get, entriesPath(bundle, width), width);
      for (let i = 0; i < width; i++) {
        const expected = this.#numbers.get(first + i);
        if (expected === NOTHING) continue;
        const entry = entries[i];
        if (entry === undefined) {
          wrong(`index ${first + i}: acknowledged for entry ${expected}, and its bundle is missing or torn`);
          continue;
        }
        const found = entryNumber(this.#noise, entry);
        if (found !== expected) {
          const what = found === null ? "other bytes" : `entry ${found}`;
          wrong(`index ${first + i}: acknowledged for entry ${expected}, and it holds ${what}`);
        }
      }
    }
    return { entries: this.#entries, errors, examples };
  }

  #acknowledge(index: number, number: number): void {
    const before = this.#numbers.get(index);
    this.#entries++;
    if (before === NOTHING) {
      this.#numbers.set(index, number);
      return;
    }
    this.#twice++;
    if (this.#examples.length < EXAMPLES) {
      this.#examples.push(`index ${index}: acknowledged for entry ${before} and for entry ${number}`);
    }
  }

  async #entriesOf(
    get: (path: string) => Promise<Uint8Array | null>,
    path: string,
    width: number,
  ): Promise<readonly Uint8Array[]> {
    const bundle = await get(path);
    if (bundle === null) return [];
    try {
      return decodeBundle(bundle, width);
    } catch (error) {
      if (!isCairnError(error, "bad_bundle")) throw error;
      return [];
    }
  }
}

/** The checks of several logs as one. */
export function mergeChecks(checks: readonly AcknowledgedCheck[]): AcknowledgedCheck {
  return {
    entries: checks.reduce((sum, { entries }) => sum + entries, 0),
    errors: checks.reduce((sum, { errors }) => sum + errors, 0),
    examples: checks.flatMap(({ examples }) => examples).slice(0, EXAMPLES),
  };
}
