// `GET /openapi.json`, the contract for programs, and `GET /docs`, the same as a page for people: no script, nothing
// fetched from elsewhere, so it can be read where the log runs without a way out.

import type { FastifyInstance } from "fastify";
import { OPERATIONS, openApiDocument } from "./contract.ts";
import { statusOf } from "./problem.ts";
import { JSON_TYPE, send } from "./send.ts";

const CACHE = ["Cache-Control", "public, max-age=3600"];
const PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'";

/** Registers both. The document and the page are made once. */
export function openApiRoutes(app: FastifyInstance): void {
  const document = Buffer.from(JSON.stringify(openApiDocument()));
  const page = Buffer.from(docsPage());
  app.get("/openapi.json", (_request, reply) => {
    reply.hijack();
    send(reply.raw, 200, ["Content-Type", JSON_TYPE, ...CACHE], document);
  });
  app.get("/docs", (_request, reply) => {
    reply.hijack();
    const headers = [
      "Content-Type",
      "text/html; charset=utf-8",
      "Content-Security-Policy",
      PAGE_POLICY,
      ...CACHE,
    ];
    send(reply.raw, 200, headers, page);
  });
}

function docsPage(): string {
  const sections = OPERATIONS.map((operation) => {
    const { method, path, summary, about, key, parameters, body, answers, refusals } = operation;
    const rows = [
      ...parameters.map(({ name, in: where, about: what }) =>
        row(`<code>${html(name)}</code> (${where})`, what),
      ),
      ...body.map(({ type, about: what }) => row(`body <code>${html(type)}</code>`, what)),
      ...answers.map(({ type, about: what }) => row(`200 <code>${html(type)}</code>`, what)),
      ...[...refusals].sort().map((code) => row(`${statusOf(code)} <code>${code}</code>`, "")),
    ];
    return `<section><h2><code>${method.toUpperCase()} ${html(path)}</code></h2><p>${html(summary)} ${html(about)}${
      key ? " Needs a key as <code>Authorization: Bearer</code>, unless the log is open to all." : ""
    }</p><table>${rows.join("")}</table></section>`;
  });
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Cairn: HTTP interface</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h2{margin:2rem 0 .3rem;font-size:1.1rem}code{background:#f2f2f2;padding:.1em .3em;border-radius:3px}
table{border-collapse:collapse;width:100%}td{border-top:1px solid #ddd;padding:.3rem .6rem .3rem 0;vertical-align:top}
td:first-child{white-space:nowrap}</style></head>
<body><h1>Cairn</h1><p>A tiled transparency log. For programs: <a href="openapi.json">openapi.json</a>.
Every refusal is problem+json with a stable <code>code</code>.</p>${sections.join("\n")}</body></html>
`;
}

function row(left: string, right: string): string {
  return `<tr><td>${left}</td><td>${html(right)}</td></tr>`;
}

function html(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
