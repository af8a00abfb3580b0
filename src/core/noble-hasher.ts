// The tree hasher that runs everywhere, a browser included: SHA-256 of @noble/hashes, in plain JavaScript.

import { sha256 } from "@noble/hashes/sha2.js";
import { treeHasher } from "./hash.ts";
import type { TreeHasher } from "./hash.ts";

export const nobleHasher: TreeHasher = treeHasher((data) => sha256(data));
