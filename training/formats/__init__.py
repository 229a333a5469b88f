"""The files that people have: folders, tables, shards, .rec, .bin and lists of pairs, read on any machine."""
