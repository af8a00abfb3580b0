import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeUtf8 } from "../../../src/core/bytes.ts";
import { Refusal } from "../../../src/witness/service/refusal.ts";
import { parseAddCheckpoint, parseSignSubtree } from "../../../src/witness/service/request.ts";
import { damaged } from "../../core/signed-log.ts";
import { body, filler, PLAIN, TestLog } from "../conformance/test-log.ts";

const log = new TestLog("log.example/parsing", PLAIN, "parsing");

function add(text: string) {
  return parseAddCheckpoint(encodeUtf8(text));
}

describe("add-checkpoint", () => {
  test("a request has the old size, the proof, the note and what its text says", () => {
    const request = add(log.request(6, 13));
    if (request instanceof Refusal) throw new Error(request.reason);
    expect(request.oldSize).toBe(6n);
    expect(request.proof.map((hash) => Uint8Array.from(hash))).toEqual(log.tree.consistency(6, 13));
    expect(request.checkpoint).toMatchObject({ origin: log.origin, size: 13n });
    expect(request.note.text).toBe(log.text(13));
    expect(request.note.signatures).toHaveLength(1);
  });

  test("the example of the specification", () => {
    const request = add(
      [
        "old 20852014",
        "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=",
        "jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=",
        "5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=",
        "/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=",
        "",
        "example.com/behind-the-sofa",
        "20852163",
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=",
        "",
        "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=",
        "— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=",
        "",
      ].join("\n"),
    );
    expect(request).toMatchObject({ oldSize: 20_852_014n, checkpoint: { size: 20_852_163n } });
  });

  test("sizes up to 2^63 - 1 are read, larger ones refused", () => {
    const largest = 2n ** 63n - 1n;
    expect(add(log.request(largest, largest))).toMatchObject({ oldSize: largest });
    expect(add(body(`old ${largest + 1n}`, [], log.checkpoint(largest)))).toMatchObject({ status: 400 });
    const beyond = log.text(1).replace("\n1\n", `\n${largest + 1n}\n`);
    expect(add(`old 1\n\n${beyond}\n— a AAAAAAE=\n`)).toMatchObject({ status: 400 });
  });

  test("63 proof lines are read, 64 refused", () => {
    const hashes = Array.from({ length: 64 }, (_, i) => filler(32, `${i}`));
    expect(add(log.request(6, 13, { proof: hashes.slice(1) }))).toMatchObject({ oldSize: 6n });
    expect(add(log.request(6, 13, { proof: hashes }))).toMatchObject({ status: 400 });
  });

  test("whatever is damaged is either another sound request or refused with 400, and never an exception", () => {
    for (const bytes of damaged(encodeUtf8(log.request(6, 8)))) {
      const request = parseAddCheckpoint(bytes);
      if (request instanceof Refusal) expect(request.status).toBe(400);
    }
  });

  test("whatever bytes come, the answer is a request or 400", () => {
    const parts = fc.constantFrom(
      "old 0",
      "old 1",
      "\n",
      "\n\n",
      log.checkpoint(3),
      "— a AAAAAAE=\n",
      "\r",
      "\u0000",
      " ",
    );
    const bodies = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc
        .array(fc.oneof(parts, fc.string({ maxLength: 5 })), { maxLength: 8 })
        .map((list) => Buffer.from(list.join(""))),
    );
    fc.assert(
      fc.property(bodies, (bytes) => {
        for (const parse of [parseAddCheckpoint, parseSignSubtree]) {
          const result = parse(bytes);
          if (result instanceof Refusal) expect(result.status).toBe(400);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("a reason is one line that says what is wrong", () => {
    for (const [text, reason] of [
      ["", /empty line/],
      [body("old 01", [], log.checkpoint(1)), /old, one space/],
      [body("old 0", [filler(31)], log.checkpoint(1)), /32 bytes/],
      [log.request(0, 1).slice(0, -1), /newline/],
    ] as const) {
      const refusal = add(text) as Refusal;
      expect(refusal.reason).toMatch(reason);
      expect(refusal.reason).not.toMatch(/\n/);
    }
  });
});

describe("sign-subtree", () => {
  const reference = log.checkpoint(14);
  const proof = log.tree.subtreeProof(8, 13, 14);

  test("a request has the range, the hash, the proof and the checkpoint", () => {
    const text = body("subtree 8 13", [log.tree.hash(8, 13), ...proof], reference);
    const request = parseSignSubtree(encodeUtf8(text));
    expect(request).toMatchObject({ start: 8n, end: 13n, checkpoint: { size: 14n } });
    if (!(request instanceof Refusal)) expect(request.proof).toHaveLength(4);
  });

  test.each([
    "subtree 8 8",
    "subtree 13 8",
    "subtree 7 9",
    "subtree 8 15",
    "subtree 8",
    "subtree 8 13 1",
    "subtree  8 13",
    "subtree 8 13 ",
    "subtree 08 13",
    "Subtree 8 13",
    "subtree 8 9223372036854775808",
  ])("%s is refused", (first) => {
    const text = body(first, [log.tree.hash(8, 13), ...proof], reference);
    expect(parseSignSubtree(encodeUtf8(text))).toMatchObject({ status: 400 });
  });

  test("a request without a hash line is refused", () => {
    expect(parseSignSubtree(encodeUtf8(`subtree 8 13\n\n${reference}`))).toMatchObject({ status: 400 });
  });
});
