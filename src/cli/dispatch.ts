// Which commands there are.

import { defineGroup, type GroupEntry } from "./group.ts";

/** In the order of `cairn --help`. */
const COMMANDS: Readonly<Record<string, GroupEntry>> = {
  serve: {
    summary: "Run a log.",
    load: async () => (await import("./serve.ts")).serve,
  },
  keygen: {
    summary: "Make a signing key for a log or a witness.",
    load: async () => (await import("./keygen.ts")).keygen,
  },
  keys: {
    summary: "Make, list and revoke the API keys of publishers.",
    load: async () => (await import("./keys.ts")).keys,
  },
  policy: {
    summary: "Print what a verifier pins: a log's keys and its witness policy.",
    load: async () => (await import("./policy.ts")).policy,
  },
  add: {
    summary: "Log files, or lines of NDJSON, and print their indices.",
    load: async () => (await import("./add.ts")).add,
  },
  prove: {
    summary: "Fetch the proof of an entry from a log.",
    load: async () => (await import("./prove.ts")).prove,
  },
  verify: {
    summary: "Verify a proof offline, or that a log only ever grew.",
    load: async () => (await import("./verify.ts")).verify,
  },
  recover: {
    summary: "Get a log back from its tiles, its database, or a mirror.",
    load: async () => (await import("./recover.ts")).recover,
  },
  gc: {
    summary: "Remove partial tiles that full ones have replaced.",
    load: async () => (await import("./gc.ts")).gc,
  },
  witness: {
    summary: "Run a witness: cosign other logs' checkpoints.",
    load: async () => (await import("./witness.ts")).witness,
  },
  freeze: {
    summary: "End a log: publish what is left, then never write again.",
    load: async () => (await import("./freeze.ts")).freeze,
  },
  fsck: {
    summary: "Rebuild a whole log from its entries and compare.",
    load: async () => (await import("./fsck.ts")).fsck,
  },
  bench: {
    summary: "Measure this machine, and a log on it.",
    load: async () => (await import("./bench.ts")).bench,
  },
};

export const cairn = defineGroup("cairn", COMMANDS);
