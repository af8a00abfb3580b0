// The HTTP interface as data: what each route takes and answers, with schemas for its JSON. /openapi.json is made of it,
// docs/openapi.json is its committed form, and a test holds the server's real answers against the same schemas.

import { z } from "zod";
import type { ErrorCode } from "../core/errors.ts";
import { statusOf } from "./problem.ts";

const index = z.int().min(0).describe("Zero-based index of the entry in the log.");
const size = z.int().min(0).describe("Number of entries of a tree.");

export const receiptSchema = z
  .strictObject({
    index,
    leafHash: z.string().describe("RFC 6962 leaf hash, standard base64."),
    duplicate: z
      .boolean()
      .describe("True where these bytes were in the log already, or on their way into it."),
  })
  .describe("An acknowledgement.");

const entryErrorSchema = z.strictObject({
  error: z.strictObject({ code: z.string(), detail: z.string() }),
});

export const batchSchema = z
  .strictObject({ results: z.array(z.union([receiptSchema, entryErrorSchema])) })
  .describe("One result for each entry, in the order of the request. Indices need not be contiguous.");

export const readySchema = z.strictObject({
  ready: z.boolean(),
  integrated_size: size,
  next_index: index,
  pending_count: z.int().min(0).describe("next_index - integrated_size."),
  published_size: size.nullable().describe("Null before the first publication."),
  checkpoint_age_seconds: z.number().nullable(),
  reasons: z.array(z.strictObject({ code: z.string(), detail: z.string() })),
  witnesses: z.array(
    z.strictObject({
      name: z.string(),
      state: z.enum(["ok", "failing", "claims_larger", "ignored"]),
      size: size.nullable(),
      last_success: z.string().nullable().describe("ISO 8601."),
      last_error: z.string().nullable(),
    }),
  ),
});

export const logSchema = z
  .strictObject({
    origin: z.string(),
    vkeys: z.array(z.string()).describe("Verifier keys, c2sp.org/signed-note."),
    policy: z.string().nullable().describe("c2sp.org/tlog-policy text, or null without witnesses."),
    limits: z.record(z.string(), z.number().nullable()),
    descriptor: z.string().nullable(),
  })
  .describe("What a client or a witness operator pins.");

export const healthSchema = z.strictObject({ status: z.literal("ok") });

export const problemSchema = z
  .looseObject({
    title: z.string(),
    status: z.int(),
    code: z.string().describe("Stable; docs/errors.md lists them."),
    detail: z.string(),
    request_id: z.string().nullable().optional(),
  })
  .describe("RFC 9457 problem details.");

interface Answer {
  readonly type: string;
  readonly schema: z.ZodType | null;
  readonly about: string;
}

interface Parameter {
  readonly name: string;
  readonly in: "path" | "query";
  readonly schema: z.ZodType;
  readonly about: string;
}

interface Operation {
  readonly method: "get" | "post";
  /** OpenAPI has no parameter that spans path elements: the tile routes are given as C2SP writes them. */
  readonly path: string;
  readonly summary: string;
  readonly about: string;
  readonly key: boolean;
  readonly parameters: readonly Parameter[];
  readonly body: readonly { readonly type: string; readonly about: string }[];
  readonly answers: readonly Answer[];
  readonly refusals: readonly ErrorCode[];
}

const TEXT = "text/plain; charset=utf-8";
const BYTES = "application/octet-stream";
const JSON_TYPE = "application/json";
const WRITE_REFUSALS = [
  "rate_limited",
  "unauthorized",
  "unsupported_encoding",
  "request_timeout",
  "frozen",
  "queue_full",
  "backlog_full",
  "storage_low",
  "store_unavailable",
  "starting",
  "draining",
] as const satisfies readonly ErrorCode[];

const proofAnswer: Answer = {
  type: TEXT,
  schema: null,
  about: "A c2sp.org/tlog-proof that verifies offline.",
};
const widthParameters: readonly Parameter[] = [
  {
    name: "N",
    in: "path",
    schema: z.string(),
    about: "Tile index in groups of three digits, all but the last with x.",
  },
];

export const OPERATIONS: readonly Operation[] = [
  {
    method: "post",
    path: "/add",
    summary: "Log an entry.",
    about:
      "The body is the entry, 1 to 65,535 bytes, of any or no content type. The answer is the decimal index and nothing else, given when the entry is durable in the log's database.",
    key: true,
    parameters: [
      {
        name: "proof",
        in: "query",
        schema: z.boolean(),
        about: "true: answer when a published checkpoint covers the entry, with a proof.",
      },
    ],
    body: [{ type: "*/*", about: "The entry's bytes." }],
    answers: [
      {
        type: TEXT,
        schema: z.string().regex(/^[0-9]+$/),
        about: "The index; with proof=true a c2sp.org/tlog-proof.",
      },
      { type: JSON_TYPE, schema: receiptSchema, about: "Where Accept names application/json." },
    ],
    refusals: [
      ...WRITE_REFUSALS,
      "object_missing",
      "entry_empty",
      "entry_too_large",
      "reserved_shape",
      "bad_parameter",
      "proof_timeout",
    ],
  },
  {
    method: "post",
    path: "/add-batch",
    summary: "Log up to 10,000 entries at once.",
    about: "At most 8 MiB. A bad entry gets its own error, and the others commit.",
    key: true,
    parameters: [],
    body: [
      { type: BYTES, about: "Each entry behind its length as a big-endian 16-bit integer." },
      { type: "application/x-ndjson", about: "One entry a line: the line's bytes without the LF." },
    ],
    answers: [{ type: JSON_TYPE, schema: batchSchema, about: "Results in order." }],
    refusals: [...WRITE_REFUSALS, "unsupported_type", "bad_framing", "batch_too_large"],
  },
  {
    method: "get",
    path: "/checkpoint",
    summary: "The newest published checkpoint.",
    about: "c2sp.org/tlog-checkpoint, with the cosignatures that the log's policy asks for.",
    key: false,
    parameters: [],
    body: [],
    answers: [{ type: TEXT, schema: null, about: "A signed note." }],
    refusals: ["not_published_yet"],
  },
  {
    method: "get",
    path: "/checkpoint/{size}",
    summary: "An earlier published checkpoint.",
    about: "The last 1,000 are kept.",
    key: false,
    parameters: [{ name: "size", in: "path", schema: size, about: "Its size." }],
    body: [],
    answers: [{ type: TEXT, schema: null, about: "A signed note." }],
    refusals: ["checkpoint_not_kept", "bad_parameter"],
  },
  {
    method: "get",
    path: "/tile/{L}/{N}",
    summary: "A tile of hashes.",
    about: "c2sp.org/tlog-tiles; a partial tile has .p/<W> behind its index. Immutable.",
    key: false,
    parameters: [
      { name: "L", in: "path", schema: z.int().min(0).max(63), about: "Level." },
      ...widthParameters,
    ],
    body: [],
    answers: [{ type: BYTES, schema: null, about: "32 bytes a hash." }],
    refusals: ["bad_path", "not_published", "object_missing", "store_unavailable", "starting"],
  },
  {
    method: "get",
    path: "/tile/entries/{N}",
    summary: "A bundle of entries.",
    about:
      "c2sp.org/tlog-tiles; a partial bundle has .p/<W> behind its index. Immutable; gzip where accepted.",
    key: false,
    parameters: widthParameters,
    body: [],
    answers: [{ type: BYTES, schema: null, about: "Each entry behind its length." }],
    refusals: ["bad_path", "not_published", "object_missing", "store_unavailable", "starting"],
  },
  {
    method: "get",
    path: "/proof/{index}",
    summary: "The proof of an entry.",
    about: "In the newest published checkpoint, or in a kept one.",
    key: false,
    parameters: [
      { name: "index", in: "path", schema: index, about: "Its index." },
      { name: "size", in: "query", schema: size, about: "The size of a kept checkpoint." },
    ],
    body: [],
    answers: [proofAnswer],
    refusals: [
      "not_published",
      "checkpoint_not_kept",
      "bad_parameter",
      "object_missing",
      "store_unavailable",
    ],
  },
  simple("/log.json", "What to pin.", logSchema),
  simple("/health", "Whether the process is up: for proxies and containers.", healthSchema),
  {
    ...simple(
      "/ready",
      "Whether the log does its work: for alerts and deploy gates, never for routing.",
      readySchema,
    ),
    about: "200 where it is ready, 503 with the same members where it is not.",
  },
  {
    ...simple("/metrics", "Prometheus text.", null),
    answers: [{ type: "text/plain; version=0.0.4; charset=utf-8", schema: null, about: "Prometheus text." }],
  },
];

function simple(path: string, summary: string, schema: z.ZodType | null): Operation {
  return {
    method: "get",
    path,
    summary,
    about: "",
    key: false,
    parameters: [],
    body: [],
    answers: [{ type: JSON_TYPE, schema, about: summary }],
    refusals: [],
  };
}

/** The OpenAPI 3.1 document. */
export function openApiDocument(): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const operation of OPERATIONS) {
    paths[operation.path] = { ...paths[operation.path], [operation.method]: printOperation(operation) };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Cairn",
      version: "1",
      description:
        "A tiled transparency log (c2sp.org/tlog-tiles). Every refusal is RFC 9457 problem+json with a stable code.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    paths,
    components: {
      schemas: { Problem: jsonSchema(problemSchema) },
      securitySchemes: { key: { type: "http", scheme: "bearer" } },
    },
  };
}

function printOperation(operation: Operation): object {
  const { summary, about, key, parameters, body, answers, refusals } = operation;
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of [...refusals].sort()) {
    byStatus.set(statusOf(code), [...(byStatus.get(statusOf(code)) ?? []), code]);
  }
  const responses: Record<string, object> = {
    200: {
      description: answers.map((answer) => answer.about).join(" "),
      content: Object.fromEntries(
        answers.map(({ type, schema }) => [type, schema === null ? {} : { schema: jsonSchema(schema) }]),
      ),
    },
  };
  for (const [status, codes] of [...byStatus].sort(([a], [b]) => a - b)) {
    responses[status] = {
      description: codes.join(", "),
      content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } },
    };
  }
  if (operation.path === "/ready")
    responses[503] = { ...responses[200], description: "Not ready: see reasons." };
  return {
    summary,
    ...(about === "" ? {} : { description: about }),
    ...(key ? { security: [{ key: [] }, {}] } : {}),
    ...(parameters.length === 0
      ? {}
      : {
          parameters: parameters.map((parameter) => ({
            name: parameter.name,
            in: parameter.in,
            required: parameter.in === "path",
            description: parameter.about,
            schema: jsonSchema(parameter.schema),
          })),
        }),
    ...(body.length === 0
      ? {}
      : {
          requestBody: {
            required: true,
            content: Object.fromEntries(
              body.map(({ type, about: what }) => [type, { schema: { description: what } }]),
            ),
          },
        }),
    responses,
  };
}

function jsonSchema(schema: z.ZodType): object {
  const { $schema: _, ...rest } = z.toJSONSchema(schema) as Record<string, unknown>;
  return rest;
}
