// sign-subtree, which is OPTIONAL: a witness that has it must have it like this.

import assert from "node:assert/strict";
import { cosignatureTime, noblePrimitives, subtreeVerifier } from "../../../../src/core/cosignature.ts";
import { parseSignatureLines } from "../../../../src/core/note.ts";
import { parseVkey, SIGNATURE_TYPE } from "../../../../src/core/vkey.ts";
import { answered, type CaseContext, type ConformanceCase, type Response, send } from "../case.ts";
import { body, filler, line } from "../test-log.ts";
import { encodeBase64 } from "../../../../src/core/base64.ts";

const SEQUENCE =
  "The request body MUST be a sequence of - a subtree range line, - a subtree hash line, - zero or more consistency proof lines, - and an empty line, - followed by a reference checkpoint.";
const RANGE_LINE =
  "The subtree range line MUST consist of the string `subtree`, a single space (0x20), the subtree start encoded as an ASCII decimal with no leading zeroes (unless start is zero, in which case the encoding MUST be `0`), a single space (0x20), and the subtree end encoded as an ASCII decimal with no leading zeroes.";
const VALID =
  "The half-open interval `[start, end)` MUST be a valid subtree per draft-ietf-plants-merkle-tree-certs-03, Section 4.1, and end MUST be less than or equal to the checkpoint size.";
const BAD_REQUEST =
  'If the request is invalid according to the rules above, the witness MUST respond with a "400 Bad Request" HTTP status code.';
const PROOF =
  'The consistency proof lines MUST encode a Subtree Consistency Proof from the subtree to the checkpoint according to draft-ietf-plants-merkle-tree-certs-03, Section 4.4. If the Merkle Consistency Proof doesn\'t verify, the witness MUST respond with a "422 Unprocessable Entity" HTTP status code.';
const UNKNOWN =
  'If the checkpoint origin is unknown, the witness MUST respond with a "404 Not Found" HTTP status code.';
const OWN =
  'The witness MUST verify that the checkpoint includes a valid cosignature from one of its own keys. If the witness can\'t verify the checkpoint, it MUST respond with a "403 Forbidden" HTTP status code.';
const SUCCESS =
  'If the request is valid, the consistency proof verifies, and the checkpoint is validly signed by the witness, the witness MUST respond with a "200 Success" HTTP status code.';
const LINES =
  "The response body MUST be a sequence of one or more note signature lines for the subtree, each starting with the `—` character (U+2014) and ending with a newline character (U+000A).";
const ZERO = "If the cosignature format supports timestamps, the timestamp MUST be zero.";
const SAME_KEYS =
  "The signatures SHOULD be ML-DSA-44 cosignatures, and SHOULD be from one or more of the same witness key(s) that signed the checkpoint.";

interface Range {
  readonly start: number | bigint;
  readonly end: number | bigint;
}

/** The body for a range of the log's tree, proven against a reference checkpoint. */
function request(
  c: CaseContext,
  { start, end }: Range,
  size: number | bigint,
  reference: string,
  changed: { first?: string; hash?: Uint8Array | string; proof?: readonly Uint8Array[] } = {},
): string {
  const { tree } = c.log;
  const first = changed.first ?? `subtree ${start} ${end}`;
  const hash = changed.hash ?? tree.hash(start, end);
  const proof = changed.proof ?? tree.subtreeProof(start, end, size);
  return body(first, [hash, ...proof], reference);
}

/** The lines of an answer that has to be 200, each a cosignature of this range. */
function signed(c: CaseContext, response: Response, { start, end }: Range) {
  assert.equal(response.status, 200, answered(response));
  const lines = parseSignatureLines(response.text);
  const keys = c.target.vkeys.map(parseVkey).filter(({ type }) => type === SIGNATURE_TYPE.mldsa44);
  const verifiers = keys.map((key) => subtreeVerifier(key, noblePrimitives.mldsa44));
  const subtree = {
    origin: c.log.origin,
    start: BigInt(start),
    end: BigInt(end),
    hash: c.log.tree.hash(start, end),
  };
  const own = lines.filter(({ name, keyId, signature }) =>
    verifiers.some((key) => key.name === name && key.keyId === keyId && key.verify(subtree, signature)),
  );
  assert.ok(own.length > 0, "no line is a cosignature of the subtree by a key of the witness");
  return { lines, own };
}

function subtreeCase(
  name: string,
  sentence: string,
  run: (c: CaseContext) => Promise<void>,
  level: ConformanceCase["level"] = "MUST",
): ConformanceCase {
  return {
    name,
    level,
    spec: "tlog-witness",
    sentence,
    async run(c) {
      await c.needsSubtrees();
      await run(c);
    },
  };
}

function refusedRange(name: string, sentence: string, first: string, range: Range): ConformanceCase {
  return subtreeCase(name, sentence, async (c) => {
    const reference = await c.cosignedNote(14);
    c.refused(await c.subtree(request(c, range, 14, reference, { first })), 400);
  });
}

const EXAMPLE: Range = { start: 8, end: 13 };

export const signSubtree: readonly ConformanceCase[] = [
  subtreeCase("the subtree 8 to 13 of a tree of 14, as in the text's example", SUCCESS, async (c) => {
    const reference = await c.cosignedNote(14);
    signed(c, await c.subtree(request(c, EXAMPLE, 14, reference)), EXAMPLE);
  }),
  subtreeCase("every subtree of a tree of 21", SUCCESS, async (c) => {
    const reference = await c.cosignedNote(21);
    for (let start = 0; start < 21; start++) {
      for (let end = start + 1; end <= 21; end++) {
        const valid = start % 2 ** Math.ceil(Math.log2(end - start)) === 0;
        if (!valid) continue;
        signed(c, await c.subtree(request(c, { start, end }, 21, reference)), { start, end });
      }
    }
  }),
  subtreeCase("subtrees of a tree of 2^60", SUCCESS, async (c) => {
    const size = 2n ** 60n - 3n;
    const reference = await c.cosignedNote(size);
    const width = 2n ** 40n;
    for (const range of [
      { start: 0n, end: size },
      { start: 0n, end: 1n },
      { start: size - 1n, end: size },
      { start: 3n * width, end: 4n * width - 5n },
      { start: 2n ** 59n, end: size },
    ]) {
      signed(c, await c.subtree(request(c, range, size, reference)), range);
    }
  }),
  subtreeCase("an answer is signature lines and nothing else", LINES, async (c) => {
    const reference = await c.cosignedNote(14);
    const { lines, own } = signed(c, await c.subtree(request(c, EXAMPLE, 14, reference)), EXAMPLE);
    assert.equal(own.length, lines.length, "a line is no cosignature of the subtree");
  }),
  subtreeCase("a subtree's cosignature has no time", ZERO, async (c) => {
    const reference = await c.cosignedNote(14);
    for (const range of [EXAMPLE, { start: 0, end: 14 }, { start: 0, end: 4 }]) {
      const { own } = signed(c, await c.subtree(request(c, range, 14, reference)), range);
      for (const { signature } of own) assert.equal(cosignatureTime(signature), 0n);
    }
  }),
  subtreeCase(
    "a subtree is signed by a key that signed the checkpoint",
    SAME_KEYS,
    async (c) => {
      const reference = await c.cosignedNote(14);
      const { own } = signed(c, await c.subtree(request(c, EXAMPLE, 14, reference)), EXAMPLE);
      for (const { name, keyId } of own) assert.ok(c.verifierOf({ name, keyId, signature: filler(1) }));
    },
    "SHOULD",
  ),
  subtreeCase("a checkpoint with other signatures beside the witness's", OWN, async (c) => {
    const reference = await c.cosignedNote(14);
    const others = line("other.example", 7, filler(64));
    const [text = "", ...rest] = reference.split(/(?<=\n\n)/);
    signed(c, await c.subtree(request(c, EXAMPLE, 14, `${text}${others}${rest.join("")}`)), EXAMPLE);
  }),
  subtreeCase("an older checkpoint that was cosigned", SUCCESS, async (c) => {
    const reference = await c.cosignedNote(14);
    await c.grow(14, 40);
    signed(c, await c.subtree(request(c, EXAMPLE, 14, reference)), EXAMPLE);
  }),

  refusedRange("a range that is not aligned", VALID, "subtree 7 9", { start: 7, end: 8 }),
  refusedRange("a range that is aligned to less than its width", VALID, "subtree 4 13", { start: 4, end: 8 }),
  refusedRange("an empty range", VALID, "subtree 8 8", { start: 8, end: 9 }),
  refusedRange("a range that ends before it begins", VALID, "subtree 8 4", { start: 4, end: 8 }),
  refusedRange("a range that ends beyond the checkpoint", VALID, "subtree 8 15", EXAMPLE),
  refusedRange("a start with a leading zero", RANGE_LINE, "subtree 08 13", EXAMPLE),
  refusedRange("an end with a leading zero", RANGE_LINE, "subtree 8 013", EXAMPLE),
  refusedRange("a zero start of two digits", RANGE_LINE, "subtree 00 8", { start: 0, end: 8 }),
  refusedRange("two spaces in the range line", RANGE_LINE, "subtree 8  13", EXAMPLE),
  refusedRange("a space after the range", RANGE_LINE, "subtree 8 13 ", EXAMPLE),
  refusedRange("no end", RANGE_LINE, "subtree 8", EXAMPLE),
  refusedRange("a third number", RANGE_LINE, "subtree 8 13 14", EXAMPLE),
  refusedRange("another word before the range", RANGE_LINE, "Subtree 8 13", EXAMPLE),
  refusedRange("a sign before the start", RANGE_LINE, "subtree +8 13", EXAMPLE),
  subtreeCase("no hash line", SEQUENCE, async (c) => {
    const reference = await c.cosignedNote(14);
    c.refused(await c.subtree(`subtree 8 13\n\n${reference}`), 400);
  }),
  subtreeCase("a hash line that is not a hash", BAD_REQUEST, async (c) => {
    const reference = await c.cosignedNote(14);
    for (const hash of ["not base64!", encodeBase64(filler(31)), encodeBase64(filler(33))]) {
      c.refused(await c.subtree(request(c, EXAMPLE, 14, reference, { hash })), 400);
    }
  }),
  subtreeCase("an empty body", BAD_REQUEST, async (c) => {
    c.refused(await c.subtree(""), 400);
  }),
  subtreeCase(
    "64 proof lines",
    "The client MUST NOT send more than 63 consistency proof lines.",
    async (c) => {
      const reference = await c.cosignedNote(14);
      const proof = Array.from({ length: 64 }, (_, i) => filler(32, `line ${i}`));
      c.refused(await c.subtree(request(c, EXAMPLE, 14, reference, { proof })), 400);
    },
  ),

  subtreeCase("another hash for the subtree", PROOF, async (c) => {
    const reference = await c.cosignedNote(14);
    const hash = c.log.tree.fork(9).hash(8, 13);
    c.refused(await c.subtree(request(c, EXAMPLE, 14, reference, { hash })), 422);
  }),
  subtreeCase("a proof that does not verify", PROOF, async (c) => {
    const reference = await c.cosignedNote(14);
    const right = c.log.tree.subtreeProof(8, 13, 14);
    const wrong = [
      [],
      right.slice(1),
      right.slice(0, -1),
      [...right, filler(32)],
      right.toReversed(),
      right.map((hash, i) => (i === 2 ? hash.map((byte, at) => (at === 0 ? byte ^ 0x80 : byte)) : hash)),
      c.log.tree.subtreeProof(8, 12, 14),
      c.log.tree.subtreeProof(8, 13, 15),
    ];
    for (const proof of wrong) {
      c.refused(await c.subtree(request(c, EXAMPLE, 14, reference, { proof })), 422);
    }
  }),
  subtreeCase("a subtree of another history", PROOF, async (c) => {
    const reference = await c.cosignedNote(14);
    const tree = c.log.tree.fork(9);
    const changed = { hash: tree.hash(8, 13), proof: tree.subtreeProof(8, 13, 14) };
    c.refused(await c.subtree(request(c, EXAMPLE, 14, reference, changed)), 422);
  }),
  subtreeCase("a checkpoint that the log alone signed", OWN, async (c) => {
    await c.grow(0, 14);
    c.refused(await c.subtree(request(c, EXAMPLE, 14, c.log.checkpoint(14))), 403);
  }),
  subtreeCase("a cosignature of another checkpoint", OWN, async (c) => {
    const reference = await c.cosignedNote(14);
    const forged = reference.replace(c.log.text(14), c.log.text(14, { tree: c.log.tree.fork(2) }));
    c.refused(await c.subtree(request(c, EXAMPLE, 14, forged)), 403);
  }),
  {
    name: "a subtree of a log that is unknown",
    level: "MUST",
    spec: "tlog-witness",
    sentence: UNKNOWN,
    logs: [{ keys: ["ed25519"], unknown: true }],
    async run(c) {
      await c.needsSubtrees();
      c.refused(await c.subtree(request(c, EXAMPLE, 14, c.log.checkpoint(14))), 404);
    },
  },
  subtreeCase("sign-subtree asked with GET", "The request MUST be an HTTP POST.", async (c) => {
    const { status } = await send(`${c.target.url}/sign-subtree`);
    assert.ok(status >= 400 && status < 500, `answered ${status}`);
  }),
];
