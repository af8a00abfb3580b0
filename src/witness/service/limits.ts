// Every limit that the witness keeps, in one place: the tests name them instead of repeating numbers.

/**
 * The longest request body. A note has to be accepted with 16 signatures, each "up to nearly 5kB" (signed-note), which are
 * 107 kB in base64; the text, 63 proof lines and the names take the rest.
 */
export const BODY_MAX_BYTES = 128 * 1024;

/** The most consistency proof lines: "The client MUST NOT send more than 63" (tlog-witness). */
export const PROOF_MAX_HASHES = 63;

/** Connections at the same time; with the longest body that each may hold, 512 MiB at worst. */
export const MAX_CONNECTIONS = 4096;

/** How long a request's headers, and the request with its body, may take to arrive. */
export const HEADERS_TIMEOUT_MS = 10_000;
export const REQUEST_TIMEOUT_MS = 30_000;

/** How often late requests are looked for. Node's own 30 s would make 40 s out of 10. */
export const CONNECTIONS_CHECKING_INTERVAL_MS = 1000;

/** Longer than the idle time of common proxies, so that it is the proxy which closes and no request is lost. */
export const KEEP_ALIVE_TIMEOUT_MS = 72_000;

/**
 * What a refused client may still send before its connection closes. A socket that closes with unread bytes in it is
 * reset, and the reset can overtake the refusal: so the rest is read and dropped, up to these bounds.
 */
export const LINGER_MAX_BYTES = 8 * 1024 * 1024;
export const LINGER_MAX_MS = 5000;

/** How long closing waits for requests in flight before their connections are cut. */
export const CLOSE_GRACE_MS = 5000;

/** Addresses or origins whose rate is counted at the same time; beyond that, the one unseen for longest is forgotten. */
export const RATE_LIMIT_ENTRIES = 50_000;
