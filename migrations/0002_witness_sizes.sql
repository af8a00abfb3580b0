-- The size that each of the policy's witnesses is known to have cosigned last: where the next proof to it begins.
CREATE TABLE witness_sizes (
  name TEXT PRIMARY KEY,
  size INTEGER NOT NULL CHECK (size >= 0)
) STRICT;
