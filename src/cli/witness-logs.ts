// `cairn witness logs`: the logs of a witness, beside it while it runs; what changes here counts from its next request on.

import { CairnError } from "../core/errors.ts";
import { openWitnessState } from "../state/witness-sqlite.ts";
import type { WitnessedLog, WitnessState } from "../state/witness-state.ts";
import { checkLogKey, isValidOrigin } from "../witness/service/log-list.ts";
import { withKey } from "../witness/service/logs.ts";
import { usageError } from "./args.ts";
import { defineCommand } from "./command.ts";
import { defineGroup } from "./group.ts";
import { EXIT } from "./io.ts";
import { DATABASE_OPTION, databasePath } from "./witness-options.ts";

const WHERE =
  "The logs stand in the witness's database; a running witness follows at once. Logs that it was given with --log stand on its command line alone, and are not listed.";

const list = defineCommand(
  {
    name: "witness logs list",
    usage: ["witness logs list [--database-url sqlite:FILE]"],
    about: ["Lists the logs that were added or that a list named, with the size last cosigned.", WHERE],
    options: { "database-url": DATABASE_OPTION },
    exit: ["Listed.", "Not used.", "It could not be read."],
  },
  async ({ args: { options, positionals }, out }) => {
    if (positionals.length > 0) throw usageError(`${positionals[0]} is not expected`);
    await beside(options["database-url"], async (state) => {
      for (const log of state.logs()) {
        const size = state.cosigned(log.origin)?.size;
        const shown = size === undefined ? "never cosigned" : `size ${size}`;
        await out.line(`${log.paused ? "paused" : "active"}  ${shown}  ${log.origin}`);
        for (const vkey of log.keys) await out.line(`    ${vkey}`);
        const announced = [log.qpd === null ? null : `${log.qpd} requests a day`, log.contact];
        const more = announced.filter((part) => part !== null).join(", ");
        if (more !== "") await out.line(`    ${more}`);
        await out.value({ ...log, cosigned_size: size === undefined ? null : String(size) });
      }
    });
    return EXIT.ok;
  },
);

const add = defineCommand(
  {
    name: "witness logs add",
    usage: ["witness logs add VKEY [--origin ORIGIN] [--contact TEXT] [--database-url sqlite:FILE]"],
    about: [
      "Adds a log, or one more key of a log that is known, for a change of its key. A log that is paused stays so.",
      WHERE,
    ],
    options: {
      origin: {
        type: "string",
        value: "ORIGIN",
        about: "The first line of the log's checkpoints, where it is not the key's name.",
      },
      contact: { type: "string", value: "TEXT", about: "How the log's operator is reached." },
      "database-url": DATABASE_OPTION,
    },
    exit: [
      "The key is trusted for the log.",
      "Not used.",
      "It was not: usage, or the database cannot be written.",
    ],
  },
  async ({ args: { options, positionals }, out }) => {
    const vkey = only(positionals, "vkey");
    const origin = options.origin ?? checkLogKey(vkey);
    checkLogKey(vkey);
    checkOrigin(origin);
    await beside(options["database-url"], async (state) => {
      const known = find(state, origin) ?? emptyLog(origin);
      const log = known.keys.includes(vkey) ? known : withKey(known, vkey);
      const contact = options.contact ?? log.contact;
      state.putLog({ ...log, contact });
      await out.line(`${origin}: ${log.keys.length === 1 ? "one key" : `${log.keys.length} keys`} trusted`);
      if (log.paused) await out.remark(`${origin} is paused; cairn witness logs resume ends that`);
      await out.value({ ...log, contact });
    });
    return EXIT.ok;
  },
);

const drop = defineCommand(
  {
    name: "witness logs drop-key",
    usage: ["witness logs drop-key VKEY [--origin ORIGIN] [--database-url sqlite:FILE]"],
    about: [
      "Ends the trust in one key of a log, at the end of a change of its key. The last key cannot be dropped: pause the log.",
      WHERE,
    ],
    options: {
      origin: {
        type: "string",
        value: "ORIGIN",
        about: "The first line of the log's checkpoints, where it is not the key's name.",
      },
      "database-url": DATABASE_OPTION,
    },
    exit: ["The key is trusted no more.", "Not used.", "It was not: usage, or there is no such log or key."],
  },
  async ({ args: { options, positionals }, out }) => {
    const vkey = only(positionals, "vkey");
    const origin = options.origin ?? checkLogKey(vkey);
    await beside(options["database-url"], async (state) => {
      const log = find(state, origin);
      if (log === null || !log.keys.includes(vkey)) throw unknown(`${origin} with ${vkey}`);
      const keys = log.keys.filter((key) => key !== vkey);
      if (keys.length === 0) throw usageError(`it is the last key of ${origin}; pause the log instead`);
      state.putLog({ ...log, keys });
      await out.line(`${origin}: ${keys.length === 1 ? "one key" : `${keys.length} keys`} trusted`);
      await out.value({ ...log, keys });
    });
    return EXIT.ok;
  },
);

const pause = pausing("pause", true, [
  "Ends the service for a log: it is answered like one that is not known, also where it was given with --log. What was cosigned for it stays recorded and readable.",
]);

const resume = pausing("resume", false, ["Takes the service for a paused log up again, where it stood."]);

export const witnessLogs = defineGroup("cairn witness logs", {
  list: { summary: "List the logs of a witness.", load: async () => list },
  add: { summary: "Add a log, or a further key of one.", load: async () => add },
  pause: { summary: "End the service for a log.", load: async () => pause },
  resume: { summary: "Take the service for a log up again.", load: async () => resume },
  "drop-key": { summary: "End the trust in one key of a log.", load: async () => drop },
});

function pausing(verb: "pause" | "resume", paused: boolean, about: readonly string[]) {
  return defineCommand(
    {
      name: `witness logs ${verb}`,
      usage: [`witness logs ${verb} ORIGIN [--database-url sqlite:FILE]`],
      about: [...about, WHERE],
      options: { "database-url": DATABASE_OPTION },
      exit: ["Done.", "Not used.", "It was not: usage, or there is no such log."],
    },
    async ({ args: { options, positionals }, out }) => {
      const origin = only(positionals, "origin");
      checkOrigin(origin);
      await beside(options["database-url"], async (state) => {
        const known = find(state, origin);
        // A log of the command line has no row of its own; it can be paused all the same, once it was cosigned.
        if (known === null && (!paused || state.cosigned(origin) === null)) throw unknown(origin);
        const log = { ...(known ?? emptyLog(origin)), paused };
        state.putLog(log);
        await out.line(`${origin} is ${paused ? "paused" : "active"}`);
        await out.value(log);
      });
      return EXIT.ok;
    },
  );
}

async function beside(url: string | undefined, use: (state: WitnessState) => Promise<void>): Promise<void> {
  const { state } = await openWitnessState(databasePath(url), "beside");
  try {
    await use(state);
  } finally {
    state.close();
  }
}

function find(state: WitnessState, origin: string): WitnessedLog | null {
  return state.logs().find((log) => log.origin === origin) ?? null;
}

function emptyLog(origin: string): WitnessedLog {
  return { origin, keys: [], paused: false, qpd: null, contact: null };
}

function checkOrigin(origin: string): void {
  if (!isValidOrigin(origin)) throw usageError("an origin is not empty and has no control character");
}

function only(positionals: readonly string[], what: string): string {
  const [value, ...more] = positionals;
  if (value === undefined || more.length > 0) throw usageError(`one ${what} is expected`);
  return value;
}

function unknown(detail: string): CairnError {
  return new CairnError("log_unknown", { detail });
}
