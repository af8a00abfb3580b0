import type { IncomingMessage } from "node:http";
import { describe, expect, it } from "vitest";
import { clientAddress } from "../../src/http/client-address.ts";

function request(remoteAddress: string, headers: Record<string, string> = {}): IncomingMessage {
  return { socket: { remoteAddress }, headers } as unknown as IncomingMessage;
}

describe("clientAddress", () => {
  it("is the peer where no header is configured, whatever the client sends", () => {
    const address = clientAddress(null);
    expect(address(request("192.0.2.1", { "x-forwarded-for": "10.0.0.1" }))).toBe("192.0.2.1");
  });

  it("is the last element of the configured header, which the nearest proxy wrote", () => {
    const address = clientAddress("X-Forwarded-For");
    expect(address(request("10.0.0.1", { "x-forwarded-for": "6.6.6.6, 192.0.2.1" }))).toBe("192.0.2.1");
    expect(address(request("10.0.0.1", { "x-forwarded-for": " " }))).toBe("10.0.0.1");
    expect(address(request("10.0.0.1"))).toBe("10.0.0.1");
  });

  it.each([
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:DB8:1:2:ffff::1", "2001:db8:1:2::/64"],
    ["2001:db8:0001:0002::1", "2001:db8:1:2::/64"],
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
  ])("counts IPv6 by its /64, and a mapped IPv4 address as itself: %s", (text, canonical) => {
    expect(clientAddress(null)(request(text))).toBe(canonical);
  });

  it("cuts what is too long to be an address", () => {
    const address = clientAddress("x");
    expect(address(request("10.0.0.1", { x: "a".repeat(10_000) }))).toHaveLength(64);
  });
});
