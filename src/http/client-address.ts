// The address that limits are counted by: the peer's, or what a trusted proxy says in one configured header. No other
// header is believed, since anyone can send it.

import type { IncomingMessage } from "node:http";
import { isIPv6 } from "node:net";

/** Longer values are no addresses; they are cut, so that nobody fills the table of clients with long ones. */
const ADDRESS_MAX_CHARACTERS = 64;

/** IPv6 addresses are counted by their /64, which is what one customer holds. */
const IPV6_GROUPS_COUNTED = 4;
const IPV6_GROUPS = 8;

/**
 * The address of a request's client. With `header`, its last element where it lists several: that is the one which the
 * nearest proxy wrote. A request without the header, which did not come through the proxy, counts by its peer.
 */
export function clientAddress(header: string | null): (raw: IncomingMessage) => string {
  const name = header?.toLowerCase() ?? null;
  return (raw) => {
    const value = name === null ? undefined : raw.headers[name];
    const list = Array.isArray(value) ? value.join(",") : value;
    const last = list?.slice(list.lastIndexOf(",") + 1).trim();
    return canonicalAddress(last !== undefined && last !== "" ? last : (raw.socket.remoteAddress ?? ""));
  };
}

function canonicalAddress(address: string): string {
  const text = address.slice(0, ADDRESS_MAX_CHARACTERS).toLowerCase();
  if (!isIPv6(text)) return text;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(text)?.[1];
  if (mapped !== undefined) return mapped;
  const [head = "", tail] = text.split("%")[0]?.split("::") ?? [];
  const groups = head === "" ? [] : head.split(":");
  if (tail !== undefined) {
    const after = tail === "" ? [] : tail.split(":");
    while (groups.length + after.length < IPV6_GROUPS) groups.push("0");
    groups.push(...after);
  }
  const counted = groups.slice(0, IPV6_GROUPS_COUNTED).map((group) => group.replace(/^0+(?=.)/, ""));
  return `${counted.join(":")}::/64`;
}
