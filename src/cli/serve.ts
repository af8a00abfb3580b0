// `cairn serve`: a log over HTTP. Here the parts are chosen and handed to each other; what they do is theirs.

import { once } from "node:events";
import type { FastifyInstance } from "fastify";
import { destination, pino } from "pino";
import { CairnError } from "../core/errors.ts";
import { createApp } from "../http/app.ts";
import { namedKeys, publicWrites } from "../http/auth.ts";
import { ServerMetrics } from "../http/metrics.ts";
import type { Log } from "../log/api.ts";
import { systemClock } from "../log/clock.ts";
import { codedError, fatalError } from "../log/fatal.ts";
import { openLog } from "../log/log.ts";
import { refuseReservedShape } from "../log/profile.ts";
import { apiKeysPath, type WatchedKeys, watchApiKeys } from "./api-keys.ts";
import { usageError } from "./args.ts";
import { defineCommand } from "./command.ts";
import { type ListenAddress, readConfig, type ServerConfig } from "./config.ts";
import { EXIT_CLASSES, serverExit } from "./exit-classes.ts";
import { EXIT, type ExitCode } from "./io.ts";
import { logOptions, loggedEvents } from "./log-options.ts";
import { misplaced } from "./misplaced.ts";
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
      "A fault of the program itself. Start again.",
      "Refused: configuration, or data that it must not go on with; it says what to do.",
    ],
    furtherExits: [
      {
        exit: EXIT_CLASSES.violated.exit,
        means: "Two owners or two histories. Find out which before it runs again.",
      },
      {
        exit: EXIT_CLASSES.unavailable.exit,
        means: "Storage or database out of reach. Start again after a pause.",
      },
      {
        exit: EXIT_CLASSES.unsettled.exit,
        means: "A commit, a sync or a stop did not end. Start again; the start decides.",
      },
    ],
  },
  async ({ args: { positionals }, io, out }) => {
    if (positionals.length > 0) throw usageError(`${positionals[0]} is not expected`);
    return runServer(await readConfig(io.env), out, async ({ url, log }) => {
      await out.value({ url, origin: log.origin, vkeys: log.vkeys });
      await out.line(`listening on ${url}`);
    });
  },
  serverExit,
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
  // Node then says it in its own form and ends the process with 1, the exit code of a fault.
  const onFault = (err: unknown): void =>
    logger.fatal({ event: "stopped", code: "internal", err }, "a fault of the program ends it");
  process.once("uncaughtExceptionMonitor", onFault);

  const metrics = new ServerMetrics();
  const log = await openLog({
    ...logOptions(config, loggedEvents(logger, metrics), (operation, outcome, ms) =>
      metrics.storage(operation, outcome, ms),
    ),
    refuseContent: refuseReservedShape(config.origin),
  }).catch((error: unknown) => {
    process.off("uncaughtExceptionMonitor", onFault);
    throw misplaced(error) ?? codedError(error);
  });
  let failure = null as CairnError | null;
  // Also while it stops: a log that was taken over in its last round does not end as if nothing were.
  const failed = log.failed.then((error) => {
    failure ??= error;
  });
  const stopping = new AbortController();
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
      stopping: stopping.signal,
    });
    await listen(app, config.listen);
    const url = urlOf(config.listen.host, app.server.address());
    logger.info({ event: "listening", url, origin: log.origin }, "listening");
    await listening({ url, log });
    await Promise.race([failed, signal]);
    if (failure === null) logger.info({ event: "draining" }, "draining");
  } finally {
    // The log settles what it accepted while its answers can still be sent.
    log.drain();
    stopping.abort();
    const deadline = setTimeout(() => {
      // A store that never answers must not keep a stopped process alive. What is unknown, the next start decides.
      logger.fatal({ event: "stop_timeout" }, "stopping took too long");
      process.exit(failure === null ? EXIT_CLASSES.unsettled.exit : serverExit(failure));
    }, STOP_MAX_MS);
    // The listener last: requests that wait for a proof get it in the last round, and whoever comes is told `draining`.
    try {
      await log.close();
      await app?.close();
    } catch (error) {
      // What ended the log says more than what then could not be closed.
      failure ??= fatalError(error);
    }
    keys?.close();
    metrics.close();
    process.off("uncaughtExceptionMonitor", onFault);
    clearTimeout(deadline);
  }
  if (failure === null) {
    logger.info({ event: "stopped" }, "stopped");
    return EXIT.ok;
  }
  logger.fatal({ event: "stopped", code: failure.code }, failure.message);
  await out.remark(`cairn serve: ${errorLine(failure)}`);
  return serverExit(failure);
}

/** Throws `bad_config` where the system does not give out that address. */
async function listen(app: FastifyInstance, { host, port }: ListenAddress): Promise<void> {
  try {
    await app.listen({ host, port });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).syscall === undefined) throw cause;
    throw new CairnError("bad_config", { detail: `LISTEN_ADDR: ${(cause as Error).message}`, cause });
  }
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
