import { expect, test } from "vitest";
import { latencies, median } from "../../../src/cli/bench/statistics.ts";
import { rate, ratio } from "../../../src/cli/bench/turns.ts";

test("the median of an odd count stands in the middle, of an even one between two, of none nowhere", () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 2, 3])).toBe(2.5);
  expect(median([])).toBeNaN();
});

test("quantiles are values that were measured, over all parts", () => {
  const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);
  expect(latencies(hundred.slice(0, 30), hundred.slice(30))).toEqual({
    count: 100,
    p50: 50,
    p95: 95,
    p99: 99,
    max: 100,
  });
  expect(latencies([7])).toEqual({ count: 1, p50: 7, p95: 7, p99: 7, max: 7 });
});

test("a turn is divided by the mean of the ceilings around it, and the median of those ratios counts", () => {
  // The machine gets slower from turn to turn, and the ratio does not care.
  expect(ratio([72, 56, 40], [100, 80, 60, 40])).toEqual({ ratio: 0.8, turns: [0.8, 0.8, 0.8] });
  expect(ratio([10], [10, 30])).toEqual({ ratio: 0.5, turns: [0.5] });
  expect(rate([80, 40, 20])).toEqual({ per_second: 40, turns: [80, 40, 20] });
});
