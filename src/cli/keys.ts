// `cairn keys`: the keys that a log's operator hands out.

import { defineGroup } from "./group.ts";

export const keys = defineGroup("cairn keys", {
  add: {
    summary: "Make an API key for a publisher and print it, once.",
    load: async () => (await import("./api-key-commands.ts")).addKey,
  },
  list: {
    summary: "List the API keys, without the keys themselves.",
    load: async () => (await import("./api-key-commands.ts")).listKeys,
  },
  revoke: {
    summary: "End an API key; a running server follows within a second.",
    load: async () => (await import("./api-key-commands.ts")).revokeKey,
  },
  rotate: {
    summary: "Change the log's signing keys, with the server stopped.",
    load: async () => (await import("./rotate-keys.ts")).rotate,
  },
});
