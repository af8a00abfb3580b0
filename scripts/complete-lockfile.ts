// Completes package-lock.json with the platform packages that a registry did not have: a mirror often keeps those of some
// platforms only, npm then leaves the others out of the lockfile, and `npm ci` refuses it. They are added with the exact
// version that their parent names and the platform that their name says; without an integrity, since nobody saw them.
//   npx tsx scripts/complete-lockfile.ts [--check]

import { readFileSync, writeFileSync } from "node:fs";

const LOCKFILE = new URL("../package-lock.json", import.meta.url);

interface LockedPackage {
  readonly version?: string;
  readonly dev?: boolean;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly [member: string]: unknown;
}

/** Words in the names of platform packages, as npm has them for `os` and `cpu`. */
const SYSTEMS = [
  "aix",
  "android",
  "darwin",
  "freebsd",
  "linux",
  "netbsd",
  "openbsd",
  "openharmony",
  "sunos",
  "win32",
];
const PROCESSORS = ["arm", "arm64", "ia32", "loong64", "mips64el", "ppc64", "riscv64", "s390x", "x64"];

const lock = JSON.parse(readFileSync(LOCKFILE, "utf8")) as { packages: Record<string, LockedPackage> };
const missing: Record<string, LockedPackage> = {};
for (const [path, parent] of Object.entries(lock.packages)) {
  if (path === "") continue;
  for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
    const found = [`${path}/node_modules/${name}`, `node_modules/${name}`].some(
      (each) => each in lock.packages,
    );
    const platform = found ? null : platformOf(name);
    if (platform === null) continue;
    missing[`node_modules/${name}`] = {
      version,
      cpu: [platform.cpu],
      ...(parent.dev === true ? { dev: true } : {}),
      ...(platform.libc === null ? {} : { libc: [platform.libc] }),
      optional: true,
      os: [platform.os],
    };
  }
}

const names = Object.keys(missing);
if (!process.argv.includes("--check")) {
  const all = Object.entries({ ...lock.packages, ...missing }).sort(([a], [b]) => a.localeCompare(b, "en"));
  writeFileSync(LOCKFILE, `${JSON.stringify({ ...lock, packages: Object.fromEntries(all) }, null, 2)}\n`);
  console.log(`added ${names.length} packages`);
} else if (names.length > 0) {
  console.error(`package-lock.json lacks ${names.join(", ")}; run scripts/complete-lockfile.ts`);
  process.exitCode = 1;
}

function platformOf(name: string): { os: string; cpu: string; libc: string | null } | null {
  const words = name.slice(name.lastIndexOf("/") + 1).split(/[-.]/);
  const os = words.find((word) => SYSTEMS.includes(word));
  const cpu = words.find((word) => PROCESSORS.includes(word));
  if (os === undefined || cpu === undefined) return null;
  const libc = words.some((word) => word.startsWith("musl"))
    ? "musl"
    : words.some((word) => word.startsWith("gnu"))
      ? "glibc"
      : null;
  return { os, cpu, libc };
}
