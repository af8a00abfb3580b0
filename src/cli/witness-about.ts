// `cairn witness about`: the text that a witness's operator publishes to be found.

import { noblePrimitives } from "../core/cosignature.ts";
import { aboutText } from "../witness/service/about.ts";
import { createWitnessKeys } from "../witness/service/keys.ts";
import { requireOption, usageError } from "./args.ts";
import { defineCommand } from "./command.ts";
import { EXIT } from "./io.ts";
import { KEY_FILE_OPTION, parseUrlPrefix, readKeys } from "./witness-options.ts";

export const witnessAbout = defineCommand(
  {
    name: "witness about",
    usage: ["witness about --url URL --private-key-file FILE..."],
    about: [
      "Prints what logs and their verifiers need of a witness: addresses, verifier keys, and lines for a trust policy and for a log's configuration. cairn witness --url URL serves the same text at /about. Add who operates the witness, how it is reached, and which lists of logs it takes.",
    ],
    options: {
      url: { type: "string", value: "URL", about: "The URL prefix at which the witness is reached." },
      "private-key-file": KEY_FILE_OPTION,
    },
    exit: ["Printed.", "Not used.", "It could not be: usage, or a key that cannot be read."],
  },
  async ({ args: { options, positionals }, io, out }) => {
    if (positionals.length > 0) throw usageError(`${positionals[0]} is not expected`);
    const url = parseUrlPrefix(requireOption("url", options.url));
    const keys = await readKeys(io, options["private-key-file"]);
    const { vkeys, signsSubtrees } = createWitnessKeys(keys, noblePrimitives, () => 0);
    const text = aboutText({ vkeys, url, signsSubtrees });
    await out.line(text.trimEnd());
    await out.value({ url, vkeys, text });
    return EXIT.ok;
  },
);
