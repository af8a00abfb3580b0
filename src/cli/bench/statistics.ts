// Medians and quantiles. Of no values at all they are NaN, which JSON prints as null.

export interface Latencies {
  readonly count: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

export function median(values: ArrayLike<number>): number {
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  if (sorted.length % 2 === 1) return sorted[middle] as number;
  return ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2;
}

/** Quantiles by the nearest rank: values that were measured, none in between. */
export function latencies(...parts: readonly ArrayLike<number>[]): Latencies {
  let count = 0;
  for (const part of parts) count += part.length;
  const sorted = new Float64Array(count);
  let at = 0;
  for (const part of parts) {
    sorted.set(part, at);
    at += part.length;
  }
  sorted.sort();
  const rank = (share: number): number => sorted[Math.max(0, Math.ceil(share * count) - 1)] ?? Number.NaN;
  return { count, p50: rank(0.5), p95: rank(0.95), p99: rank(0.99), max: rank(1) };
}
