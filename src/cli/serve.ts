// `cairn serve`: a log over HTTP. Here the parts are chosen and handed to each other; what they do is theirs.

import { once } from "node:events";
import type { FastifyInstance } from "fastify";
import { destination, pino } from "pino";
import type { CairnError } from "../core/errors.ts";
import { createApp } from "../http/app.ts";
import { namedKeys, publicWrites } from "../http/auth.ts";
import { ServerMetrics } from "../http/metrics.ts";
import type { Log } from "../log/api.ts";
import { systemClock } from "../log/clock.ts";
import { openLog } from "../log/log.ts";
import { refuseReservedShape } from "../log/profile.ts";
import { apiKeysPath, type WatchedKeys, watchApiKeys } from "./api-keys.ts";
import { usageError } from "./args.ts";
import { defineCommand } from "./command.ts";
import { readConfig, type ServerConfig } from "./config.ts";
import { EXIT, type ExitCode } from "./io.ts";
import { logOptions, loggedEvents } from "./log-options.ts";
import { errorLine, type Output } from "./output.ts";

/** The longest that a stop may take: a last round of up to 10 s, and what is then under way in the store. */
const STOP_MAX_MS = 30_000;

export const serve = defineCommand(
  {
    name: "serve",
    usage: ["serve"],
    about: [
      "Runs a log until SIGTERM or SIGINT. Configuration comes from environment variables; docs/configuration.md lists them. A log is created only with LOG_CREATE=true, meant for its first start alone.",
    ],
    options: {},
    exit: [
      "Stopped by a signal; every acknowledged entry is safe.",
      "Stopped by itself: another process took over, the disk failed a sync, or a commit's outcome is unknown. Start again; the start decides.",
      "Did not start: configuration, or a refusal that says what to do.",
    ],
  },
  async ({ args: { positionals }, io, out }) => {
    if (positionals.length > 0) throw usageError(`${positionals[0]} is not expected`);
    return runServer(await readConfig(io.env), out, async ({ url, log }) => {
      await out.value({ url, origin: log.origin, vkeys: log.vkeys });
      await out.line(`listening on ${url}`);
    });
  },
);

/** Runs a log until a signal, or until it stops by itself. `listening` is called once, when requests are answered. */
export async function runServer(
  config: ServerConfig,
  out: Output,
  listening: (server: { readonly url: string; readonly log: Log }) => Promise<void>,
): Promise<ExitCode> {
  // Synchronous, so that the last lines before an exit are written.
  const logger = pino({ level: config.logLevel, base: null }, destination({ fd: 2, sync: true }));
  const signal = stopSignal();

  const metrics = new ServerMetrics();
  const log = await openLog({
    ...logOptions(config, loggedEvents(logger, metrics), (operation, outcome, ms) =>
      metrics.storage(operation, outcome, ms),
    ),
    refuseContent: refuseReservedShape(config.origin),
  });
  let failure: CairnError | null = null;
  let app: FastifyInstance | null = null;
  let keys: WatchedKeys | null = null;
  try {
    if (!config.allowPublicWrites) {
      keys = await watchApiKeys({
        path: apiKeysPath(config.databasePath),
        apiKey: config.apiKey,
        clock: systemClock,
        onError: (error) => logger.error({ error: String(error) }, "the file of API keys cannot be read"),
      });
    }
    const watched = keys;
    app = await createApp({
      log,
      keys: watched === null ? publicWrites : namedKeys(() => watched.keys()),
      rateLimit: config.rateLimit,
      clientAddressHeader: config.clientAddressHeader,
      descriptor: null,
      metrics,
      logger,
    });
    await app.listen({ host: config.listen.host, port: config.listen.port });
    const url = urlOf(config.listen.host, app.server.address());
    logger.info({ event: "listening", url, origin: log.origin }, "listening");
    await listening({ url, log });
    failure = await Promise.race([log.failed, signal.then(() => null)]);
    if (failure === null) logger.info({ event: "draining" }, "draining");
  } finally {
    // The log settles what it accepted while its answers can still be sent.
    log.drain();
    const deadline = setTimeout(() => {
      // A store that never answers must not keep a stopped process alive. What is unknown, the next start decides.
      logger.fatal({ event: "stop_timeout" }, "stopping took too long");
      process.exit(EXIT.no);
    }, STOP_MAX_MS);
    // The listener last: requests that wait for a proof get it in the last round, and new ones are told `draining`.
    await log.close();
    await app?.close();
    keys?.close();
    metrics.close();
    clearTimeout(deadline);
  }
  if (failure === null) {
    logger.info({ event: "stopped" }, "stopped");
    return EXIT.ok;
  }
  logger.fatal({ event: "stopped", code: failure.code }, failure.message);
  await out.remark(`cairn serve: ${errorLine(failure)}`);
  return EXIT.no;
}

function urlOf(host: string, address: ReturnType<FastifyInstance["server"]["address"]>): string {
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** Resolves at the first SIGTERM or SIGINT; a second one ends the process at once, as without us. */
async function stopSignal(): Promise<void> {
  await Promise.race([once(process, "SIGTERM"), once(process, "SIGINT")]);
  process.removeAllListeners("SIGTERM");
  process.removeAllListeners("SIGINT");
}
