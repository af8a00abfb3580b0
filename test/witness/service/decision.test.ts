import { describe, expect, test } from "vitest";
import { nodeEd25519 } from "../../../src/cli/node-ed25519.ts";
import { encodeUtf8 } from "../../../src/core/bytes.ts";
import { noblePrimitives, verifierFor } from "../../../src/core/cosignature.ts";
import { asHash } from "../../../src/core/hash.ts";
import { nobleHasher } from "../../../src/core/noble-hasher.ts";
import type { NoteSigner } from "../../../src/core/note.ts";
import { parseVkey } from "../../../src/core/vkey.ts";
import { judgeGrowth, verifySignatures } from "../../../src/witness/service/decision.ts";
import { Refusal } from "../../../src/witness/service/refusal.ts";
import { type AddCheckpointRequest, parseAddCheckpoint } from "../../../src/witness/service/request.ts";
import { filler, forged, type LineSigner, PLAIN, TestLog } from "../conformance/test-log.ts";

const log = new TestLog("log.example/decisions", { keys: ["ed25519", "ed25519"] }, "decisions");
const other = new TestLog("other.example", PLAIN, "decisions of another");
const primitives = { ...noblePrimitives, ed25519: nodeEd25519 };
const trusted = log.vkeys.map((vkey) => verifierFor(parseVkey(vkey), primitives));

function parsed(text: string): AddCheckpointRequest {
  const request = parseAddCheckpoint(encodeUtf8(text));
  if (request instanceof Refusal) throw new Error(request.reason);
  return request;
}

const at = (size: number | bigint) => ({ size: BigInt(size), root: asHash(log.tree.root(size)) });
const growth = (text: string, before: ReturnType<typeof at> | null) =>
  judgeGrowth(parsed(text), before, nobleHasher);

describe("signatures", () => {
  test("without a trusted key the origin is unknown", () => {
    expect(verifySignatures(parsed(log.request(0, 1)), null)).toMatchObject({ status: 404 });
  });

  test("the lines of trusted keys are given, each verified, and no others", () => {
    const signers = [other.signer, ...log.signers];
    const verified = verifySignatures(parsed(log.request(0, 1, { signers })), trusted);
    expect(verified).toMatchObject(log.signers.map(({ name, keyId }) => ({ name, keyId })));
  });

  test("no line, or a line that does not verify, is forbidden, whatever stands beside it", () => {
    const [first, second] = log.signers as [NoteSigner, NoteSigner];
    const cases: LineSigner[][] = [
      [other.signer],
      [forged(first)],
      [forged(first), first],
      [first, forged(second)],
    ];
    for (const signers of cases) {
      const request = parsed(log.request(0, 1, { signers }));
      expect(verifySignatures(request, trusted)).toMatchObject({ status: 403 });
    }
  });
});

describe("growth", () => {
  test("a first checkpoint of any size, and of size 0, is taken", () => {
    for (const size of [0, 1, 7, 2n ** 63n - 1n]) expect(growth(log.request(0, size), null)).toBeNull();
  });

  test("what extends the newest is taken, between all sizes up to 20", () => {
    for (let from = 0; from <= 20; from++) {
      for (let to = from; to <= 20; to++)
        expect(growth(log.request(from, to), at(from)), `${from} to ${to}`).toBeNull();
    }
  });

  test("an old size above the checkpoint's is malformed before it is a conflict", () => {
    expect(growth(log.request(9, 5), at(3))).toMatchObject({ status: 400 });
    expect(growth(log.request(9, 5), at(9))).toMatchObject({ status: 400 });
  });

  test("a conflict is told the newest size, zero included, before any proof is looked at", () => {
    expect(growth(log.request(3, 5), null)).toMatchObject({ status: 409, reason: "0" });
    expect(growth(log.request(3, 9, { proof: [] }), at(4))).toMatchObject({ status: 409, reason: "4" });
    expect(growth(log.request(0, 0, { root: filler(32) }), at(4))).toMatchObject({
      status: 409,
      reason: "4",
    });
    const large = 2n ** 63n - 2n;
    expect(growth(log.request(1, 2), at(large))).toMatchObject({ status: 409, reason: String(large) });
  });

  test("an empty tree has the empty root, before and after it was cosigned", () => {
    for (const before of [null, at(0)]) {
      expect(growth(log.request(0, 0), before)).toBeNull();
      const refused = growth(log.request(0, 0, { root: filler(32) }), before);
      expect(refused).toMatchObject({ status: 422, reason: expect.stringMatching(/empty tree/) });
    }
  });

  test("from size 0 no proof is taken, not even one of the root itself", () => {
    for (const before of [null, at(0)]) {
      const refused = growth(log.request(0, 5, { proof: [log.tree.root(5)] }), before);
      expect(refused).toMatchObject({ status: 422, reason: "from size 0 the proof is empty" });
    }
  });

  test("between equal sizes the roots are equal and the proof is empty", () => {
    expect(growth(log.request(5, 5), at(5))).toBeNull();
    expect(growth(log.request(5, 5, { root: filler(32) }), at(5))).toMatchObject({ status: 422 });
    expect(growth(log.request(5, 5, { proof: [log.tree.root(5)] }), at(5))).toMatchObject({ status: 422 });
  });

  test("what does not extend the newest is refused, at every place where it forks", () => {
    for (let at_ = 0; at_ < 9; at_++) {
      const tree = log.tree.fork(at_);
      expect(growth(log.request(9, 14, { tree }), at(9)), `leaf ${at_}`).toMatchObject({ status: 422 });
    }
    expect(growth(log.request(9, 14, { tree: log.tree.fork(9) }), at(9))).toBeNull();
  });
});
