// Old sizes: which are taken, and how a client learns the right one.

import type { ConformanceCase } from "../case.ts";

const NOT_ABOVE =
  'The old size MUST be equal to or lower than the checkpoint size. Otherwise, the witness MUST respond with a "400 Bad Request" HTTP status code.';
const MATCHES =
  "The witness MUST check that the old size matches the size of the latest checkpoint it cosigned for the checkpoint's origin (or zero if it never cosigned a checkpoint for that origin). If it doesn't match, the witness MUST respond with a \"409 Conflict\" HTTP status code.";
const BODY =
  "The response body MUST consist of the tree size of the latest cosigned checkpoint in decimal, followed by a newline (U+000A).";
const TYPE = "The response MUST have a `Content-Type` of `text/x.tlog.size`.";

export const oldSizes: readonly ConformanceCase[] = [
  {
    name: "an old size above the checkpoint's, which is the newest",
    level: "MUST",
    spec: "tlog-witness",
    sentence: NOT_ABOVE,
    async run(c) {
      await c.grow(0, 10);
      c.refused(await c.add(c.log.request(10, 5)), 400);
      await c.grow(10, 11);
    },
  },
  {
    name: "an old size above the checkpoint's, which nobody cosigned",
    level: "MUST",
    spec: "tlog-witness",
    sentence: NOT_ABOVE,
    async run(c) {
      await c.grow(0, 10);
      c.refused(await c.add(c.log.request(20, 12)), 400);
    },
  },
  {
    name: "an old size above a first checkpoint's",
    level: "MUST",
    spec: "tlog-witness",
    sentence: NOT_ABOVE,
    async run(c) {
      c.refused(await c.add(c.log.request(2, 1)), 400);
      await c.grow(0, 1);
    },
  },
  {
    name: "an old size below the newest",
    level: "MUST",
    spec: "tlog-witness",
    sentence: MATCHES,
    async run(c) {
      await c.grow(0, 3);
      await c.grow(3, 5);
      c.refused(await c.add(c.log.request(3, 8)), 409);
    },
  },
  {
    name: "an old size above the newest",
    level: "MUST",
    spec: "tlog-witness",
    sentence: MATCHES,
    async run(c) {
      await c.grow(0, 3);
      c.refused(await c.add(c.log.request(5, 8)), 409);
      await c.grow(3, 8);
    },
  },
  {
    name: "an old size of zero after a checkpoint",
    level: "MUST",
    spec: "tlog-witness",
    sentence: MATCHES,
    async run(c) {
      await c.grow(0, 1);
      c.refused(await c.add(c.log.request(0, 5)), 409);
    },
  },
  {
    name: "an old size other than zero before any checkpoint",
    level: "MUST",
    spec: "tlog-witness",
    sentence: MATCHES,
    async run(c) {
      c.conflict(await c.add(c.log.request(3, 5)), 0);
      c.conflict(await c.add(c.log.request(5, 5)), 0);
      await c.grow(0, 5);
    },
  },
  {
    name: "a smaller checkpoint with an old size that was the newest once",
    level: "MUST",
    spec: "tlog-witness",
    sentence: MATCHES,
    async run(c) {
      await c.grow(0, 3);
      await c.grow(3, 9);
      c.conflict(await c.add(c.log.request(3, 5)), 9);
      c.conflict(await c.add(c.log.request(3, 3)), 9);
    },
  },
  {
    name: "a conflict names the newest size and ends in a newline",
    level: "MUST",
    spec: "tlog-witness",
    sentence: BODY,
    async run(c) {
      await c.grow(0, 3);
      await c.grow(3, 1_000_003);
      c.conflict(await c.add(c.log.request(0, 5)), 1_000_003);
    },
  },
  {
    name: "a conflict has the content type of a size, without parameters",
    level: "MUST",
    spec: "tlog-witness",
    sentence: TYPE,
    async run(c) {
      await c.grow(0, 3);
      c.conflict(await c.add(c.log.request(1, 5)), 3);
    },
  },
  {
    name: "a client without a size asks with zero, then goes on",
    level: "MUST",
    spec: "tlog-witness",
    sentence:
      "If a client doesn't have information on the latest cosigned checkpoint, it MAY initially make a request with a old size of zero to obtain it.",
    async run(c) {
      await c.grow(0, 6);
      c.conflict(await c.add(c.log.request(0, 11)), 6);
      await c.grow(6, 11);
    },
  },
  {
    name: "a conflict changes nothing",
    level: "MUST",
    spec: "tlog-witness",
    sentence: MATCHES,
    async run(c) {
      await c.grow(0, 6);
      for (const old of [0, 1, 5, 7, 8]) c.conflict(await c.add(c.log.request(old, 8)), 6);
      await c.grow(6, 8);
    },
  },
  {
    name: "sizes above 2^53 are kept exactly",
    level: "MUST",
    spec: "tlog-witness",
    sentence: BODY,
    async run(c) {
      const size = 2n ** 53n + 1n;
      await c.grow(0, size);
      c.conflict(await c.add(c.log.request(size - 1n, size)), size);
      await c.grow(size, size + 2n);
      c.conflict(await c.add(c.log.request(size, size + 2n)), size + 2n);
    },
  },
  {
    name: "the size 2^63 - 1 is kept exactly",
    level: "MUST",
    spec: "tlog-witness",
    sentence: BODY,
    async run(c) {
      const size = 2n ** 63n - 1n;
      await c.grow(0, size);
      c.conflict(await c.add(c.log.request(0, size)), size);
      await c.grow(size, size);
    },
  },
];
