// What a request's headers ask for: JSON or text, gzip or not, and whether the client has the bytes already
// (RFC 9110, sections 12.5 and 13.1.2).

/** True where `Accept` names application/json and does not refuse it; a wildcard names nothing. */
export function namesJson(accept: string | undefined): boolean {
  if (accept === undefined || accept === "*/*") return false;
  return accept.split(",").some((range) => {
    const { token, quality } = parseRange(range);
    return token === "application/json" && quality > 0;
  });
}

/** True where gzip is accepted and no less welcome than the plain bytes. */
export function prefersGzip(acceptEncoding: string | undefined): boolean {
  if (acceptEncoding === undefined || acceptEncoding === "") return false;
  let gzip: number | null = null;
  let identity: number | null = null;
  let others = 0;
  for (const coding of acceptEncoding.split(",")) {
    const { token, quality } = parseRange(coding);
    if (token === "gzip" || token === "x-gzip") gzip = quality;
    else if (token === "identity") identity = quality;
    else if (token === "*") others = quality;
  }
  const gzipQuality = gzip ?? others;
  // Plain bytes that the header does not mention are acceptable, and no more than that.
  return gzipQuality > 0 && gzipQuality >= (identity ?? 0);
}

/** True where `If-None-Match` holds `etag`, compared weakly as RFC 9110 asks. */
export function etagMatches(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  if (ifNoneMatch.trim() === "*") return true;
  const tags: readonly string[] = ifNoneMatch.match(/"[^"]*"/g) ?? [];
  return tags.includes(etag);
}

/** The strong tag of the gzip representation: other bytes, so another tag. `etag` with its quotes. */
export function gzipEtag(etag: string): string {
  return `${etag.slice(0, -1)}-gzip"`;
}

function parseRange(text: string): { token: string; quality: number } {
  const [token = "", ...parameters] = text.split(";");
  let quality = 1;
  for (const parameter of parameters) {
    const value = /^\s*q\s*=\s*(\S+)\s*$/i.exec(parameter)?.[1];
    if (value === undefined) continue;
    // A quality that is none counts as a refusal: what is not understood is not sent.
    quality = /^(0(\.[0-9]{0,3})?|1(\.0{0,3})?)$/.test(value) ? Number(value) : 0;
  }
  return { token: token.trim().toLowerCase(), quality };
}
