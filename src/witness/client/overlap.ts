// Questions about a policy as a whole, asked at start.

import { policySatisfied } from "../../core/policy.ts";
import type { Policy } from "../../core/policy.ts";

/** Above this many witnesses, subsets are too many to try; the answer is then not known. */
const TRIED_WITNESSES_MAX = 16;

/**
 * True where two sets of witnesses without a common member both satisfy the policy: then a restored snapshot of database
 * and store together could be cosigned twice. Null where there are too many witnesses to say.
 */
export function hasDisjointQuorums(policy: Policy): boolean | null {
  const names = policy.witnesses.map(({ name }) => name);
  if (policySatisfied(policy, new Set())) return true;
  if (names.length > TRIED_WITNESSES_MAX) return null;
  for (let mask = 0; mask < 2 ** (names.length - 1); mask++) {
    const some = new Set(names.filter((_, i) => (mask & (1 << i)) !== 0));
    const others = new Set(names.filter((_, i) => (mask & (1 << i)) === 0));
    if (policySatisfied(policy, some) && policySatisfied(policy, others)) return true;
  }
  return false;
}
