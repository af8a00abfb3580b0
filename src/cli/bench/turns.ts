// Turns of a measure: rates of loads, their median, and ratios of neighbours in time.

import type { LoadResult } from "./load.ts";
import type { Rate, Ratio } from "./results.ts";
import { median } from "./statistics.ts";

/** Answered requests a second, from the first request to the last answer. */
export function perSecond({ answered, startedAt, endedAt }: LoadResult): number {
  return (answered * 1000) / (endedAt - startedAt);
}

export function rate(turns: readonly number[]): Rate {
  return { per_second: median(turns), turns };
}

/** Each turn divided by the ceiling measured just before it; the median, since machines wander. */
export function ratio(turns: readonly number[], ceilings: readonly number[]): Ratio {
  const ratios = turns.map((turn, i) => turn / (ceilings[i] ?? Number.NaN));
  return { ratio: median(ratios), turns: ratios };
}
