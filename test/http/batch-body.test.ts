import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeBundle } from "../../src/core/bundle.ts";
import { isCairnError } from "../../src/core/errors.ts";
import { batchEntries } from "../../src/http/batch-body.ts";

const text = (entries: readonly Uint8Array[]) =>
  entries.map((entry) => Buffer.from(entry).toString("latin1"));

describe("batchEntries", () => {
  it("gives back what was framed", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 600 }), { minLength: 1, maxLength: 50 }), (entries) => {
        expect(text(batchEntries(encodeBundle(entries), "framed"))).toEqual(text(entries));
      }),
    );
  });

  it("splits lines as a plain split does, but for one final LF", () => {
    const bytes = fc.array(fc.constantFrom(0x0a, 0x0d, 0x61, 0x00, 0xff), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(bytes, (body) => {
        const lines = Buffer.from(body).toString("latin1").split("\n");
        if (lines.at(-1) === "") lines.pop();
        expect(text(batchEntries(Uint8Array.from(body), "lines"))).toEqual(lines);
      }),
    );
  });

  it("reads any bytes as entries that frame to the same bytes, or refuses them with bad_framing", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (body) => {
        try {
          expect(encodeBundle(batchEntries(body, "framed"))).toEqual(new Uint8Array(body));
        } catch (error) {
          if (!isCairnError(error, "bad_framing")) throw error;
        }
      }),
    );
  });
});
