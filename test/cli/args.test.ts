import { describe, expect, test } from "vitest";
import { type CommandSpec, helpText, parseCommandLine } from "../../src/cli/args.ts";
import { parseDuration } from "../../src/cli/duration.ts";
import { refusal } from "../core/refusal.ts";

const spec = {
  name: "try",
  usage: ["try FILE [--one TEXT]", "try --all"],
  about: ["A paragraph ".repeat(20).trim()],
  options: {
    one: { type: "string", value: "TEXT", about: "Only once." },
    many: { type: "string", multiple: true, value: "KEY", about: "Again and again." },
    all: { type: "boolean", about: "All." },
  },
  exit: ["Yes.", "No.", "Neither."],
} as const satisfies CommandSpec;

test("options and positionals are told apart, in any order", () => {
  const parsed = parseCommandLine(spec, ["a", "--one", "x", "--many=k1", "b", "--many", "k2", "--all"]);
  expect(parsed.options).toMatchObject({ one: "x", many: ["k1", "k2"], all: true });
  expect(parsed.positionals).toEqual(["a", "b"]);
  expect(parsed).toMatchObject({ help: false, json: false });
});

test("what is not given is undefined, empty or false", () => {
  expect(parseCommandLine(spec, []).options).toMatchObject({ one: undefined, many: [], all: false });
});

test("what follows -- is a positional, and so is a single dash", () => {
  expect(parseCommandLine(spec, ["-", "--", "--one"]).positionals).toEqual(["-", "--one"]);
});

test.each([
  ["an unknown option", ["--other"]],
  ["a single option twice", ["--one", "a", "--one", "b"]],
  ["an option without its value", ["--one"]],
  ["a value for a flag", ["--all=yes"]],
  ["a short option", ["-x"]],
])("%s is refused", (_what, argv) => {
  expect(() => parseCommandLine(spec, argv)).toThrow(refusal("usage"));
});

test("a private key on the command line is refused and not repeated", () => {
  const key = "PRIVATE+KEY+log.example+00000000+c2VjcmV0";
  for (const argv of [["--one", key], [key], [`--one=${key}`]]) {
    let message = "";
    try {
      parseCommandLine(spec, argv);
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message).toMatch(/give a file/);
    expect(message).not.toContain("c2VjcmV0");
  }
});

test("help names every usage, option and exit code, in lines that fit", () => {
  const help = helpText(spec);
  for (const text of [
    "usage: cairn try FILE [--one TEXT]",
    "       cairn try --all",
    "--one TEXT",
    "--many KEY",
    "--all ",
    "--json",
    "--help",
    "0  Yes.",
    "1  No.",
    "2  Neither.",
  ]) {
    expect(help).toContain(text);
  }
  for (const line of help.split("\n")) expect(line.length).toBeLessThanOrEqual(100);
});

describe("durations", () => {
  test.each([
    ["90s", 90],
    ["15m", 900],
    ["1h", 3600],
    ["7d", 604_800],
  ])("%s is %d seconds", (text, seconds) => {
    expect(parseDuration("max-age", text)).toBe(seconds);
  });

  test.each(["", "1", "0s", "-1h", "1.5h", "1 h", "1H", "01h", "1w", "9999999999s"])(
    "%j is refused",
    (text) => {
      expect(() => parseDuration("max-age", text)).toThrow(refusal("usage"));
    },
  );
});
