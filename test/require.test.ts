import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { skipUnless, skipWithout } from "./require.ts";

const CI = { CAIRN_REQUIRE_ALL: "1" };
const warn = vi.spyOn(console, "warn");

beforeEach(() => void warn.mockImplementation(() => {}));
afterEach(() => void warn.mockClear());

test("nothing is skipped, and nothing printed, where the condition holds", () => {
  expect(skipUnless(true, "x", {})).toBe(false);
  expect(skipUnless(true, "x", CI)).toBe(false);
  expect(skipWithout(true, "x")).toBe(false);
  expect(warn).not.toHaveBeenCalled();
});

test("a skip prints its reason", () => {
  expect(skipUnless(false, "no wrk: apt-get install wrk", {})).toBe(true);
  expect(skipWithout(false, "no reference data")).toBe(true);
  expect(warn.mock.calls).toEqual([["skipped: no wrk: apt-get install wrk"], ["skipped: no reference data"]]);
});

test("where everything is required a skip is a failure", () => {
  expect(() => skipUnless(false, "no wrk", CI)).toThrow(/no wrk/);
});
