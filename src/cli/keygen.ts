// `cairn keygen`: makes a signing key for a log or a witness and prints what others need of it.

import { cosignatureVkey } from "../core/cosignature.ts";
import { privateKeyVkey, type PrivateKeyType } from "../core/note-key.ts";
import { isValidKeyName, printVkey, SIGNATURE_TYPE } from "../core/vkey.ts";
import { requireOption, usageError } from "./args.ts";
import { defineCommand } from "./command.ts";
import { EXIT } from "./io.ts";
import { createKeyFile } from "./key-file.ts";

const KEY_TYPES: Readonly<Record<string, PrivateKeyType>> = {
  ed25519: SIGNATURE_TYPE.ed25519,
  mldsa44: SIGNATURE_TYPE.mldsa44,
};

export const keygen = defineCommand(
  {
    name: "keygen",
    usage: [
      "keygen --origin NAME --out FILE [--type ed25519|mldsa44]",
      "keygen --witness --name NAME --out FILE [--type ed25519|mldsa44]",
    ],
    about: [
      "Writes a new private key in Go's note format to FILE, readable by its owner only, and prints its verifier key. An existing file is never overwritten. Keep a copy of the file somewhere safe: nothing brings back a lost key, and a log whose key leaked has ended.",
      "A log's name is its origin, best the URL prefix of the log without https:// and final slash. A file made for a log serves a witness too, and the other way round; with --witness the cosignature key is printed as well. ML-DSA-44 is experimental.",
    ],
    options: {
      origin: { type: "string", value: "NAME", about: "The origin of the log that will sign with this key." },
      witness: { type: "boolean", about: "The key is for a witness." },
      name: { type: "string", value: "NAME", about: "The name of the witness." },
      out: { type: "string", value: "FILE", about: "Where the private key goes; must not exist." },
      type: { type: "string", value: "TYPE", about: "ed25519 (the default) or mldsa44." },
    },
    exit: ["The key was made.", "Not used.", "It was not: usage, or the file exists or cannot be written."],
  },
  async ({ args: { options, positionals }, out }) => {
    const { origin, witness, name: witnessName, type: typeName = "ed25519" } = options;
    if (positionals.length > 0) throw usageError(`${positionals[0]} is not expected`);
    if (witness ? origin !== undefined : witnessName !== undefined) {
      throw usageError("a log has an --origin; a witness has --witness and a --name");
    }
    const name = witness ? requireOption("name", witnessName) : requireOption("origin", origin);
    if (!isValidKeyName(name)) {
      throw usageError("the name is empty, or has a space, a plus or a control character");
    }
    const type = Object.hasOwn(KEY_TYPES, typeName) ? KEY_TYPES[typeName] : undefined;
    if (type === undefined) throw usageError("--type is ed25519 or mldsa44");
    const file = requireOption("out", options.out);

    const key = await createKeyFile(file, name, type);
    const vkey = printVkey(privateKeyVkey(key));
    const cosigning = printVkey(cosignatureVkey(key));
    await out.line(`wrote ${file}: keep it secret, and keep a copy`);
    if (witness) {
      if (cosigning !== vkey) await out.line(`vkey         ${vkey}`);
      await out.line(`cosignature  ${cosigning}`);
      await out.line("");
      await out.line("For the operators of logs (EXTERNAL_WITNESSES, or a line of a policy):");
      await out.line(`  witness ${label(name)} ${cosigning}`);
    } else {
      await out.line(`vkey         ${vkey}`);
      await out.line("");
      await out.line("For the operators of witnesses, with the URL of the log:");
      await out.line(`  origin  ${name}`);
      await out.line(`  vkey    ${vkey}`);
    }
    await out.value({
      file,
      name,
      type: typeName,
      vkey,
      ...(witness ? { cosignature_vkey: cosigning } : { origin: name }),
    });
    return EXIT.ok;
  },
);

// Names in a policy have no spaces, and key names have none either.
function label(name: string): string {
  return name === "none" ? "witness" : name;
}
