import { describe, expect, test } from "vitest";
import { encodeUtf8 } from "../../../src/core/bytes.ts";
import { parseLogList, parseLogOption } from "../../../src/witness/service/log-list.ts";
import { refusal } from "../../core/refusal.ts";
import { PLAIN, TestLog } from "../conformance/test-log.ts";

const a = new TestLog("a.example/log", PLAIN, "a");
const b = new TestLog("b.example=2024/log", PLAIN, "b");
const vkeyA = a.vkeys[0] as string;
const vkeyB = b.vkeys[0] as string;

function list(...lines: string[]) {
  return parseLogList(encodeUtf8(`${lines.join("\n")}\n`));
}

describe("lists", () => {
  test("logs with comments, blank lines, an origin of their own and white space around", () => {
    const logs = list(
      "#",
      "# List: 10qps-100klogs",
      "#",
      "logs/v0",
      "",
      "# 1st list item",
      `vkey ${vkeyA}`,
      "qpd 86400",
      "contact https://a.example/contact",
      "",
      `  vkey ${vkeyB}\r`,
      "\torigin something else than the key's name",
      "qpd 24",
      "contact sysadmin (at) b.example | or by telephone",
    );
    expect(logs).toEqual([
      { origin: a.origin, vkey: vkeyA, qpd: 86_400, contact: "https://a.example/contact" },
      {
        origin: "something else than the key's name",
        vkey: vkeyB,
        qpd: 24,
        contact: "sysadmin (at) b.example | or by telephone",
      },
    ]);
  });

  test("a list without logs, and a log without announcements", () => {
    expect(list("logs/v0")).toEqual([]);
    expect(list("logs/v0", `vkey ${vkeyA}`)).toEqual([
      { origin: a.origin, vkey: vkeyA, qpd: null, contact: null },
    ]);
  });

  test("two keys of one origin are two entries", () => {
    const two = list("logs/v0", `vkey ${vkeyA}`, "qpd 1", `vkey ${vkeyB}`, `origin ${a.origin}`, "qpd 1");
    expect(two.map(({ origin }) => origin)).toEqual([a.origin, a.origin]);
  });

  test.each([
    ["no header", 1, [`vkey ${vkeyA}`]],
    ["another version", 1, ["logs/v1"]],
    ["a second header", 2, ["logs/v0", "logs/v0"]],
    ["an unknown keyword", 3, ["logs/v0", `vkey ${vkeyA}`, "bastion none"]],
    ["a line before the first vkey", 2, ["logs/v0", "qpd 1"]],
    ["a vkey that is none", 2, ["logs/v0", "vkey a.example+0+AA"]],
    ["a vkey whose id is another's", 2, ["logs/v0", `vkey ${vkeyA.replace("a.example", "c.example")}`]],
    ["a key of a type that cannot be verified", 2, ["logs/v0", "vkey ct.example+00000001+BQE="]],
    ["a second qpd", 4, ["logs/v0", `vkey ${vkeyA}`, "qpd 1", "qpd 1"]],
    ["a qpd of zero", 3, ["logs/v0", `vkey ${vkeyA}`, "qpd 0"]],
    ["a qpd with a leading zero", 3, ["logs/v0", `vkey ${vkeyA}`, "qpd 01"]],
    ["a qpd of 2^31", 3, ["logs/v0", `vkey ${vkeyA}`, "qpd 2147483648"]],
    ["a qpd that is no number", 3, ["logs/v0", `vkey ${vkeyA}`, "qpd many"]],
    ["an empty origin", 3, ["logs/v0", `vkey ${vkeyA}`, "origin "]],
  ])("%s is refused, and the line is named", (_, line, lines) => {
    expect(() => list(...lines)).toThrow(refusal("bad_log_list"));
    expect(() => list(...lines)).toThrow(`line ${line}:`);
  });

  test("a key that was checked before is taken as it is, under the same origin", () => {
    const bytes = encodeUtf8(`logs/v0\nvkey ${vkeyA}\nvkey ${vkeyB}\norigin other\n`);
    expect(parseLogList(bytes, new Set([vkeyA, vkeyB]))).toEqual(parseLogList(bytes));
  });

  test("an empty file and one that is not UTF-8 are refused", () => {
    expect(() => parseLogList(new Uint8Array())).toThrow(refusal("bad_log_list"));
    expect(() => parseLogList(Uint8Array.of(0xff))).toThrow(refusal("bad_log_list"));
  });
});

describe("an option", () => {
  test.each([
    ["plain", `${a.origin}=${vkeyA}`, { origin: a.origin, vkey: vkeyA }],
    ["an origin with equals signs", `x=y=z=${vkeyA}`, { origin: "x=y=z", vkey: vkeyA }],
    ["a key's name with an equals sign", `${b.origin}=${vkeyB}`, { origin: b.origin, vkey: vkeyB }],
    ["both", `x=y=${vkeyB}`, { origin: "x=y", vkey: vkeyB }],
    [
      "an origin with spaces",
      `go.sum database tree=${vkeyA}`,
      { origin: "go.sum database tree", vkey: vkeyA },
    ],
    ["a vkey alone", vkeyB, { origin: b.origin, vkey: vkeyB }],
  ])("%s", (_, text, expected) => {
    expect(parseLogOption(text)).toEqual({ ...expected, qpd: null, contact: null });
  });

  test("a key in whose base64 there are plus signs and padding", () => {
    // Keys differ in the characters of their base64; among these are some with a plus and some that end in equals signs.
    for (let i = 0; i < 40; i++) {
      const log = new TestLog(`many.example/${i}`, PLAIN, `many ${i}`);
      const vkey = log.vkeys[0] as string;
      expect(parseLogOption(`an=origin=${vkey}`)).toMatchObject({ origin: "an=origin", vkey });
    }
    const long = new TestLog("long.example", { keys: ["mldsa44"] }, "long").vkeys[0] as string;
    expect(parseLogOption(`o=${long}`)).toMatchObject({ origin: "o", vkey: long });
  });

  test.each(["", "=", `=${vkeyA}`, "origin=", "origin", `origin=${vkeyA}x`, `origin ${vkeyA}`, "a=b=c"])(
    "%s is refused",
    (text) => {
      expect(() => parseLogOption(text)).toThrow(refusal("usage"));
    },
  );
});
