// Addresses and query parameters, strictly: a parameter that a route knows is well-formed and given once, or the request
// is refused with `bad_parameter`. Unknown ones are ignored.

import { CairnError } from "../core/errors.ts";

/** The path of a request target as it was sent, nothing decoded, without its query. Knows the absolute form. */
export function pathOf(url: string): string {
  const path = url.charCodeAt(0) === SLASH ? url : url.replace(/^https?:\/\/[^/?#]*/i, "");
  const query = path.indexOf("?");
  return query === -1 ? path : path.slice(0, query);
}

const SLASH = 0x2f;

/** The value of a parameter, or undefined. Throws where it is given more than once. */
export function parameter(query: unknown, name: string): string | undefined {
  const value = (query as Record<string, string | string[] | undefined>)[name];
  if (Array.isArray(value)) throw new CairnError("bad_parameter", { detail: `${name} is given twice` });
  return value;
}

/** True or false as the parameter says; false where it is absent. */
export function booleanParameter(query: unknown, name: string): boolean {
  const value = parameter(query, name);
  if (value === undefined || value === "false") return false;
  if (value === "true") return true;
  throw new CairnError("bad_parameter", { detail: `${name} is true or false` });
}

/** Whether a text is a decimal number without sign or leading zeros. */
export function isDecimal(text: string): boolean {
  return /^(0|[1-9][0-9]*)$/.test(text);
}

/** A decimal number without sign or leading zeros. As bigint, since clients may ask for any number. */
export function decimal(text: string, name: string): bigint {
  if (!isDecimal(text)) {
    throw new CairnError("bad_parameter", { detail: `${name} is a decimal number` });
  }
  return BigInt(text);
}

/** `value` as a number where it is a safe integer, else null: no log of ours is that large. */
export function safeNumber(value: bigint): number | null {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : null;
}
