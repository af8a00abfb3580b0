import { expect, test } from "vitest";
import { defineCommand } from "../../src/cli/command.ts";
import { defineGroup } from "../../src/cli/group.ts";
import { EXIT } from "../../src/cli/io.ts";
import { count, printable } from "../../src/cli/output.ts";
import { CairnError } from "../../src/core/errors.ts";
import { run } from "./test-io.ts";

function failing(error: unknown) {
  return defineCommand(
    { name: "try", usage: ["try"], about: [], options: {}, exit: ["a", "b", "c"] },
    async () => {
      throw error;
    },
  );
}

const talking = defineCommand(
  { name: "try", usage: ["try"], about: [], options: {}, exit: ["a", "b", "c"] },
  async ({ out }) => {
    out.progress(() => "half");
    await out.line("a line");
    await out.remark("a remark");
    await out.value({ a: 1 });
    return EXIT.ok;
  },
);

test("without --json results are lines, remarks go to standard error, and there is no JSON", async () => {
  expect(await run(talking, [])).toMatchObject({ exit: 0, stdout: "a line\n", stderr: "a remark\n" });
});

test("with --json there is nothing but JSON, on a terminal too", async () => {
  const result = await run(talking, ["--json"], { terminal: true });
  expect(result).toMatchObject({ stdout: '{"a":1}\n', stderr: "" });
});

test("progress shows on a terminal only, and is taken away before the next line", async () => {
  expect((await run(talking, [], { terminal: true })).stderr).toBe("\r\u001b[Khalf\r\u001b[Ka remark\n");
});

test("an error that answers no exits with 1, any other with 2, one sentence each", async () => {
  const no = await run(failing(new CairnError("inclusion_failed", { detail: "x" })), []);
  expect(no.exit).toBe(1);
  expect(no.stderr).toMatch(/^cairn try: The inclusion proof .* \(x\) \[inclusion_failed\]\n$/);
  for (const error of [
    new CairnError("unreachable"),
    new CairnError("bad_vkey"),
    new Error("EISDIR: a folder"),
  ]) {
    const failed = await run(failing(error), []);
    expect(failed.exit).toBe(2);
    expect(failed.stdout).toBe("");
    expect(failed.stderr.split("\n")).toHaveLength(2);
    expect(failed.stderr).not.toMatch(/ {4}at /);
  }
});

test("an error with --json is one object on standard output, also for a bad command line", async () => {
  const failed = await run(failing(new CairnError("unreachable", { detail: "x" })), ["--json"]);
  expect(failed).toMatchObject({ exit: 2, stderr: "" });
  expect(failed.json()).toEqual([
    { error: { code: "unreachable", message: expect.any(String), detail: "x" } },
  ]);
  const usage = await run(talking, ["--json", "--nonsense"]);
  expect(usage.json()).toMatchObject([{ error: { code: "usage" } }]);
});

test("what comes from outside cannot steer a terminal", async () => {
  expect(printable("a\u001b[2Jb\rc\u0007\u009b")).toBe("a\\x1b[2Jb\\x0dc\\x07\\x9b");
  expect(printable("tab\tand\nline")).toBe("tab\tand\nline");
  const error = new CairnError("unexpected_answer", { detail: "\u001b]0;title\u0007" });
  expect((await run(failing(error), [])).stderr).not.toContain("\u001b");
});

test("a package that is not installed is named, with what to do", async () => {
  const missing = Object.assign(new Error("Cannot find package 'better-sqlite3' imported from /x"), {
    code: "ERR_MODULE_NOT_FOUND",
  });
  const group = defineGroup("cairn", {
    serve: {
      summary: "",
      load: async () => {
        throw missing;
      },
    },
  });
  for (const result of [await run(group, ["serve"]), await run(failing(missing), [])]) {
    expect(result.exit).toBe(2);
    expect(result.stderr).toMatch(/npm install better-sqlite3.*\[missing_dependency\]/);
  }
});

test("an unknown or missing command is a usage error that says where the list is", async () => {
  const group = defineGroup("cairn", { one: { summary: "The one.", load: async () => talking } });
  for (const argv of [[], ["two"], ["constructor"], ["--json"]]) {
    const result = await run(group, argv);
    expect(result.exit).toBe(2);
    expect(result.stderr).toMatch(/cairn --help lists them/);
  }
  expect((await run(group, ["two", "--json"])).json()).toMatchObject([{ error: { code: "usage" } }]);
  expect((await run(group, ["--help"])).stdout).toMatch(/one {2}The one\./);
  expect((await run(group, ["one"])).stdout).toBe("a line\n");
});

test("counts are grouped by thousands", () => {
  expect(count(1_234_567)).toBe("1,234,567");
});
