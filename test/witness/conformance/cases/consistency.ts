// Consistency proofs: histories that only grow are cosigned at whatever sizes they stop, and nothing else is.

import { encodeBase64 } from "../../../../src/core/base64.ts";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { filler } from "../test-log.ts";

const PROOF =
  "Otherwise, the consistency proof lines MUST encode a Merkle Consistency Proof from the old size to the checkpoint size according to RFC 6962, Section 2.1.2.";
const UNPROVEN =
  'If the proof is not empty when the old size is zero, or if a Merkle Consistency Proof doesn\'t verify, the witness MUST respond with a "422 Unprocessable Entity" HTTP status code.';
const SAME_SIZE =
  'If the old size matches the checkpoint size, the witness MUST check that the root hashes are also identical. If they don\'t match, the witness MUST respond with a "422 Unprocessable Entity" HTTP status code.';
const EMPTY_ROOT =
  'A checkpoint of size zero MUST have the root hash of the empty tree, which RFC 6962, Section 2.1 defines as the hash of the empty string. Otherwise, the witness MUST respond with a "422 Unprocessable Entity" HTTP status code.';
const NOT_COSIGNED =
  "If the origin is known, and the signature is valid, the witness MAY log the request even if the checkpoint fails one of the consistency checks above (but MUST NOT cosign the checkpoint), as it might be proof of log misbehavior.";

function chain(name: string, sizes: readonly (number | bigint)[]): ConformanceCase {
  return {
    name,
    level: "MUST",
    spec: "tlog-witness",
    sentence: PROOF,
    async run(c) {
      let from: number | bigint = 0;
      for (const to of sizes) {
        await c.grow(from, to);
        from = to;
      }
    },
  };
}

/** A log at `from` and a request to `to` that is refused with 422, after which the right one is taken. */
function unproven(
  name: string,
  from: number,
  to: number,
  proof: (right: readonly Uint8Array[], c: CaseContext) => readonly (Uint8Array | string)[],
): ConformanceCase {
  return {
    name,
    level: "MUST",
    spec: "tlog-witness",
    sentence: UNPROVEN,
    async run(c) {
      if (from > 0) await c.grow(0, from);
      const wrong = proof(c.log.tree.consistency(from, to), c);
      c.refused(await c.add(c.log.request(from, to, { proof: wrong })), 422);
      await c.grow(from, to);
    },
  };
}

const powers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => 2 ** (from + i));

export const consistency: readonly ConformanceCase[] = [
  chain(
    "a log that grows by one, from 1 to 70",
    Array.from({ length: 70 }, (_, i) => i + 1),
  ),
  chain("a log that doubles, at powers of two", powers(0, 20)),
  chain(
    "a log that stops one below each power of two",
    powers(1, 16).map((size) => size - 1),
  ),
  chain(
    "a log that stops one above each power of two",
    powers(0, 16).map((size) => size + 1),
  ),
  chain(
    "a log that stops below, at and above each power of two",
    powers(2, 12).flatMap((size) => [size - 1, size, size + 1]),
  ),
  chain("a log that stops around tile borders", [1, 255, 256, 257, 65_535, 65_536, 65_537, 16_777_217]),
  chain("a log that grows in odd steps", [3, 7, 20, 21, 54, 143, 376, 377, 986, 2583, 6764, 17_710, 46_367]),
  chain("a log that jumps from one leaf to a billion", [1, 1_000_000_007]),
  chain("a log that grows up to 2^62", [
    5,
    2n ** 32n + 3n,
    2n ** 53n - 1n,
    2n ** 53n + 2n,
    2n ** 61n + 5n,
    2n ** 62n,
  ]),
  chain("a proof of 63 lines, the longest there may be", [1, 2n ** 63n - 1n]),

  unproven("no proof where there should be one", 1, 5, () => []),
  unproven("a proof that lacks its last line", 3, 13, (right) => right.slice(0, -1)),
  unproven("a proof that lacks its first line", 3, 13, (right) => right.slice(1)),
  unproven("a proof with one line too many", 3, 13, (right) => [...right, filler(32)]),
  unproven("a proof with its first line twice", 3, 13, (right) => [right[0] as Uint8Array, ...right]),
  unproven("a proof whose lines are in another order", 3, 13, (right) => right.toReversed()),
  unproven("a proof with one bit changed", 6, 13, (right) =>
    right.map((hash, i) => (i === 1 ? hash.map((byte, at) => (at === 31 ? byte ^ 1 : byte)) : hash)),
  ),
  unproven("a proof of other hashes", 6, 13, (right) => right.map((_, i) => filler(32, `hash ${i}`))),
  unproven("a proof between other sizes", 6, 13, (_, c) => c.log.tree.consistency(5, 13)),
  unproven("a proof to another size", 6, 13, (_, c) => c.log.tree.consistency(6, 14)),
  unproven("a proof from a power of two with the old root before it", 4, 7, (right, c) => [
    c.log.tree.root(4),
    ...right,
  ]),
  unproven("a proof from size zero", 0, 5, (_, c) => [c.log.tree.root(5)]),
  unproven("a proof from size zero that would do from size one", 0, 5, (_, c) =>
    c.log.tree.consistency(1, 5),
  ),
  {
    name: "a proof between equal sizes",
    level: "MUST",
    spec: "tlog-witness",
    sentence: UNPROVEN,
    async run(c) {
      await c.grow(0, 5);
      c.refused(await c.add(c.log.request(5, 5, { proof: [c.log.tree.root(5)] })), 422);
    },
  },
  {
    name: "a tree that rewrites its history",
    level: "MUST",
    spec: "tlog-witness",
    sentence: UNPROVEN,
    async run(c) {
      await c.grow(0, 6);
      const tree = c.log.tree.fork(2);
      c.refused(await c.add(c.log.request(6, 13, { tree })), 422);
      await c.grow(6, 13);
    },
  },
  {
    name: "a tree that rewrites its newest leaf",
    level: "MUST",
    spec: "tlog-witness",
    sentence: UNPROVEN,
    async run(c) {
      await c.grow(0, 8);
      c.refused(await c.add(c.log.request(8, 9, { tree: c.log.tree.fork(7) })), 422);
      await c.grow(8, 9, { tree: c.log.tree.fork(8) });
    },
  },
  {
    name: "a right proof under another root",
    level: "MUST",
    spec: "tlog-witness",
    sentence: UNPROVEN,
    async run(c) {
      await c.grow(0, 6);
      c.refused(await c.add(c.log.request(6, 13, { root: filler(32) })), 422);
    },
  },
  {
    name: "another root at the same size",
    level: "MUST",
    spec: "tlog-witness",
    sentence: SAME_SIZE,
    async run(c) {
      await c.grow(0, 3);
      c.refused(await c.add(c.log.request(3, 3, { tree: c.log.tree.fork(1) })), 422);
      await c.grow(3, 3);
    },
  },
  {
    name: "another root at the same size, again and again",
    level: "MUST",
    spec: "tlog-witness",
    sentence: NOT_COSIGNED,
    async run(c) {
      await c.grow(0, 3);
      for (let i = 0; i < 8; i++) {
        c.refused(await c.add(c.log.request(3, 3, { root: filler(32, `root ${i}`) })), 422);
      }
      await c.grow(3, 4);
    },
  },

  {
    name: "an empty tree with the root of the empty tree",
    level: "MUST",
    spec: "tlog-witness",
    sentence: EMPTY_ROOT,
    async run(c) {
      await c.grow(0, 0);
      await c.grow(0, 0);
    },
  },
  {
    name: "an empty tree with another root",
    level: "MUST",
    spec: "tlog-witness",
    sentence: EMPTY_ROOT,
    async run(c) {
      c.refused(await c.add(c.log.request(0, 0, { root: filler(32) })), 422);
      c.refused(await c.add(c.log.request(0, 0, { root: new Uint8Array(32) })), 422);
      await c.grow(0, 0);
    },
  },
  {
    name: "an empty tree with a proof",
    level: "MUST",
    spec: "tlog-witness",
    sentence: UNPROVEN,
    async run(c) {
      c.refused(await c.add(c.log.request(0, 0, { proof: [encodeBase64(c.log.tree.root(0))] })), 422);
    },
  },
  {
    name: "an empty tree that grows, without a proof",
    level: "MUST",
    spec: "tlog-witness",
    sentence: PROOF,
    async run(c) {
      await c.grow(0, 0);
      await c.grow(0, 5);
      await c.grow(5, 9);
    },
  },
  {
    name: "an empty tree after a larger one",
    level: "MUST",
    spec: "tlog-witness",
    sentence:
      "The witness MUST check that the old size matches the size of the latest checkpoint it cosigned for the checkpoint's origin (or zero if it never cosigned a checkpoint for that origin).",
    async run(c) {
      await c.grow(0, 5);
      c.conflict(await c.add(c.log.request(0, 0)), 5);
    },
  },
];
