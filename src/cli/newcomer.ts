// `npm start`: a log for whoever wants to see one, on the embedded defaults, with a key made on the first run. It is the
// only place that sets LOG_CREATE by itself, and only in the run that makes the key: a marker is laid before the key and
// removed when the log stands, so an interrupted first start can be repeated, and a key without its log is refused.

import { stat } from "node:fs/promises";
import { join } from "node:path";
import { CairnError } from "../core/errors.ts";
import { makeFolderDurable, removeFileDurable, writeFileDurable } from "../storage/durable.ts";
import { ApiKeyFile, apiKeysPath } from "./api-keys.ts";
import { isLoopback, readConfig } from "./config.ts";
import { serverExit } from "./exit-classes.ts";
import type { ExitCode, Io } from "./io.ts";
import { createKeyFile, readKeyFile } from "./key-file.ts";
import { misplaced } from "./misplaced.ts";
import { createOutput, errorLine, type Output } from "./output.ts";
import { runServer } from "./serve.ts";

export const NEWCOMER_ORIGIN = "localhost/cairn";
const DATA_FOLDER = "data";
const ED25519 = 0x01;

/** Runs `npm start` until a signal. Never rejects for what went wrong: that is printed. */
export async function runNewcomer(io: Io): Promise<ExitCode> {
  const out = createOutput(io, false);
  try {
    return await start(io, out);
  } catch (cause) {
    const error = misplaced(cause) ?? cause;
    await out.remark(`cairn: ${errorLine(error)}`);
    return serverExit(error);
  }
}

async function start(io: Io, out: Output): Promise<ExitCode> {
  const env: Record<string, string | undefined> = { ...io.env };
  env.LOG_LEVEL ||= "error";
  const hasOwnKey = Boolean(env.LOG_PRIVATE_KEY || env.LOG_PRIVATE_KEY_FILE);
  const marker = join(DATA_FOLDER, "creating");
  let creating = false;
  if (!hasOwnKey) {
    const keyFile = join(DATA_FOLDER, "log.key");
    const database = (env.DATABASE_URL || "sqlite:./data/log.db")
      .replace(/^sqlite:(\/\/)?/, "")
      .replace(/\?.*$/, "");
    creating = await makeKey(keyFile, marker, database);
    env.LOG_PRIVATE_KEY_FILE = keyFile;
    if (creating) env.LOG_CREATE = "true";
  }
  const config = await readConfig(env);
  // Only where nothing was said about who may write: not against an explicit no, nor past keys that were given out.
  const isUnsaid = !env.ALLOW_PUBLIC_WRITES && config.apiKey === undefined;
  const isOpen = isUnsaid && isLoopback(config.listen.host) && !(await hasNamedKeys(config.databasePath));
  const settings = isOpen ? { ...config, allowPublicWrites: true } : config;
  return runServer(settings, out, async ({ url, log }) => {
    if (creating) await removeFileDurable(marker);
    const vkey = log.vkeys[0] ?? "";
    await out.line(`A transparency log is running at ${url}`);
    await out.line(`  origin  ${log.origin}`);
    await out.line(`  vkey    ${vkey}`);
    if (isOpen) await out.line("Anyone on this machine may write to it. Its data lies in ./data.");
    await out.line("");
    await out.line("Three commands to try, in another terminal:");
    await out.line(`  printf 'hello, log' > hello.txt`);
    await out.line(`  curl --data-binary @hello.txt '${url}/add?proof=true' -o hello.tlog-proof`);
    await out.line(`  node dist/cli/main.js verify hello.tlog-proof hello.txt --key '${vkey}'`);
    await out.line("");
    await out.line("Stop with Ctrl-C. README.md and docs/ say how to go on from here.");
  });
}

async function hasNamedKeys(databasePath: string): Promise<boolean> {
  const file = await ApiKeyFile.open(apiKeysPath(databasePath), "read");
  try {
    // Revoked ones too: whoever revoked the last key did not mean everybody to write.
    return file !== null && file.list().length > 0;
  } finally {
    file?.close();
  }
}

/** Makes the key where this is the first start, or one that was interrupted. Answers whether the log is to be created. */
async function makeKey(keyFile: string, marker: string, database: string): Promise<boolean> {
  const [hasKey, hasMarker, hasDatabase] = await Promise.all([
    exists(keyFile),
    exists(marker),
    exists(database),
  ]);
  if (!hasMarker) {
    if (hasKey && hasDatabase) return false;
    if (hasKey)
      throw new CairnError("key_without_log", { detail: `${keyFile} is here and ${database} is not` });
    if (hasDatabase) {
      throw new CairnError("log_exists", {
        detail: `${database} is here and its key ${keyFile} is not: put it back`,
      });
    }
    await makeFolderDurable(DATA_FOLDER);
    await writeFileDurable(marker, Buffer.from("a first start is under way\n"));
  }
  if (!hasKey) await createKeyFile(keyFile, NEWCOMER_ORIGIN, ED25519);
  // Read back before anything is signed with it: a log whose key is not on the disk has lost it already.
  await readKeyFile(keyFile);
  return true;
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return false;
    throw error;
  }
}
