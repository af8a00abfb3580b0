// The API keys of publishers, in a small SQLite file of their own (`<database>.keys`), so that making or revoking one never
// waits for the log's database nor holds it up. Only SHA-256 hashes are kept. A running server notices changes by itself.

import { hash, randomBytes } from "node:crypto";
import { closeSync, existsSync, openSync, stat } from "node:fs";
import { dirname } from "node:path";
import { CairnError } from "../core/errors.ts";
import { type HashedKey, type KeyIdentity, WRITE_ROLE } from "../http/auth.ts";
import type { Clock } from "../log/clock.ts";
import { loadSqlite, type SqliteDatabase } from "../state/sqlite-library.ts";
import { DurableFiles, errorCode } from "../storage/durable.ts";

/** What a key can be allowed to do. */
export const ROLES: readonly string[] = [WRITE_ROLE];

/** How long a revoked key may still be taken by a running server, and a new one refused. */
export const KEY_POLL_MS = 1000;

/** Two commits within the file system's clock tick leave the same time, so a young file is read again. */
const SETTLED_AFTER_MS = 2 * KEY_POLL_MS;

const KEY_PREFIX = "cairn_";
const KEY_BYTES = 32;
const KEY_NAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/;
/** The name under which the key of the environment appears. */
const ENVIRONMENT_KEY_NAME = "API_KEY";

const FORMAT = 1;
const SCHEMA = `
  create table api_keys (
    name text primary key,
    sha256 blob not null unique check (length(sha256) = 32),
    roles text not null,
    quota_per_second real,
    quota_burst integer,
    created_at text not null,
    revoked_at text
  ) strict`;

export interface ApiKey extends HashedKey {
  /** ISO 8601. */
  readonly createdAt: string;
  /** ISO 8601, or null while it is valid. */
  readonly revokedAt: string | null;
}

/** The file beside a log's database. */
export function apiKeysPath(databasePath: string): string {
  return `${databasePath}.keys`;
}

/** A new key: 256 random bits behind a prefix that scanners for leaked secrets can look for. */
export function generateApiKey(): string {
  return `${KEY_PREFIX}${randomBytes(KEY_BYTES).toString("base64url")}`;
}

/** The file of keys, open; made where `create` is set and it is absent. */
export class ApiKeyFile {
  readonly #database: SqliteDatabase;

  private constructor(database: SqliteDatabase) {
    this.#database = database;
  }

  /** Null where there is no file and none is to be made. Throws `file_unwritable`, `file_unreadable`, `format_newer`. */
  static async open(path: string, mode: "create" | "write" | "read"): Promise<ApiKeyFile | null> {
    if (!existsSync(path)) {
      if (mode !== "create") return null;
      await makePrivateFile(path);
    }
    const Database = await loadSqlite();
    let database: SqliteDatabase | undefined;
    try {
      // Readers do not wait: a server reads on its main thread, and looks again in a second.
      database = new Database(path, { readonly: mode === "read", timeout: mode === "read" ? 0 : 5000 });
      if (mode !== "read") {
        // A rollback journal, so that every change shows in the file's own time; and durable before it is announced.
        database.pragma("journal_mode = delete");
        database.pragma("synchronous = full");
      }
      migrate(database, path, mode);
      return new ApiKeyFile(database);
    } catch (cause) {
      database?.close();
      if (cause instanceof CairnError) throw cause;
      const code = mode === "read" ? "file_unreadable" : "file_unwritable";
      throw new CairnError(code, { detail: `${path}: ${messageOf(cause)}`, cause });
    }
  }

  /** Throws `usage` for a name that no key may have, `key_name_taken` for one that a key has or had. */
  add(key: KeyIdentity & { readonly key: string }, now: number): void {
    const { name, roles, quota } = key;
    if (!KEY_NAME.test(name) || name === ENVIRONMENT_KEY_NAME) {
      throw new CairnError("usage", {
        detail: "a key's name has 1 to 64 letters, digits and . _ @ -, and is not API_KEY",
      });
    }
    const { changes } = this.#database
      .prepare(
        `insert into api_keys (name, sha256, roles, quota_per_second, quota_burst, created_at)
         values (?, ?, ?, ?, ?, ?) on conflict (name) do nothing`,
      )
      .run(
        name,
        sha256(key.key),
        roles.join(","),
        quota?.perSecond ?? null,
        quota?.burst ?? null,
        new Date(now).toISOString(),
      );
    if (changes === 0) throw new CairnError("key_name_taken", { detail: name });
  }

  /** In the order in which they were made; revoked ones too. */
  list(): ApiKey[] {
    const rows = this.#database
      .prepare<[], ApiKeyRow>("select * from api_keys order by created_at, name")
      .all();
    return rows.map((row) => ({
      name: row.name,
      sha256: row.sha256,
      roles: row.roles.split(","),
      quota:
        row.quota_per_second === null || row.quota_burst === null
          ? null
          : { perSecond: row.quota_per_second, burst: row.quota_burst },
      createdAt: row.created_at,
      revokedAt: row.revoked_at,
    }));
  }

  /** Throws `key_unknown` where no valid key has that name. */
  revoke(name: string, now: number): void {
    const { changes } = this.#database
      .prepare("update api_keys set revoked_at = ? where name = ? and revoked_at is null")
      .run(new Date(now).toISOString(), name);
    if (changes === 0) throw new CairnError("key_unknown", { detail: name });
  }

  close(): void {
    this.#database.close();
  }
}

interface ApiKeyRow {
  readonly name: string;
  readonly sha256: Buffer;
  readonly roles: string;
  readonly quota_per_second: number | null;
  readonly quota_burst: number | null;
  readonly created_at: string;
  readonly revoked_at: string | null;
}

export interface WatchedKeys {
  /** The keys that are valid now: what `namedKeys` of http/auth.ts asks for. */
  keys(): readonly HashedKey[];
  close(): void;
}

export interface WatchOptions {
  /** The file of keys; it may be absent, and appear later. */
  readonly path: string;
  /** The one key of the environment, valid beside those of the file. */
  readonly apiKey: string | undefined;
  readonly clock: Clock;
  /** Called once for each new failure to read the file; the keys read last stay valid meanwhile. */
  readonly onError: (error: unknown) => void;
}

/** Reads the keys, and again within `KEY_POLL_MS` of every change. Throws where the file is there and cannot be read. */
export async function watchApiKeys({ path, apiKey, clock, onError }: WatchOptions): Promise<WatchedKeys> {
  const fixed: readonly HashedKey[] =
    apiKey === undefined
      ? []
      : [{ name: ENVIRONMENT_KEY_NAME, roles: [WRITE_ROLE], quota: null, sha256: sha256(apiKey) }];
  let keys = fixed;
  let seen: string | null = null;
  let failing = false;
  let closed = false;
  let cancel = (): void => {};

  async function look(): Promise<void> {
    const state = await fileState(path, clock.now());
    if (state === seen) return;
    keys = state === ABSENT ? fixed : [...fixed, ...(await readValidKeys(path))];
    seen = state;
  }

  async function poll(): Promise<void> {
    try {
      await look();
      failing = false;
    } catch (error) {
      if (!failing) onError(error);
      failing = true;
    }
    if (!closed) cancel = clock.after(KEY_POLL_MS, () => void poll());
  }

  await look();
  cancel = clock.after(KEY_POLL_MS, () => void poll());
  return {
    keys: () => keys,
    close() {
      closed = true;
      cancel();
    },
  };
}

const ABSENT = "absent";

/** A text that differs after every change of the file, and for a while from look to look. */
function fileState(path: string, now: number): Promise<string> {
  return new Promise((resolve, reject) => {
    // Asked without blocking, since a disk that hangs must not hold up requests.
    stat(path, { bigint: true }, (error, stats) => {
      if (error !== null) {
        if (errorCode(error) === "ENOENT") resolve(ABSENT);
        else reject(error);
        return;
      }
      const young = now - Number(stats.mtimeMs) < SETTLED_AFTER_MS;
      resolve(`${stats.ino} ${stats.size} ${stats.mtimeNs} ${young ? now : ""}`);
    });
  });
}

async function readValidKeys(path: string): Promise<HashedKey[]> {
  const file = await ApiKeyFile.open(path, "read");
  if (file === null) return [];
  try {
    return file.list().filter(({ revokedAt }) => revokedAt === null);
  } finally {
    file.close();
  }
}

/** Readable by its owner only, and its name durable. */
async function makePrivateFile(path: string): Promise<void> {
  try {
    closeSync(openSync(path, "a", 0o600));
    await new DurableFiles().syncFolders([dirname(path)]);
  } catch (cause) {
    throw new CairnError("file_unwritable", {
      detail: `${path}: ${errorCode(cause) ?? messageOf(cause)}`,
      cause,
    });
  }
}

function migrate(database: SqliteDatabase, path: string, mode: "create" | "write" | "read"): void {
  const format = database.pragma("user_version", { simple: true }) as number;
  if (format > FORMAT) throw new CairnError("format_newer", { detail: path });
  if (format === FORMAT) return;
  // A file that was made and not filled yet: its maker is about to.
  if (mode === "read") throw new CairnError("file_unreadable", { detail: `${path}: it is empty` });
  database
    .transaction(() => {
      database.exec(SCHEMA);
      database.pragma(`user_version = ${FORMAT}`);
    })
    .immediate();
}

function sha256(key: string): Buffer {
  return hash("sha256", Buffer.from(key, "utf8"), "buffer");
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
