// Turns of a measure: rates of loads, their median, and ratios to their neighbours in time.

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

/**
 * Each turn divided by the mean of the ceilings measured just before and just after it, of which there is one more than
 * turns; then the median. So neither a machine that slowly changes nor one busy moment decides.
 */
export function ratio(turns: readonly number[], ceilings: readonly number[]): Ratio {
  const ratios = turns.map((turn, i) => (2 * turn) / ((ceilings[i] as number) + (ceilings[i + 1] as number)));
  return { ratio: median(ratios), turns: ratios };
}
