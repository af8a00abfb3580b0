import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parseCommandLine } from "../../src/cli/args.ts";
import { readConfig } from "../../src/cli/config.ts";
import { runWitness } from "../../src/cli/witness-run.ts";
import { cosignatureVkey } from "../../src/core/cosignature.ts";
import { generatePrivateKey, printPrivateKey, privateKeyVkey } from "../../src/core/note-key.ts";
import { printVkey } from "../../src/core/vkey.ts";
import { composeVariables, parseYaml, readCompose } from "./compose.ts";

const text = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
const dockerfile = text("Dockerfile");

const KEY = generatePrivateKey("log.example/packages", new Uint8Array(32).fill(1));
const VARIABLES = {
  STORE_ACCESS_KEY: "store",
  STORE_SECRET_KEY: "a-secret",
  LOG_ORIGIN: KEY.name,
  LOG_VKEY: printVkey(privateKeyVkey(KEY)),
  WITNESS_VKEY: printVkey(cosignatureVkey(generatePrivateKey("w.example", new Uint8Array(32).fill(2)))),
  LOG_API_KEY: "an-api-key",
};
const { services, volumes } = readCompose(VARIABLES);

/** What the image sets, and what a service sets beside it. */
function environmentOf(service: keyof typeof services): Record<string, string> {
  const image = [...dockerfile.matchAll(/^ENV (.*)$/gm)].flatMap(([, pairs]) =>
    (pairs as string).split(" ").map((pair) => pair.split("=") as [string, string]),
  );
  return { ...Object.fromEntries(image), ...services[service].environment };
}

test("the log's environment is a configuration that a log starts with", async () => {
  const { LOG_PRIVATE_KEY_FILE: keyFile, ...others } = environmentOf("log");
  expect(keyFile).toMatch(/^\/data\//);
  const config = await readConfig({ ...others, LOG_PRIVATE_KEY: printPrivateKey(KEY) });
  expect(config.storage).toMatchObject({ backend: "s3", bucket: { bucket: "tiles", forcePathStyle: true } });
  expect(config.witnesses?.peers.map(({ url }) => url)).toEqual(["http://witness:2026"]);
  expect(config.databasePath).toMatch(/^\/data\//);
  expect(config).toMatchObject({ create: false, allowPublicWrites: false, apiKey: VARIABLES.LOG_API_KEY });
});

test("every variable that it sets is one that Cairn or the store knows", async () => {
  const { VARIABLES: known } = await import("../../src/cli/config.ts");
  const names = Object.keys(services.log.environment ?? {}).map((name) => name.replace(/_FILE$/, ""));
  expect(names.filter((name) => !(name in known))).toEqual([]);
  expect(services.witness.environment).toBeUndefined();
  expect(Object.keys(services.store.environment ?? {})).toEqual(["ROOT_ACCESS_KEY", "ROOT_SECRET_KEY"]);
});

test("no log is created by it, and nothing is written for a missing secret", () => {
  expect(text("docs/deploy/compose.yaml")).not.toMatch(/^[^#\n]*LOG_CREATE/m);
  expect(() => readCompose()).toThrow("STORE_ACCESS_KEY is in .env");
  const header = text("docs/deploy/compose.yaml").split("\nname:")[0] as string;
  expect(
    header
      .match(/\b[A-Z]+(?:_[A-Z]+)+\b/g)
      ?.filter((name) => name !== "LOG_CREATE")
      .sort(),
  ).toEqual(composeVariables());
  // The steps in docs/operator.md write the same names into .env.
  const [, env] = /^ *cat > \.env <<END\n([\s\S]*?)^ *END$/m.exec(text("docs/operator.md")) ?? [];
  const written = [...(env ?? "").matchAll(/^ *([A-Z_]+)=/gm)].map(([, name]) => name);
  expect(new Set(written)).toEqual(new Set(composeVariables()));
});

test("the witness's command line is one that the program takes, and names the log", () => {
  const [name, ...args] = services.witness.command ?? [];
  expect(name).toBe("witness");
  const { options } = parseCommandLine(runWitness.spec, args);
  expect(options).toMatchObject({
    listen: "0.0.0.0:2026",
    "private-key-file": ["/data/witness.key"],
    log: [`${VARIABLES.LOG_ORIGIN}=${VARIABLES.LOG_VKEY}`],
  });
  expect(services.log.command).toBeUndefined();
});

describe("what must agree", () => {
  const [, imagePort] = /^EXPOSE (\d+)$/m.exec(dockerfile) ?? [];

  test("each service is asked for its health, at its own port, and never whether it is ready", () => {
    const asked = (["log", "witness", "store"] as const).map((name) =>
      services[name].healthcheck?.test.join(" "),
    );
    expect(asked[0]).toContain(`http://127.0.0.1:${imagePort}/health'`);
    expect(asked[1]).toContain("http://127.0.0.1:2026/health'");
    expect(asked[2]).toContain("http://127.0.0.1:7070/health");
    expect(services.store.command).toContain("--health=/health");
    expect(services.store.command).toContain("--port=:7070");
    // The image's own check, with the port in place of its variable.
    const own = /^HEALTHCHECK .*CMD (\[.*\])$/m.exec(dockerfile)?.[1] as string;
    const [program, ...rest] = JSON.parse(own) as string[];
    const expected = rest.map((word) =>
      word.replace(
        "http://127.0.0.1:' + process.env.LISTEN_ADDR.split(':').pop() + '",
        `http://127.0.0.1:${imagePort}`,
      ),
    );
    expect(services.log.healthcheck?.test).toEqual(["CMD", program, ...expected]);
  });

  test("only the log is reached from outside, and only on this machine", () => {
    const published = Object.entries(services).flatMap(([name, { ports = [] }]) =>
      ports.map((port) => `${name} ${port}`),
    );
    expect(published).toEqual([`log 127.0.0.1:${imagePort}:${imagePort}`]);
  });

  test("data lies in volumes of its own, where the image's user may write", () => {
    expect(dockerfile).toMatch(/mkdir \/data && chown node:node \/data/);
    expect(services.log.volumes).toEqual(["log:/data"]);
    expect(services.witness.volumes).toEqual(["witness:/data"]);
    expect(services.store.volumes).toEqual(["store:/buckets"]);
    expect(services.bucket.volumes).toEqual(services.store.volumes);
    expect(Object.keys(volumes).sort()).toEqual(["log", "store", "witness"]);
    expect(services.bucket.entrypoint?.at(-1)).toBe(`/buckets/${services.log.environment?.S3_BUCKET}`);
  });

  test("the log waits for all that it needs, and has the time to stop", () => {
    expect(services.log.depends_on).toEqual({
      store: { condition: "service_healthy" },
      bucket: { condition: "service_completed_successfully" },
      witness: { condition: "service_healthy" },
    });
    const [, kill] = /^kill_timeout = "(\d+s)"$/m.exec(text("fly.toml")) ?? [];
    expect(services.log.stop_grace_period).toBe(kill);
  });

  test("the store is the one that the tests run on", () => {
    const [, version] = /^const VERSION = "(.*)";$/m.exec(text("test/s3/versitygw.ts")) ?? [];
    expect(services.store.image).toBe(`ghcr.io/versity/versitygw:${version}`);
    expect(services.bucket.image).toBe(services.store.image);
  });
});

test("a file in more of YAML than is read here is refused, not misread", () => {
  for (const wrong of [
    "a: &b c",
    "a: {b: c}",
    "a: 'b'",
    "a: |\n  b",
    "a: yes",
    "a: 1",
    "a: b\na: c",
    "a: b # c",
  ]) {
    expect(() => parseYaml(wrong), wrong).toThrow();
  }
  expect(parseYaml('a:\n  b: "c"\n  d:\n    - e\n    - "f: g"\nh:\n')).toEqual({
    a: { b: "c", d: ["e", "f: g"] },
    h: null,
  });
});
