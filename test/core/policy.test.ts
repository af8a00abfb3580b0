import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { concatBytes, decodeUtf8, encodeUtf8 } from "../../src/core/bytes.ts";
import { cosignatureSigner, cosignatureVkey, noblePrimitives } from "../../src/core/cosignature.ts";
import { nobleEd25519 } from "../../src/core/ed25519.ts";
import { type Note, signNote } from "../../src/core/note.ts";
import { generatePrivateKey, noteSigner, privateKeyVkey } from "../../src/core/note-key.ts";
import {
  parsePolicy,
  type Policy,
  POLICY_MAX_DEFINITIONS,
  policyFromQuorum,
  policySatisfied,
  printPolicy,
  trustPolicy,
  verifyCheckpoint,
} from "../../src/core/policy.ts";
import { printVkey, SIGNATURE_TYPE, verifierKey } from "../../src/core/vkey.ts";
import {
  checkpointNote,
  checkpointText,
  codeOf,
  COSIGNED_AT,
  damaged,
  damagedLines,
  entries,
  errorOf,
  logKey,
  logMldsaKey,
  logSigner,
  ORIGIN,
  policy,
  seed,
  strangerKey,
  strangerSigner,
  trust,
  witnessKeys,
  witnessSigners,
} from "./signed-log.ts";

const LOG = printVkey(privateKeyVkey(logKey));
const [A, B, C] = witnessKeys.map((key) => printVkey(cosignatureVkey(key))) as [string, string, string];
const more = Array.from({ length: 6 }, (_, i) =>
  printVkey(cosignatureVkey(generatePrivateKey(`w${i}.example`, seed(50 + i)))),
);

function parse(text: string): Policy {
  return parsePolicy(encodeUtf8(text));
}

/** The specification's example, with keys. */
const EXAMPLE = `log ${LOG}

witness X1 ${more[0]}
witness X2 ${more[1]}
witness X3 ${more[2]}
group X-witnesses 2 X1 X2 X3

witness Y1 ${more[3]}
witness Y2 ${more[4]}
witness Y3 ${more[5]}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
`;

describe("reading", () => {
  test("the specification's example means two X and one Y", () => {
    const example = parse(EXAMPLE);
    expect(example.logs).toEqual([{ key: privateKeyVkey(logKey) }]);
    expect(example.witnesses.map(({ name }) => name)).toEqual(["X1", "X2", "X3", "Y1", "Y2", "Y3"]);
    expect(example.groups).toEqual([
      { name: "X-witnesses", threshold: 2, members: ["X1", "X2", "X3"] },
      { name: "Y-witnesses", threshold: 1, members: ["Y1", "Y2", "Y3"] },
      { name: "X-and-Y", threshold: 2, members: ["X-witnesses", "Y-witnesses"] },
    ]);
    for (let bits = 0; bits < 64; bits++) {
      const names = new Set(example.witnesses.map(({ name }) => name).filter((_, i) => bits & (1 << i)));
      const x = ["X1", "X2", "X3"].filter((name) => names.has(name)).length;
      const y = ["Y1", "Y2", "Y3"].filter((name) => names.has(name)).length;
      expect(policySatisfied(example, names), [...names].join(" ")).toBe(x >= 2 && y >= 1);
    }
  });

  test("spaces, tabs, empty lines and comments mean nothing", () => {
    const text = `\t # a comment\n\n \t \n#\n  log\t \t${LOG}  https://log.example/ \nwitness\tw ${A}\thttps://w.example\n\tquorum  w\t\n# end\n`;
    expect(parse(text)).toEqual({
      logs: [{ key: privateKeyVkey(logKey), url: "https://log.example/" }],
      witnesses: [{ name: "w", key: cosignatureVkey(witnessKeys[0] as never), url: "https://w.example" }],
      groups: [],
      quorum: "w",
    });
  });

  test("a hash mark begins a comment at the beginning of a line only", () => {
    expect(parse(`witness #1 ${A}\nquorum #1\n`).quorum).toBe("#1");
    expect(codeOf(() => parse(`witness w ${A} https://w.example # mine\nquorum w\n`))).toBe("bad_policy");
  });

  test("quorum none needs no witness and no log, and asks for nothing", () => {
    const none = parse("quorum none\n");
    expect(none).toEqual({ logs: [], witnesses: [], groups: [], quorum: "none" });
    expect(policySatisfied(none, new Set())).toBe(true);
    expect(policySatisfied(parse(`witness w ${A}\nquorum none\n`), new Set())).toBe(true);
  });

  test("a single witness can be the quorum, and lines may follow it", () => {
    const one = parse(`witness w ${A}\nquorum w\nwitness v ${B}\nlog ${LOG}\n`);
    expect(policySatisfied(one, new Set(["w"]))).toBe(true);
    expect(policySatisfied(one, new Set(["v"]))).toBe(false);
    expect(policySatisfied(one, new Set(["w2", "none"]))).toBe(false);
  });

  test("keywords and digits are names like others", () => {
    const odd = parse(`witness any ${A}\nwitness 2 ${B}\ngroup all any any 2\nquorum all\n`);
    expect(odd.groups).toEqual([{ name: "all", threshold: 1, members: ["any", "2"] }]);
    expect(policySatisfied(odd, new Set(["2"]))).toBe(true);
  });

  test("a log and a witness may share a key, and a log may have several", () => {
    const asWitness = printVkey(cosignatureVkey(logKey));
    const pq = printVkey(privateKeyVkey(logMldsaKey));
    const shared = parse(`log ${LOG}\nlog ${pq}\nwitness w ${asWitness}\nquorum w\n`);
    expect(shared.logs).toHaveLength(2);
  });

  test("names are octets: a Kelvin sign is no K, and bytes that are not UTF-8 keep their difference", () => {
    const names = [[0x4b], [0xe2, 0x84, 0xaa], [0xff], [0xfe], [0xc3], [0xc3, 0x28], [0xed, 0xb2, 0x80]];
    const lines = names.map((name, i) =>
      concatBytes(encodeUtf8("witness "), Uint8Array.from(name), encodeUtf8(` ${[A, B, C, ...more][i]}\n`)),
    );
    const group = concatBytes(
      encodeUtf8("group g all"),
      ...names.map((name) => Uint8Array.from([0x20, ...name])),
      encodeUtf8("\nquorum g\n"),
    );
    const bytes = concatBytes(...lines, group);
    const read = parsePolicy(bytes);
    expect(new Set(read.witnesses.map(({ name }) => name)).size).toBe(names.length);
    expect(read.witnesses[0]?.name).toBe("K");
    expect(read.witnesses[1]?.name).toBe("\u212a");
    expect(parsePolicy(printPolicy(read))).toEqual(read);
    const printed = printPolicy(read);
    for (const line of lines) expect(Buffer.from(printed).includes(Buffer.from(line))).toBe(true);
  });

  test("names that differ in normalisation only are different names", () => {
    const text = `witness \u00e9 ${A}\nwitness e\u0301 ${B}\ngroup g all \u00e9 e\u0301\nquorum g\n`;
    expect(parse(text).groups[0]?.members).toEqual(["\u00e9", "e\u0301"]);
  });

  test("thirty-two of everything are read, and as many as the limit", () => {
    const vkeys = Array.from({ length: POLICY_MAX_DEFINITIONS + 1 }, (_, i) => {
      const s = seed(7);
      new DataView(s.buffer).setUint32(0, i);
      return printVkey(verifierKey(`w${i}`, SIGNATURE_TYPE.cosignature, nobleEd25519.publicKey(s)));
    });
    function withWitnesses(count: number): string {
      const witnesses = vkeys.slice(0, count).map((vkey, i) => `witness w${i} ${vkey}\n`);
      // Nested as deep as there are groups.
      const groups = vkeys
        .slice(0, count)
        .map((_, i) => `group g${i} all w${i}${i > 0 ? ` g${i - 1}` : ""}\n`);
      return [...witnesses, ...groups, `quorum g${count - 1}\n`].join("");
    }
    for (const count of [32, POLICY_MAX_DEFINITIONS]) {
      const deep = parse(withWitnesses(count));
      const all = deep.witnesses.map(({ name }) => name);
      expect(policySatisfied(deep, new Set(all))).toBe(true);
      expect(policySatisfied(deep, new Set(all.slice(1)))).toBe(false);
    }
    expect(codeOf(() => parse(withWitnesses(POLICY_MAX_DEFINITIONS + 1)))).toBe("bad_policy");
  });
});

describe("refusing", () => {
  const two = `witness w ${A}\nwitness v ${B}\n`;
  test.each([
    ["nothing", ""],
    ["no quorum line", two],
    ["two quorum lines", `${two}quorum w\nquorum w\n`],
    ["two quorum lines of none", "quorum none\nquorum none\n"],
    ["a last line without a newline", `${two}quorum w`],
    ["a comment at the end without a newline", `${two}quorum w\n# end`],
    ["a quorum that is not defined", `${two}quorum x\n`],
    ["a quorum that is defined below", `quorum w\n${two}`],
    ["a quorum of two names", `${two}quorum w v\n`],
    ["a quorum without a name", `${two}quorum\n`],
    ["an unknown keyword", `${two}quorum w\nextra line\n`],
    ["a keyword in capitals", `${two}Quorum w\n`],
    ["a byte order mark", `\ufeff${two}quorum w\n`],
    ["a name twice", `${two}witness w ${C}\nquorum w\n`],
    ["a group with a witness's name", `${two}group w any v\nquorum w\n`],
    ["a witness with a group's name", `${two}group g any v\nwitness g ${C}\nquorum g\n`],
    ["a witness named none", `witness none ${A}\nquorum none\n`],
    ["a group named none", `${two}group none any w\nquorum none\n`],
    ["none as a member", `${two}group g any w none\nquorum g\n`],
    ["a member that is not defined", `${two}group g any w x\nquorum g\n`],
    ["a member that is defined below", `group g any w\n${two}quorum g\n`],
    ["a group that is a member of itself", `${two}group g any w g\nquorum g\n`],
    ["a member twice in one group", `${two}group g 2 w w\nquorum g\n`],
    ["a member of two groups", `${two}group g any w v\ngroup h any w\nquorum g\n`],
    [
      "a group that is a member of two groups",
      `${two}group g any w\ngroup h any g\ngroup i any g\nquorum i\n`,
    ],
    ["a group without members", `${two}group g any\nquorum w\n`],
    ["a group without a threshold", `${two}group g\nquorum w\n`],
    ["a threshold of 0", `${two}group g 0 w v\nquorum g\n`],
    ["a threshold above the members", `${two}group g 3 w v\nquorum g\n`],
    ["a threshold with a leading zero", `${two}group g 01 w v\nquorum g\n`],
    ["a threshold with a sign", `${two}group g +1 w v\nquorum g\n`],
    ["a threshold in words", `${two}group g most w v\nquorum g\n`],
    ["a threshold beyond numbers", `${two}group g 99999999999999999999 w v\nquorum g\n`],
    ["a witness without a key", "witness w\nquorum w\n"],
    ["a witness with an item too many", `witness w ${A} https://w.example more\nquorum w\n`],
    ["a log without a key", "log\nquorum none\n"],
    ["a log with an item too many", `log ${LOG} https://log.example more\nquorum none\n`],
    ["a malformed key", `log ${LOG.slice(0, -4)}\nquorum none\n`],
    ["a log with a witness's key", `log ${A}\nquorum none\n`],
    ["a log twice", `log ${LOG}\nlog ${LOG}\nquorum none\n`],
    ["a witness twice", `witness w ${A}\nwitness v ${A}\nquorum w\n`],
    ["a carriage return", `${two}quorum w\r\n`],
    ["a form feed", `${two}\fquorum w\n`],
    ["a NUL in a comment", `# a\0b\n${two}quorum w\n`],
    ["a delete character", `${two}# \u007f\nquorum w\n`],
    ["an ideographic space for a separator", `witness\u3000w ${A}\nquorum w\n`],
  ])("%s", (_, text) => {
    expect(codeOf(() => parse(text))).toBe("bad_policy");
  });

  test("keys that wrap one public key are duplicates, whatever their name, id and type", () => {
    const key = cosignatureVkey(witnessKeys[0] as never);
    const renamed = printVkey(verifierKey("another.example", key.type, key.publicKey));
    expect(codeOf(() => parse(`witness w ${A}\nwitness v ${renamed}\nquorum w\n`))).toBe("bad_policy");
    const logRenamed = printVkey(verifierKey("another.example", SIGNATURE_TYPE.ed25519, logKey.publicKey));
    expect(codeOf(() => parse(`log ${LOG}\nlog ${logRenamed}\nquorum none\n`))).toBe("bad_policy");
  });

  test("a witness's plain note key is refused with the key to write instead", () => {
    const plain = printVkey(privateKeyVkey(witnessKeys[0] as never));
    const error = errorOf(() => parse(`witness w ${plain}\nquorum w\n`));
    expect(error?.code).toBe("bad_policy");
    expect(error?.detail).toContain(A);
    expect(error?.detail).toContain("line 1:");
  });

  test("a log's key of a type that logs do not sign with", () => {
    const text = "log ecdsa.example+00000000+AgAA\nquorum none\n";
    expect(codeOf(() => parse(text))).toBe("bad_policy");
  });

  test("a file over the limit", () => {
    expect(codeOf(() => parsePolicy(new Uint8Array(1024 * 1024 + 1).fill(0x0a)))).toBe("bad_policy");
  });

  test("every damage to a policy is refused as bad_policy or is a policy that prints back as itself", () => {
    const text = `log ${LOG}\nwitness w ${A}\nwitness v ${B}\ngroup g 2 w v\nquorum g\n`;
    for (const bytes of [...damaged(encodeUtf8(text)), ...[...damagedLines(text)].map(encodeUtf8)]) {
      let read: Policy | undefined;
      const code = codeOf(() => {
        read = parsePolicy(bytes);
      });
      if (read === undefined) expect(code).toBe("bad_policy");
      else expect(parsePolicy(printPolicy(read))).toEqual(read);
    }
  });

  test("any bytes are read or refused as bad_policy", () => {
    const words = [
      "log",
      "witness",
      "group",
      "quorum",
      "none",
      "any",
      "all",
      "1",
      "w",
      "v",
      "g",
      A,
      B,
      LOG,
      "#",
      "\n",
    ];
    const piece = fc.oneof(
      { weight: 5, arbitrary: fc.constantFrom(...words).map((word) => encodeUtf8(`${word} `)) },
      { weight: 2, arbitrary: fc.constant(encodeUtf8("\n")) },
      { weight: 1, arbitrary: fc.uint8Array({ maxLength: 4 }) },
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 20 }), (pieces) => {
        const code = codeOf(() => parsePolicy(concatBytes(...pieces, encodeUtf8("\n"))));
        expect(["nothing", "bad_policy"]).toContain(code);
      }),
      { numRuns: 500 },
    );
  });
});

describe("writing", () => {
  test("a policy prints in sections and reads back as itself", () => {
    expect(decodeUtf8(printPolicy(policy))).toBe(
      `log ${LOG}\n\nwitness a ${A}\nwitness b ${B}\nwitness c ${C}\n\ngroup quorum 2 a b c\n\nquorum quorum\n`,
    );
    for (const p of [policy, parse(EXAMPLE), parse("quorum none\n"), parse(`log ${LOG} u\nquorum none\n`)]) {
      expect(parsePolicy(printPolicy(p))).toEqual(p);
    }
    expect(decodeUtf8(printPolicy(parse("quorum none\n")))).toBe("quorum none\n");
  });

  test("a count of witnesses becomes a group, under a name that none of them has", () => {
    const witnesses = witnessKeys.map((key, i) => ({
      name: ["quorum", "b", "c"][i] as string,
      key: cosignatureVkey(key),
    }));
    const counted = policyFromQuorum(witnesses, 2);
    for (let bits = 0; bits < 8; bits++) {
      const names = new Set(witnesses.map(({ name }) => name).filter((_, i) => bits & (1 << i)));
      expect(policySatisfied(counted, names)).toBe(names.size >= 2);
    }
    expect(policySatisfied(policyFromQuorum(witnesses, 0), new Set())).toBe(true);
    expect(parsePolicy(printPolicy(counted))).toEqual(counted);
    expect(policyFromQuorum([], 0)).toEqual({ logs: [], witnesses: [], groups: [], quorum: "none" });
  });

  test("what a file could not say is refused", () => {
    const key = cosignatureVkey(witnessKeys[0] as never);
    const other = cosignatureVkey(witnessKeys[1] as never);
    for (const quorum of [-1, 2, 0.5, Number.NaN]) {
      expect(codeOf(() => policyFromQuorum([{ name: "w", key }], quorum))).toBe("bad_policy");
    }
    for (const name of ["", "a b", "a\tb", "a\nb", "none", "a\u007f", "\ud800", "é\udcff", "\udcc3\udca9"]) {
      expect(
        codeOf(() => policyFromQuorum([{ name, key }], 1)),
        JSON.stringify(name),
      ).not.toBe("nothing");
    }
    const twice = [
      { name: "w", key },
      { name: "w", key: other },
    ];
    expect(codeOf(() => policyFromQuorum(twice, 1))).toBe("bad_policy");
    expect(codeOf(() => printPolicy({ ...policy, quorum: "x" }))).toBe("bad_policy");
    expect(codeOf(() => policyFromQuorum([{ name: "w", key, url: "https://a b" }], 1))).toBe("bad_policy");
  });
});

describe("trusting a checkpoint", () => {
  const [a, b, c] = witnessSigners as [never, never, never];
  const pqLogSigner = cosignatureSigner(logMldsaKey, noblePrimitives, () => 1_700_000_000);

  test("the log and two of three witnesses are enough, and each is named with its time", () => {
    const { checkpoint, cosignatures } = verifyCheckpoint(checkpointNote(), trust);
    expect(checkpoint).toMatchObject({ origin: ORIGIN, size: BigInt(entries.length) });
    expect(cosignatures).toEqual(
      ["a", "b", "c"].map((name, i) => ({ name, time: BigInt(COSIGNED_AT[i] as number) })),
    );
    for (const pair of [
      [a, b],
      [c, a],
      [b, c],
    ]) {
      const note = checkpointNote([...pair, logSigner, strangerSigner]);
      expect(verifyCheckpoint(note, trust).cosignatures).toHaveLength(2);
    }
  });

  test("one witness is too few, however often it signs", () => {
    expect(codeOf(() => verifyCheckpoint(checkpointNote([logSigner, a]), trust))).toBe("quorum_not_met");
    const again = cosignatureSigner(witnessKeys[0] as never, noblePrimitives, () => COSIGNED_AT[2]);
    const note = checkpointNote([logSigner, a, again, a]);
    expect(codeOf(() => verifyCheckpoint(note, trust))).toBe("quorum_not_met");
    // With a second witness it counts once, by its newest time, wherever that stands.
    for (const order of [
      [again, a],
      [a, again],
    ]) {
      const { cosignatures } = verifyCheckpoint(checkpointNote([logSigner, ...order, b]), trust);
      expect(cosignatures).toEqual([
        { name: "a", time: BigInt(COSIGNED_AT[2]) },
        { name: "b", time: BigInt(COSIGNED_AT[1]) },
      ]);
    }
  });

  test("witnesses without the log's signature are not enough", () => {
    expect(codeOf(() => verifyCheckpoint(checkpointNote([a, b, c]), trust))).toBe("unsigned");
    expect(codeOf(() => verifyCheckpoint(checkpointNote([a, b, c, strangerSigner]), trust))).toBe("unsigned");
  });

  test("a log's key signs for its own origin only", () => {
    const text = checkpointText(7, "other.example");
    const other = trustPolicy(
      policyFromQuorum([], 0, [
        { key: privateKeyVkey(logKey) },
        { key: privateKeyVkey(generatePrivateKey("other.example", seed(77))) },
      ]),
    );
    expect(codeOf(() => verifyCheckpoint(signNote(text, [logSigner]), trust))).toBe("wrong_origin");
    expect(codeOf(() => verifyCheckpoint(signNote(text, [logSigner]), other))).toBe("unsigned");
  });

  test("another origin than the one asked for is refused, even where its log is trusted", () => {
    expect(verifyCheckpoint(checkpointNote(), trust, { origin: ORIGIN }).checkpoint.origin).toBe(ORIGIN);
    expect(codeOf(() => verifyCheckpoint(checkpointNote(), trust, { origin: "other" }))).toBe("wrong_origin");
    const noLogs = trustPolicy(policyFromQuorum([], 0));
    expect(codeOf(() => verifyCheckpoint(checkpointNote(), noLogs))).toBe("wrong_origin");
  });

  test("a forged line by a log or a witness condemns the note though the others would do", () => {
    const note = checkpointNote();
    for (let i = 0; i < note.signatures.length; i++) {
      const signatures = note.signatures.map((signature, at) =>
        at === i
          ? { ...signature, signature: signature.signature.map((byte, j) => (j === 20 ? byte ^ 1 : byte)) }
          : signature,
      );
      expect(codeOf(() => verifyCheckpoint({ ...note, signatures }, trust))).toBe("bad_signature");
    }
  });

  test("a note that is no checkpoint is refused", () => {
    const note = signNote("text\n", [logSigner]);
    expect(codeOf(() => verifyCheckpoint(note, trust))).toBe("bad_checkpoint");
  });

  test("any one of a log's keys will do", () => {
    const two = trustPolicy(
      policyFromQuorum(
        [],
        0,
        [logKey, logMldsaKey].map((key) => ({ key: privateKeyVkey(key) })),
      ),
    );
    for (const signers of [[logSigner], [pqLogSigner], [logSigner, pqLogSigner]]) {
      expect(verifyCheckpoint(checkpointNote(signers), two).cosignatures).toEqual([]);
    }
    expect(codeOf(() => verifyCheckpoint(checkpointNote([strangerSigner]), two))).toBe("unsigned");
  });

  test("a log that witnesses itself with the same key file is counted as both, by a line each", () => {
    const selfWitnessed = trustPolicy(
      policyFromQuorum([{ name: "self", key: cosignatureVkey(logKey) }], 1, [
        { key: privateKeyVkey(logKey) },
      ]),
    );
    const cosigner = cosignatureSigner(logKey, noblePrimitives, () => 5);
    expect(verifyCheckpoint(checkpointNote([logSigner, cosigner]), selfWitnessed).cosignatures).toHaveLength(
      1,
    );
    expect(codeOf(() => verifyCheckpoint(checkpointNote([logSigner]), selfWitnessed))).toBe("quorum_not_met");
    expect(codeOf(() => verifyCheckpoint(checkpointNote([cosigner]), selfWitnessed))).toBe("unsigned");
  });

  test("age: enough witnesses must be young, and a clock behind theirs does not make them old", () => {
    const [first, second, third] = COSIGNED_AT;
    function age(note: Note, now: number, seconds = 100): string {
      return codeOf(() => verifyCheckpoint(note, trust, { maxAge: { seconds, now } }));
    }
    const note = checkpointNote();
    expect(age(note, first)).toBe("nothing");
    expect(age(note, second + 100)).toBe("nothing"); // b to the second, and c
    expect(age(note, second + 101)).toBe("too_old"); // c alone
    expect(age(note, third + 1_000_000)).toBe("too_old");
    expect(age(note, third + 1_000_000, 2_000_000)).toBe("nothing");
    expect(age(note, first - 1_000_000)).toBe("nothing");
    expect(age(checkpointNote([logSigner, a]), first)).toBe("quorum_not_met");
  });

  test("age without a quorum: any known time counts, the log's own too, and no time at all is too old", () => {
    const free = trustPolicy(
      policyFromQuorum(
        [{ name: "a", key: cosignatureVkey(witnessKeys[0] as never) }],
        0,
        [logKey, logMldsaKey].map((key) => ({ key: privateKeyVkey(key) })),
      ),
    );
    const maxAge = { seconds: 60, now: COSIGNED_AT[0] + 60 };
    const later = { seconds: 60, now: COSIGNED_AT[0] + 61 };
    for (const signers of [[logSigner, a], [pqLogSigner]]) {
      expect(codeOf(() => verifyCheckpoint(checkpointNote(signers), free, { maxAge }))).toBe("nothing");
      expect(codeOf(() => verifyCheckpoint(checkpointNote(signers), free, { maxAge: later }))).toBe(
        "too_old",
      );
    }
    expect(codeOf(() => verifyCheckpoint(checkpointNote([logSigner]), free, { maxAge }))).toBe("too_old");
    // A stranger's time is nobody's.
    const stranger = cosignatureSigner(strangerKey, noblePrimitives, () => COSIGNED_AT[0]);
    expect(codeOf(() => verifyCheckpoint(checkpointNote([logSigner, stranger]), free, { maxAge }))).toBe(
      "too_old",
    );
  });

  test("a key that must not be trusted makes no trust", () => {
    const key = { ...privateKeyVkey(logKey), publicKey: new Uint8Array(32) };
    expect(codeOf(() => trustPolicy({ ...policy, logs: [{ key }] }))).toBe("bad_vkey");
  });

  test("a plain note signature by a witness is no cosignature", () => {
    const plain = witnessKeys.slice(0, 2).map((key) => noteSigner(key, nobleEd25519));
    expect(codeOf(() => verifyCheckpoint(checkpointNote([logSigner, ...plain]), trust))).toBe(
      "quorum_not_met",
    );
  });
});
