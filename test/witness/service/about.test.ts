import { expect, test } from "vitest";
import { encodeUtf8 } from "../../../src/core/bytes.ts";
import { cosignatureVkey } from "../../../src/core/cosignature.ts";
import { generatePrivateKey } from "../../../src/core/note-key.ts";
import { parsePolicy } from "../../../src/core/policy.ts";
import { printVkey } from "../../../src/core/vkey.ts";
import { aboutText } from "../../../src/witness/service/about.ts";
import { sha256 } from "../conformance/test-log.ts";

const url = "https://witness.example/w1";

test("the lines for a policy are those of a policy", () => {
  const keys = [
    generatePrivateKey("none", sha256("a")),
    generatePrivateKey("none", sha256("b"), 0x06),
    generatePrivateKey("other.example,=x", sha256("c")),
  ];
  const vkeys = keys.map((key) => printVkey(cosignatureVkey(key)));
  const text = aboutText({ vkeys, url, signsSubtrees: true });
  const lines = text.split("\n").filter((line) => line.startsWith("witness "));
  const names = lines.map((line) => line.split(" ")[1] as string);
  const policy = parsePolicy(encodeUtf8(`${lines.join("\n")}\ngroup g all ${names.join(" ")}\nquorum g\n`));
  expect(policy.witnesses.map(({ key }) => printVkey(key))).toEqual(vkeys);
  expect(policy.witnesses.map((witness) => witness.url)).toEqual([url, url, url]);
});

test("a reader finds the addresses, and the one of subtrees only where they are signed", () => {
  const vkeys = [printVkey(cosignatureVkey(generatePrivateKey("w.example", sha256("a"))))];
  expect(aboutText({ vkeys, url, signsSubtrees: false })).toContain(`${url}/add-checkpoint`);
  expect(aboutText({ vkeys, url, signsSubtrees: false })).not.toContain("sign-subtree");
  expect(aboutText({ vkeys, url, signsSubtrees: true })).toContain(`${url}/sign-subtree`);
});

test("what a log's configuration takes: no part has an equals sign or a comma of its own but the vkey's end", () => {
  const vkey = printVkey(cosignatureVkey(generatePrivateKey("w.example", sha256("a"))));
  expect(aboutText({ vkeys: [vkey], url, signsSubtrees: false })).toContain(
    `EXTERNAL_WITNESSES=w.example=${url}=${vkey}\n`,
  );
});
