// What a witness answers when all is well: cosignatures by its keys, on this checkpoint, with the time.

import assert from "node:assert/strict";
import { cosignatureTime } from "../../../../src/core/cosignature.ts";
import { parseSignatureLines } from "../../../../src/core/note.ts";
import { parseVkey, SIGNATURE_TYPE } from "../../../../src/core/vkey.ts";
import { type ConformanceCase, Skip } from "../case.ts";

const SUCCESS =
  'If all the checks above pass, the witness MUST update its record of the latest cosigned checkpoint and respond with a "200 Success" HTTP status code.';
const LINES =
  "The response body MUST be a sequence of one or more note signature lines, each starting with the `—` character (U+2014) and ending with a newline character (U+000A).";
const ON_CHECKPOINT = "The signatures MUST be cosignatures from the witness key(s) on the checkpoint.";

export const answers: readonly ConformanceCase[] = [
  {
    name: "a first checkpoint of size 1 is cosigned",
    level: "MUST",
    spec: "tlog-witness",
    sentence: SUCCESS,
    run: async (c) => void (await c.grow(0, 1)),
  },
  {
    name: "a first checkpoint of a large log is cosigned without a proof",
    level: "MUST",
    spec: "tlog-witness",
    sentence:
      "If the old size is zero, the consistency proof MUST be empty, because the empty tree is consistent with any tree, so no proof is necessary.",
    run: async (c) => void (await c.grow(0, 20_852_163)),
  },
  {
    name: "an answer is signature lines and nothing else",
    level: "MUST",
    spec: "tlog-witness",
    sentence: LINES,
    async run(c) {
      const { status, text } = await c.add(c.log.request(0, 5));
      assert.equal(status, 200);
      assert.ok(text.endsWith("\n"), "the last line has no newline");
      for (const line of text.slice(0, -1).split("\n")) {
        assert.match(line, /^\u2014 [^ +]+ [A-Za-z0-9+/]+=*$/);
      }
      parseSignatureLines(text);
    },
  },
  {
    name: "every key of the witness cosigns, and every line verifies",
    level: "MUST",
    spec: "tlog-witness",
    sentence: ON_CHECKPOINT,
    async run(c) {
      const response = await c.add(c.log.request(0, 5));
      const own = c.cosigned(response, c.log.text(5));
      const lines = parseSignatureLines(response.text);
      assert.equal(own.length, lines.length, "a line is by no key of the witness, or does not verify");
      assert.equal(own.length, c.verifiers.length, "a key of the witness did not sign");
    },
  },
  {
    name: "the log's own signature is not sent back",
    level: "MUST",
    spec: "tlog-witness",
    sentence: ON_CHECKPOINT,
    async run(c) {
      const { text } = await c.add(c.log.request(0, 5));
      assert.ok(!text.includes(`\u2014 ${c.log.signer.name} `));
    },
  },
  {
    name: "lines by others are not sent back",
    level: "MUST",
    spec: "tlog-witness",
    sentence: ON_CHECKPOINT,
    logs: [{ keys: ["ed25519"] }, { keys: ["ed25519"], unknown: true }],
    async run(c) {
      const [log, other] = c.logs;
      assert.ok(log && other);
      const response = await c.add(log.request(0, 5, { signers: [log.signer, other.signer] }));
      assert.equal(response.status, 200);
      assert.ok(!response.text.includes(other.signer.name));
    },
  },
  {
    name: "a cosignature's time is not zero",
    level: "MUST",
    spec: "tlog-witness",
    sentence: "The cosignature MUST NOT omit the timestamp, i.e. the timestamp MUST NOT be zero.",
    async run(c) {
      for (const { signature } of await c.grow(0, 5)) assert.notEqual(cosignatureTime(signature), 0n);
    },
  },
  {
    name: "a cosignature's time is the time of cosigning",
    level: "MUST",
    spec: "tlog-cosignature",
    sentence:
      "`timestamp` is the time at which the cosignature was generated, as a POSIX timestamp. It MUST NOT exceed 2^63 - 1, and verifiers MAY reject cosignatures with timestamps in the future.",
    async run(c) {
      for (const signature of await c.grow(0, 5)) c.recent(signature);
    },
  },
  {
    name: "a witness signs with ML-DSA-44",
    level: "SHOULD",
    spec: "tlog-witness",
    sentence: "Witnesses SHOULD use ML-DSA-44 cosignatures.",
    async run(c) {
      if (!c.signsWithMldsa) throw new Skip("the witness was given no ML-DSA-44 key");
      const ids = c.target.vkeys.map(parseVkey).filter(({ type }) => type === SIGNATURE_TYPE.mldsa44);
      const own = await c.grow(0, 5);
      assert.ok(
        own.some((line) => ids.some(({ name, keyId }) => line.name === name && line.keyId === keyId)),
      );
    },
  },
  {
    name: "an ML-DSA-44 cosignature is for the whole tree",
    level: "MUST",
    spec: "tlog-witness",
    sentence:
      "If the cosignature format supports subtrees, the cosignature returned by the witness MUST be for the entire tree in the submitted checkpoint, i.e. start MUST be zero and end MUST be the checkpoint size.",
    async run(c) {
      if (!c.signsWithMldsa) throw new Skip("the witness was given no ML-DSA-44 key");
      // Verified as a cosignature of [0, size): any other range would be another message.
      const own = await c.grow(0, 12_345);
      assert.equal(own.length, c.verifiers.length);
    },
  },
  {
    name: "extension lines are cosigned with the rest",
    level: "MUST",
    spec: "tlog-cosignature",
    sentence:
      "Extension lines MAY be included in the checkpoint by the log, and if present MUST be included in the cosigned message.",
    async run(c) {
      await c.grow(0, 5, { extensions: ["an extension", "another one: with +, = and é"] });
    },
  },
  {
    name: "the whole text is cosigned, its last newline included and the log's signature left out",
    level: "MUST",
    spec: "tlog-cosignature",
    sentence:
      "The signed message MUST be two newline (U+000A) terminated lines (one header line and one timestamp line) followed by the whole note body of the cosigned checkpoint (including the final newline, but not including any signature lines).",
    async run(c) {
      const own = await c.grow(0, 7);
      const shorter = new TextEncoder().encode(c.log.text(7).slice(0, -1));
      for (const line of own) {
        assert.equal(c.verifierOf(line)?.verify(shorter, line.signature), false);
      }
    },
  },
  {
    name: "the same checkpoint again is cosigned again",
    level: "MUST",
    spec: "tlog-witness",
    sentence: SUCCESS,
    async run(c) {
      await c.grow(0, 5);
      await c.grow(5, 5);
      for (const signature of await c.grow(5, 5)) c.recent(signature);
    },
  },
  {
    name: "the same tree with other extension lines is cosigned",
    level: "MUST",
    spec: "tlog-witness",
    sentence:
      "If the old size matches the checkpoint size, the witness MUST check that the root hashes are also identical.",
    async run(c) {
      await c.grow(0, 5);
      await c.grow(5, 5, { extensions: ["another text for the same tree"] });
    },
  },
  {
    name: "one log's progress is not another's",
    level: "MUST",
    spec: "tlog-witness",
    sentence:
      "The witness MUST check that the old size matches the size of the latest checkpoint it cosigned for the checkpoint's origin (or zero if it never cosigned a checkpoint for that origin).",
    logs: [{ keys: ["ed25519"] }, { keys: ["ed25519"] }, { keys: ["ed25519"] }],
    async run(c) {
      for (const log of c.logs) await c.grow(0, 3, { log });
      for (const [i, log] of c.logs.entries()) await c.grow(3, 8 + i, { log });
      for (const [i, log] of c.logs.entries()) await c.grow(8 + i, 20, { log });
    },
  },
  {
    name: "an origin that is not the name of its key",
    level: "MUST",
    spec: "tlog-witness",
    sentence:
      "The witness MUST verify the checkpoint signature against the public key(s) it trusts for the checkpoint origin, and it MUST ignore signatures from unknown keys.",
    logs: [{ keys: ["ed25519"], keyName: "another.example/name-than-the-origin" }],
    run: async (c) => void (await c.grow(0, 5)),
  },
];
