// How each class of object is labelled, so that the bucket itself, or a CDN before it, can serve readers what the server
// serves them (c2sp.org/tlog-tiles): tiles for ever, the checkpoint for seconds, everything private never.

export interface ObjectLabels {
  readonly contentType: string;
  readonly cacheControl: string;
}

const TILE: ObjectLabels = {
  contentType: "application/octet-stream",
  cacheControl: "public, max-age=31536000, immutable",
};
const CHECKPOINT: ObjectLabels = {
  contentType: "text/plain; charset=utf-8",
  cacheControl: "public, max-age=2",
};
const PRIVATE: ObjectLabels = {
  contentType: "application/octet-stream",
  cacheControl: "private, no-store",
};

/** The labels of the object at `key`. A key of no known class is private. */
export function objectLabels(key: string): ObjectLabels {
  if (key.startsWith("tile/")) return TILE;
  if (key === "checkpoint") return CHECKPOINT;
  return PRIVATE;
}
