// What the protocol says about HTTP itself.

import assert from "node:assert/strict";
import { Agent } from "node:http";
import type { ConformanceCase } from "../case.ts";
import { filler, line } from "../test-log.ts";

const KEEP_ALIVE =
  "Clients SHOULD use, and witnesses SHOULD support, HTTP keep-alive HTTP connections to reduce latency and load due to connection establishment.";
const POST = "The request MUST be an HTTP POST.";
const LIMIT =
  "Verifiers SHOULD apply a maximum limit to the number of signatures in a note (or, equivalently, to the overall size of a note), but MUST accept at least up to 16 signatures.";
const SUBMIT =
  "The `add-checkpoint` call is used to submit a new checkpoint to the witness, along with a consistency proof from a previous checkpoint, and returns the cosignature.";

export const http: readonly ConformanceCase[] = [
  {
    name: "requests one after the other on one connection",
    level: "SHOULD",
    spec: "tlog-witness",
    sentence: KEEP_ALIVE,
    async run(c) {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      let connections = 0;
      const counting = agent.createConnection.bind(agent);
      agent.createConnection = (...args: Parameters<typeof counting>) => {
        connections++;
        return counting(...args);
      };
      try {
        for (let size = 0; size < 5; size++) {
          c.cosigned(await c.add(c.log.request(size, size + 1), { agent }), c.log.text(size + 1));
        }
        // A refusal closes nothing either.
        c.refused(await c.add(c.log.request(0, 9), { agent }), 409);
        c.cosigned(await c.add(c.log.request(5, 9), { agent }), c.log.text(9));
      } finally {
        agent.destroy();
      }
      assert.equal(connections, 1);
    },
  },
  {
    name: "add-checkpoint asked with GET",
    level: "MUST",
    spec: "tlog-witness",
    sentence: POST,
    async run(c) {
      const { status } = await c.add("", { method: "GET" });
      assert.ok(status >= 400 && status < 500, `answered ${status}`);
    },
  },
  {
    name: "add-checkpoint sent with PUT",
    level: "MUST",
    spec: "tlog-witness",
    sentence: POST,
    async run(c) {
      const { status, text } = await c.add(c.log.request(0, 1), { method: "PUT" });
      assert.ok(status >= 400 && status < 500, `answered ${status}`);
      assert.ok(!text.includes("\u2014 "));
      await c.grow(0, 1);
    },
  },
  {
    name: "whatever content type a client sends",
    level: "MUST",
    spec: "tlog-witness",
    sentence: SUBMIT,
    async run(c) {
      const types = [
        "text/plain",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "application/json",
      ];
      for (const [size, type] of types.entries()) {
        const response = await c.add(c.log.request(size, size + 1), { headers: { "content-type": type } });
        c.cosigned(response, c.log.text(size + 1));
      }
    },
  },
  {
    name: "a body in chunks, without a length",
    level: "MUST",
    spec: "tlog-witness",
    sentence: SUBMIT,
    async run(c) {
      c.cosigned(await c.add(c.log.request(0, 5), { chunked: true }), c.log.text(5));
    },
  },
  {
    name: "a body far beyond sixteen signatures",
    level: "SHOULD",
    spec: "signed-note",
    sentence: LIMIT,
    async run(c) {
      const lines = Array.from({ length: 400 }, (_, i) => line(`other-${i}.example`, i, filler(4_900)));
      const { status, text } = await c.add(c.log.request(0, 5, { after: lines.join("") }));
      assert.ok(status >= 400 && status < 500, `answered ${status}`);
      assert.ok(!text.includes("\u2014 "));
      await c.grow(0, 5);
    },
  },
  {
    name: "a body far beyond sixteen signatures, in chunks",
    level: "SHOULD",
    spec: "signed-note",
    sentence: LIMIT,
    async run(c) {
      const lines = Array.from({ length: 400 }, (_, i) => line(`other-${i}.example`, i, filler(4_900)));
      const { status } = await c.add(c.log.request(0, 5, { after: lines.join("") }), { chunked: true });
      assert.ok(status >= 400 && status < 500, `answered ${status}`);
      await c.grow(0, 5);
    },
  },
];
