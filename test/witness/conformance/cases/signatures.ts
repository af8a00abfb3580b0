// Whose signature counts: keys that are trusted for this origin, and no others.

import assert from "node:assert/strict";
import type { ConformanceCase } from "../case.ts";
import { filler, forged, line, note, body } from "../test-log.ts";

const TRUSTED =
  "The witness MUST verify the checkpoint signature against the public key(s) it trusts for the checkpoint origin, and it MUST ignore signatures from unknown keys.";
const UNKNOWN_ORIGIN =
  'If the checkpoint origin is unknown, the witness MUST respond with a "404 Not Found" HTTP status code.';
const FORBIDDEN =
  'The witness MUST respond with a "403 Forbidden" HTTP status code if either no signature from a trusted key for the origin is present, or a signature line\'s key name and ID match a trusted key but the signature itself fails to verify (such a note is malformed per signed-note).';
const IGNORED =
  "Verifiers MUST ignore signatures from unknown keys, even if they share a name or ID (but not both) with a known key.";
const SIXTEEN =
  "Verifiers SHOULD apply a maximum limit to the number of signatures in a note (or, equivalently, to the overall size of a note), but MUST accept at least up to 16 signatures.";
const FIVE_KB = "Remember that post-quantum signatures can be up to nearly 5kB in size.";
const ROTATION =
  "According to the note specification, clients MUST ignore unknown signatures. This enables, for example, log key rotation, and witness cosigning.";

const TWO_KEYS = [{ keys: ["ed25519", "ed25519"] }] as const;
const AND_A_STRANGER = [{ keys: ["ed25519"] }, { keys: ["ed25519"], unknown: true }] as const;

export const signatures: readonly ConformanceCase[] = [
  {
    name: "an unknown origin",
    level: "MUST",
    spec: "tlog-witness",
    sentence: UNKNOWN_ORIGIN,
    logs: [{ keys: ["ed25519"], unknown: true }],
    async run(c) {
      c.refused(await c.add(c.log.request(0, 1)), 404);
    },
  },
  {
    name: "an unknown origin, signed by the key of a known log",
    level: "MUST",
    spec: "tlog-witness",
    sentence: UNKNOWN_ORIGIN,
    logs: AND_A_STRANGER,
    async run(c) {
      const [known, stranger] = c.logs;
      assert.ok(known && stranger);
      c.refused(await c.add(stranger.request(0, 1, { signers: [known.signer] })), 404);
    },
  },
  {
    name: "a known origin with a suffix",
    level: "MUST",
    spec: "tlog-witness",
    sentence: UNKNOWN_ORIGIN,
    async run(c) {
      const text = c.log.text(1).replace(c.log.origin, `${c.log.origin}/`);
      c.refused(await c.add(body("old 0", [], note(text, [c.log.signer]))), 404);
    },
  },
  {
    name: "a known origin, signed by an unknown key alone",
    level: "MUST",
    spec: "tlog-witness",
    sentence: FORBIDDEN,
    logs: AND_A_STRANGER,
    async run(c) {
      const [known, stranger] = c.logs;
      assert.ok(known && stranger);
      c.refused(await c.add(known.request(0, 1, { signers: [stranger.signer] })), 403);
    },
  },
  {
    name: "a known origin, signed by another known log's key alone",
    level: "MUST",
    spec: "tlog-witness",
    sentence: FORBIDDEN,
    logs: [{ keys: ["ed25519"] }, { keys: ["ed25519"] }],
    async run(c) {
      const [log, other] = c.logs;
      assert.ok(log && other);
      c.refused(await c.add(log.request(0, 1, { signers: [other.signer] })), 403);
      await c.grow(0, 1, { log });
    },
  },
  {
    name: "a forged signature under a trusted key's name and id",
    level: "MUST",
    spec: "tlog-witness",
    sentence: FORBIDDEN,
    async run(c) {
      c.refused(await c.add(c.log.request(0, 1, { signers: [forged(c.log.signer)] })), 403);
      await c.grow(0, 1);
    },
  },
  {
    name: "a trusted key's signature of another text",
    level: "MUST",
    spec: "tlog-witness",
    sentence: FORBIDDEN,
    async run(c) {
      const text = c.log.text(1);
      const other = c.log.signer.sign(new TextEncoder().encode(c.log.text(2)));
      c.refused(await c.add(body("old 0", [], note(text, [forged(c.log.signer, other)]))), 403);
    },
  },
  {
    name: "a trusted key's signature of the wrong length",
    level: "MUST",
    spec: "tlog-witness",
    sentence: FORBIDDEN,
    async run(c) {
      for (const length of [1, 63, 65]) {
        c.refused(await c.add(c.log.request(0, 1, { signers: [forged(c.log.signer, filler(length))] })), 403);
      }
    },
  },
  {
    name: "a good and a forged line by one trusted key",
    level: "MUST",
    spec: "tlog-witness",
    sentence: FORBIDDEN,
    async run(c) {
      const { signer } = c.log;
      c.refused(await c.add(c.log.request(0, 1, { signers: [forged(signer), signer] })), 403);
      await c.grow(0, 1);
    },
  },
  {
    name: "a forged signature is refused before sizes are compared",
    level: "MUST",
    spec: "tlog-witness",
    sentence: FORBIDDEN,
    async run(c) {
      await c.grow(0, 5);
      const signers = [forged(c.log.signer)];
      c.refused(await c.add(c.log.request(3, 8, { signers })), 403);
      c.refused(await c.add(c.log.request(5, 5, { signers })), 403);
    },
  },
  {
    name: "a line by an unknown key beside a good one",
    level: "MUST",
    spec: "tlog-witness",
    sentence: TRUSTED,
    logs: AND_A_STRANGER,
    async run(c) {
      const [log, stranger] = c.logs;
      assert.ok(log && stranger);
      await c.grow(0, 5, { log, signers: [stranger.signer, log.signer] });
    },
  },
  {
    name: "a line with a trusted key's name and another id",
    level: "MUST",
    spec: "signed-note",
    sentence: IGNORED,
    async run(c) {
      const { name, keyId } = c.log.signer;
      await c.grow(0, 5, { before: line(name, (keyId ^ 1) >>> 0, filler(64)) });
    },
  },
  {
    name: "a line with a trusted key's id and another name",
    level: "MUST",
    spec: "signed-note",
    sentence: IGNORED,
    async run(c) {
      await c.grow(0, 5, { before: line("other.example", c.log.signer.keyId, filler(64)) });
    },
  },
  {
    name: "an unknown line of one byte",
    level: "MUST",
    spec: "signed-note",
    sentence: IGNORED,
    async run(c) {
      await c.grow(0, 5, { after: line("other.example", 1, filler(1)) });
    },
  },
  {
    name: "an unknown line as long as a post-quantum signature",
    level: "MUST",
    spec: "signed-note",
    sentence: FIVE_KB,
    async run(c) {
      await c.grow(0, 5, { after: line("other.example", 1, filler(4_900)) });
    },
  },
  {
    name: "an unknown line before the log's own",
    level: "MUST",
    spec: "signed-note",
    sentence: IGNORED,
    async run(c) {
      await c.grow(0, 5, { before: line("other.example/\u00e9\u4e2d", 0xffff_ffff, filler(64)) });
    },
  },
  {
    name: "sixteen signature lines",
    level: "MUST",
    spec: "signed-note",
    sentence: SIXTEEN,
    async run(c) {
      const lines = Array.from({ length: 15 }, (_, i) => line(`other-${i}.example`, i, filler(64)));
      await c.grow(0, 5, { before: lines.join("") });
    },
  },
  {
    name: "sixteen signature lines, fifteen of them post-quantum",
    level: "MUST",
    spec: "signed-note",
    sentence: `${SIXTEEN} ${FIVE_KB}`,
    async run(c) {
      const lines = Array.from({ length: 15 }, (_, i) => line(`other-${i}.example`, i, filler(4_900)));
      await c.grow(0, 5, { before: lines.join("") });
    },
  },
  {
    name: "the second key of a log",
    level: "MUST",
    spec: "tlog-witness",
    sentence: TRUSTED,
    logs: TWO_KEYS,
    async run(c) {
      await c.grow(0, 5, { signers: c.log.signers.slice(1) });
    },
  },
  {
    name: "a change from the first key of a log to its second",
    level: "MUST",
    spec: "tlog-checkpoint",
    sentence: ROTATION,
    logs: TWO_KEYS,
    async run(c) {
      await c.grow(0, 5, { signers: c.log.signers.slice(0, 1) });
      await c.grow(5, 9, { signers: c.log.signers });
      await c.grow(9, 17, { signers: c.log.signers.slice(1) });
    },
  },
  {
    name: "one trusted key's line good, the other's forged",
    level: "MUST",
    spec: "tlog-witness",
    sentence: FORBIDDEN,
    logs: TWO_KEYS,
    async run(c) {
      const [first, second] = c.log.signers;
      assert.ok(first && second);
      c.refused(await c.add(c.log.request(0, 5, { signers: [first, forged(second)] })), 403);
      await c.grow(0, 5, { signers: [first, second] });
    },
  },
  {
    name: "a log that signs with ML-DSA-44",
    level: "SHOULD",
    spec: "tlog-checkpoint",
    sentence:
      "Logs SHOULD use ML-DSA-44 cosignatures to sign the checkpoint, but MAY use any note signature algorithm based on the ecosystem they operate in.",
    logs: [{ keys: ["mldsa44"] }],
    async run(c) {
      await c.grow(0, 5);
      await c.grow(5, 9);
    },
  },
];
