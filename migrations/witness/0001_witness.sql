-- What a witness remembers (src/state/witness-state.ts says what each part promises). Migrations are applied in the order
-- of their numbers, each in one transaction that also sets user_version; a file here never changes once released.

-- The newest checkpoint that was cosigned for each origin. A row is never deleted: without it the next checkpoint, whatever
-- history it shows, would be taken as the first.
CREATE TABLE cosigned (
  id INTEGER PRIMARY KEY,
  origin TEXT NOT NULL UNIQUE CHECK (origin <> ''),
  -- SHA-256 of the origin, by which monitors ask.
  origin_hash BLOB NOT NULL UNIQUE CHECK (length(origin_hash) = 32),
  size INTEGER NOT NULL CHECK (size >= 0),
  root BLOB NOT NULL CHECK (length(root) = 32),
  -- The checkpoint with the log's signatures that were verified and the witness's cosignatures.
  note BLOB NOT NULL
) STRICT;

-- The logs that the operator added or a list named. Logs given on the command line are not here.
CREATE TABLE logs (
  origin TEXT PRIMARY KEY CHECK (origin <> ''),
  -- JSON array of vkeys, in the order in which they were added; empty where only the pause is recorded.
  keys TEXT NOT NULL,
  paused INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
  -- What the log announced: requests a day, and how its operator is reached.
  qpd INTEGER CHECK (qpd > 0),
  contact TEXT
) STRICT, WITHOUT ROWID;

-- Always empty: what is written here and taken away again at a start gives the write-ahead log its length.
CREATE TABLE room (
  bytes BLOB NOT NULL
) STRICT;
