// Bytes on a bare socket, for what no HTTP client would send, and what came back on it.

import { connect, type Socket } from "node:net";
import { onTestFinished } from "vitest";
import type { Problem } from "./client.ts";
import { within } from "../waiting.ts";
import { PATIENCE_MS, type Server } from "./server.ts";

export interface Answer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

export interface Peer {
  readonly socket: Socket;
  send(data: string | Uint8Array): void;
  /** Sends our end of the stream; the other half stays open. */
  finish(): void;
  /** Resolves once the server has closed the connection, or reset it, with everything that it had sent. */
  readonly closed: Promise<Buffer>;
  /** What has come so far. */
  received(): Buffer;
}

/** A connection of our own; cut at the end of the test. */
export async function openSocket(server: Pick<Server, "port">): Promise<Peer> {
  const socket = connect({ port: server.port, host: "127.0.0.1", allowHalfOpen: true });
  onTestFinished(() => {
    socket.destroy();
  });
  const parts: Buffer[] = [];
  socket.on("data", (part: Buffer) => parts.push(part));
  const received = (): Buffer => Buffer.concat(parts);
  const closed = new Promise<Buffer>((resolve) => {
    socket.once("end", () => {
      socket.end();
      resolve(received());
    });
    socket.once("close", () => resolve(received()));
  });
  const connected = new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  // A reset after that is an outcome that `closed` tells.
  socket.on("error", () => {});
  await connected;
  return {
    socket,
    send: (data) => {
      socket.write(data);
    },
    finish: () => {
      socket.end();
    },
    closed,
    received,
  };
}

/** Sends `data` and answers everything that came until the server closed. */
export async function exchangeAll(
  server: Pick<Server, "port">,
  data: string | Uint8Array,
): Promise<Answer[]> {
  const peer = await openSocket(server);
  peer.send(data);
  return parseAnswers(await within(PATIENCE_MS, () => "the server closes the connection", peer.closed));
}

/** Sends `data`, to which one answer must come before the server closes. */
export async function exchange(server: Pick<Server, "port">, data: string | Uint8Array): Promise<Answer> {
  return onlyAnswer(await exchangeAll(server, data));
}

export function onlyAnswer(answers: readonly Answer[]): Answer {
  const [answer] = answers;
  if (answer === undefined || answers.length !== 1)
    throw new Error(`${answers.length} answers came, not one`);
  return answer;
}

/** The problem in an answer's body; null where it is something else. */
export function problemIn(answer: Answer): Problem | null {
  return answer.headers.get("content-type") === "application/problem+json"
    ? (JSON.parse(answer.body) as Problem)
    : null;
}

/** Answers one after another, each with a Content-Length. Throws on anything else, a torn one too. */
export function parseAnswers(bytes: Buffer): Answer[] {
  const answers: Answer[] = [];
  for (let rest = bytes; rest.length > 0; ) {
    const headEnd = rest.indexOf("\r\n\r\n");
    if (headEnd < 0) throw new Error(`a torn answer: ${JSON.stringify(rest.toString("latin1"))}`);
    const [statusLine = "", ...lines] = rest.subarray(0, headEnd).toString("latin1").split("\r\n");
    const status = Number(/^HTTP\/1\.1 ([0-9]{3}) /.exec(statusLine)?.[1]);
    const headers = new Map(
      lines.map((line) => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
      }),
    );
    const start = headEnd + 4;
    const length = status === 100 ? 0 : Number(headers.get("content-length"));
    if (Number.isNaN(length)) throw new Error(`an answer without its length: ${statusLine}`);
    if (rest.length < start + length) throw new Error(`a torn body: ${statusLine}`);
    if (status !== 100)
      answers.push({ status, headers, body: rest.subarray(start, start + length).toString() });
    rest = rest.subarray(start + length);
  }
  return answers;
}
