// Runs a witness until a signal ends it. Here its parts are chosen and handed to each other; what they do is theirs.

import { once } from "node:events";
import { dirname } from "node:path";
import { destination, type Logger, pino } from "pino";
import { noblePrimitives } from "../core/cosignature.ts";
import type { CairnError } from "../core/errors.ts";
import { clientAddress } from "../http/client-address.ts";
import { takeLock } from "../state/lock.ts";
import { openWitnessState } from "../state/witness-sqlite.ts";
import type { WitnessState } from "../state/witness-state.ts";
import { DurableFiles } from "../storage/durable.ts";
import { aboutText } from "../witness/service/about.ts";
import { parseLogList, parseLogOption } from "../witness/service/log-list.ts";
import { differences, KnownLogs, withAllKeys } from "../witness/service/logs.ts";
import { WitnessMetrics } from "../witness/service/metrics.ts";
import { createWitnessServer } from "../witness/service/server.ts";
import { Witness } from "../witness/service/witness.ts";
import { usageError } from "./args.ts";
import { defineCommand } from "./command.ts";
import { VARIABLES } from "./config.ts";
import { readUpTo } from "./files.ts";
import { EXIT } from "./io.ts";
import { nodeEd25519 } from "./node-ed25519.ts";
import { nodeHasher } from "./node-hasher.ts";
import {
  DATABASE_OPTION,
  databasePath,
  KEY_FILE_OPTION,
  makeDatabaseFolder,
  parseRate,
  parseUrlPrefix,
  readKeys,
} from "./witness-options.ts";

/** A list of 40,000 logs, the largest profile of the witness network, has some 8 MB. */
const LOG_LIST_MAX_BYTES = 64 * 1024 * 1024;

export const runWitness = defineCommand(
  {
    name: "witness",
    usage: [
      "witness --private-key-file FILE... [--listen HOST:PORT] [--database-url sqlite:FILE] [--log ORIGIN=VKEY]... [--logs FILE] [--url URL]",
      "witness logs list|add|pause|resume|drop-key",
      "witness about --url URL --private-key-file FILE...",
    ],
    about: [
      "Runs a witness (c2sp.org/tlog-witness) until SIGTERM or SIGINT: it cosigns the checkpoints of the logs that it knows, for each only ever one history. Its database is its memory: a witness that starts on an older copy, or on a new file, can cosign a second history. Never restore it, never run two.",
      "A list given with --logs is read at the start and at SIGHUP. Logs that it names for the first time are added to the database; what is known already is never changed or removed by a list. cairn witness logs does that.",
    ],
    options: {
      listen: {
        type: "string",
        value: "HOST:PORT",
        about: "Where it listens; 127.0.0.1:2026 where it is not given.",
      },
      "database-url": DATABASE_OPTION,
      "private-key-file": KEY_FILE_OPTION,
      "private-key": {
        type: "string",
        multiple: true,
        value: "TEXT",
        takesPrivateKey: true,
        about: "A private key itself, for tests: others on the machine can read it. Use --private-key-file.",
      },
      log: {
        type: "string",
        multiple: true,
        value: "ORIGIN=VKEY",
        about: "A log for this run; repeat it for further logs, and for further keys of one.",
      },
      logs: {
        type: "string",
        value: "FILE",
        about: "A list of logs in the witness network's form (logs/v0), read again at SIGHUP.",
      },
      url: {
        type: "string",
        value: "URL",
        about: "The URL prefix at which it is reached; with it, /about says what an operator publishes.",
      },
      "address-rate": {
        type: "string",
        value: "N[/BURST]",
        about: "Requests a second, and at once, from one address. Without it there is no limit.",
      },
      "origin-rate": {
        type: "string",
        value: "N[/BURST]",
        about: "Requests a second, and at once, that one log has signed. Without it there is no limit.",
      },
      "client-address-header": {
        type: "string",
        value: "NAME",
        about:
          "The header in which your proxy gives the client's address; its last element counts. Only behind a proxy that sets it.",
      },
    },
    exit: [
      "Stopped by a signal.",
      "Stopped by itself: the disk failed, and what it recorded last is unknown. Start again.",
      "Did not start: usage, a key or a list that cannot be read, or another process holds the database.",
    ],
  },
  async ({ args: { options, positionals }, io, out }) => {
    if (positionals.length > 0) throw usageError(`${positionals[0]} is not expected`);
    const listen = VARIABLES.LISTEN_ADDR.schema.safeParse(options.listen ?? "127.0.0.1:2026");
    if (!listen.success) throw usageError("--listen reads HOST:PORT, such as 127.0.0.1:2026 or [::1]:2026");
    const path = databasePath(options["database-url"]);
    const given = options.log.map(parseLogOption);
    const addressLimit = parseRate("address-rate", options["address-rate"]);
    const originLimit = parseRate("origin-rate", options["origin-rate"]);
    const url = options.url === undefined ? null : parseUrlPrefix(options.url);
    const keys = await readKeys(io, options["private-key-file"], options["private-key"]);
    if (options["private-key"].length > 0) {
      await out.remark(
        "The private key stands on the command line, where others can read it: use --private-key-file.",
      );
    }
    // Synchronous, so that the last lines before an exit are written.
    const logger = pino({ base: null }, destination({ fd: 2, sync: true }));
    const signal = stopSignal();

    await makeDatabaseFolder(path);
    const lock = await takeLock(`${path}.lock`, { now: () => io.clock.now() });
    let opened: WitnessState | null = null;
    try {
      const { state, created } = await openWitnessState(path, "witness");
      opened = state;
      if (created) {
        // Without the name of the file, a power failure would take the whole memory with it.
        await new DurableFiles().syncFolders([dirname(path)]);
        logger.warn({ event: "database_created", path }, "a new database: nothing is remembered of any log");
      }
      const primitives = { ...noblePrimitives, ed25519: nodeEd25519 };
      if (options.logs !== undefined) await readList(options.logs, state, logger);
      const logs = new KnownLogs(given, state, primitives);
      const metrics = new WitnessMetrics();
      const witness = new Witness({
        keys,
        logs,
        state,
        primitives,
        hasher: nodeHasher,
        now: () => Math.floor(Date.now() / 1000),
        events: {
          inconsistent(origin, reason, note) {
            metrics.inconsistent();
            logger.warn({ event: "inconsistent", origin, reason, note }, "a signed checkpoint was refused");
          },
          failed: (error) => logger.error({ event: "not_recorded", error: error.message }, "not recorded"),
        },
      });
      const { vkeys, signsSubtrees } = witness.keys;
      const server = createWitnessServer({
        witness,
        metrics,
        gauges: () => ({
          logs: logs.counts(),
          cosigned: state.cosignedCount(),
          residentBytes: process.memoryUsage.rss(),
        }),
        about: url === null ? null : aboutText({ vkeys, url, signsSubtrees }),
        addressLimit,
        originLimit,
        clientAddress: clientAddress(options["client-address-header"] ?? null),
        monotonic: () => performance.now(),
        onError: (error) => logger.error({ event: "fault", error: describe(error) }, "a request met a fault"),
      });
      const onHangUp = (): void => {
        logger.info(
          { event: "hang_up" },
          options.logs === undefined ? "no list to read" : "reading the list",
        );
        if (options.logs === undefined) return;
        readList(options.logs, state, logger)
          .then(() => logs.refresh())
          .catch((error) =>
            logger.error({ event: "list_refused", error: describe(error) }, "the list stays unread"),
          );
      };
      process.on("SIGHUP", onHangUp);
      let failure: CairnError | null;
      try {
        const port = await server.listen(listen.data.host, listen.data.port);
        const host = listen.data.host.includes(":") ? `[${listen.data.host}]` : listen.data.host;
        const address = `http://${host}:${port}`;
        const { active, paused } = logs.counts();
        logger.info({ event: "listening", url: address, vkeys, logs: active, paused }, "listening");
        await out.value({ url: address, vkeys });
        await out.line(`listening on ${address}`);
        for (const vkey of vkeys) await out.line(`cosignature  ${vkey}`);
        failure = await Promise.race([witness.failed, signal.then(() => null)]);
        logger.info({ event: "stopping" }, "stopping");
      } finally {
        process.off("SIGHUP", onHangUp);
        await server.close();
      }
      if (failure === null) return EXIT.ok;
      logger.fatal({ event: "stopped", code: failure.code }, failure.message);
      await out.remark(`cairn witness: ${failure.message} [${failure.code}]`);
      return EXIT.no;
    } finally {
      opened?.close();
      lock.release();
    }
  },
);

/** Adds what a list names for the first time. Throws `file_unreadable`, `bad_log_list`, `bad_config`. */
async function readList(path: string, state: WitnessState, logger: Logger): Promise<void> {
  const bytes = await readUpTo(path, LOG_LIST_MAX_BYTES);
  if (bytes.length > LOG_LIST_MAX_BYTES) throw usageError(`${path} is over ${LOG_LIST_MAX_BYTES} bytes`);
  const known = state.logs();
  const listed = withAllKeys(parseLogList(bytes, new Set(known.flatMap(({ keys }) => keys))));
  const unlike = differences(known, listed);
  const added = state.discover(listed);
  logger.info({ event: "list_read", path, listed: listed.length, added: added.length }, "list of logs read");
  for (const { origin, newKeys } of unlike) {
    const text = "the list names a key that is not trusted for a known log; cairn witness logs add trusts it";
    logger.warn({ event: "list_differs", origin, keys: newKeys }, text);
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Resolves at the first SIGTERM or SIGINT; a second one ends the process at once, as without us. */
async function stopSignal(): Promise<void> {
  await Promise.race([once(process, "SIGTERM"), once(process, "SIGINT")]);
  process.removeAllListeners("SIGTERM");
  process.removeAllListeners("SIGINT");
}
