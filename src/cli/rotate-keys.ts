// `cairn keys rotate`: makes the configured signing keys the log's keys.

import { rotateKeys } from "../log/rotate.ts";
import { usageError } from "./args.ts";
import { defineCommand } from "./command.ts";
import { readConfig } from "./config.ts";
import { EXIT } from "./io.ts";
import { logOptions } from "./log-options.ts";
import { remarkedEvents } from "./remarked-events.ts";

export const rotate = defineCommand(
  {
    name: "keys rotate",
    usage: ["keys rotate"],
    about: [
      "Makes the signing keys in LOG_PRIVATE_KEY, LOG_ADDITIONAL_KEYS and LOG_MLDSA_KEY the log's keys; without it a log refuses to start under a changed set. One of them must have signed the newest head: add the new key beside the old one first, and take the old one away in a second rotation, when clients and witnesses know the new one. docs/key-rotation.md gives the order.",
      "Stop the server first. A rotation that was interrupted is finished by running it again. A leaked key is no case for it: that ends the log.",
    ],
    options: {},
    exit: ["The keys are changed.", "Not used.", "They are not: the refusal says why."],
  },
  async ({ args: { positionals }, io, out }) => {
    if (positionals.length > 0) throw usageError(`${positionals[0]} is not expected`);
    const { from, to } = await rotateKeys(logOptions(await readConfig(io.env), remarkedEvents(out)));
    await out.endProgress();
    await out.line(`was  ${from.join("  ")}`);
    await out.line(`now  ${to.join("  ")}`);
    await out.value({ from, to });
    return EXIT.ok;
  },
);
