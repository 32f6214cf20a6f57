"""What can be wrong with one image file, found from one decode of all its pixels."""

from __future__ import annotations

from PIL import ImageFile

from mmkd.data._decode import ImageFlaw, as_rgb, decoded, has_frames, sample_bits
from mmkd.data._near_images import Print, print_of


def check_image(data: bytes) -> tuple[list[tuple[str, str]], Print | None]:
    """(reason, message) of everything found in an encoded image, and what tells it from other images.

    A file that cannot be decoded has one finding and no Print; ImageReader raises for it. JPEG and WebP hold no
    checksum: damage that still decodes cannot be seen. A JPEG without its end mark counts as truncated.
    """
    try:
        image = decoded(data)
    except ImageFlaw as flaw:
        return [(flaw.reason, str(flaw))], None
    return _findings(image, data), print_of(as_rgb(image))


def _findings(image: ImageFile.ImageFile, data: bytes) -> list[tuple[str, str]]:
    found = []
    # A phone's MPO file holds a depth map or the like behind its photograph, which is the first frame.
    if image.format != "MPO" and has_frames(image):
        found.append(("image_animated", f"found several frames in a {image.format} file; expected one"))
    if image.mode in ("CMYK", "LAB"):
        found.append(("image_cmyk", f"found the colours {image.mode}; expected RGB or grey; convert with the profile"))
    bits = sample_bits(image, data)
    if bits > 8 or image.mode == "F" or image.mode.startswith("I"):
        found.append(("image_16_bit", f"found {bits} bits a channel; expected 8"))
    if image.mode in ("P", "PA"):
        found.append(("image_palette", "found a palette"))
    if image.has_transparency_data:
        lowest = min(image.convert("RGBA").getchannel("A").tobytes())
        if lowest < 255:
            found.append(("image_alpha", f"found transparent pixels, down to an opacity of {lowest} of 255"))
    return found
