import { describe, expect, it } from "vitest";
import { etagMatches, gzipEtag, prefersGzip } from "../../src/http/negotiate.ts";

describe("prefersGzip", () => {
  it.each([
    [undefined, false],
    ["", false],
    ["gzip", true],
    ["GZIP", true],
    ["x-gzip", true],
    ["gzip, deflate, br", true],
    ["br, *", true],
    ["*;q=0", false],
    ["gzip;q=0", false],
    ["gzip;q=0.000", false],
    ["gzip;q=0, *;q=1", false],
    ["gzip;q=0.5", true],
    ["gzip;q=0.5, identity", false],
    ["gzip;q=0.5, identity;q=0.5", true],
    ["gzip ; q=0.8 , identity ; q=0.9", false],
    ["identity", false],
    ["identity;q=0, gzip;q=0.1", true],
    ["deflate", false],
    ["gzipped", false],
    ["gzip;q=2", false],
    ["gzip;q=x", false],
  ])("%j: %s", (header, expected) => {
    expect(prefersGzip(header)).toBe(expected);
  });
});

describe("etagMatches", () => {
  it.each([
    [undefined, false],
    ['"a"', true],
    ['W/"a"', true],
    ['"b", W/"c" ,"a"', true],
    ["*", true],
    ['"b"', false],
    ["a", false],
    ['"b,"a', false],
  ])("%j: %s", (header, expected) => {
    expect(etagMatches(header, '"a"')).toBe(expected);
  });

  it("tells the gzip representation from the plain one", () => {
    expect(gzipEtag('"a"')).toBe('"a-gzip"');
    expect(etagMatches('"a"', gzipEtag('"a"'))).toBe(false);
  });
});
