import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { OMNIWITNESS_DIFFERENCES } from "./conformance/differences.ts";
import { plan } from "./conformance/suite.ts";

const page = readFileSync(new URL("../../docs/witness-conformance.md", import.meta.url), "utf8");
const names = plan("names").map(({ group, test: { name } }) => `${group}: ${name}`);

test("every listed difference is about a case of the suite, and no case is listed twice", () => {
  const listed = OMNIWITNESS_DIFFERENCES.flatMap(({ cases }) => cases);
  expect(listed.filter((name) => !names.includes(name))).toEqual([]);
  expect(new Set(listed).size).toBe(listed.length);
});

test("the page lists the differences as the tests know them, and says how many cases there are", () => {
  for (const { does, cases } of OMNIWITNESS_DIFFERENCES) {
    expect(page).toContain(`- It ${does}\n${cases.map((name) => `  - ${name}\n`).join("")}`);
  }
  expect(page).toContain(`all ${names.length} cases`);
  expect(page).toContain(`${OMNIWITNESS_DIFFERENCES.flatMap(({ cases }) => cases).length} fail`);
});
