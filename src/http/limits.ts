// Every limit that the HTTP edge keeps, in one place: /log.json publishes those that a client can run into, and the
// tests name them instead of repeating numbers.

/** The longest body of `POST /add-batch`, framing included. */
export const BATCH_MAX_BYTES = 8 * 1024 * 1024;

/** The most entries in one `POST /add-batch`. */
export const BATCH_MAX_ENTRIES = 10_000;

/** Memory for batch bodies that are still being received: in all, and for one key or address. */
export const BATCH_RECEIVE_MAX_BYTES = 64 * 1024 * 1024;
export const BATCH_RECEIVE_MAX_BYTES_PER_CLIENT = 16 * 1024 * 1024;

/**
 * Memory for entries that arrive in pieces. An entry that comes in one read never counts, so clients that hold back
 * the end of their bodies can fill this and still not stop the others.
 */
export const ADD_RECEIVE_MAX_BYTES = 64 * 1024 * 1024;

/** How long a request's headers, and the request with its body, may take to arrive. */
export const HEADERS_TIMEOUT_MS = 10_000;
export const REQUEST_TIMEOUT_MS = 60_000;

/** How often late requests are looked for. Node's own 30 s would make 40 s out of 10. */
export const CONNECTIONS_CHECKING_INTERVAL_MS = 1000;

/** Longer than the idle time of common proxies, so that it is the proxy which closes and no request is lost. */
export const KEEP_ALIVE_TIMEOUT_MS = 72_000;

/**
 * What a refused client may still send before its connection closes. A socket that closes with unread bytes in it is
 * reset, and the reset can overtake the refusal: so the rest is read and dropped, up to these bounds.
 */
export const LINGER_MAX_BYTES = 32 * 1024 * 1024;
export const LINGER_MAX_MS = 10_000;

/** An unread body up to this length is read to its end, and the connection stays open for the next request. */
export const LINGER_KEEP_ALIVE_MAX_BYTES = 65_535;

/** How long closing waits for requests in flight before their connections are cut. */
export const CLOSE_GRACE_MS = 5000;

/** Clients whose rate is counted at the same time; beyond that, the one unseen for longest is forgotten. */
export const RATE_LIMIT_CLIENTS = 50_000;

/** How long the answer to a bundle may stand still because its client does not read. */
export const SEND_STALL_MS = 30_000;
