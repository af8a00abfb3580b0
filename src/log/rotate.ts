// A change of the log's signing keys: pending in the database, then in `state/head`, then final. A start accepts either
// side of a pending change, and running this again finishes it. The stored note is signed anew, at its own size and root,
// so that whoever pins only the new keys can verify the newest head at once (architecture, section 3, At start, (i)).

import { CairnError } from "../core/errors.ts";
import { parseNote, printNote, signNote } from "../core/note.ts";
import { keyIdsOf } from "./creation.ts";
import { release, takeHead, takePlaces } from "./log.ts";
import type { LogOptions } from "./options.ts";

export interface Rotated {
  readonly from: readonly string[];
  readonly to: readonly string[];
}

/**
 * Makes the configured keys the log's keys. One of them must have signed the stored head, so keys are replaced one after
 * another: the new beside the old, then the old taken away. Throws the refusals of a start, and `frozen`.
 */
export async function rotateKeys(
  options: Pick<LogOptions, "keys" | "hasher" | "events" | "clock" | "places">,
): Promise<Rotated> {
  const held = await takePlaces({ ...options, create: false, makeFolders: false });
  try {
    const { judged, head } = await takeHead({ ...options, anyKeys: true }, held);
    if (head.record.frozen) throw new CairnError("frozen");
    const identity = await held.state.identity();
    if (identity === null) throw new CairnError("database_lost");
    const to = keyIdsOf(options.keys);
    const note = printNote(signNote(parseNote(judged.signed.bytes).text, options.keys.signers));
    await held.state.setPendingKeys(to);
    await head.amend({ keyIds: to, note: new TextDecoder().decode(note) });
    await held.state.recordSigned({ size: judged.signed.size, note });
    await held.state.finishKeys();
    return { from: identity.keys, to };
  } finally {
    await release(held);
  }
}
