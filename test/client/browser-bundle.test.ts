// The public entry `cairn-log/client` must run in a browser: bundled for one, it holds nothing of Node.
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { expect, test } from "vitest";

const MAX_BUNDLE_BYTES = 400_000; // unminified; a dependency that came in unnoticed would burst it

test("the client bundles for a browser, of itself, core and their two libraries alone", async () => {
  const { outputFiles, metafile } = await build({
    absWorkingDir: fileURLToPath(new URL("../../", import.meta.url)),
    entryPoints: ["src/client/index.ts"],
    bundle: true,
    platform: "browser", // fails on any import of a Node module
    format: "esm",
    target: "es2022",
    write: false,
    metafile: true,
    legalComments: "none",
    logLevel: "silent",
  });
  const code = outputFiles[0]?.text as string;
  const inputs = Object.keys(metafile.inputs);
  expect(inputs).toContain("src/client/fsck.ts");
  expect(inputs.filter((path) => !/^(src\/(core|client)|node_modules\/@(noble|scure))\//.test(path))).toEqual(
    [],
  );
  for (const reference of [/\bnode:\w+/g, /\bBuffer\b/g, /(?<![.\w])process\.\w+/g, /\brequire\(/g]) {
    expect(code.match(reference) ?? []).toEqual([]);
  }
  expect(code.length).toBeLessThan(MAX_BUNDLE_BYTES);
});
