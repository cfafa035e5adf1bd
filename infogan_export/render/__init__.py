"""Arrays to pictures: contact sheets, animations, terminals, and their records.

Numpy arrays in; nothing here knows of models or codes.  Pillow, imageio and rich
load inside the functions that need them.
"""

from __future__ import annotations

from infogan_export.render.files import (
    ANIMATION_ENDINGS,
    IMAGE_ENDINGS,
    require_ending,
    save_animation,
    save_image,
)
from infogan_export.render.frames import captioned, cycle, ping_pong, sway
from infogan_export.render.provenance import (
    NPZ_ENTRY,
    read_provenance,
    sidecar_path,
    to_json,
    write_sidecar,
)
from infogan_export.render.sheet import contact_sheet
from infogan_export.render.terminal import show

__all__ = [
    "ANIMATION_ENDINGS",
    "IMAGE_ENDINGS",
    "NPZ_ENTRY",
    "captioned",
    "contact_sheet",
    "cycle",
    "ping_pong",
    "read_provenance",
    "require_ending",
    "save_animation",
    "save_image",
    "show",
    "sidecar_path",
    "sway",
    "to_json",
    "write_sidecar",
]
