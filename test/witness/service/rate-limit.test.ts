import { expect, test } from "vitest";
import { RateLimiter } from "../../../src/witness/service/rate-limit.ts";

test("a burst at once, then so many a second", () => {
  let now = 0;
  const limiter = new RateLimiter({ perSecond: 2, burst: 3 }, () => now);
  const taken = () => Array.from({ length: 5 }, () => limiter.take("a")).filter(Boolean).length;
  expect(taken()).toBe(3);
  now += 500;
  expect(taken()).toBe(1);
  now += 2000;
  expect(taken()).toBe(3);
});

test("less than one a second", () => {
  let now = 0;
  const limiter = new RateLimiter({ perSecond: 0.1, burst: 1 }, () => now);
  expect(limiter.take("a")).toBe(true);
  now += 9_999;
  expect(limiter.take("a")).toBe(false);
  now += 1;
  expect(limiter.take("a")).toBe(true);
  expect(limiter.retryAfter).toBe(10);
});

test("one name uses up nothing of another", () => {
  const limiter = new RateLimiter({ perSecond: 1, burst: 1 }, () => 0);
  expect([limiter.take("a"), limiter.take("a"), limiter.take("b")]).toEqual([true, false, true]);
});

test("of more names than it keeps, the one unseen for longest is forgotten", () => {
  const limiter = new RateLimiter({ perSecond: 1, burst: 1 }, () => 0, 2);
  limiter.take("a");
  limiter.take("b");
  limiter.take("a");
  limiter.take("c");
  expect(limiter.take("a")).toBe(false);
  expect(limiter.take("b")).toBe(true);
});
