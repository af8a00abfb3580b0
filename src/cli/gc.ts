// `cairn gc`: removes what crashes and older versions left behind in a log's storage. Not beside a running log.

import { collectGarbage } from "../log/gc.ts";
import { usageError } from "./args.ts";
import { defineCommand } from "./command.ts";
import { readConfig } from "./config.ts";
import { EXIT } from "./io.ts";
import { logOptions } from "./log-options.ts";
import { count } from "./output.ts";
import { remarkedEvents } from "./remarked-events.ts";

export const gc = defineCommand(
  {
    name: "gc",
    usage: ["gc [--dry-run]"],
    about: [
      "Removes partial tiles and bundles whose full object stands and is synced. A running log removes those that it made itself; this finds the rest. It takes the log's locks, so stop the server first; configuration comes from the same environment variables.",
      "Objects in state/quarantine/ are only counted: what they mean is for you to judge.",
    ],
    options: { "dry-run": { type: "boolean", about: "Only count." } },
    exit: [
      "Done.",
      "Not used.",
      "It could not be done: another process holds the log, or it does not start.",
    ],
  },
  async ({ args: { options, positionals }, io, out }) => {
    if (positionals.length > 0) throw usageError(`${positionals[0]} is not expected`);
    const dryRun = options["dry-run"];
    const garbage = await collectGarbage(logOptions(await readConfig(io.env), remarkedEvents(out)), {
      dryRun,
      progress: (seen) => out.progress(() => `${count(seen)} objects`),
    });
    await out.endProgress();
    await out.line(`${dryRun ? "would remove" : "removed"} ${count(garbage.superseded)} partial objects`);
    await out.line(`${count(garbage.quarantined.length)} objects in quarantine`);
    await out.value({ superseded: garbage.superseded, quarantined: garbage.quarantined, dry_run: dryRun });
    return EXIT.ok;
  },
);
