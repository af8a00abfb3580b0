// Environment variables to typed values, once, at the start: the only place that reads the environment for a server. All
// problems are reported together, and none of them quotes a secret. docs/configuration.md is generated from this table.

import { isIP } from "node:net";
import { z } from "zod";
import { decodeUtf8 } from "../core/bytes.ts";
import { CairnError, isCairnError } from "../core/errors.ts";
import { noblePrimitives } from "../core/cosignature.ts";
import { type PrivateKey, parsePrivateKey, privateKeyVkey } from "../core/note-key.ts";
import { isValidKeyName, SIGNATURE_TYPE } from "../core/vkey.ts";
import type { RateLimit } from "../http/rate-limit.ts";
import type { LogLimits } from "../log/options.ts";
import { readSmallFile } from "./files.ts";
import type { Io } from "./io.ts";
import { nodeEd25519 } from "./node-ed25519.ts";
import { parseEndpoint, readStorage, type StorageConfig } from "./storage-config.ts";
import { readWitnesses, type WitnessConfig } from "./witness-config.ts";

export interface Variable<T> {
  /** From the variable's text. Its messages follow the variable's name and never quote a secret. */
  readonly schema: z.ZodType<T, string>;
  /** The text that stands in where the variable is not set; null: the value is then undefined. */
  readonly default: string | null;
  /** What the documentation gives as the default where `default` is null. */
  readonly otherwise?: string;
  /** May come as `<NAME>_FILE`, white space at the end ignored. */
  readonly secret?: true;
  /** One or two sentences for the documentation. */
  readonly about: string;
}

const MAX_SECONDS = 86_400;
const DEFAULT_RATE: RateLimit = { perSecond: 200, burst: 400 };
const DEFAULT_LAG_SECONDS = 30;

/** In the order of the documentation. */
export const VARIABLES = {
  LISTEN_ADDR: variable({
    schema: text(parseListenAddress, "reads HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080"),
    default: "127.0.0.1:8080",
    about: "Where the server listens. Port 0 lets the system choose.",
  }),
  LOG_ORIGIN: variable({
    schema: text(
      (value) => (isValidKeyName(value) ? value : null),
      "is a name without spaces, plus signs and control characters",
    ),
    default: null,
    otherwise: "the key's name",
    about:
      "The name of the log for ever, best its URL prefix without `https://` and final slash. It must be the name of its keys.",
  }),
  LOG_PRIVATE_KEY: variable({
    schema: privateKey(SIGNATURE_TYPE.ed25519, "an Ed25519 key"),
    default: null,
    otherwise: "required",
    secret: true,
    about: "The log's signing key, as `cairn keygen` writes it (Go's note format).",
  }),
  LOG_ADDITIONAL_KEYS: variable({
    schema: text(
      (value) => eachOf(value, (item) => parseKey(item, SIGNATURE_TYPE.ed25519)),
      "holds Ed25519 keys as keygen writes them, separated by commas or white space",
    ),
    default: null,
    otherwise: "none",
    secret: true,
    about:
      "Further Ed25519 keys of the same name that sign beside the first, separated by commas or white space: for a rotation.",
  }),
  LOG_MLDSA_KEY: variable({
    schema: privateKey(SIGNATURE_TYPE.mldsa44, "an ML-DSA-44 key"),
    default: null,
    otherwise: "none",
    secret: true,
    about: "An ML-DSA-44 key of the same name, for a second signature line on each checkpoint. Experimental.",
  }),
  LOG_CREATE: variable({
    schema: flag(),
    default: "false",
    about:
      "`true` for the one start that makes a new log; then take it away. Without it nothing is ever created because something was not found.",
  }),
  DATABASE_URL: variable({
    schema: text(parseDatabaseUrl, "reads sqlite:PATH, such as sqlite:/var/lib/cairn/log.db"),
    default: "sqlite:./data/log.db",
    about: "The log's database. What belongs to it lies beside it under names that begin with its own.",
  }),
  STORAGE_BACKEND: variable({
    schema: text((value) => (value === "fs" || value === "s3" ? value : null), "is fs or s3"),
    default: "fs",
    about: "Where tiles are kept: `fs`, a folder, or `s3`, a bucket of an S3-compatible store.",
  }),
  FS_ROOT: variable({
    schema: z.string(),
    default: "./data/tiles",
    about:
      "The folder of tiles, with `STORAGE_BACKEND=fs`. Its paths are those of the URLs; `state/` in it is private.",
  }),
  S3_BUCKET: variable({
    schema: text(
      (value) => (/^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$/.test(value) ? value : null),
      "is the name of a bucket, without s3:// and path",
    ),
    default: null,
    otherwise: "required with `STORAGE_BACKEND=s3`",
    about: "The bucket of tiles, which the log has to itself. It must exist. docs/s3.md has its policy.",
  }),
  S3_ENDPOINT: variable({
    schema: text(parseEndpoint, "is the http or https URL of a store, without bucket, user and query"),
    default: null,
    otherwise: "AWS's, or what AWS's own configuration says",
    about: "The address of the store, such as https://fly.storage.tigris.dev.",
  }),
  S3_REGION: variable({
    schema: text((value) => (/^[A-Za-z0-9-]+$/.test(value) ? value : null), "is the name of a region"),
    default: null,
    otherwise: "`us-east-1` where `S3_ENDPOINT` is set, else what AWS's own configuration says",
    about: "The region that requests are signed for.",
  }),
  S3_ACCESS_KEY: variable({
    schema: text((value) => (/^[!-~]+$/.test(value) ? value : null), "has visible ASCII characters only"),
    default: null,
    otherwise: "AWS's own chain: environment, profile, container, instance",
    secret: true,
    about: "The id of the access key to the store.",
  }),
  S3_SECRET_KEY: variable({
    schema: text((value) => (/^[!-~]+$/.test(value) ? value : null), "has visible ASCII characters only"),
    default: null,
    otherwise: "as `S3_ACCESS_KEY`",
    secret: true,
    about: "The access key's secret.",
  }),
  S3_FORCE_PATH_STYLE: variable({
    schema: flag(),
    default: null,
    otherwise: "`true` where `S3_ENDPOINT` is set, else `false`",
    about: "`true` puts the bucket in the path of a request, `false` in the name of the host.",
  }),
  API_KEY: variable({
    schema: text(
      (value) => (/^[!-~]+$/.test(value) ? value : null),
      "has visible ASCII characters only, and no space",
    ),
    default: null,
    otherwise: "none",
    secret: true,
    about:
      "A key that may write, sent as `Authorization: Bearer`. `cairn keys add` makes further ones that can be told apart and revoked.",
  }),
  ALLOW_PUBLIC_WRITES: variable({
    schema: flag(),
    default: "false",
    about:
      "`true` lets anyone write, without a key. Entries are public for ever: decide first what you do about unlawful ones.",
  }),
  CHECKPOINT_INTERVAL: variable({
    schema: seconds(0.01),
    default: "1",
    about: "Seconds between published checkpoints, fractions welcome.",
  }),
  BATCH_MAX_SIZE: variable({
    schema: integer(1, 200_000),
    default: "10000",
    about: "Entries in one commit at most; a larger `/add-batch` is a commit of its own.",
  }),
  BATCH_MAX_AGE_MS: variable({
    schema: integer(0, 60_000),
    default: "0",
    about:
      "Milliseconds that a commit may be held to gather more entries. 0 is fastest: a commit begins when the last one ends.",
  }),
  BACKLOG_MAX_BYTES: variable({
    schema: integer(1024 * 1024, Number.MAX_SAFE_INTEGER),
    default: "1073741824",
    about: "Bytes of entries that may wait for publication; beyond them writes get 503 `backlog_full`.",
  }),
  REPUBLISH_INTERVAL: variable({
    schema: seconds(1),
    default: "600",
    about:
      "Seconds after which an idle log publishes its checkpoint anew, for readers who ask for a fresh one.",
  }),
  PROOF_TIMEOUT: variable({
    schema: seconds(0.1),
    default: "30",
    about: "Seconds that `/add?proof=true` waits for a checkpoint before it answers 504 `proof_timeout`.",
  }),
  READY_MAX_LAG: variable({
    schema: seconds(0.1),
    default: null,
    otherwise: "30 + `CHECKPOINT_INTERVAL`",
    about:
      "Seconds that an acknowledged entry may wait for publication, or a checkpoint be overdue, before `/ready` answers 503.",
  }),
  RATE_LIMIT_PER_SECOND: variable({
    schema: rate(),
    default: null,
    otherwise: "none on a loopback address, else 200",
    about:
      "Writes a second for each key, or for each client address without one. 0 sets no limit; a batch is one write.",
  }),
  RATE_LIMIT_BURST_SIZE: variable({
    schema: integer(1, 1_000_000_000),
    default: null,
    otherwise: "twice the rate",
    about: "Writes at once: they are counted in windows of burst ÷ rate seconds.",
  }),
  EXTERNAL_WITNESSES: variable({
    schema: z.string(),
    default: null,
    otherwise: "none",
    about:
      "Witnesses that cosign checkpoints: `name=url=vkey`, separated by commas. The name is a label, the URL the submission prefix, the key the cosignature key (type 0x04 or 0x06). Without a quorum of them nothing is published.",
  }),
  WITNESS_QUORUM: variable({
    schema: integer(1, 1000),
    default: null,
    otherwise: "all of them",
    about: "How many of `EXTERNAL_WITNESSES` have to cosign a checkpoint before it is published.",
  }),
  WITNESS_POLICY: variable({
    schema: z.string(),
    default: null,
    otherwise: "none",
    about:
      "A tlog-policy file in place of the two above, for more than a count. Witnesses outside the quorum are asked too; those without a URL are not.",
  }),
  WITNESS_SURPLUS_WAIT_MS: variable({
    schema: integer(0, 60_000),
    default: "0",
    about: "Milliseconds to wait for further cosignatures once the quorum is met.",
  }),
  WITNESS_IGNORE: variable({
    schema: z.string(),
    default: null,
    otherwise: "none",
    about:
      "Names of witnesses, separated by commas, that get no vote and are not asked: for one that claims what it cannot show.",
  }),
  WITNESS_MONITOR_URLS: variable({
    schema: z.string(),
    default: null,
    otherwise: "the submission prefixes",
    about: "`name=url`, separated by commas: where a witness shows its newest checkpoints, if elsewhere.",
  }),
  CLIENT_ADDRESS_HEADER: variable({
    schema: text(
      (value) => (/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(value) ? value.toLowerCase() : null),
      "is the name of one header",
    ),
    default: null,
    otherwise: "none",
    about:
      "The header in which your proxy gives the client's address, such as `Fly-Client-IP`; its last element counts. Only behind a proxy that sets it: others could send it too.",
  }),
  LOG_LEVEL: variable({
    schema: z.enum(["fatal", "error", "warn", "info", "debug", "trace", "silent"], {
      error: "is fatal, error, warn, info, debug, trace or silent",
    }),
    default: "info",
    about: "What the server writes to its own log, one JSON object a line.",
  }),
};

const NO_INDEX = "the verifiable index is";

/** Names of what is still to come. To set one and have it ignored would be a promise that nobody keeps. */
export const NOT_IN_THIS_VERSION: Readonly<Record<string, string>> = {
  VINDEX_ENABLED: NO_INDEX,
  VINDEX_KEY_FIELD: NO_INDEX,
  VINDEX_SNAPSHOT_INTERVAL: NO_INDEX,
  VINDEX_DIR: NO_INDEX,
  VINDEX_ANCHOR_INTERVAL: NO_INDEX,
  VINDEX_PRIVATE_KEY: NO_INDEX,
  VINDEX_PRIVATE_KEY_FILE: NO_INDEX,
  ENTRY_SCHEMA: "entry schemas are",
};

type Values = {
  readonly [K in keyof typeof VARIABLES]: (typeof VARIABLES)[K] extends Variable<infer T> ? T : never;
};

type Environment = Io["env"];

/** What the commands that own a log are told. */
export interface ServerConfig {
  readonly listen: ListenAddress;
  readonly origin: string;
  readonly keys: {
    readonly first: PrivateKey;
    readonly additional: readonly PrivateKey[];
    readonly mldsa44: PrivateKey | null;
  };
  readonly create: boolean;
  readonly databasePath: string;
  readonly storage: StorageConfig;
  readonly apiKey: string | undefined;
  readonly allowPublicWrites: boolean;
  readonly limits: LogLimits;
  /** Null: nothing is cosigned, and what is signed is published. */
  readonly witnesses: WitnessConfig | null;
  /** For each key or address; null: none. */
  readonly rateLimit: RateLimit | null;
  /** Lower case. */
  readonly clientAddressHeader: string | null;
  readonly logLevel: "fatal" | "error" | "warn" | "info" | "debug" | "trace" | "silent";
}

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** Throws `bad_config` with every problem in its detail, one a line. */
export async function readConfig(env: Environment): Promise<ServerConfig> {
  const problems: string[] = [];
  for (const [name, what] of Object.entries(NOT_IN_THIS_VERSION)) {
    const value = env[name];
    // What is switched off is promised nothing.
    if (value !== undefined && value !== "" && value !== "false") {
      problems.push(`${name} is set, and ${what} not in this version`);
    }
  }
  const values: Record<string, unknown> = {};
  for (const [name, variable] of Object.entries(VARIABLES) as [string, Variable<unknown>][]) {
    values[name] = await readVariable(name, variable, env, problems);
  }
  const read = values as Values;
  const keys = checkKeys(read, problems);
  const witnesses = keys === null ? null : await witnessesOf(read, keys, problems);
  const storage = storageOf(read, problems);
  if (problems.length > 0 || keys === null || storage === null) throw badConfig(problems);

  const interval = read.CHECKPOINT_INTERVAL;
  return {
    listen: read.LISTEN_ADDR,
    origin: keys.first.name,
    keys,
    create: read.LOG_CREATE,
    databasePath: read.DATABASE_URL,
    storage,
    apiKey: read.API_KEY,
    allowPublicWrites: read.ALLOW_PUBLIC_WRITES,
    limits: {
      checkpointIntervalMs: milliseconds(interval),
      republishIntervalMs: milliseconds(read.REPUBLISH_INTERVAL),
      proofTimeoutMs: milliseconds(read.PROOF_TIMEOUT),
      readyMaxLagMs: milliseconds(read.READY_MAX_LAG ?? DEFAULT_LAG_SECONDS + interval),
      backlogMaxBytes: read.BACKLOG_MAX_BYTES,
      batchMaxEntries: read.BATCH_MAX_SIZE,
      batchMaxAgeMs: read.BATCH_MAX_AGE_MS,
    },
    witnesses,
    rateLimit: rateLimitOf(read),
    clientAddressHeader: read.CLIENT_ADDRESS_HEADER ?? null,
    logLevel: read.LOG_LEVEL,
  };
}

/** The path in DATABASE_URL, for the commands that need nothing else. Throws `bad_config`. */
export function readDatabasePath(env: Environment): string {
  const { schema, default: standard } = VARIABLES.DATABASE_URL;
  const result = schema.safeParse(env.DATABASE_URL || standard);
  if (!result.success) throw badConfig([`DATABASE_URL ${messageOf(result.error)}`]);
  return result.data;
}

async function readVariable(
  name: string,
  variable: Variable<unknown>,
  env: Environment,
  problems: string[],
): Promise<unknown> {
  // Set and empty is what compose files make of a variable that is not set.
  let given = env[name] || undefined;
  const file = variable.secret === true ? env[`${name}_FILE`] || undefined : undefined;
  if (file !== undefined) {
    if (given !== undefined) {
      problems.push(`${name}: both it and ${name}_FILE are set`);
      return undefined;
    }
    try {
      given = decodeUtf8(await readSmallFile(file)).trimEnd();
    } catch (error) {
      problems.push(`${name}_FILE: ${isCairnError(error) ? error.message : String(error)}`);
      return undefined;
    }
  }
  const value = given ?? variable.default ?? undefined;
  if (value === undefined) return undefined;
  const result = variable.schema.safeParse(value);
  if (result.success) return result.data;
  problems.push(`${name} ${messageOf(result.error)}`);
  return undefined;
}

function checkKeys(read: Partial<Values>, problems: string[]): ServerConfig["keys"] | null {
  const first = read.LOG_PRIVATE_KEY;
  if (first === undefined) {
    if (!problems.some((problem) => problem.startsWith("LOG_PRIVATE_KEY"))) {
      problems.push("LOG_PRIVATE_KEY is missing, and so is LOG_PRIVATE_KEY_FILE; cairn keygen makes a key");
    }
    return null;
  }
  const origin = read.LOG_ORIGIN ?? first.name;
  const additional = read.LOG_ADDITIONAL_KEYS ?? [];
  const mldsa44 = read.LOG_MLDSA_KEY ?? null;
  const named: [string, PrivateKey][] = [["LOG_PRIVATE_KEY", first]];
  for (const key of additional) named.push(["LOG_ADDITIONAL_KEYS", key]);
  if (mldsa44 !== null) named.push(["LOG_MLDSA_KEY", mldsa44]);
  for (const [name, key] of named) {
    if (key.name !== origin) problems.push(`${name} is a key of ${key.name}, and the origin is ${origin}`);
  }
  const ids = [first, ...additional].map(({ keyId }) => keyId);
  if (new Set(ids).size !== ids.length) problems.push("LOG_ADDITIONAL_KEYS repeats a key");
  return { first, additional, mldsa44 };
}

function storageOf(read: Partial<Values>, problems: string[]): StorageConfig | null {
  return readStorage(
    {
      backend: read.STORAGE_BACKEND,
      root: read.FS_ROOT,
      bucket: read.S3_BUCKET,
      endpoint: read.S3_ENDPOINT,
      region: read.S3_REGION,
      accessKey: read.S3_ACCESS_KEY,
      secretKey: read.S3_SECRET_KEY,
      forcePathStyle: read.S3_FORCE_PATH_STYLE,
    },
    problems,
  );
}

async function witnessesOf(
  read: Partial<Values>,
  keys: ServerConfig["keys"],
  problems: string[],
): Promise<WitnessConfig | null> {
  const logKeys = [keys.first, ...keys.additional, ...(keys.mldsa44 === null ? [] : [keys.mldsa44])];
  try {
    const policyFile =
      read.WITNESS_POLICY === undefined ? undefined : await readSmallFile(read.WITNESS_POLICY);
    return readWitnesses(
      {
        externalWitnesses: read.EXTERNAL_WITNESSES,
        quorum: read.WITNESS_QUORUM,
        policyFile,
        ignore: read.WITNESS_IGNORE,
        monitorUrls: read.WITNESS_MONITOR_URLS,
        surplusWaitMs: read.WITNESS_SURPLUS_WAIT_MS ?? 0,
      },
      logKeys.map(privateKeyVkey),
      { ...noblePrimitives, ed25519: nodeEd25519 },
    );
  } catch (error) {
    if (!isCairnError(error)) throw error;
    const isPolicy = error.code === "bad_policy" || error.code === "file_unreadable";
    problems.push(isPolicy ? `WITNESS_POLICY: ${error.message}` : (error.detail ?? error.message));
    return null;
  }
}

function rateLimitOf(read: Values): RateLimit | null {
  const { LISTEN_ADDR: listen, RATE_LIMIT_PER_SECOND: perSecond, RATE_LIMIT_BURST_SIZE: burst } = read;
  if (perSecond === 0 || (perSecond === undefined && isLoopback(listen.host))) return null;
  if (perSecond === undefined) return { ...DEFAULT_RATE, ...(burst === undefined ? {} : { burst }) };
  return { perSecond, burst: burst ?? Math.max(1, Math.ceil(2 * perSecond)) };
}

/** True for an address that only this machine reaches. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

/** Without a default text the value may be undefined. */
function variable<T>(declaration: Variable<T> & { readonly default: string }): Variable<T>;
function variable<T>(declaration: Variable<T> & { readonly default: null }): Variable<T | undefined>;
function variable<T>(declaration: Variable<T>): Variable<T | undefined> {
  return declaration;
}

/** What `parse` makes of the text; null is the problem that `message` states. */
function text<T>(parse: (text: string) => T | null, message: string): z.ZodType<T, string> {
  return z.string().transform((value, context): T => {
    const parsed = parse(value);
    if (parsed !== null) return parsed;
    context.addIssue({ code: "custom", message });
    return z.NEVER;
  });
}

function flag(): z.ZodType<boolean, string> {
  return text((value) => (value === "true" ? true : value === "false" ? false : null), "is true or false");
}

function integer(minimum: number, maximum: number): z.ZodType<number, string> {
  return text((value) => {
    const number = Number(value);
    return /^[0-9]{1,16}$/.test(value) && number >= minimum && number <= maximum ? number : null;
  }, `is a whole number from ${minimum} to ${maximum}`);
}

function decimal(value: string): number | null {
  return /^[0-9]{1,9}(?:\.[0-9]{1,9})?$/.test(value) ? Number(value) : null;
}

function seconds(minimum: number): z.ZodType<number, string> {
  return text((value) => {
    const number = decimal(value);
    return number !== null && number >= minimum && number <= MAX_SECONDS ? number : null;
  }, `is a number of seconds from ${minimum} to ${MAX_SECONDS}`);
}

function rate(): z.ZodType<number, string> {
  return text(decimal, "is a number, 0 for no limit");
}

function privateKey(type: number, what: string): z.ZodType<PrivateKey, string> {
  return text((value) => parseKey(value, type), `is not ${what} as cairn keygen writes it`);
}

function parseKey(value: string, type: number): PrivateKey | null {
  try {
    const key = parsePrivateKey(value);
    return key.type === type ? key : null;
  } catch (error) {
    if (isCairnError(error)) return null;
    throw error;
  }
}

function eachOf<T>(value: string, parse: (item: string) => T | null): readonly T[] | null {
  const items = value.split(/[\s,]+/).filter((item) => item !== "");
  const parsed = items.map(parse);
  return parsed.includes(null) ? null : (parsed as T[]);
}

function parseListenAddress(value: string): ListenAddress | null {
  const match = /^(?:\[([0-9A-Fa-f:.%a-z]+)\]|([^:[\]\s]+)):([0-9]{1,5})$/.exec(value);
  if (match === null) return null;
  const [, bracketed, plain, digits] = match;
  if (bracketed !== undefined && isIP(bracketed) !== 6) return null;
  const port = Number(digits);
  return port <= 65_535 ? { host: (bracketed ?? plain) as string, port } : null;
}

/** The path of a SQLite URL. `mode=rwc`, which others need to create a file, changes nothing here: see LOG_CREATE. */
function parseDatabaseUrl(value: string): string | null {
  const match = /^sqlite:(?:\/\/)?([^?#]+)(?:\?mode=rwc?)?$/.exec(value);
  const path = match?.[1];
  return path === undefined || path.startsWith(":memory:") || path.endsWith("/") ? null : path;
}

function milliseconds(seconds: number): number {
  return Math.round(seconds * 1000);
}

function messageOf(error: z.ZodError): string {
  return error.issues.map(({ message }) => message).join(", ");
}

function badConfig(problems: readonly string[]): CairnError {
  return new CairnError("bad_config", { detail: `\n  ${problems.join("\n  ")}\n` });
}
