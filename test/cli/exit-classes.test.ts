import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { EXIT_CLASSES, FATAL_CODES, serverExit } from "../../src/cli/exit-classes.ts";
import { serve } from "../../src/cli/serve.ts";
import { CairnError, ERROR_SENTENCES, type ErrorCode } from "../../src/core/errors.ts";
import { StateError } from "../../src/state/state.ts";
import { StoreError } from "../../src/storage/store.ts";
import { run } from "./test-io.ts";

const page = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");

/** Of the catalogue's last section: what other commands alone say, or what does not end a server. */
const OF_OTHERS: readonly ErrorCode[] = [
  "bench_failed",
  "bad_remembered",
  "key_name_taken",
  "key_unknown",
  "bad_log_list",
  "log_unknown",
  "witness_absent",
  "frozen",
];

test("every code of configuration, creation, start and recovery has one class", () => {
  const codes = Object.keys(ERROR_SENTENCES) as ErrorCode[];
  const section = codes.slice(codes.indexOf("bad_config"));
  const unclassed = section.filter((code) => FATAL_CODES[code] === undefined);
  expect(unclassed).toEqual(OF_OTHERS);
});

test("each class has its own exit code, and the first three keep what they mean for every command", () => {
  const exits = Object.values(EXIT_CLASSES).map(({ exit }) => exit);
  expect(new Set(exits).size).toBe(exits.length);
  expect(exits.slice(0, 3)).toEqual([0, 1, 2]);
});

describe("an error ends a server with the exit code of its class", () => {
  test.each([
    ["a code of the table", new CairnError("fenced"), 65],
    ["a code that has no class", new CairnError("bad_tile"), 1],
    ["a database whose commit is open", new StateError("?", { outcome: "unknown" }), 75],
    ["a database without room", new StateError("?", { outcome: "not_applied", noSpace: true }), 69],
    ["a database that is held", new StateError("?", { outcome: "not_applied", busy: true }), 69],
    ["a store that failed", new StoreError("?", { outcome: "unknown", retryable: true }), 69],
    ["a fault", new TypeError("undefined is not a function"), 1],
  ])("%s", (_, error, exit) => {
    expect(serverExit(error)).toBe(exit);
  });
});

test("the operator's table, the unit for systemd and the help have these codes", async () => {
  const operator = page("docs/operator.md");
  const rows = [...operator.matchAll(/^\| (\d+) \| (yes|no) \|/gm)].map(([, exit, restart]) => ({
    exit: Number(exit),
    restart: restart === "yes",
  }));
  expect(rows).toEqual(Object.values(EXIT_CLASSES).map(({ exit, restart }) => ({ exit, restart })));

  const held = Object.values(EXIT_CLASSES).filter(({ exit, restart }) => exit !== 0 && !restart);
  expect(/RestartPreventExitStatus=(.*)/.exec(operator)?.[1]).toBe(held.map(({ exit }) => exit).join(" "));

  const { stdout } = await run(serve, ["--help"]);
  const listed = [...stdout.matchAll(/^ {2}(\d+) +\S/gm)].map(([, exit]) => Number(exit));
  expect(listed).toEqual(Object.values(EXIT_CLASSES).map(({ exit }) => exit));
});
