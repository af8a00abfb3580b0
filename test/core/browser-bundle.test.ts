// The public entry must run in a browser: bundled for one, it holds nothing of Node, and in a context that has no more than
// a browser's globals it verifies a proof, and judges every Ed25519 signature as the server and the command line do.
import { readFileSync } from "node:fs";
import { createContext, runInContext } from "node:vm";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { beforeAll, expect, test } from "vitest";
import { nodeEd25519 } from "../../src/cli/node-ed25519.ts";
import { decodeUtf8, fromHex } from "../../src/core/bytes.ts";
import { isAcceptablePublicKey, nobleEd25519 } from "../../src/core/ed25519.ts";
import { printPolicy } from "../../src/core/policy.ts";
import { printTlogProof } from "../../src/core/tlog-proof.ts";
import type { Ed25519Case } from "../vectors/ed25519-edge.generate.ts";
import { COSIGNED_AT, entries, policy, proofOf } from "./signed-log.ts";

const MAX_BUNDLE_BYTES = 400_000; // unminified; a dependency that came in unnoticed would burst it

let code = "";
let inputs: string[] = [];

beforeAll(async () => {
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const { outputFiles, metafile } = await build({
    absWorkingDir: root,
    entryPoints: ["src/core/index.ts"],
    bundle: true,
    platform: "browser", // fails on any import of a Node module
    format: "iife",
    globalName: "cairn",
    target: "es2022",
    write: false,
    metafile: true,
    legalComments: "none",
    logLevel: "silent",
  });
  code = outputFiles[0]?.text as string;
  inputs = Object.keys(metafile.inputs);
  expect(
    Object.values(metafile.inputs).flatMap((input) => input.imports.map(({ path }) => path)),
  ).not.toContainEqual(expect.stringMatching(/^node:/));
});

test("the bundle is made of core and its two libraries' packages alone", () => {
  expect(inputs).toContain("src/core/tlog-proof.ts");
  expect(inputs.filter((path) => !/^(src\/core|node_modules\/@(noble|scure))\//.test(path))).toEqual([]);
  expect(code.length).toBeLessThan(MAX_BUNDLE_BYTES);
});

test("nothing in it refers to Node", () => {
  for (const reference of [/\bnode:\w+/g, /\bBuffer\b/g, /(?<![.\w])process\.\w+/g, /\brequire\(/g]) {
    expect(code.match(reference) ?? []).toEqual([]);
  }
});

/** Runs `script` in a context with a browser's globals and what `given` adds; the bundle is there as `cairn`. */
function inBrowser(script: string, given: Record<string, string>): unknown {
  const context = createContext({ TextEncoder, TextDecoder, given });
  runInContext(`"use strict"; ${code}; this.cairn = cairn;`, context);
  return runInContext(script, context);
}

const VERIFY = `
  const { encodeUtf8, isCairnError, nobleHasher, parsePolicy, parseTlogProof, trustPolicy, verifyTlogProof } = cairn;
  let answer;
  try {
    const trust = trustPolicy(parsePolicy(encodeUtf8(given.policy)));
    const leaf = nobleHasher.leaf(encodeUtf8(given.entry));
    const { index, size, cosignatures } = verifyTlogProof(
      parseTlogProof(encodeUtf8(given.proof)), leaf, trust, nobleHasher);
    answer = [String(index), String(size), ...cosignatures.map(({ name, time }) => name + " " + time)].join(", ");
  } catch (error) {
    answer = isCairnError(error) ? error.code : String(error);
  }
  answer;
`;

const given = {
  policy: decodeUtf8(printPolicy(policy)),
  proof: decodeUtf8(printTlogProof(proofOf(2))),
  entry: decodeUtf8(entries[2] as Uint8Array),
};

test("a proof is verified in it: Ed25519 and ML-DSA-44 cosignatures, and the path", () => {
  const times = ["a", "b", "c"].map((name, i) => `${name} ${COSIGNED_AT[i]}`);
  expect(inBrowser(VERIFY, given)).toBe(["2", "7", ...times].join(", "));
});

test("a false proof is refused in it", () => {
  expect(inBrowser(VERIFY, { ...given, entry: "another entry" })).toBe("inclusion_failed");
  expect(inBrowser(VERIFY, { ...given, proof: given.proof.replace("\n7\n", "\n8\n") })).toBe("bad_signature");
  expect(inBrowser(VERIFY, { ...given, proof: "" })).toBe("bad_proof");
});

const JUDGE = `
  JSON.stringify(
    JSON.parse(given.cases).map(({ publicKey, message, signature }) => {
      const key = cairn.fromHex(publicKey);
      let acceptable = true;
      try {
        cairn.checkPublicKey(key);
      } catch {
        acceptable = false;
      }
      return [cairn.nobleEd25519.verify(cairn.fromHex(signature), cairn.fromHex(message), key), acceptable];
    }),
  );
`;

test("at every edge where Ed25519 implementations disagree it answers as the server and the command line do", () => {
  const file = readFileSync(new URL("../vectors/ed25519-edge.json", import.meta.url), "utf8");
  const cases = JSON.parse(file) as Ed25519Case[];
  const judged = JSON.parse(inBrowser(JUDGE, { cases: file }) as string) as [boolean, boolean][];
  expect(judged).toHaveLength(cases.length);
  for (const [i, { name, publicKey, message, signature, valid, acceptableKey }] of cases.entries()) {
    const asked = [fromHex(signature), fromHex(message), fromHex(publicKey)] as const;
    expect(judged[i], name).toEqual([valid, acceptableKey]);
    expect([nobleEd25519.verify(...asked), isAcceptablePublicKey(asked[2])], name).toEqual(judged[i]);
    expect(nodeEd25519.verify(...asked), name).toBe(judged[i]?.[0]);
  }
});
