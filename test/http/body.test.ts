// Bodies as they arrive over a real socket: in pieces, too long, cut short, held back.

import type { Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { encodeBundle } from "../../src/core/bundle.ts";
import { CairnError } from "../../src/core/errors.ts";
import { staticKey } from "../../src/http/auth.ts";
import {
  BATCH_MAX_BYTES,
  BATCH_RECEIVE_MAX_BYTES,
  BATCH_RECEIVE_MAX_BYTES_PER_CLIENT,
} from "../../src/http/limits.ts";
import { FAKE_PROOF_PLACES } from "./fake-log.ts";
import { type Dialled, expectProblem, head, startServer, until } from "./harness.ts";

const TEN_MIB = 10 * 1024 * 1024;
const OCTETS = "Content-Type: application/octet-stream";

const chunk = (bytes: Uint8Array) =>
  Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")]);
const LAST_CHUNK = "0\r\n\r\n";

/** Stops listening, so that the peer's answer waits in the kernel while the body is sent. */
async function sendWithoutReading(connection: Dialled, ...parts: (string | Uint8Array)[]): Promise<void> {
  connection.socket.pause();
  for (const part of parts) await connection.send(part);
  connection.socket.resume();
}

describe("a body in pieces", () => {
  it("is one entry, with Content-Length and chunked", async () => {
    const { dial, log } = await startServer();
    const entry = Buffer.from("0123456789".repeat(1000));
    const connection = dial();
    await connection.send(head("POST", "/add", [`Content-Length: ${entry.length}`]));
    for (let i = 0; i < entry.length; i += 1000) await connection.send(entry.subarray(i, i + 1000));
    expect((await connection.answer()).body).toBe("0");

    await connection.send(head("POST", "/add", ["Transfer-Encoding: chunked"]));
    for (let i = 0; i < entry.length; i += 1000) await connection.send(chunk(entry.subarray(i, i + 1000)));
    await connection.send(chunk(Buffer.from("!")));
    await connection.send(LAST_CHUNK);
    expect((await connection.answer()).body).toBe("1");
    expect(log.entries).toEqual([entry, Buffer.concat([entry, Buffer.from("!")])]);
  });

  it("may be 65,535 bytes in chunks of one, and no more", async () => {
    const { dial, log } = await startServer();
    const one = chunk(Buffer.from("x"));
    const connection = dial();
    await connection.send(head("POST", "/add", ["Transfer-Encoding: chunked"]));
    await connection.send(Buffer.concat(Array(65_535).fill(one)));
    await connection.send(LAST_CHUNK);
    expect((await connection.answer()).body).toBe("0");
    expect(log.entries[0]).toEqual(Buffer.alloc(65_535, "x"));

    await connection.send(head("POST", "/add", ["Transfer-Encoding: chunked"]));
    await connection.send(Buffer.concat(Array(65_536).fill(one)));
    await connection.send(LAST_CHUNK);
    expectProblem(await connection.answer(), "entry_too_large");
    expect(log.entries).toHaveLength(1);
  });

  it("that is empty after all is an empty entry, or an empty batch", async () => {
    const { dial } = await startServer();
    const connection = dial();
    await connection.send(head("POST", "/add", ["Transfer-Encoding: chunked"]) + LAST_CHUNK);
    expectProblem(await connection.answer(), "entry_empty");
    await connection.send(head("POST", "/add-batch", [OCTETS, "Transfer-Encoding: chunked"]) + LAST_CHUNK);
    expectProblem(await connection.answer(), "bad_framing");
  });

  it("is asked for where the client waits for that, and only after every check", async () => {
    const { dial, log } = await startServer({ keys: staticKey("k") });
    const connection = dial();
    const headers = ["Content-Length: 5", "Expect: 100-continue"];
    await connection.send(head("POST", "/add", [...headers, "Authorization: Bearer k"]));
    expect((await connection.answer()).status).toBe(100);
    await connection.send("hello");
    expect((await connection.answer()).body).toBe("0");

    await connection.send(head("POST", "/add", headers));
    expectProblem(await connection.answer(), "unauthorized");
    expect(log.entries).toHaveLength(1);

    const other = dial();
    await other.send(head("POST", "/add", ["Content-Length: 1", "Authorization: Bearer k", "Expect: cake"]));
    await other.send("x");
    expect((await other.answer()).body).toBe("1");
  });
});

describe("a body that is too long", () => {
  it.each([
    ["/add", "entry_too_large", []],
    ["/add-batch", "batch_too_large", [OCTETS]],
  ] as const)("is refused at once on its Content-Length: %s", async (url, code, headers) => {
    const { dial } = await startServer();
    const connection = dial();
    await connection.send(head("POST", url, [...headers, `Content-Length: ${TEN_MIB}`]));
    const answer = await connection.answer();
    expectProblem(answer, code);
    expect(answer.headers.connection).toBe("close");
  });

  it.each([
    ["with Content-Length", false],
    ["chunked", true],
  ])(
    "is refused so that a client which sends 10 MB before it reads can read why: %s",
    async (_how, chunked) => {
      const { dial, log } = await startServer();
      const connection = dial();
      const body = Buffer.alloc(TEN_MIB, "x");
      if (chunked) {
        const parts = [head("POST", "/add", ["Transfer-Encoding: chunked"]), chunk(body), LAST_CHUNK];
        await sendWithoutReading(connection, ...parts);
      } else {
        await sendWithoutReading(connection, head("POST", "/add", [`Content-Length: ${TEN_MIB}`]), body);
      }
      expectProblem(await connection.answer(), "entry_too_large");
      expect(await connection.end()).toBe("");
      expect(connection.error).toBeNull();
      expect(log.entries).toEqual([]);
    },
  );

  it("is refused the same way for every other reason", async () => {
    const { dial, log } = await startServer({ keys: staticKey("k") });
    const length = `Content-Length: ${TEN_MIB}`;
    for (const [headers, code] of [
      [[length], "unauthorized"],
      [[length, "Authorization: Bearer k", "Content-Encoding: gzip"], "unsupported_encoding"],
    ] as const) {
      const connection = dial();
      await sendWithoutReading(connection, head("POST", "/add", headers), Buffer.alloc(TEN_MIB));
      expectProblem(await connection.answer(), code);
      expect(await connection.end()).toBe("");
      expect(connection.error).toBeNull();
    }
    const connection = dial();
    await sendWithoutReading(connection, head("PUT", "/nowhere", [length]), Buffer.alloc(TEN_MIB));
    expectProblem(await connection.answer(), "not_found");
    expect(await connection.end()).toBe("");
    expect(log.entries).toEqual([]);
  });

  it("is not read for ever: the connection is cut after the time for it", async () => {
    const { dial } = await startServer({ times: { linger: 50, closeGrace: 100 } });
    const connection = dial();
    await connection.send(head("POST", "/add", [`Content-Length: ${TEN_MIB}`]));
    await connection.send("some of it");
    expectProblem(await connection.answer(), "entry_too_large");
    expect(await connection.end()).toBe("");
  });

  it("is not read for ever: nor after the bytes for it", async () => {
    const { dial } = await startServer();
    const connection = dial();
    await connection.send(head("POST", "/add", [`Content-Length: ${2 ** 40}`]));
    expectProblem(await connection.answer(), "entry_too_large");
    const part = Buffer.alloc(1024 * 1024);
    let sent = 0;
    while (!connection.ended && sent < 200) {
      await connection.send(part);
      sent++;
    }
    // 32 MiB and what the kernel's buffers hold.
    expect(sent).toBeGreaterThanOrEqual(32);
    expect(sent).toBeLessThan(100);
  });

  it("is read to its end also where the client wants the connection closed", async () => {
    const { dial, app } = await startServer();
    const accepted: Socket[] = [];
    app.server.on("connection", (socket: Socket) => accepted.push(socket));
    const connection = dial();
    const start = head("POST", "/add", ["Content-Length: 1000", "Content-Encoding: x", "Connection: close"]);
    await connection.send(start);
    expectProblem(await connection.answer(), "unsupported_encoding");
    await connection.send("x".repeat(1000));
    expect(await connection.end()).toBe("");
    expect(connection.error).toBeNull();
    expect(accepted[0]?.bytesRead).toBe(start.length + 1000);
  });

  it("of an ordinary length leaves the connection open for the next request", async () => {
    const { dial } = await startServer();
    const connection = dial();
    await connection.send(`${head("POST", "/add", ["Content-Length: 1000", "Content-Encoding: x"])}part`);
    const answer = await connection.answer();
    expectProblem(answer, "unsupported_encoding");
    expect(answer.headers.connection).toBe("keep-alive");
    await connection.send("x".repeat(996));
    await connection.send(`${head("POST", "/add", ["Content-Length: 1"])}y`);
    expect((await connection.answer()).body).toBe("0");
  });
});

describe("back-pressure", () => {
  it("refuses before the body is read", async () => {
    const { dial, log } = await startServer();
    const tickets = Array.from({ length: FAKE_PROOF_PLACES }, () => log.reserveProof());
    const connection = dial();
    await connection.send(head("POST", "/add?proof=true", ["Content-Length: 5"]));
    expectProblem(await connection.answer(), "queue_full");
    for (const ticket of tickets) ticket.release();

    log.refusal = new CairnError("starting");
    for (const start of [
      head("POST", "/add", ["Content-Length: 5"]),
      head("POST", "/add-batch", [OCTETS, "Content-Length: 5"]),
    ]) {
      const other = dial();
      await other.send(start);
      expectProblem(await other.answer(), "starting");
    }
  });
});

describe("a body that is cut short", () => {
  const cases: [string, string, string][] = [
    ["an entry", head("POST", "/add", ["Content-Length: 10"]), "01234"],
    ["an entry in chunks", head("POST", "/add", ["Transfer-Encoding: chunked"]), "5\r\n01234\r\n"],
    [
      "a batch whose first entry is whole",
      head("POST", "/add-batch", [OCTETS, "Content-Length: 6"]),
      encodeText("a"),
    ],
    [
      "lines whose first is whole",
      head("POST", "/add-batch", ["Content-Type: application/x-ndjson", "Content-Length: 6"]),
      "a\nb\n",
    ],
  ];

  it.each(cases)(
    "commits nothing, and says so to a client that still reads: %s",
    async (_what, start, body) => {
      const { dial, log } = await startServer();
      const connection = dial();
      await connection.send(start + body);
      connection.finish();
      expectProblem(await connection.answer(), "bad_request");
      await connection.end();
      expect(log.entries).toEqual([]);
    },
  );

  it.each(cases)("commits nothing when the connection breaks: %s", async (_what, start, body) => {
    const { dial, log, app, get } = await startServer();
    const closed: Socket[] = [];
    app.server.on("connection", (socket: Socket) => socket.on("close", () => closed.push(socket)));
    const connection = dial();
    await connection.send(start + body);
    connection.socket.resetAndDestroy();
    await until(() => closed.length === 1);
    expect(log.entries).toEqual([]);
    expect((await get("/health")).statusCode).toBe(200);
  });
});

function encodeText(...entries: string[]): string {
  return Buffer.from(encodeBundle(entries.map((entry) => Buffer.from(entry)))).toString("latin1");
}

describe("the budget for batch bodies", () => {
  // Read as framing: entries of 65,535 bytes, the last one torn.
  const fill = Buffer.alloc(BATCH_MAX_BYTES - 1, 0xff);
  const start = (client: string) =>
    head("POST", "/add-batch", [OCTETS, `Content-Length: ${BATCH_MAX_BYTES}`, `X-Client: ${client}`]);

  /** A batch that lacks its last byte. */
  async function slowBatch(dial: () => Dialled, client: string): Promise<Dialled> {
    const connection = dial();
    await connection.send(start(client));
    await connection.send(fill);
    return connection;
  }

  async function startCounting() {
    const server = await startServer({ clientAddressHeader: "x-client" });
    const accepted: Socket[] = [];
    server.app.server.on("connection", (socket: Socket) => accepted.push(socket));
    const hasReceived = (bytes: number) =>
      until(() => accepted.reduce((sum, socket) => sum + socket.bytesRead, 0) >= bytes);
    return { ...server, accepted, hasReceived };
  }

  it("refuses a client's next batch before reading on, and nobody else's", async () => {
    const { dial, hasReceived, accepted } = await startCounting();
    const slow = [];
    for (let i = 0; i < BATCH_RECEIVE_MAX_BYTES_PER_CLIENT / BATCH_MAX_BYTES; i++) {
      slow.push(await slowBatch(dial, "a"));
    }
    await hasReceived(slow.length * fill.length);

    const next = dial();
    await next.send(start("a"));
    await next.send("\x00");
    expectProblem(await next.answer(), "queue_full");

    const other = dial();
    const small = encodeBundle([Buffer.from("small")]);
    const headers = [OCTETS, `Content-Length: ${small.length}`];
    await other.send(head("POST", "/add-batch", [...headers, "X-Client: b"]));
    await other.send(small);
    expect((await other.answer()).status).toBe(200);

    // Finished or broken, a batch gives its room back.
    const [finished, broken] = slow as [Dialled, Dialled];
    await finished.send("\x00");
    expectProblem(await finished.answer(), "bad_framing");
    broken.close();
    await until(() => accepted[1]?.destroyed === true);
    const again = [await slowBatch(dial, "a"), await slowBatch(dial, "a")];
    for (const connection of again) {
      await connection.send("\x00");
      expectProblem(await connection.answer(), "bad_framing");
    }
  });

  it("bounds all clients together, and never holds single adds", async () => {
    const { dial, hasReceived } = await startCounting();
    const slow = [];
    for (let i = 0; i < BATCH_RECEIVE_MAX_BYTES / BATCH_MAX_BYTES; i++) {
      slow.push(await slowBatch(dial, `client-${i}`));
    }
    await hasReceived(slow.length * fill.length);

    const next = dial();
    await next.send(start("another"));
    await next.send("\x00");
    expectProblem(await next.answer(), "queue_full");

    const single = dial();
    await single.send(head("POST", "/add", ["Content-Length: 10"]));
    await single.send("01234");
    await single.send("56789");
    expect((await single.answer()).body).toBe("0");
  });

  it("counts bytes that came, not lengths that were announced", async () => {
    const { dial } = await startCounting();
    const announced = [];
    for (let i = 0; i < 20; i++) {
      const connection = dial();
      await connection.send(start("a"));
      announced.push(connection);
    }
    const small = encodeBundle([Buffer.from("small")]);
    const connection = dial();
    await connection.send(
      head("POST", "/add-batch", [OCTETS, `Content-Length: ${small.length}`, "X-Client: a"]),
    );
    for (const byte of small) await connection.send(Uint8Array.of(byte));
    expect((await connection.answer()).status).toBe(200);
  });
});
