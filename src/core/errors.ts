// The catalogue of error codes. Every refusal that leaves Cairn, over HTTP, on a command line or from the library,
// carries one of these codes and a sentence that tells its reader what to do next. Codes are stable: clients match on
// them. HTTP statuses belong to http/, which knows which of these it can send.

/** Code -> the sentence for whoever meets it. `docs/errors.md` is generated from this table. */
export const ERROR_SENTENCES = {
  // Submitting entries.
  entry_empty: "The entry has no bytes; send at least one.",
  entry_too_large: "The entry is larger than 65,535 bytes; log a digest of it instead.",
  entry_schema: "The entry does not fit the schema that this log asks for; see its detail.",
  reserved_shape:
    "The entry has the shape of an index anchor, which only the log itself may write; change its beginning.",
  batch_too_large: "The batch is over 8 MiB or 10,000 entries; split it.",
  bad_framing:
    "The batch is torn or empty; send two-byte big-endian lengths each followed by that many bytes.",
  unsupported_encoding: "Content-Encoding is not accepted; send the plain bytes.",
  unsupported_type: "Send application/octet-stream (two-byte length framing) or application/x-ndjson.",
  queue_full: "Too much is waiting; try again after the time in Retry-After.",
  backlog_full: "Too much is acknowledged and not yet published; try again after the time in Retry-After.",
  storage_low: "The log's disk is nearly full; try again when its operator has made room.",
  store_unavailable: "The log's storage did not answer in time; try again.",
  rate_limited: "Too many requests; try again after the time in Retry-After.",
  unauthorized: "Send a valid key as Authorization: Bearer.",
  proof_timeout:
    "The entry is logged but no checkpoint covers it yet; ask again with the same bytes, it is safe.",
  starting: "The log is starting; try again shortly.",
  draining: "The log is stopping; try again at once, another instance or the next start will answer.",
  // Reading.
  bad_path: "The tile path is malformed; see c2sp.org/tlog-tiles.",
  not_published: "That lies beyond the published checkpoint; fetch the checkpoint first.",
  not_published_yet: "The log has not published a checkpoint yet; try again shortly.",
  object_missing:
    "The log's storage has lost this published object; its operator has to recover it, and another copy of the log may have it.",
  checkpoint_not_kept: "No published checkpoint of that size is kept; ask for the newest.",
  bad_parameter: "A parameter is malformed or given twice.",
  not_found: "There is nothing at this address; see the documentation for the routes.",
  method_not_allowed: "This address does not answer that method.",
  bad_request: "The request could not be read as HTTP.",
  request_timeout: "The request took too long to arrive; send it again.",
  internal: "The log met a fault of its own; its operator finds the request id in the logs.",
  // Parsing and verifying (library, command line).
  bad_utf8: "The bytes are not valid UTF-8.",
  bad_hex: "The text is not lowercase hexadecimal.",
  bad_base64: "The text is not canonical standard base64.",
  bad_hash: "The bytes are not a SHA-256 hash, which has 32.",
  bad_note: "The text is not a signed note; see c2sp.org/signed-note.",
  bad_vkey: "The verifier key is malformed; it reads name+id+base64.",
  bad_private_key: "The private key is malformed; it reads PRIVATE+KEY+name+id+base64.",
  bad_signature: "A signature by a known key does not verify.",
  unsigned: "No known key signed this note.",
  bad_checkpoint: "The note is not a checkpoint; see c2sp.org/tlog-checkpoint.",
  bad_proof: "The text is not a proof; see c2sp.org/tlog-proof.",
  bad_policy: "The policy file is malformed; see c2sp.org/tlog-policy.",
  bad_bundle: "The entry bundle is torn or has another number of entries than its path says.",
  bad_tile: "The tile's length is not 32 bytes times its width.",
  wrong_origin: "The checkpoint belongs to another log than the one that was asked for.",
  inclusion_failed: "The inclusion proof does not lead to the checkpoint's root: this entry is not proven.",
  inconsistent: "The two checkpoints do not extend one another: one log has shown two histories.",
  quorum_not_met: "Fewer witnesses cosigned this checkpoint than the policy asks for.",
  too_old: "The checkpoint's cosignatures are older than the age that was asked for.",
  wrong_tile:
    "A tile or bundle is missing or does not lead to the checkpoint's root: the log, or something on the way, errs or lies.",
  head_smaller:
    "The log shows a smaller checkpoint than the remembered one: a stale copy, or a rollback; ask again before trusting it.",
  unreachable: "The log did not answer; check its address and that it runs, and try again.",
  unexpected_answer: "The answer is not one that a log gives; check the address.",
  bad_url: "The address of the log is malformed; give its URL prefix.",
  unsafe_integer: "A size or an index is 2^53 or more, beyond what this log handles.",
  // Configuration, creation, start and recovery.
  bad_config: "The configuration has problems; each is listed.",
  usage: "The command line is not understood; see --help.",
  missing_dependency: "A package that only a server needs is not installed.",
  file_exists: "The file exists already and is never overwritten.",
  file_unreadable: "The file could not be read.",
  file_unwritable: "The file could not be written.",
  bench_failed: "A part of the benchmark did not run to its end; its own words follow.",
  bad_remembered:
    "The remembered head is damaged, or not by the keys given; check the log by other means before you remove the file.",
  key_name_taken: "An API key has that name, or had it; a name is used once.",
  key_unknown: "There is no valid API key of that name.",
  bad_log_list:
    "The list of logs is malformed; it has the witness network's form, logs/v0 and then vkey, origin, qpd and contact lines.",
  log_unknown: "The witness has no log of that origin.",
  witness_absent: "There is no witness's database here; check the path, or start the witness once.",
  log_absent:
    "There is no log here. If it should be created, start once with LOG_CREATE=true; if one was here, check that its volume is mounted.",
  log_exists: "A log, or part of one, is here already, so none is created.",
  key_without_log: "A key is here without its log; check that the log's volume is mounted.",
  creation_unfinished: "A creation was interrupted here and its parts do not match; nothing was changed.",
  locked: "Another process holds this log.",
  identity_mismatch: "Database, storage and configuration do not belong to the same log.",
  format_newer: "This data was written by a newer version; use that version.",
  database_lost:
    "The storage holds a log whose database is gone. Put the newest database back, or run cairn recover.",
  database_older:
    "The storage holds more than the database knows: a restored copy of the database, or another writer. Run cairn recover.",
  root_mismatch: "The signed head's root differs from this database's. Run cairn recover --from-head.",
  head_damaged: "state/head is missing, damaged or older than the database remembers. Run cairn recover.",
  checkpoint_damaged: "The published checkpoint does not verify. Run cairn recover.",
  tile_missing:
    "A tile or bundle under the signed head is missing and cannot be rebuilt here. Run cairn recover --from.",
  row_damaged:
    "The database holds an entry that no longer has its leaf hash: its disk damages data. Check it, move the database away and run cairn recover.",
  state_wrong: "The stored tiles agree with the signed head and the database does not. Run cairn recover.",
  fenced: "Another process has taken over this log; this one stops.",
  overtaken:
    "A witness shows a head with this log's signature that this log does not know: a copy of it runs elsewhere, or it was restored from an older copy. It stops; run cairn recover.",
  store_unsafe: "The store ignores conditional writes, so this log cannot be written to it safely.",
  store_unreachable: "The store did not answer; check its address and that it runs, and start again.",
  store_refused:
    "The store does not let this log in; check the bucket's name, its region, the address and the credentials.",
  bucket_absent: "There is no such bucket; check its name, or make it: a log never makes one.",
  sync_failed: "The disk reported a failed sync; nothing written since can be trusted, so the process stops.",
  commit_unknown: "The outcome of a commit is unknown; the process stops and the next start decides.",
  log_ended:
    "Nothing here holds the missing entries. Check that every volume is mounted, and give every other copy with --from; if none has them, this log has ended: start a new one under a new origin.",
  frozen: "This log is frozen: it can be read and is never written again.",
  database_locked: "The database is held by another process.",
} as const satisfies Record<string, string>;

export type ErrorCode = keyof typeof ERROR_SENTENCES;

export interface CairnErrorOptions {
  /** What was wrong in this case; shown to the reader, so never a secret and never a stack. */
  readonly detail?: string;
  /** Further members for a problem+json body, such as `index` or `published_size`. */
  readonly members?: Readonly<Record<string, string | number>>;
  readonly cause?: unknown;
}

/** An error with a code from the catalogue. `message` is the sentence, followed by the detail where there is one. */
export class CairnError extends Error {
  readonly code: ErrorCode;
  readonly detail: string | undefined;
  readonly members: Readonly<Record<string, string | number>> | undefined;

  constructor(code: ErrorCode, options: CairnErrorOptions = {}) {
    const sentence = ERROR_SENTENCES[code];
    super(options.detail === undefined ? sentence : `${sentence} (${options.detail})`, {
      cause: options.cause,
    });
    this.name = "CairnError";
    this.code = code;
    this.detail = options.detail;
    this.members = options.members;
  }
}

/** True where `error` is a CairnError, of the given code if one is named. */
export function isCairnError(error: unknown, code?: ErrorCode): error is CairnError {
  return error instanceof CairnError && (code === undefined || error.code === code);
}
