// The monitor retrieval mechanism.

import assert from "node:assert/strict";
import { nodeEd25519 } from "../../../../src/cli/node-ed25519.ts";
import { parseCheckpoint } from "../../../../src/core/checkpoint.ts";
import { noblePrimitives, verifierFor } from "../../../../src/core/cosignature.ts";
import { parseNote, parseSignatureLines, printSignatureLine } from "../../../../src/core/note.ts";
import { parseVkey } from "../../../../src/core/vkey.ts";
import { type ConformanceCase, send } from "../case.ts";
import { filler, forged, line } from "../test-log.ts";

const SERVE = "A witness SHOULD serve a recent checkpoint for each log it cosigned.";
const HASH = "The origin hash is the SHA-256 hash of the log's origin, hex encoded, in lowercase.";
const CONTENT =
  "The response body MUST be a checkpoint for the log identified by the origin, and it MUST include the cosignature(s) from the witness's key(s) that were returned from add-checkpoint and the cosignature from the log key(s) that the witness verified.";
const NEVER =
  'If the witness has never cosigned a checkpoint for that log, it MUST respond with a "404 Not Found" HTTP status code instead.';
const DELAY = "The witness MAY delay updating the checkpoint, but SHOULD NOT delay for more than an hour.";

export const monitoring: readonly ConformanceCase[] = [
  {
    name: "the checkpoint of a log that was never cosigned",
    level: "MUST",
    spec: "tlog-witness",
    sentence: NEVER,
    async run(c) {
      c.refused(await c.monitor(c.log), 404);
      await c.add(c.log.request(0, 5, { signers: [forged(c.log.signer)] }));
      c.refused(await c.monitor(c.log), 404);
    },
  },
  {
    name: "the checkpoint of a log that is unknown",
    level: "MUST",
    spec: "tlog-witness",
    sentence: NEVER,
    logs: [{ keys: ["ed25519"], unknown: true }],
    async run(c) {
      await c.add(c.log.request(0, 5));
      c.refused(await c.monitor(c.log), 404);
    },
  },
  {
    name: "the checkpoint of a log that was cosigned",
    level: "SHOULD",
    spec: "tlog-witness",
    sentence: SERVE,
    async run(c) {
      await c.grow(0, 5);
      const { status, text } = await c.monitor(c.log);
      assert.equal(status, 200);
      const note = parseNote(new TextEncoder().encode(text));
      const { origin, size } = parseCheckpoint(note.text);
      assert.equal(origin, c.log.origin);
      assert.equal(size, 5n);
    },
  },
  {
    name: "a checkpoint for monitors holds the cosignatures that were returned",
    level: "MUST",
    spec: "tlog-witness",
    sentence: CONTENT,
    async run(c) {
      const answer = await c.add(c.log.request(0, 5));
      c.cosigned(answer, c.log.text(5));
      const { text } = await c.needsMonitoring();
      const lines = parseNote(new TextEncoder().encode(text)).signatures.map(printSignatureLine);
      for (const own of parseSignatureLines(answer.text)) assert.ok(lines.includes(printSignatureLine(own)));
    },
  },
  {
    name: "a checkpoint for monitors holds the log's signature that was verified",
    level: "MUST",
    spec: "tlog-witness",
    sentence: CONTENT,
    logs: [{ keys: ["ed25519"] }],
    async run(c) {
      await c.grow(0, 5, { before: line("other.example", 1, filler(64)) });
      const { text } = await c.needsMonitoring();
      const note = parseNote(new TextEncoder().encode(text));
      const log = verifierFor(parseVkey(c.log.vkeys[0] as string), {
        ...noblePrimitives,
        ed25519: nodeEd25519,
      });
      const bytes = new TextEncoder().encode(note.text);
      assert.ok(
        note.signatures.some(({ keyId, signature }) => keyId === log.keyId && log.verify(bytes, signature)),
      );
    },
  },
  {
    name: "a checkpoint for monitors is the text that was cosigned, extension lines included",
    level: "MUST",
    spec: "tlog-witness",
    sentence: CONTENT,
    async run(c) {
      const extensions = ["an extension"];
      await c.grow(0, 5, { extensions });
      const { text } = await c.needsMonitoring();
      assert.equal(parseNote(new TextEncoder().encode(text)).text, c.log.text(5, { extensions }));
    },
  },
  {
    name: "a checkpoint for monitors follows the log",
    level: "SHOULD",
    spec: "tlog-witness",
    sentence: DELAY,
    async run(c) {
      const sizes = new Set<bigint>();
      let from = 0;
      for (const to of [5, 9, 33]) {
        await c.grow(from, to);
        from = to;
        sizes.add(BigInt(to));
        const { text } = await c.needsMonitoring();
        const { size } = parseCheckpoint(parseNote(new TextEncoder().encode(text)).text);
        // A witness that delays on purpose shows an older size; it never shows one that it did not cosign.
        assert.ok(sizes.has(size), `size ${size} was never cosigned`);
      }
    },
  },
  {
    name: "a refused checkpoint is not shown to monitors",
    level: "MUST",
    spec: "tlog-witness",
    sentence: CONTENT,
    async run(c) {
      await c.grow(0, 5);
      await c.needsMonitoring();
      c.refused(await c.add(c.log.request(5, 5, { root: filler(32) })), 422);
      c.refused(await c.add(c.log.request(5, 9, { root: filler(32) })), 422);
      const { text } = await c.monitor(c.log);
      assert.equal(parseNote(new TextEncoder().encode(text)).text, c.log.text(5));
    },
  },
  {
    name: "an origin hash in upper case",
    level: "MUST",
    spec: "tlog-witness",
    sentence: HASH,
    async run(c) {
      await c.grow(0, 5);
      const { status } = await send(`${c.target.monitoringUrl}/${c.log.originHash.toUpperCase()}/checkpoint`);
      assert.ok(status >= 400 && status < 500, `answered ${status}`);
    },
  },
  {
    name: "the checkpoint asked for with POST",
    level: "MUST",
    spec: "tlog-witness",
    sentence: "The request MUST be an HTTP GET.",
    async run(c) {
      await c.grow(0, 5);
      const url = `${c.target.monitoringUrl}/${c.log.originHash}/checkpoint`;
      const { status } = await send(url, { method: "POST", body: "" });
      assert.ok(status >= 400 && status < 500, `answered ${status}`);
    },
  },
];
