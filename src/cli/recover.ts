// `cairn recover`: gets a log back after its database or parts of its storage were lost, restored or damaged.

import { bundleOffsets } from "../core/bundle.ts";
import { CairnError, isCairnError } from "../core/errors.ts";
import { openLog } from "../log/log.ts";
import { recoverLog } from "../log/recover.ts";
import { openSqliteState } from "../state/sqlite.ts";
import { usageError } from "./args.ts";
import { defineCommand } from "./command.ts";
import { readConfig, type ServerConfig } from "./config.ts";
import { EXIT } from "./io.ts";
import { logOptions } from "./log-options.ts";
import { httpTileSource } from "../client/http-log.ts";
import { count, type Output } from "./output.ts";
import { remarkedEvents } from "./remarked-events.ts";

const LENGTH_BYTES = 2;

export const recover = defineCommand(
  {
    name: "recover",
    usage: ["recover [--from URL] [--from-head] [--resubmit]"],
    about: [
      "Gets a log back when serve refuses to start. The head is the largest note with this log's signature in the database, state/head, the published checkpoint and the mirror; everything under it must be found and verify, and gaps are filled from the mirror. What the database holds beyond it goes on; what contradicts it is set aside, listed, and never dropped.",
      "Stop the server first. Configuration comes from the same environment variables. Every step can be repeated.",
    ],
    options: {
      from: {
        type: "string",
        value: "URL",
        about: "Another copy of the log: its public address or a mirror's.",
      },
      "from-head": {
        type: "boolean",
        about: "Set aside entries in the database that contradict the signed head, instead of refusing.",
      },
      resubmit: {
        type: "boolean",
        about: "Add the entries that were set aside, now or earlier, to the log anew: they get new indices.",
      },
    },
    exit: [
      "The log is recovered.",
      "Its signed heads contradict each other, or it has ended.",
      "It could not be done.",
    ],
  },
  async ({ args: { options, positionals }, io, out }) => {
    if (positionals.length > 0) throw usageError(`${positionals[0]} is not expected`);
    const config = await readConfig(io.env);
    const events = remarkedEvents(out);
    let recovered: Awaited<ReturnType<typeof recoverLog>>;
    try {
      recovered = await recoverLog({
        ...logOptions(config, events),
        mirror:
          options.from === undefined
            ? null
            : httpTileSource({ url: options.from, fetch: io.fetch, clock: io.clock }),
        fromHead: options["from-head"],
      });
    } catch (error) {
      await out.endProgress();
      if (!isCairnError(error, "inconsistent") && !isCairnError(error, "log_ended")) throw error;
      await out.value({ error: { code: error.code, message: error.message } });
      await out.remark(`cairn recover: ${error.message} [${error.code}]`);
      return EXIT.no;
    }
    await out.endProgress();
    await out.line(`recovered at size ${count(recovered.size)}, the head of ${recovered.headFrom}`);
    await out.line(`the next index is ${count(recovered.nextIndex)}`);
    await out.line(
      `${count(recovered.mended.length)} objects mended, ${count(recovered.quarantined.length)} quarantined`,
    );
    for (const key of recovered.quarantined) await out.line(`  quarantined ${key}`);
    await out.line(
      `${count(recovered.setAside)} entries are set aside, ${count(recovered.newlySetAside)} of them now`,
    );
    await out.value({
      size: recovered.size,
      next_index: recovered.nextIndex,
      head_from: recovered.headFrom,
      mended: recovered.mended,
      quarantined: recovered.quarantined,
      set_aside: recovered.setAside,
      newly_set_aside: recovered.newlySetAside,
    });
    await listSetAside(config, out);
    if (options.resubmit) await resubmit(config, out);
    else if (recovered.setAside > 0) await out.line("cairn recover --resubmit adds them anew");
    return EXIT.ok;
  },
);

async function listSetAside(config: ServerConfig, out: Output): Promise<void> {
  const state = await openSqliteState(config.databasePath, { mode: "read" });
  try {
    for (const row of await state.listSetAside()) {
      const last = row.first + row.count - 1;
      await out.line(`  set aside: entries acknowledged as ${row.first} to ${last} (${row.reason})`);
      await out.value({ set_aside: { first: row.first, count: row.count, reason: row.reason } });
    }
  } finally {
    await state.close();
  }
}

/** Adds the entries that were set aside through the ordinary way in, and forgets each run once it is acknowledged. */
async function resubmit(config: ServerConfig, out: Output): Promise<void> {
  const log = await openLog({
    ...logOptions(config, remarkedEvents(out)),
    create: false,
    refuseContent: () => null,
  });
  try {
    await log.writable;
    for (const row of await log.setAside()) {
      const offsets = bundleOffsets(row.bytes, row.count);
      const entries = Array.from({ length: row.count }, (_, i) =>
        row.bytes.subarray((offsets[i] as number) + LENGTH_BYTES, offsets[i + 1]),
      );
      const outcomes = await log.addBatch(entries);
      for (const [i, outcome] of outcomes.entries()) {
        if (outcome instanceof CairnError) throw outcome;
        await out.line(
          `  ${row.first + i} is now ${outcome.index}${outcome.duplicate ? " (it stood there already)" : ""}`,
        );
        await out.value({
          resubmitted: { was: row.first + i, index: outcome.index, duplicate: outcome.duplicate },
        });
      }
      await log.forgetSetAside(row.id);
    }
  } finally {
    await log.close();
  }
}
