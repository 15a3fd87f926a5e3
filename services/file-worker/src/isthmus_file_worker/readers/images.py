"""Images: as they are when models can take them, smaller when they are too large."""

import io

from PIL import Image, ImageOps

from isthmus_file_worker.readers.messages import Facts, Job, Picture
from isthmus_file_worker.readers.refusing import too_large

SIDE = 1568
"""Pixels of the longer side, beyond which models see no more."""
BYTES = 1024 * 1024
"""Bytes of an image that is shown."""
PIXELS = 50_000_000
"""Of an image that must be unpacked whole to be made smaller, at four bytes each."""
FORMATS = ("PNG", "JPEG", "GIF", "WEBP")

_ORIENTATION = 0x0112

Image.MAX_IMAGE_PIXELS = None  # the bound is ours, and an error with a sentence


def read(file: io.BufferedReader, job: Job) -> Picture:
    """The image, with a copy that can be shown where it is too large itself."""
    with Image.open(file, formats=FORMATS) as image:
        width, height = _upright(image)
        media_type = Image.MIME[image.format or "PNG"]
        image.draft("RGB", (2 * SIDE, 2 * SIDE))  # JPEG alone can be unpacked smaller than it is
        if _is_huge(image):
            raise too_large(
                f"{job.path} has {width} x {height} pixels, and {PIXELS} can be shown; "
                'encoding "base64" gives its bytes in parts.'
            )
        image.load()
        if max(width, height) <= SIDE and job.size <= BYTES and image.getexif().get(_ORIENTATION, 1) == 1:
            return Picture(width=width, height=height, media_type=media_type)
        data, media_type, shown = _smaller(image)
        return Picture(width=width, height=height, media_type=media_type, data=data, shown=shown)


def inspect(file: io.BufferedReader, job: Job) -> Facts:
    """Width and height."""
    del job
    with Image.open(file, formats=FORMATS) as image:
        width, height = _upright(image)
        return Facts(width=width, height=height)


def _is_huge(image: Image.Image) -> bool:
    return image.width * image.height > PIXELS


def _upright(image: Image.Image) -> tuple[int, int]:
    """Width and height. To tell whether a PNG image lies on its side, all of it must be unpacked."""
    known = image.format == "JPEG" or not _is_huge(image)
    sideways = known and image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    return (image.height, image.width) if sideways else (image.width, image.height)


def _smaller(image: Image.Image) -> tuple[bytes, str, tuple[int, int]]:
    image.thumbnail((SIDE, SIDE), reducing_gap=2.0)
    image = ImageOps.exif_transpose(image)
    clear = image.has_transparency_data
    image = image.convert("RGBA" if clear else "RGB")
    while True:
        file = io.BytesIO()
        if clear:
            image.save(file, "PNG", optimize=True)
        else:
            image.save(file, "JPEG", quality=85)
        if file.tell() <= BYTES or max(image.size) < 64:
            return file.getvalue(), "image/png" if clear else "image/jpeg", image.size
        image.thumbnail((image.width * 3 // 4, image.height * 3 // 4))
