// `cairn keys add`, `list` and `revoke`: the API keys of publishers, beside a running server too.

import { existsSync } from "node:fs";
import { CairnError } from "../core/errors.ts";
import { WRITE_ROLE } from "../http/auth.ts";
import type { RateLimit } from "../http/rate-limit.ts";
import { ApiKeyFile, apiKeysPath, generateApiKey, ROLES } from "./api-keys.ts";
import { usageError } from "./args.ts";
import { defineCommand } from "./command.ts";
import { readDatabasePath } from "./config.ts";
import { EXIT } from "./io.ts";

const WHERE =
  "The keys lie beside the log's database (DATABASE_URL) in a file of their own, as hashes; a running server follows within a second.";

export const addKey = defineCommand(
  {
    name: "keys add",
    usage: ["keys add NAME [--role write] [--rate N --burst N]"],
    about: [
      "Makes an API key and prints it. It is shown once and cannot be shown again; its owner sends it as Authorization: Bearer.",
      WHERE,
    ],
    options: {
      role: { type: "string", value: "ROLE", about: "What the key may do: write, which is the default." },
      rate: {
        type: "string",
        value: "N",
        about: "Requests a second for this key, in place of the log's rate.",
      },
      burst: { type: "string", value: "N", about: "Requests at once for this key; goes with --rate." },
    },
    exit: [
      "The key was made.",
      "Not used.",
      "It was not: usage, a name in use, or the file cannot be written.",
    ],
  },
  async ({ args: { options, positionals }, io, out }) => {
    const name = onlyName(positionals);
    const { role = WRITE_ROLE } = options;
    if (!ROLES.includes(role)) throw usageError(`--role is one of: ${ROLES.join(", ")}`);
    const quota = parseQuota(options.rate, options.burst);
    const databasePath = readDatabasePath(io.env);
    const path = apiKeysPath(databasePath);
    if (!existsSync(databasePath)) {
      await out.remark(`There is no database at ${databasePath} yet; is DATABASE_URL the server's?`);
    }
    const file = (await ApiKeyFile.open(path, "create")) as ApiKeyFile;
    try {
      const key = generateApiKey();
      file.add({ name, roles: [role], quota, key }, io.clock.now());
      await out.remark(`The key of ${name}, shown this once:`);
      await out.line(key);
      await out.value({ name, roles: [role], quota: quotaValue(quota), key });
    } finally {
      file.close();
    }
    return EXIT.ok;
  },
);

export const listKeys = defineCommand(
  {
    name: "keys list",
    usage: ["keys list"],
    about: [
      "Lists every API key that was made, with its role, its rate, and when it was made and revoked.",
      WHERE,
    ],
    options: {},
    exit: ["Listed.", "Not used.", "It could not be read."],
  },
  async ({ args: { positionals }, io, out }) => {
    if (positionals.length > 0) throw usageError(`${positionals[0]} is not expected`);
    const file = await ApiKeyFile.open(apiKeysPath(readDatabasePath(io.env)), "write");
    try {
      for (const { name, roles, quota, createdAt, revokedAt } of file?.list() ?? []) {
        const rate = quota === null ? "log's rate" : `${quota.perSecond}/s, burst ${quota.burst}`;
        const state = revokedAt === null ? "valid" : `revoked ${revokedAt}`;
        await out.line(`${name}\t${roles.join(",")}\t${rate}\tmade ${createdAt}\t${state}`);
        await out.value({
          name,
          roles,
          quota: quotaValue(quota),
          created_at: createdAt,
          revoked_at: revokedAt,
        });
      }
    } finally {
      file?.close();
    }
    return EXIT.ok;
  },
);

export const revokeKey = defineCommand(
  {
    name: "keys revoke",
    usage: ["keys revoke NAME"],
    about: ["Ends an API key for good; its name is not used again.", WHERE],
    options: {},
    exit: ["Revoked.", "There is no valid key of that name.", "It could not be done."],
  },
  async ({ args: { positionals }, io, out }) => {
    const name = onlyName(positionals);
    const file = await ApiKeyFile.open(apiKeysPath(readDatabasePath(io.env)), "write");
    try {
      if (file === null) throw new CairnError("key_unknown", { detail: name });
      file.revoke(name, io.clock.now());
    } finally {
      file?.close();
    }
    await out.line(`revoked ${name}`);
    await out.value({ name, revoked: true });
    return EXIT.ok;
  },
);

function onlyName(positionals: readonly string[]): string {
  const [name, ...rest] = positionals;
  if (name === undefined || rest.length > 0) throw usageError("give one name");
  return name;
}

function parseQuota(rate: string | undefined, burst: string | undefined): RateLimit | null {
  if (rate === undefined && burst === undefined) return null;
  const perSecond = Number(rate);
  const atOnce = Number(burst);
  if (!(perSecond > 0 && Number.isFinite(perSecond)) || !(atOnce >= 1 && Number.isSafeInteger(atOnce))) {
    throw usageError("--rate and --burst go together: a number above 0 and a whole one of at least 1");
  }
  return { perSecond, burst: atOnce };
}

function quotaValue(quota: RateLimit | null): object | null {
  return quota === null ? null : { per_second: quota.perSecond, burst: quota.burst };
}
