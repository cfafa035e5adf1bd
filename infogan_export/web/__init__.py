"""The explorer: one page, drawn by a local server or by WebAssembly."""
