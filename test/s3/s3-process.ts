// The S3 server of the tests in a process of its own, for measurements: what it costs is not the log's. A line of standard
// input is another delay; it ends when whoever started it does.
//   node --import tsx test/s3/s3-process.ts DELAY_MS

import { createInterface } from "node:readline";
import { S3Server } from "../doubles/s3-server.ts";

const server = await S3Server.start({ delayMs: Number(process.argv[2] ?? 0), isMeasured: true });
process.stdout.write(`${JSON.stringify(server.env())}\n`);
createInterface({ input: process.stdin })
  .on("line", (line) => {
    server.delayMs = Number(line);
  })
  .on("close", () => process.exit(0));
