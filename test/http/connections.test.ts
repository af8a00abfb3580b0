// What a client can do to a connection: bytes that are no HTTP, requests that never end, hundreds of those, and leaving.

import type { Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { type Dialled, expectProblem, head, startServer, until } from "./harness.ts";

const HOST = "Host: log.example\r\n";

describe("bytes that are no request", () => {
  const smuggling: [string, string][] = [
    [
      "a length and chunks",
      `POST /add HTTP/1.1\r\n${HOST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    ],
    [
      "chunks and a length",
      `POST /add HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`,
    ],
    ["two lengths", `POST /add HTTP/1.1\r\n${HOST}Content-Length: 1\r\nContent-Length: 2\r\n\r\nxy`],
    ["one length twice", `POST /add HTTP/1.1\r\n${HOST}Content-Length: 1\r\nContent-Length: 1\r\n\r\nx`],
    ["two lengths in one", `POST /add HTTP/1.1\r\n${HOST}Content-Length: 1, 2\r\n\r\nxy`],
    ["a length that is no number", `POST /add HTTP/1.1\r\n${HOST}Content-Length: 1x\r\n\r\nx`],
    ["a negative length", `POST /add HTTP/1.1\r\n${HOST}Content-Length: -1\r\n\r\nx`],
    ["a length with a sign", `POST /add HTTP/1.1\r\n${HOST}Content-Length: +1\r\n\r\nx`],
    [
      "a length of 2^64 and more",
      `POST /add HTTP/1.1\r\n${HOST}Content-Length: 18446744073709551617\r\n\r\nx`,
    ],
    [
      "a coding after chunked",
      `POST /add HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked, identity\r\n\r\n1\r\nx\r\n0\r\n\r\n`,
    ],
    [
      "a coding that is not chunked",
      `POST /add HTTP/1.1\r\n${HOST}Transfer-Encoding: xchunked\r\n\r\n1\r\nx\r\n0\r\n\r\n`,
    ],
    [
      "a coding before chunked",
      `POST /add HTTP/1.1\r\n${HOST}Transfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n`,
    ],
    [
      "chunked twice",
      `POST /add HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n`,
    ],
    [
      "a chunk size that is no number",
      `POST /add HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n0\r\n\r\n`,
    ],
    [
      "a negative chunk size",
      `POST /add HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n`,
    ],
    [
      "a chunk size in C",
      `POST /add HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n`,
    ],
    [
      "a chunk size beyond 2^64",
      `POST /add HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n10000000000000001\r\nx\r\n0\r\n\r\n`,
    ],
    [
      "a chunk longer than its size",
      `POST /add HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n`,
    ],
    [
      "a chunk size ended by LF",
      `POST /add HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n`,
    ],
    [
      "a folded header",
      `POST /add HTTP/1.1\r\n${HOST}X: a\r\n Content-Length: 5\r\nContent-Length: 1\r\n\r\nx`,
    ],
    [
      "a folded coding",
      `POST /add HTTP/1.1\r\n${HOST}Transfer-Encoding:\r\n chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n`,
    ],
    ["a space before a colon", `POST /add HTTP/1.1\r\n${HOST}Content-Length : 1\r\n\r\nx`],
    ["a space before a header", `POST /add HTTP/1.1\r\n ${HOST}Content-Length: 1\r\n\r\nx`],
    ["NUL in a header", `POST /add HTTP/1.1\r\n${HOST}X: a\x00b\r\nContent-Length: 1\r\n\r\nx`],
    ["CR in a header", `POST /add HTTP/1.1\r\n${HOST}X: a\rContent-Length: 5\r\nContent-Length: 1\r\n\r\nx`],
    ["no colon", `POST /add HTTP/1.1\r\n${HOST}Nonsense\r\n\r\n`],
    ["no host", "POST /add HTTP/1.1\r\nContent-Length: 1\r\n\r\nx"],
    ["an unknown method", `FOO /add HTTP/1.1\r\n${HOST}\r\n`],
    ["a space in the address", `GET /check point HTTP/1.1\r\n${HOST}\r\n`],
    ["an unknown version", `GET /checkpoint HTTP/3.7\r\n${HOST}\r\n`],
    ["HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ["a TLS greeting", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
    ["noise", "\x00\xff\x00\xff\r\n\r\n"],
    ["headers of 20 KiB", `GET /checkpoint HTTP/1.1\r\n${HOST}X: ${"x".repeat(20_000)}\r\n\r\n`],
  ];

  it.each(smuggling)("is refused with 400 and a closed connection: %s", async (_what, bytes) => {
    const { dial, log } = await startServer();
    const connection = dial();
    await connection.send(Buffer.from(bytes, "latin1"));
    const answer = await connection.answer();
    expectProblem(answer, "bad_request");
    expect(answer.headers.connection).toBe("close");
    expect(await connection.end()).toBe("");
    expect(log.entries).toEqual([]);
  });

  it("does not end a request early for a client that reads late", async () => {
    const { dial } = await startServer();
    const connection = dial();
    connection.socket.pause();
    await connection.send(`POST /add HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\nzz\r\n`);
    await connection.send(Buffer.alloc(4 * 1024 * 1024));
    connection.socket.resume();
    expectProblem(await connection.answer(), "bad_request");
    await connection.end();
    expect(connection.error).toBeNull();
  });

  it("is answered after the requests before it, which keep their own answers", async () => {
    const { dial, log } = await startServer();
    log.answersAtOnce = false;
    const connection = dial();
    const add = (entry: string) => head("POST", "/add", [`Content-Length: ${entry.length}`]) + entry;
    await connection.send(`${add("one")}${add("two")}NONSENSE\r\n\r\n`);
    await until(() => log.heldAdds === 2);
    log.releaseAdds();
    expect((await connection.answer()).body).toBe("0");
    expect((await connection.answer()).body).toBe("1");
    expectProblem(await connection.answer(), "bad_request");
    expect(await connection.end()).toBe("");
  });

  it("refuses to be a tunnel", async () => {
    const { dial } = await startServer();
    const connection = dial();
    await connection.send(`CONNECT example.com:443 HTTP/1.1\r\n${HOST}\r\n`);
    const answer = await connection.answer();
    expectProblem(answer, "method_not_allowed");
    expect(answer.headers.allow).toContain("GET");
    expect(await connection.end()).toBe("");
  });

  it("ignores a wish for another protocol", async () => {
    const { dial } = await startServer();
    const connection = dial();
    await connection.send(head("GET", "/health", ["Connection: Upgrade", "Upgrade: h2c"]));
    expect((await connection.answer()).status).toBe(200);
  });

  it.each([
    ["none", ""],
    ["two", "Host: log.example\r\nHost: other.example\r\n"],
    ["the same one twice", "Host: log.example\r\nhost: log.example\r\n"],
    ["two with others between", "hOST: log.example\r\nX: a\r\nHOST: log.example\r\n"],
    ["a path", "Host: log.example/path\r\n"],
    ["a user", "Host: me@log.example\r\n"],
    ["two in one", "Host: log.example other.example\r\n"],
  ])("refuses a request whose Host header is %s (RFC 9112, section 3.2)", async (_what, headers) => {
    const { dial, log } = await startServer();
    const connection = dial();
    await connection.send(`POST /add HTTP/1.1\r\n${headers}Content-Length: 1\r\n\r\nx`);
    const answer = await connection.answer();
    expectProblem(answer, "bad_request");
    expect(answer.headers.connection).toBe("close");
    expect(await connection.end()).toBe("");
    expect(log.entries).toEqual([]);
  });

  it.each(["", "log.example", "log.example:8080", "127.0.0.1:80", "[::1]:8080", "xn--bcher-kva.example"])(
    "takes %j for a host",
    async (host) => {
      const { dial } = await startServer();
      const connection = dial();
      await connection.send(`POST /add HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 1\r\n\r\nx`);
      expect((await connection.answer()).body).toBe("0");
    },
  );

  it("serves HTTP/1.0 clients, which send no Host", async () => {
    const { dial } = await startServer();
    const connection = dial();
    await connection.send("POST /add HTTP/1.0\r\nContent-Length: 1\r\n\r\nx");
    expect((await connection.answer()).body).toBe("0");
    expect(await connection.end()).toBe("");
  });
});

describe("requests that take too long", () => {
  const times = {
    headersTimeout: 100,
    requestTimeout: 200,
    checkingInterval: 20,
    linger: 100,
    closeGrace: 100,
  };

  it.each([
    ["nothing at all", ""],
    ["half a header", `GET /checkpoint HTTP/1.1\r\n${HOST}X: a`],
    ["half a body", `POST /add HTTP/1.1\r\n${HOST}Content-Length: 10\r\n\r\n01234`],
    ["half a body in chunks", `POST /add HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n5\r\n01`],
  ])("are answered 408 and closed: %s", async (_what, bytes) => {
    const { dial, log } = await startServer({ times });
    const connection = dial();
    if (bytes !== "") await connection.send(bytes);
    const answer = await connection.answer();
    expectProblem(answer, "request_timeout");
    expect(answer.headers.connection).toBe("close");
    expect(await connection.end()).toBe("");
    expect(log.entries).toEqual([]);
  });

  it("do not include those whose answer takes long", async () => {
    const { dial, log } = await startServer({ times });
    log.answersAtOnce = false;
    const waiting = dial();
    await waiting.send(`${head("POST", "/add", ["Content-Length: 1"])}x`);
    const late = dial();
    await late.send(`${head("POST", "/add", ["Content-Length: 9"])}x`);
    // By the time the late one is given up, the waiting one is older than any limit.
    expectProblem(await late.answer(), "request_timeout");
    log.releaseAdds();
    expect((await waiting.answer()).body).toBe("0");
  });

  it("harm no other client, by the hundred", async () => {
    const { dial, log } = await startServer({
      times: { ...times, headersTimeout: 3000, requestTimeout: 3500 },
    });
    const slow: Dialled[] = [];
    for (let i = 0; i < 100; i++) {
      const headers = dial();
      const body = dial();
      slow.push(headers, body);
      await headers.send(`POST /add HTTP/1.1\r\n${HOST}X-Slow: `);
      await body.send(`${head("POST", "/add", ["Content-Length: 60000"])}slow`);
    }
    // They drip on while others are served.
    const drip = setInterval(() => {
      for (const connection of slow) if (!connection.ended) connection.socket.write("x");
    }, 20);
    try {
      const quick = dial();
      for (let i = 0; i < 100; i++) {
        await quick.send(`${head("POST", "/add", ["Content-Length: 7"])}entry${String(i).padStart(2, "0")}`);
        expect((await quick.answer()).body).toBe(String(i));
        await quick.send(head("GET", "/health"));
        expect((await quick.answer()).status).toBe(200);
      }
      expect(slow.filter((connection) => connection.ended)).toEqual([]);
      for (const connection of slow) expectProblem(await connection.answer(), "request_timeout");
    } finally {
      clearInterval(drip);
    }
    expect(log.entries).toHaveLength(100);
  });
});

describe("clients that leave", () => {
  it("do not matter to an entry that was taken, nor to anyone else", async () => {
    const { dial, log, app } = await startServer();
    log.answersAtOnce = false;
    const closed: Socket[] = [];
    app.server.on("connection", (socket: Socket) => socket.on("close", () => closed.push(socket)));
    const leaving = Array.from({ length: 20 }, () => dial());
    for (const [i, connection] of leaving.entries()) {
      await connection.send(`${head("POST", "/add", ["Content-Length: 2"])}${String(i).padStart(2, "0")}`);
    }
    await until(() => log.heldAdds === leaving.length);
    for (const connection of leaving) connection.socket.resetAndDestroy();
    await until(() => closed.length === leaving.length);
    log.releaseAdds();
    expect(log.entries).toHaveLength(leaving.length);

    log.answersAtOnce = true;
    const staying = dial();
    await staying.send(`${head("POST", "/add", ["Content-Length: 2"])}07`);
    expect((await staying.answer()).status).toBe(200);
  });
});

describe("closing", () => {
  it("does not wait for idle connections", async () => {
    const { dial, app } = await startServer({ times: { closeGrace: 60_000 } });
    const idle = dial();
    await idle.send(head("GET", "/health"));
    expect((await idle.answer()).headers.connection).toBe("keep-alive");
    await app.close();
    expect(await idle.end()).toBe("");
  });

  it("lets requests in flight have their answers, and tells whoever comes meanwhile that it drains", async () => {
    const stopping = new AbortController();
    const { dial, app, log } = await startServer({
      stopping: stopping.signal,
      times: { closeGrace: 60_000 },
    });
    log.answersAtOnce = false;
    const connection = dial();
    await connection.send(`${head("POST", "/add", ["Content-Length: 1"])}x`);
    const half = dial();
    await half.send(`${head("POST", "/add", ["Content-Length: 4"])}ha`);
    await until(() => log.heldAdds === 1);
    const settling = async (): Promise<void> => {
      const late = dial();
      await late.send(`${head("POST", "/add", ["Content-Length: 1"])}y`);
      const refused = await late.answer();
      expectProblem(refused, "draining");
      expect(refused.headers.connection).toBe("close");
      expect(await late.end()).toBe("");
      const reader = dial();
      await reader.send(head("GET", "/health"));
      expect((await reader.answer()).headers.connection).toBe("close");
      expect(await reader.end()).toBe("");
    };
    log.drain();
    stopping.abort();
    await settling();
    let closed = false;
    const closing = app.close().then(() => {
      closed = true;
    });
    await settling();
    await half.send("lf");
    const refused = await half.answer();
    expectProblem(refused, "draining");
    expect(refused.headers).toMatchObject({ connection: "close" });
    expect(refused.headers["keep-alive"]).toBeUndefined();
    expect(await half.end()).toBe("");
    await settling();
    expect(closed).toBe(false);
    log.releaseAdds();
    expect(await connection.answer()).toMatchObject({ body: "0", headers: { connection: "close" } });
    expect(await connection.end()).toBe("");
    await closing;
    const tooLate = dial();
    await tooLate.end();
    expect(tooLate.error?.code).toBe("ECONNREFUSED");
  });

  it("takes no new connection once the grace time is over, whoever still holds one", async () => {
    const { dial, app } = await startServer({ times: { closeGrace: 50 } });
    const accepted: Socket[] = [];
    app.server.on("connection", (socket: Socket) => accepted.push(socket));
    const half = dial();
    await half.send(`${head("POST", "/add", ["Content-Length: 10"])}01`);
    await until(() => accepted.length === 1);
    const closing = app.close();
    const late = dial();
    await until(() => accepted.length === 2);
    await closing;
    for (const connection of [half, late]) expect(await connection.end()).toBe("");
    expect(app.server.listening).toBe(false);
  });

  it("answers reads and refuses writes on connections that are still open", async () => {
    const { dial, app, log } = await startServer({ times: { closeGrace: 60_000 } });
    log.publish(0);
    log.answersAtOnce = false;
    const one = dial();
    const two = dial();
    const add = `${head("POST", "/add", ["Content-Length: 1"])}x`;
    await one.send(add);
    await two.send(add);
    await until(() => log.heldAdds === 2);
    log.drain();
    const closing = app.close();
    await one.send(head("GET", "/checkpoint"));
    await two.send(`${head("POST", "/add", ["Content-Length: 1"])}y`);
    await until(() => log.heldAdds === 2);
    log.releaseAdds();
    expect((await one.answer()).status).toBe(200);
    expect((await one.answer()).headers).toMatchObject({ etag: '"c0"', connection: "close" });
    expect((await two.answer()).status).toBe(200);
    const refused = await two.answer();
    expectProblem(refused, "draining");
    expect(refused.headers.connection).toBe("close");
    await closing;
  });

  it("cuts clients that never finish after the grace time", async () => {
    const { dial, app } = await startServer({ times: { closeGrace: 50, linger: 50 } });
    const accepted: Socket[] = [];
    app.server.on("connection", (socket: Socket) => accepted.push(socket));
    const silent = dial();
    const half = dial();
    await half.send(`${head("POST", "/add", ["Content-Length: 10"])}01`);
    const refused = dial();
    await refused.send("NONSENSE\r\n\r\n");
    expectProblem(await refused.answer(), "bad_request");
    const tunnel = dial();
    await tunnel.send(`CONNECT example.com:443 HTTP/1.1\r\n${HOST}\r\n`);
    expectProblem(await tunnel.answer(), "method_not_allowed");
    await until(() => accepted.length === 4);
    await app.close();
    for (const connection of [silent, half, refused, tunnel]) expect(await connection.end()).toBe("");
    await until(() => accepted.every((socket) => socket.destroyed));
  });
});
