// What bounds the speed of any witness in Node that keeps its promise: a server that answers each request with nothing more than
// one Ed25519 verification, one signature, one page written and synced, and a few lines. compare-witness.ts runs it beside the
// witnesses; it witnesses nothing.
//
//   node scripts/witness-floor.mjs HOST:PORT FILE

import { generateKeyPairSync, sign, verify } from "node:crypto";
import { fdatasyncSync, fsyncSync, openSync, writeSync } from "node:fs";
import { createServer } from "node:http";
import { argv } from "node:process";

/** The file has its length before the first request, so that no write has to make it longer. */
const FILE_BYTES = 4 * 1024 * 1024;
const page = Buffer.alloc(4096, 1);
const text = Buffer.alloc(150, "text ");
const answer = `${"answer ".repeat(19)}\n`;

const [, , listen = "", file = ""] = argv;
const [host, port] = listen.split(":");
const { privateKey, publicKey } = generateKeyPairSync("ed25519");
const signature = sign(null, text, privateKey);
const fd = openSync(file, "w+");
writeSync(fd, Buffer.alloc(FILE_BYTES, 1));
fsyncSync(fd);
let at = 0;

createServer((request, response) => {
  request.resume();
  request.on("end", () => {
    if (!verify(null, text, publicKey, signature))
      throw new Error("node:crypto does not verify its own signature");
    sign(null, text, privateKey);
    writeSync(fd, page, 0, page.length, at);
    fdatasyncSync(fd);
    at = (at + page.length) % FILE_BYTES;
    response.writeHead(200, ["Content-Type", "text/plain", "Content-Length", String(answer.length)]);
    response.end(answer);
  });
}).listen(Number(port), host);
