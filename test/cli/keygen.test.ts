import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { keygen } from "../../src/cli/keygen.ts";
import { readKeyFile } from "../../src/cli/key-file.ts";
import { nodePrimitives } from "../../src/cli/trust.ts";
import { encodeUtf8 } from "../../src/core/bytes.ts";
import { cosignatureSigner, verifierFor } from "../../src/core/cosignature.ts";
import { noteSigner } from "../../src/core/note-key.ts";
import { openNote, signNote } from "../../src/core/note.ts";
import { parseVkey } from "../../src/core/vkey.ts";
import { run, temporaryFolder } from "./test-io.ts";

const CHECKPOINT = `log.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n`;

test("a log's key file is private, ends in a newline, and signs what its vkey verifies", async () => {
  const file = join(temporaryFolder(), "log.key");
  const result = await run(keygen, ["--origin", "log.example", "--out", file, "--json"]);
  expect(result.exit).toBe(0);
  const [value] = result.json();
  expect(value).toMatchObject({ file, name: "log.example", origin: "log.example", type: "ed25519" });
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readFileSync(file, "utf8")).toMatch(/^PRIVATE\+KEY\+log\.example\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+\n$/);
  const signer = noteSigner(await readKeyFile(file), nodePrimitives.ed25519);
  const verifier = verifierFor(parseVkey(value?.vkey as string), nodePrimitives);
  expect(openNote(signNote(CHECKPOINT, [signer]), [verifier]).verified).toHaveLength(1);
});

test.each(["ed25519", "mldsa44"])(
  "a witness's %s key comes with the vkey of its cosignatures",
  async (type) => {
    const file = join(temporaryFolder(), "witness.key");
    const argv = ["--witness", "--name", "witness.example", "--out", file, "--type", type, "--json"];
    const [value] = (await run(keygen, argv)).json();
    const key = await readKeyFile(file);
    const note = signNote(CHECKPOINT, [cosignatureSigner(key, nodePrimitives, () => 1_700_000_000)]);
    const verifier = verifierFor(parseVkey(value?.cosignature_vkey as string), nodePrimitives);
    expect(openNote(note, [verifier]).verified).toHaveLength(1);
    expect(parseVkey(value?.cosignature_vkey as string).type).toBe(type === "ed25519" ? 4 : 6);
    expect(parseVkey(value?.vkey as string).type).toBe(type === "ed25519" ? 1 : 6);
  },
);

test("what a witness operator needs is printed, and the private key never is", async () => {
  const file = join(temporaryFolder(), "log.key");
  const { stdout, stderr } = await run(keygen, ["--origin", "log.example", "--out", file]);
  expect(stdout).toMatch(/origin {2}log\.example\n {2}vkey {4}log\.example\+/);
  const secret = readFileSync(file, "utf8").trim();
  for (const text of [stdout, stderr]) {
    expect(text).not.toContain(secret);
    expect(text).not.toContain("PRIVATE");
  }
});

test("two keys are never the same", async () => {
  const folder = temporaryFolder();
  for (const name of ["a", "b"]) await run(keygen, ["--origin", "log.example", "--out", join(folder, name)]);
  expect(readFileSync(join(folder, "a"))).not.toEqual(readFileSync(join(folder, "b")));
});

test("an existing file is never overwritten", async () => {
  const file = join(temporaryFolder(), "log.key");
  writeFileSync(file, "precious");
  const result = await run(keygen, ["--origin", "log.example", "--out", file, "--json"]);
  expect(result.exit).toBe(2);
  expect(result.json()).toMatchObject([{ error: { code: "file_exists" } }]);
  expect(readFileSync(file)).toEqual(Buffer.from(encodeUtf8("precious")));
});

test("a folder that is not there is an error that names it", async () => {
  const file = join(temporaryFolder(), "absent", "log.key");
  const result = await run(keygen, ["--origin", "log.example", "--out", file]);
  expect(result.exit).toBe(2);
  expect(result.stderr).toContain(`${file}: ENOENT`);
});

test.each([
  ["neither log nor witness", []],
  ["a log without a name", ["--out", "x"]],
  ["no file", ["--origin", "log.example"]],
  ["a name with a space", ["--origin", "log example", "--out", "x"]],
  ["a name with a plus", ["--origin", "log+example", "--out", "x"]],
  ["an empty name", ["--origin", "", "--out", "x"]],
  ["a witness with an origin", ["--witness", "--origin", "log.example", "--out", "x"]],
  ["a name without --witness", ["--name", "witness.example", "--out", "x"]],
  ["an unknown type", ["--origin", "log.example", "--out", "x", "--type", "rsa"]],
  ["a type of Object.prototype", ["--origin", "log.example", "--out", "x", "--type", "constructor"]],
  ["a positional", ["--origin", "log.example", "--out", "x", "y"]],
])("%s is refused", async (_what, argv) => {
  const result = await run(keygen, [...argv, "--json"]);
  expect(result.exit).toBe(2);
  expect(result.json()).toMatchObject([{ error: { code: "usage" } }]);
});
