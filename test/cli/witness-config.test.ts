// Which witnesses a log asks: nothing that could silently weaken the quorum is taken, and what is refused is named.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readConfig } from "../../src/cli/config.ts";
import { readWitnesses, type WitnessSettings } from "../../src/cli/witness-config.ts";
import { encodeUtf8 } from "../../src/core/bytes.ts";
import { cosignatureVkey, noblePrimitives } from "../../src/core/cosignature.ts";
import { isCairnError } from "../../src/core/errors.ts";
import { generatePrivateKey, printPrivateKey, privateKeyVkey } from "../../src/core/note-key.ts";
import { policySatisfied } from "../../src/core/policy.ts";
import { printVkey, SIGNATURE_TYPE } from "../../src/core/vkey.ts";
import { temporaryFolder } from "./test-io.ts";

type KeyType = typeof SIGNATURE_TYPE.mldsa44;

const keyOf = (name: string, fill: number, type?: KeyType) =>
  generatePrivateKey(name, new Uint8Array(32).fill(fill), type);
const vkeyOf = (name: string, fill: number, type?: KeyType) =>
  printVkey(cosignatureVkey(keyOf(name, fill, type)));

const LOG_KEY = keyOf("log.example", 1);
const A = vkeyOf("a.example", 2);
const B = vkeyOf("b.example", 3);
const C = vkeyOf("c.example", 4, SIGNATURE_TYPE.mldsa44);
const THREE = `a=https://a.example=${A},b=https://b.example/w=${B}, c=http://127.0.0.1:2026=${C}`;

const UNSET: WitnessSettings = {
  externalWitnesses: undefined,
  quorum: undefined,
  policyFile: undefined,
  ignore: undefined,
  monitorUrls: undefined,
  surplusWaitMs: 0,
};

function read(settings: Partial<WitnessSettings>) {
  return readWitnesses({ ...UNSET, ...settings }, [privateKeyVkey(LOG_KEY)], noblePrimitives);
}

/** What the refusal says. */
function refusal(settings: Partial<WitnessSettings>): string {
  try {
    read(settings);
  } catch (error) {
    if (isCairnError(error)) return `${error.code}: ${error.detail}`;
    throw error;
  }
  return "taken";
}

const policyFile = (...lines: string[]) => encodeUtf8(lines.map((line) => `${line}\n`).join(""));

describe("EXTERNAL_WITNESSES", () => {
  test("without any, none is asked", () => {
    expect(read({})).toBeNull();
  });

  test("names, URLs and keys of both types, in their order", () => {
    const config = read({ externalWitnesses: THREE, quorum: 2, surplusWaitMs: 40 });
    expect(config?.peers.map(({ name, url, monitorUrl }) => [name, url, monitorUrl])).toEqual([
      ["a", "https://a.example", null],
      ["b", "https://b.example/w", null],
      ["c", "http://127.0.0.1:2026", null],
    ]);
    expect(config?.peers.map(({ verifier }) => verifier.name)).toEqual([
      "a.example",
      "b.example",
      "c.example",
    ]);
    expect(config?.policy.logs.map(({ key }) => printVkey(key))).toEqual([
      printVkey(privateKeyVkey(LOG_KEY)),
    ]);
    expect(config?.surplusWaitMs).toBe(40);
  });

  test("WITNESS_QUORUM of them are enough, and without it all are needed", () => {
    const met = (quorum: number | undefined, ...names: string[]) => {
      const config = read({ externalWitnesses: THREE, quorum });
      return config !== null && policySatisfied(config.policy, new Set(names));
    };
    expect([met(2, "a"), met(2, "a", "c"), met(1, "b")]).toEqual([false, true, true]);
    expect([met(undefined, "a", "b"), met(undefined, "a", "b", "c")]).toEqual([false, true]);
  });

  test("an equals sign in a URL belongs to it", () => {
    const config = read({ externalWitnesses: `a=https://a.example/k=v/w=${A}` });
    expect(config?.peers.map(({ url }) => url)).toEqual(["https://a.example/k=v/w"]);
  });

  test.each([
    ["no URL", `a=${A}`, /does not read name=url=vkey/],
    ["no name", `=https://a.example=${A}`, /does not read name=url=vkey/],
    ["no key", "a=https://a.example", /does not read name=url=vkey/],
    ["what is no URL", `a=a.example=${A}`, /URL of witness a/],
    ["another scheme", `a=ftp://a.example=${A}`, /URL of witness a/],
    ["a query, which no path can follow", `a=https://a.example/?x=${A}`, /URL of witness a/],
    ["a password, which everybody could read", `a=https://u:p@a.example=${A}`, /URL of witness a/],
    ["a damaged key", `a=https://a.example=${A.replace("a.example", "x.example")}`, /the key of a/],
    ["one name twice", `a=https://a.example=${A},a=https://b.example=${B}`, /EXTERNAL_WITNESSES: .*a/],
    ["one key twice", `a=https://a.example=${A},b=https://b.example=${A}`, /EXTERNAL_WITNESSES/],
    [
      "one key twice, under another name",
      `a=https://a.example=${A},b=https://b.example=${vkeyOf("other.example", 2)}`,
      /EXTERNAL_WITNESSES/,
    ],
  ])("is refused with %s", (_what, externalWitnesses, says) => {
    expect(refusal({ externalWitnesses })).toMatch(/^bad_config: /);
    expect(refusal({ externalWitnesses })).toMatch(says);
  });

  test("a password in a URL is not repeated, wherever the URL is refused", () => {
    for (const wrong of [
      `a=https://u:a-secret@a.example=${A}`,
      "a=https://u:a-secret@a.example",
      "https://u:a-secret@x",
      "https://u:pa/a-secret@x",
      `a=https://u:p@a-secret@a.example=${A}`,
      `a=https://a.example/?token=a-secret=${A}`,
    ]) {
      expect(refusal({ externalWitnesses: wrong })).toMatch(/^bad_config: /);
      expect(refusal({ externalWitnesses: wrong })).not.toContain("a-secret");
      const monitors = refusal({ externalWitnesses: THREE, monitorUrls: wrong.replace("a=", "a,a=") });
      expect(monitors).toMatch(/^bad_config: /);
      expect(monitors).not.toContain("a-secret");
    }
  });

  test("a witness's plain note key is refused, and the message has the one to write instead", () => {
    const plain = printVkey(privateKeyVkey(keyOf("a.example", 2)));
    expect(refusal({ externalWitnesses: `a=https://a.example=${plain}` })).toContain(A);
  });

  test("a quorum of none, or of more than there are, is refused", () => {
    for (const quorum of [0, 4]) {
      expect(refusal({ externalWitnesses: THREE, quorum })).toMatch(/WITNESS_QUORUM is 1 to 3/);
    }
  });

  test("settings for witnesses are refused where there are none", () => {
    expect(refusal({ quorum: 1 })).toMatch(/WITNESS_QUORUM is set, and no witness is/);
    expect(refusal({ ignore: "a" })).toMatch(/WITNESS_IGNORE is set/);
    expect(refusal({ monitorUrls: "a=https://a.example" })).toMatch(/WITNESS_MONITOR_URLS is set/);
  });
});

describe("WITNESS_POLICY", () => {
  const witnesses = [`witness a ${A} https://a.example`, `witness b ${B} https://b.example`];

  test("groups and quorum are the file's, and witnesses outside the quorum are asked too", () => {
    const config = read({ policyFile: policyFile(...witnesses, "quorum a") });
    expect(config?.peers.map(({ name }) => name)).toEqual(["a", "b"]);
    expect(config !== null && policySatisfied(config.policy, new Set(["b"]))).toBe(false);
    expect(config !== null && policySatisfied(config.policy, new Set(["a"]))).toBe(true);
    const any = read({ policyFile: policyFile(...witnesses, "group g any a b", "quorum g") });
    expect(any !== null && policySatisfied(any.policy, new Set(["b"]))).toBe(true);
  });

  test("a witness without a URL is not asked, and must not be needed", () => {
    const [first = ""] = witnesses;
    const config = read({ policyFile: policyFile(first, `witness b ${B}`, "group g any a b", "quorum g") });
    expect(config?.peers.map(({ name }) => name)).toEqual(["a"]);
    expect(
      refusal({ policyFile: policyFile(first, `witness b ${B}`, "group g all a b", "quorum g") }),
    ).toMatch(/can never meet its quorum/);
  });

  test("a file for other logs is refused, and so is one beside the two variables", () => {
    const other = printVkey(privateKeyVkey(keyOf("other.example", 9)));
    expect(refusal({ policyFile: policyFile(`log ${other}`, ...witnesses, "quorum a") })).toMatch(
      /WITNESS_POLICY lists logs, and not log\.example/,
    );
    expect(refusal({ policyFile: policyFile(...witnesses, "quorum a"), quorum: 1 })).toMatch(
      /leave EXTERNAL_WITNESSES and WITNESS_QUORUM unset/,
    );
  });

  test("a file that is no policy is refused", () => {
    expect(refusal({ policyFile: policyFile(...witnesses) })).toMatch(/^bad_policy: /);
    expect(refusal({ policyFile: policyFile(...witnesses, "group g 3 a b", "quorum g") })).toMatch(
      /^bad_policy: line 3/,
    );
    expect(refusal({ policyFile: policyFile(...witnesses, `witness c ${A}`, "quorum a") })).toMatch(
      /^bad_policy: line 3/,
    );
  });
});

describe("single witnesses", () => {
  test("WITNESS_IGNORE takes votes away from witnesses that there are", () => {
    expect(read({ externalWitnesses: THREE, quorum: 2, ignore: "b" })?.ignored).toEqual(new Set(["b"]));
    expect(refusal({ externalWitnesses: THREE, quorum: 2, ignore: "b,x" })).toMatch(/names x/);
  });

  test("WITNESS_MONITOR_URLS says where a witness is read, once for each", () => {
    const config = read({ externalWitnesses: THREE, monitorUrls: "b=https://read.example/b" });
    expect(config?.peers.map(({ monitorUrl }) => monitorUrl)).toEqual([null, "https://read.example/b", null]);
    for (const monitorUrls of ["b", "x=https://x.example", "b=https://r,b=https://s", "b=file:///etc"]) {
      expect([monitorUrls, refusal({ externalWitnesses: THREE, monitorUrls })]).toEqual([
        monitorUrls,
        expect.stringMatching(/^bad_config: /),
      ]);
    }
  });
});

test("the variables are read into all of it, and every mistake is told as theirs", async () => {
  const LOG_PRIVATE_KEY = printPrivateKey(LOG_KEY);
  const { witnesses } = await readConfig({
    LOG_PRIVATE_KEY,
    EXTERNAL_WITNESSES: THREE,
    WITNESS_QUORUM: "2",
    WITNESS_SURPLUS_WAIT_MS: "250",
    WITNESS_IGNORE: "c",
    WITNESS_MONITOR_URLS: "a=https://read.example",
  });
  expect(witnesses).toMatchObject({ surplusWaitMs: 250, ignored: new Set(["c"]) });
  expect(witnesses?.peers[0]?.monitorUrl).toBe("https://read.example");

  const file = join(temporaryFolder(), "policy");
  writeFileSync(file, `witness a ${A} https://a.example\nquorum a\n`);
  const fromFile = await readConfig({ LOG_PRIVATE_KEY, WITNESS_POLICY: file });
  expect(fromFile.witnesses?.peers.map(({ name }) => name)).toEqual(["a"]);

  for (const wrong of [
    { EXTERNAL_WITNESSES: "a" },
    { WITNESS_QUORUM: "1" },
    { WITNESS_POLICY: `${file}.no` },
  ]) {
    const [name = ""] = Object.keys(wrong);
    await expect(readConfig({ LOG_PRIVATE_KEY, ...wrong })).rejects.toMatchObject({
      code: "bad_config",
      detail: expect.stringContaining(name),
    });
  }
});
