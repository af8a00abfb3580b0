-- The log's small mutable truth (src/state/state.ts says what each part promises). Migrations are applied in the order
-- of their numbers, each in one transaction that also sets user_version; a file here never changes once released.

-- Whose database this is. Without its row the database counts as absent.
CREATE TABLE identity (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  format INTEGER NOT NULL CHECK (format > 0),
  database_id TEXT NOT NULL CHECK (length(database_id) = 32),
  origin TEXT NOT NULL CHECK (origin <> ''),
  -- JSON arrays of key ids (name+id), ascending.
  keys TEXT NOT NULL,
  pending_keys TEXT
) STRICT;

-- How far the tree is integrated, signed, published, and recorded as synced in storage.
CREATE TABLE heads (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  integrated_size INTEGER NOT NULL CHECK (integrated_size >= 0),
  integrated_root BLOB NOT NULL CHECK (length(integrated_root) = 32),
  signed_size INTEGER CHECK (signed_size >= 0),
  signed_note BLOB CHECK ((signed_note IS NULL) = (signed_size IS NULL)),
  published_size INTEGER CHECK (published_size >= 0),
  published_note BLOB CHECK ((published_note IS NULL) = (published_size IS NULL)),
  synced_size INTEGER NOT NULL CHECK (synced_size >= 0)
) STRICT;

-- One group commit a row. The hashes stand before the bytes, so that reading them does not walk the bytes' pages.
CREATE TABLE entry_rows (
  first INTEGER PRIMARY KEY CHECK (first >= 0),
  count INTEGER NOT NULL CHECK (count > 0),
  hashes BLOB NOT NULL CHECK (length(hashes) = 32 * count),
  bytes BLOB NOT NULL
) STRICT;

-- Published notes that are kept, one a size, in the order of their publication.
CREATE TABLE published_notes (
  sequence INTEGER PRIMARY KEY,
  size INTEGER NOT NULL UNIQUE CHECK (size >= 0),
  note BLOB NOT NULL,
  -- 1 where an index anchor names this size: never removed.
  anchored INTEGER NOT NULL DEFAULT 0 CHECK (anchored IN (0, 1))
) STRICT;

-- Entries that recovery could not place.
CREATE TABLE set_aside (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  first INTEGER NOT NULL,
  count INTEGER NOT NULL,
  bytes BLOB NOT NULL,
  reason TEXT NOT NULL
) STRICT;
