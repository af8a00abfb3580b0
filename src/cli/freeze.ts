// `cairn freeze`: ends a log. It can be read for ever and is never written again.

import { openLog } from "../log/log.ts";
import { usageError } from "./args.ts";
import { defineCommand } from "./command.ts";
import { readConfig } from "./config.ts";
import { EXIT } from "./io.ts";
import { logOptions } from "./log-options.ts";
import { count } from "./output.ts";
import { remarkedEvents } from "./remarked-events.ts";

export const freeze = defineCommand(
  {
    name: "freeze",
    usage: ["freeze [--now]"],
    about: [
      "Publishes every acknowledged entry, with the cosignatures that the policy asks for, and then marks the log as frozen in state/head. From then on every write is refused, whoever starts it with whatever copy of the database; tiles, checkpoints and proofs stay readable. There is no way back: go on under a new origin.",
      "Stop the server first. Configuration comes from the same environment variables. It waits for witnesses as long as it takes; --now does not wait, and says what it abandons.",
    ],
    options: {
      now: { type: "boolean", about: "Freeze at what is published now, and list what is abandoned." },
    },
    exit: [
      "The log is frozen.",
      "It is frozen, and acknowledged entries were abandoned (--now).",
      "It is not frozen.",
    ],
  },
  async ({ args: { options, positionals }, io, out }) => {
    if (positionals.length > 0) throw usageError(`${positionals[0]} is not expected`);
    const config = await readConfig(io.env);
    const log = await openLog({
      ...logOptions(config, remarkedEvents(out)),
      create: false,
      refuseContent: () => null,
    });
    try {
      const { size, abandoned } = await log.freeze({ now: options.now });
      await out.endProgress();
      await out.line(`frozen at size ${count(size)}`);
      if (abandoned > 0) {
        await out.line(
          `abandoned: ${count(abandoned)} acknowledged entries, indices ${size} to ${size + abandoned - 1}`,
        );
      }
      await out.value({ size, abandoned });
      return abandoned > 0 ? EXIT.no : EXIT.ok;
    } finally {
      await log.close();
    }
  },
);
