"""The embedded models: a folder each, and a manifest of their digests."""
