import { describe, expect, test } from "vitest";
import { benchSettings, type SettingsOptions } from "../../../src/cli/bench/settings.ts";
import { refusal } from "../../core/refusal.ts";

const NONE: SettingsOptions = {
  data: "data",
  keep: false,
  full: false,
  connections: undefined,
  turns: undefined,
  seconds: undefined,
  adds: undefined,
  entries: undefined,
  batch: undefined,
  table: undefined,
};

test("a full run has the extents that the targets are stated for", () => {
  expect(benchSettings({ ...NONE, full: true })).toMatchObject({
    connections: 256,
    turns: 3,
    adds: 1_000_000,
    entries: 1_000_000,
    table: 10_000_000,
  });
});

test("an extent that is given stands, in a full run too", () => {
  expect(benchSettings({ ...NONE, full: true, adds: "500", seconds: "0.25" })).toMatchObject({
    adds: 500,
    seconds: 0.25,
    table: 10_000_000,
  });
});

describe("refused", () => {
  test.each<[Partial<SettingsOptions>]>([
    [{ connections: "0" }],
    [{ connections: "x" }],
    [{ turns: "1.5" }],
    [{ seconds: "0" }],
    [{ seconds: "-1" }],
    [{ batch: "10001" }],
    [{ entries: "1500" }],
    [{ table: "1e6" }],
    [{ adds: "255" }],
  ])("%j", (options) => {
    expect(() => benchSettings({ ...NONE, ...options })).toThrow(refusal("usage"));
  });
});
