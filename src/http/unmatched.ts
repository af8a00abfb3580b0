// Requests that no route answers: 404 and 405 in the same form as every refusal, and the preflights of browsers. The
// table of addresses fills itself as routes are registered, so no route can be forgotten here.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { FastifyInstance } from "fastify";
import { CairnError } from "../core/errors.ts";
import { pathOf } from "./parameters.ts";
import type { Refuse } from "./refuse.ts";
import { CORS } from "./send.ts";
import { isTilePath } from "./tiles.ts";

const ALLOWED_REQUEST_HEADERS = "Authorization, Content-Type, If-None-Match";
const PREFLIGHT_MAX_AGE_SECONDS = 86_400;

/** To be called before the routes are registered. */
export function answerUnmatched(app: FastifyInstance, refuse: Refuse): void {
  const routes = new Map<string, { readonly pattern: RegExp; readonly methods: Set<string> }>();

  app.addHook("onRoute", ({ url, method }) => {
    const route = routes.get(url) ?? { pattern: patternOf(url), methods: new Set<string>() };
    routes.set(url, route);
    for (const name of [method].flat()) route.methods.add(name);
  });

  const methodsAt = (path: string) => {
    const methods = new Set<string>();
    for (const route of routes.values()) {
      if (route.pattern.test(path) || path === "*") for (const method of route.methods) methods.add(method);
    }
    return methods;
  };

  app.setNotFoundHandler((request, reply) => {
    reply.hijack();
    const raw = request.raw;
    const methods = methodsAt(pathOf(raw.url ?? ""));
    if (methods.size === 0) {
      refuse(raw, reply.raw, new CairnError("not_found"));
      return;
    }
    const allow = [...methods, "OPTIONS"].join(", ");
    if (raw.method === "OPTIONS") preflight(raw, reply.raw, allow);
    else refuse(raw, reply.raw, new CairnError("method_not_allowed"), ["Allow", allow]);
  });
}

/** What a request gets whose address the router cannot even decode. */
export function undecodable(url: string): CairnError {
  const path = pathOf(url);
  const detail = "the address is malformed";
  if (isTilePath(path)) return new CairnError("bad_path", { detail });
  return new CairnError(/^\/(proof|checkpoint)\//.test(path) ? "bad_parameter" : "bad_request", { detail });
}

function preflight(raw: IncomingMessage, res: ServerResponse, allow: string): void {
  res.writeHead(204, [
    "Allow",
    allow,
    ...CORS,
    "Access-Control-Allow-Methods",
    allow,
    "Access-Control-Allow-Headers",
    ALLOWED_REQUEST_HEADERS,
    "Access-Control-Max-Age",
    String(PREFLIGHT_MAX_AGE_SECONDS),
  ]);
  res.end();
  raw.resume();
}

/** The addresses of a route: `:name` is one segment, `*` the rest. */
function patternOf(url: string): RegExp {
  const source = url.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replace(/:[a-z]+|\*/g, (part) => {
    return part === "*" ? ".*" : "[^/]+";
  });
  return new RegExp(`^${source}$`);
}
