// Where published witnesses do otherwise than the text says, found by running the suite on them. Not a judgement: some of
// these are lenient where the text is strict, some were decided before the text was. docs/witness-conformance.md lists them.

export interface Difference {
  /** Case names, each as `group: name`. */
  readonly cases: readonly string[];
  /** What the witness does, as a sentence whose subject is the witness. */
  readonly does: string;
}

const FORM = "add-checkpoint: the form of requests";
const SIGNATURES = "add-checkpoint: signatures";
const OLD_SIZES = "add-checkpoint: old sizes";
const CONSISTENCY = "add-checkpoint: consistency";

function inGroup(group: string, names: readonly string[]): string[] {
  return names.map((name) => `${group}: ${name}`);
}

/** omniwitness at the version of test/witness/peers, with SQLite, run without `strict`. */
export const OMNIWITNESS_DIFFERENCES: readonly Difference[] = [
  {
    does: "reads the old size line leniently: other white space, a carriage return, leading zeros, and whatever follows the number are taken.",
    cases: inGroup(FORM, [
      "an old size line that ends in CR LF",
      "an old size with a leading zero",
      "two spaces before the old size",
      "a tab before the old size",
      "a space after the old size",
      "something after the old size",
      "an old size with a fraction",
    ]),
  },
  {
    does: "cosigns checkpoints that the text does not allow: a size with a leading zero, a root of another length than 32 bytes, an empty extension line.",
    cases: inGroup(FORM, [
      "a tree size with a leading zero",
      "an empty root",
      "a root of 31 bytes",
      "an empty extension line",
    ]),
  },
  {
    does: "answers a note or a checkpoint that cannot be read with 500, where a client error would tell the client whose fault it is.",
    cases: inGroup(FORM, [
      "nothing after the empty line",
      "lines that end in CR LF",
      "no newline at the end of the last signature line",
      "a checkpoint of two lines",
      "a tree size with a sign",
      "a tree size with a space",
      "a tree size that is no number",
      "a root that is not base64",
      "a root without its padding",
      "a control character in the text",
      "a NUL in the text",
      "a note that is not UTF-8",
      "a note without a signature",
      "a signature line with a hyphen for the dash",
      "a signature line that is not base64",
      "a signature line with a plus in its name",
      "a signature shorter than its key's id",
    ]),
  },
  {
    does: "answers an unknown origin with 500 instead of 404 where it keeps its state in SQLite.",
    cases: inGroup(SIGNATURES, [
      "an unknown origin",
      "an unknown origin, signed by the key of a known log",
      "a known origin with a suffix",
    ]),
  },
  {
    does: "answers a checkpoint without a valid signature by a trusted key with 500 instead of 403.",
    cases: inGroup(SIGNATURES, [
      "a known origin, signed by an unknown key alone",
      "a known origin, signed by another known log's key alone",
      "a forged signature under a trusted key's name and id",
      "a trusted key's signature of another text",
      "a trusted key's signature of the wrong length",
      "a good and a forged line by one trusted key",
      "a forged signature is refused before sizes are compared",
    ]),
  },
  {
    does: "trusts one key for each log, so that a log which changes its key has to be configured anew.",
    cases: inGroup(SIGNATURES, [
      "the second key of a log",
      "a change from the first key of a log to its second",
      "one trusted key's line good, the other's forged",
    ]),
  },
  {
    does: "takes bodies of at most 16 KiB, which sixteen post-quantum signatures exceed.",
    cases: inGroup(SIGNATURES, ["sixteen signature lines, fifteen of them post-quantum"]),
  },
  {
    does: "does not look at the old size before it has cosigned a log's first checkpoint.",
    cases: inGroup(OLD_SIZES, [
      "an old size above a first checkpoint's",
      "an old size other than zero before any checkpoint",
    ]),
  },
  {
    does: "does not look at the proof, nor at an empty tree's root, of a log's first checkpoint.",
    cases: inGroup(CONSISTENCY, [
      "a proof from size zero",
      "a proof from size zero that would do from size one",
      "an empty tree with another root",
      "an empty tree with a proof",
    ]),
  },
  {
    does: "answers another root at the same size with 409 and no size, as the text asked for once, instead of 422.",
    cases: inGroup(CONSISTENCY, [
      "another root at the same size",
      "another root at the same size, again and again",
    ]),
  },
  {
    does: "has no monitoring endpoint; it hands checkpoints to a distributor instead.",
    cases: inGroup("monitoring", ["the checkpoint of a log that was cosigned"]),
  },
];
