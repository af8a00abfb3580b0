// `cairn witness`: runs a witness, or with a further word looks after one.

import { defineGroup, type Runnable } from "./group.ts";
import { runWitness } from "./witness-run.ts";

const BESIDE = defineGroup("cairn witness", {
  logs: {
    summary: "List, add, pause and resume the logs of a witness.",
    load: async () => (await import("./witness-logs.ts")).witnessLogs,
  },
  about: {
    summary: "Print the text that the operator publishes.",
    load: async () => (await import("./witness-about.ts")).witnessAbout,
  },
});

export const witness: Runnable = {
  async run(argv, io) {
    return argv[0] === "logs" || argv[0] === "about"
      ? await BESIDE.run(argv, io)
      : await runWitness.run(argv, io);
  },
};
