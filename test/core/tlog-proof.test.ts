import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeBase64 } from "../../src/core/base64.ts";
import { concatBytes, decodeUtf8, encodeUtf8 } from "../../src/core/bytes.ts";
import { asHash } from "../../src/core/hash.ts";
import { MAX_TREE_SIZE } from "../../src/core/merkle.ts";
import { nobleHasher } from "../../src/core/noble-hasher.ts";
import { printNote } from "../../src/core/note.ts";
import { generatePrivateKey, privateKeyVkey } from "../../src/core/note-key.ts";
import { policyFromQuorum, trustPolicy } from "../../src/core/policy.ts";
import {
  MAX_PROOF_HASHES,
  type ParsedTlogProof,
  parseTlogProof,
  printTlogProof,
  TLOG_PROOF_MAX_BYTES,
  type TlogProof,
  verifyTlogProof,
} from "../../src/core/tlog-proof.ts";
import {
  checkpointNote,
  codeOf,
  COSIGNED_AT,
  damaged,
  damagedLines,
  entries,
  leafHash,
  logSigner,
  ORIGIN,
  proofOf,
  seed,
  strangerSigner,
  trust,
  witnessSigners,
} from "./signed-log.ts";

const INDEX = 4;
const checkpoint = decodeUtf8(printNote(checkpointNote()));
const good = decodeUtf8(printTlogProof(proofOf(INDEX)));

/** Signed by the log alone, so that the proof is small enough to damage at every byte. */
const loneCheckpoint = checkpointNote([logSigner]);
const loneTrust = trustPolicy(policyFromQuorum([], 0, trust.policy.logs));

function parse(text: string): ParsedTlogProof {
  return parseTlogProof(encodeUtf8(text));
}

function hashLines(count: number): string {
  return Array.from({ length: count }, (_, i) => `${encodeBase64(seed(i))}\n`).join("");
}

describe("the text", () => {
  test("has header, index, path, an empty line, and the checkpoint as it was signed", () => {
    const lines = good.split("\n");
    const { path } = proofOf(INDEX);
    expect(lines.slice(0, 2 + path.length + 1)).toEqual([
      "c2sp.org/tlog-proof@v1",
      `index ${INDEX}`,
      ...path.map(encodeBase64),
      "",
    ]);
    expect(good.endsWith(`\n\n${checkpoint}`)).toBe(true);
  });

  test("of every entry's proof reads back and prints the same bytes, with extra data and without", () => {
    for (let index = 0; index < entries.length; index++) {
      for (const extra of [null, encodeUtf8("extra"), new Uint8Array(1000)]) {
        const proof: TlogProof = { ...proofOf(index), extra };
        const bytes = printTlogProof(proof);
        expect(parseTlogProof(bytes)).toEqual(proof);
        expect(printTlogProof(parseTlogProof(bytes))).toEqual(bytes);
      }
    }
  });

  test("keeps signatures of unknown types, and an index as large as logs can be", () => {
    const text = `c2sp.org/tlog-proof@v1\nextra AA==\nindex ${MAX_TREE_SIZE}\n\n${checkpoint}— x.example ${encodeBase64(seed(3))}\n`;
    expect(parse(text).index).toBe(MAX_TREE_SIZE);
    expect(decodeUtf8(printTlogProof(parse(text)))).toBe(text);
  });

  test("has at most 63 hashes", () => {
    const text = `c2sp.org/tlog-proof@v1\nindex 0\n${hashLines(MAX_PROOF_HASHES)}\n${checkpoint}`;
    expect(parse(text).path).toHaveLength(63);
    expect(decodeUtf8(printTlogProof(parse(text)))).toBe(text);
    const over = `c2sp.org/tlog-proof@v1\nindex 0\n${hashLines(64)}\n${checkpoint}`;
    expect(codeOf(() => parse(over))).toBe("bad_proof");
    const path = [...parse(text).path, asHash(seed(1))];
    expect(codeOf(() => printTlogProof({ ...proofOf(0), path }))).toBe("bad_proof");
  });

  const body = good.slice("c2sp.org/tlog-proof@v1\n".length);
  const header = "c2sp.org/tlog-proof@v1\n";
  test.each([
    ["nothing", ""],
    ["a checkpoint alone", checkpoint],
    ["another version", good.replace("@v1", "@v2")],
    ["a space after the header", good.replace("@v1", "@v1 ")],
    ["a byte order mark", `\ufeff${good}`],
    ["an empty line before the header", `\n${good}`],
    ["carriage returns", good.replaceAll("\n", "\r\n")],
    ["no index", header + body.slice(body.indexOf("\n") + 1)],
    ["an empty index", good.replace("index 4", "index ")],
    ["an index with a leading zero", good.replace("index 4", "index 04")],
    ["a negative index", good.replace("index 4", "index -4")],
    ["an index of 2^63", good.replace("index 4", "index 9223372036854775808")],
    ["an index in capitals", good.replace("index", "Index")],
    ["a tab for a space", good.replace("index ", "index\t")],
    ["two spaces", good.replace("index ", "index  ")],
    ["two indices", good.replace("index 4\n", "index 4\nindex 4\n")],
    ["extra after index", good.replace("index 4\n", "index 4\nextra AA==\n")],
    ["two extra lines", `${header}extra AA==\nextra AA==\n${body}`],
    ["an extra line without data", `${header}extra \n${body}`],
    ["extra without a space", `${header}extra\n${body}`],
    ["extra data without padding", `${header}extra AA\n${body}`],
    ["extra data with bits in its padding", `${header}extra AB==\n${body}`],
    ["extra data that is not base64", `${header}extra a b\n${body}`],
    ["a hash of 31 bytes", good.replace("index 4\n", `index 4\n${encodeBase64(new Uint8Array(31))}\n`)],
    ["a hash with a space", good.replace("index 4\n", `index 4\n${encodeBase64(seed(1))} \n`)],
    ["an unknown line", `${header}note x\n${body}`],
    ["no empty line", good.replace("\n\n", "\n")],
    ["an empty line more", good.replace("\n\n", "\n\n\n")],
    ["no checkpoint", good.slice(0, good.indexOf("\n\n") + 2)],
    ["a checkpoint without signatures", good.slice(0, good.indexOf("— "))],
    [
      "a note that is no checkpoint",
      `${header}index 0\n\ntext\n\n${checkpoint.slice(checkpoint.indexOf("— "))}`,
    ],
    ["something after the checkpoint", `${good}\n`],
    ["an end without a newline", good.slice(0, -1)],
  ])("is refused with %s", (_, text) => {
    expect(codeOf(() => parse(text))).toBe("bad_proof");
  });

  test("is refused where its head is not UTF-8, or the whole over the limit", () => {
    const bytes = encodeUtf8(good);
    expect(codeOf(() => parseTlogProof(Uint8Array.from([0xff, ...bytes])))).toBe("bad_proof");
    const extra = encodeBase64(new Uint8Array(TLOG_PROOF_MAX_BYTES));
    expect(codeOf(() => parse(`${header}extra ${extra}\n${body}`))).toBe("bad_proof");
  });

  test("is not written for what could not be read back", () => {
    const proof = proofOf(0);
    expect(codeOf(() => printTlogProof({ ...proof, extra: new Uint8Array(0) }))).toBe("bad_proof");
    for (const index of [-1, -1n, 1.5, Number.NaN, MAX_TREE_SIZE + 1n, 1e21]) {
      expect(codeOf(() => printTlogProof({ ...proof, index }))).toBe("bad_proof");
    }
  });

  test("of any shape is read and prints back to the same bytes, or is refused as bad_proof", () => {
    const piece = fc.oneof(
      fc
        .constantFrom(header, "extra AA==\n", "index 4\n", "index 0\n", hashLines(1), "\n", checkpoint, good)
        .map(encodeUtf8),
      fc.uint8Array({ maxLength: 5 }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 7 }), (pieces) => {
        const bytes = concatBytes(...pieces);
        let proof: ParsedTlogProof | undefined;
        const code = codeOf(() => {
          proof = parseTlogProof(bytes);
        });
        if (proof === undefined) expect(code).toBe("bad_proof");
        else expect(printTlogProof(proof)).toEqual(bytes);
      }),
      { numRuns: 1000 },
    );
  });
});

describe("verifying", () => {
  test("every entry is proven at its index, with size, root and the witnesses' times", () => {
    for (let index = 0; index < entries.length; index++) {
      const proof = parseTlogProof(printTlogProof(proofOf(index)));
      const verified = verifyTlogProof(
        proof,
        nobleHasher.leaf(entries[index] as Uint8Array),
        trust,
        nobleHasher,
      );
      expect(verified.index).toBe(BigInt(index));
      expect(verified.size).toBe(BigInt(entries.length));
      expect(checkpoint).toContain(encodeBase64(verified.root));
      expect(verified.cosignatures).toEqual(
        ["a", "b", "c"].map((name, i) => ({ name, time: BigInt(COSIGNED_AT[i] as number) })),
      );
    }
  });

  test("an index given as a number is verified like one that was parsed", () => {
    const proof = { ...proofOf(3), index: 3 };
    expect(verifyTlogProof(proof, leafHash(3), trust, nobleHasher).index).toBe(3n);
  });

  test("an entry is proven nowhere but at its index, and no other entry is proven there", () => {
    function code(proof: TlogProof, leaf: number): string {
      return codeOf(() => verifyTlogProof(proof, leafHash(leaf), loneTrust, nobleHasher));
    }
    for (let index = 0; index < entries.length; index++) {
      const proof = proofOf(index, loneCheckpoint);
      for (let other = 0; other < entries.length + 2; other++) {
        if (other === index) continue;
        expect(code({ ...proof, index: BigInt(other) }, index)).toBe("inclusion_failed");
        if (other < entries.length) expect(code(proof, other)).toBe("inclusion_failed");
      }
    }
    expect(code({ ...proofOf(0, loneCheckpoint), index: MAX_TREE_SIZE }, 0)).toBe("inclusion_failed");
  });

  test("a path with a hash more, fewer, changed or in another place proves nothing", () => {
    const proof = proofOf(INDEX);
    const { path } = proof;
    for (const other of [
      [],
      path.slice(1),
      path.slice(0, -1),
      [...path, asHash(seed(0))],
      [asHash(seed(0)), ...path],
      path.toReversed(),
      path.with(0, asHash(seed(0))),
    ]) {
      const code = codeOf(() =>
        verifyTlogProof({ ...proof, path: other }, leafHash(INDEX), trust, nobleHasher),
      );
      expect(code).toBe("inclusion_failed");
    }
  });

  test("a leaf hash of another length proves nothing", () => {
    for (const leaf of [new Uint8Array(0), leafHash(INDEX).subarray(1)]) {
      expect(codeOf(() => verifyTlogProof(proofOf(INDEX), leaf, trust, nobleHasher))).toBe(
        "inclusion_failed",
      );
    }
  });

  test("each reason not to trust the checkpoint has its code", () => {
    const [a] = witnessSigners as [(typeof witnessSigners)[0]];
    const otherLog = trustPolicy(
      policyFromQuorum([], 0, [{ key: privateKeyVkey(generatePrivateKey("other.example", seed(8))) }]),
    );
    const sameName = trustPolicy(
      policyFromQuorum([], 0, [{ key: privateKeyVkey(generatePrivateKey(ORIGIN, seed(8))) }]),
    );
    function code(proof: TlogProof, by = trust, options = {}): string {
      return codeOf(() => verifyTlogProof(proof, leafHash(INDEX), by, nobleHasher, options));
    }
    expect(code(proofOf(INDEX))).toBe("nothing");
    expect(code(proofOf(INDEX), otherLog)).toBe("wrong_origin");
    expect(code(proofOf(INDEX), trust, { origin: "other.example" })).toBe("wrong_origin");
    expect(code(proofOf(INDEX), sameName)).toBe("unsigned");
    expect(code(proofOf(INDEX, checkpointNote([...witnessSigners])))).toBe("unsigned");
    expect(code(proofOf(INDEX, checkpointNote([logSigner, a, strangerSigner])))).toBe("quorum_not_met");
    const note = checkpointNote();
    const forged = { ...note, text: note.text.replace("\n7\n", "\n8\n") };
    expect(code(proofOf(INDEX, forged))).toBe("bad_signature");
    expect(code(proofOf(INDEX), trust, { maxAge: { seconds: 60, now: COSIGNED_AT[2] + 3600 } })).toBe(
      "too_old",
    );
    expect(code(proofOf(INDEX), trust, { maxAge: { seconds: 3600, now: COSIGNED_AT[2] } })).toBe("nothing");
  });

  test("extra data changes nothing that is verified", () => {
    const proof = { ...proofOf(INDEX), extra: encodeUtf8("whatever") };
    expect(verifyTlogProof(proof, leafHash(INDEX), trust, nobleHasher)).toEqual(
      verifyTlogProof(proofOf(INDEX), leafHash(INDEX), trust, nobleHasher),
    );
  });

  test("every damage to a proof's bytes or lines is refused with a code, unless it is another proof of the same", () => {
    const original = printTlogProof({ ...proofOf(INDEX, loneCheckpoint), extra: encodeUtf8("abc") });
    const codes = ["bad_proof", "wrong_origin", "unsigned", "bad_signature", "inclusion_failed"];
    let accepted = 0;
    for (const bytes of [...damaged(original), ...[...damagedLines(decodeUtf8(original))].map(encodeUtf8)]) {
      let proof: ParsedTlogProof | undefined;
      const code = codeOf(() => {
        proof = parseTlogProof(bytes);
        verifyTlogProof(proof, leafHash(INDEX), loneTrust, nobleHasher);
      });
      if (code !== "nothing") {
        expect(codes).toContain(code);
        continue;
      }
      // Nobody signed the extra data, and a signature line may stand twice: all else is what it was.
      accepted++;
      expect({ ...proof, extra: null, checkpoint: proof?.checkpoint.text }).toEqual({
        ...proofOf(INDEX),
        extra: null,
        checkpoint: loneCheckpoint.text,
      });
    }
    expect(accepted).toBeLessThan(30);
  });

  test("a cosigned proof with any line dropped, doubled or swapped is refused or proves the same", () => {
    for (const text of damagedLines(good)) {
      let verified: unknown;
      const code = codeOf(() => {
        verified = verifyTlogProof(parse(text), leafHash(INDEX), trust, nobleHasher);
      });
      if (code === "nothing")
        expect(verified).toMatchObject({ index: BigInt(INDEX), size: BigInt(entries.length) });
      else
        expect(["bad_proof", "unsigned", "bad_signature", "inclusion_failed", "wrong_origin"]).toContain(
          code,
        );
    }
  });
});
