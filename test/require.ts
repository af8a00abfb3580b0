// What a test needs beyond the repository: a program, a privilege, a file system of a kind. A test that misses it is skipped
// with a printed reason, so that `npm test` works on a bare machine; with CAIRN_REQUIRE_ALL=1, as in CI, it fails instead.

/**
 * Answers whether to skip, for `test.skipIf(...)` and `describe.skipIf(...)`: false where `condition` holds. Otherwise it
 * prints `reason` (what is missing and how it comes), or throws it where everything is required.
 */
export function skipUnless(
  condition: boolean,
  reason: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
): boolean {
  if (condition) return false;
  if (env.CAIRN_REQUIRE_ALL === "1")
    throw new Error(`CAIRN_REQUIRE_ALL is set, and a test cannot run: ${reason}`);
  console.warn(`skipped: ${reason}`);
  return true;
}

/**
 * As `skipUnless`, for material that nobody can install, such as reference data kept beside the repository: printed, and
 * never a failure.
 */
export function skipWithout(condition: boolean, reason: string): boolean {
  if (!condition) console.warn(`skipped: ${reason}`);
  return !condition;
}
