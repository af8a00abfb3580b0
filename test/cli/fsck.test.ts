import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { fsck } from "../../src/cli/fsck.ts";
import { memoryLog, testSigner, textEntry } from "../client/build-log.ts";
import { type LogServer, startLogServer } from "../client/log-server.ts";
import { run, temporaryFolder } from "./test-io.ts";

const KEY = ["--vkey", testSigner().vkey];

function logFolder(...sizes: readonly number[]): string {
  const folder = temporaryFolder();
  for (const size of sizes) {
    for (const [path, bytes] of memoryLog(size)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), bytes);
    }
  }
  return folder;
}

function flip(file: string): void {
  const bytes = readFileSync(file);
  bytes[9] = (bytes[9] as number) ^ 1;
  writeFileSync(file, bytes);
}

describe("a folder", () => {
  test("that is clean exits with 0, superseded partial objects included", async () => {
    const folder = logFolder(5, 300, 700);
    const result = await run(fsck, [folder, ...KEY]);
    expect(result.exit).toBe(0);
    expect(result.stdout).toMatch(
      /^clean: log\.example\/test at size 700, root [0-9a-f]{64}; 700 entries in /,
    );
    const [value] = (await run(fsck, [folder, ...KEY, "--json"])).json();
    expect(value).toMatchObject({ outcome: "clean", size: 700, entries: 700, differences: [] });
  });

  test.each(["tile/entries/001", "tile/0/000", "tile/1/000.p/2", "tile/0/000.p/5"])(
    "with %s damaged exits with 1 and names it",
    async (path) => {
      const folder = logFolder(5, 700);
      flip(join(folder, path));
      const result = await run(fsck, [folder, ...KEY]);
      expect(result.exit).toBe(1);
      expect(result.stdout).toMatch(new RegExp(`^${path.replace(".", "\\.")}: .*\ndiffers: 1 found; `));
      const [value] = (await run(fsck, [folder, ...KEY, "--json"])).json();
      expect(value).toMatchObject({ outcome: "differs", differences: [{ path }], difference_count: 1 });
    },
  );

  test("where a file cannot be read exits with 2 and names it", async () => {
    const folder = logFolder(700);
    const bad = join(folder, "tile/entries/002.p/188");
    // A folder in a file's place: an error that root, too, gets.
    writeFileSync(join(folder, "x"), "");
    const { rmSync } = await import("node:fs");
    rmSync(bad);
    mkdirSync(bad);
    const result = await run(fsck, [folder, ...KEY]);
    expect(result.exit).toBe(2);
    expect(result.stderr).toContain("tile/entries/002.p/188: EISDIR");
    expect(result.stdout).toMatch(/^tile\/entries\/002\.p\/188: not read: .*EISDIR/);
    expect(result.stdout).toMatch(/^could not check: 1 not read; 512 entries/m);
  });

  test("that is not there, is a file, or holds no log exits with 2", async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "file"), "");
    for (const place of [join(folder, "absent"), join(folder, "file"), folder]) {
      expect((await run(fsck, [place, ...KEY])).exit).toBe(2);
    }
  });

  test("is shown with progress on a terminal", async () => {
    const { stderr } = await run(fsck, [logFolder(700), ...KEY], { terminal: true });
    expect(stderr).toMatch(/256 of 700 entries \(36%\), differences: 0/);
  });
});

describe("a log over HTTP", () => {
  let server: LogServer;
  afterEach(async () => await server.close());

  test("is checked like a folder", async () => {
    server = await startLogServer(Array.from({ length: 600 }, (_, i) => textEntry(i)));
    expect(await run(fsck, [server.url, ...KEY])).toMatchObject({ exit: 0 });
    server.objects.delete("tile/0/001");
    const result = await run(fsck, [server.url, ...KEY, "--concurrency", "2"]);
    expect(result.exit).toBe(1);
    expect(result.stdout).toMatch(/^tile\/0\/001: it is missing\n/);
  });

  test("that says what it has lost differs: each object is asked for once, named, and the rest is checked", async () => {
    server = await startLogServer(Array.from({ length: 1030 }, (_, i) => textEntry(i)));
    const lost = ["/tile/entries/001", "/tile/entries/003"];
    server.intercept = ({ path }, response) => {
      if (!lost.includes(path)) return false;
      const problem = JSON.stringify({ code: "object_missing", detail: path });
      response.writeHead(503, { "Retry-After": "300" }).end(problem);
      return true;
    };
    const result = await run(fsck, [server.url, ...KEY]);
    expect(result.exit, result.stderr).toBe(1);
    expect(result.stdout).toMatch(
      /^tile\/entries\/001: the log says that .* lost it\ntile\/entries\/003: .*\ndiffers: 2 found; 1,030 entries/,
    );
    expect(server.requests.filter(({ path }) => lost.includes(path))).toHaveLength(2);
  });

  test("that does not answer for one object exits with 2, names it, and the rest is checked", async () => {
    server = await startLogServer(Array.from({ length: 1030 }, (_, i) => textEntry(i)));
    server.intercept = ({ path }, response) => {
      if (path !== "/tile/entries/001") return false;
      response.writeHead(503).end(JSON.stringify({ code: "store_unavailable" }));
      return true;
    };
    const result = await run(fsck, [server.url, ...KEY]);
    expect(result.exit).toBe(2);
    expect(result.stdout).toMatch(/^tile\/entries\/001: not read: /);
    expect(result.stdout).toMatch(/^could not check: 1 not read; 774 entries/m);
    const [value] = (await run(fsck, [server.url, ...KEY, "--json"])).json();
    expect(value).toMatchObject({
      unread: [{ path: "tile/entries/001" }],
      unread_count: 1,
      difference_count: 0,
    });
  });

  test("that fails, or refuses, exits with 2", async () => {
    server = await startLogServer([textEntry(0)]);
    server.intercept = ({ path }, response) => {
      if (path === "/checkpoint") return false;
      response.writeHead(500).end();
      return true;
    };
    const [value] = (await run(fsck, [server.url, ...KEY, "--json"])).json();
    expect(value).toMatchObject({ outcome: "could_not_check", error: { code: "unexpected_answer" } });
  });
});

test.each([
  ["no place", [...KEY]],
  ["two places", ["a", "b", ...KEY]],
  ["no key", ["a"]],
  ["no concurrency", ["a", ...KEY, "--concurrency", "0"]],
  ["too much concurrency", ["a", ...KEY, "--concurrency", "257"]],
])("%s is a usage error", async (_what, argv) => {
  const result = await run(fsck, [...argv, "--json"]);
  expect(result).toMatchObject({ exit: 2 });
  expect(result.json()).toMatchObject([{ error: { code: "usage" } }]);
});

test("another log's key could not check this one", async () => {
  const result = await run(fsck, [logFolder(5), "--vkey", testSigner(7, "log.example/other").vkey, "--json"]);
  expect(result.exit).toBe(2);
  expect(result.json()).toMatchObject([{ outcome: "could_not_check", error: { code: "wrong_origin" } }]);
});
