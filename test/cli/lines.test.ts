import fc from "fast-check";
import { expect, test } from "vitest";
import { lines } from "../../src/cli/lines.ts";

async function split(chunks: readonly Uint8Array[], maxBytes = 100): Promise<(string | null)[]> {
  const found: (string | null)[] = [];
  const input = (async function* () {
    yield* chunks;
  })();
  for await (const line of lines(input, maxBytes)) {
    found.push(line === null ? null : Buffer.from(line).toString("latin1"));
  }
  return found;
}

const text = (value: string) => new Uint8Array(Buffer.from(value, "latin1"));

test("the last line feed is optional, a carriage return is content, and empty lines are lines", async () => {
  expect(await split([text("a\nb\n")])).toEqual(["a", "b"]);
  expect(await split([text("a\nb")])).toEqual(["a", "b"]);
  expect(await split([text("a\r\n\nb\n\n")])).toEqual(["a\r", "", "b", ""]);
  expect(await split([text("\n")])).toEqual([""]);
  expect(await split([])).toEqual([]);
});

test("a line that is too long is null, and the ones around it are whole", async () => {
  expect(await split([text("ok\n12345"), text("6789"), text("0\nok\n")], 9)).toEqual(["ok", null, "ok"]);
  expect(await split([text("123456789\n")], 9)).toEqual(["123456789"]);
  expect(await split([text("1234567890")], 9)).toEqual([null]);
});

test("how the bytes are cut into chunks changes nothing", async () => {
  const bytes = fc.array(fc.constantFrom(0x0a, 0x0d, 0x61, 0xff), { maxLength: 60 });
  const cuts = fc.array(fc.nat(60), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(bytes, cuts, async (content, at) => {
      const whole = Uint8Array.from(content);
      const bounds = [0, ...at.toSorted((a, b) => a - b), whole.length];
      const chunks = bounds.slice(1).map((end, i) => whole.subarray(bounds[i], end));
      const expected = Buffer.from(whole).toString("latin1").split("\n");
      if (expected.at(-1) === "") expected.pop();
      expect(await split(chunks)).toEqual(expected);
    }),
  );
});
