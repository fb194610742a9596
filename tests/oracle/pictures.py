#!/usr/bin/env python3
"""Makes tests/oracle/pictures.safetensors.gz: small files of pictures and what Pillow makes of them.

Needs Pillow (pictures.txt beside this file has the version). Every picture is three tensors: `NAME`,
the bytes of its file; `NAME rgb` [h, w, 3], what torchvision's ImageFolder loads:
Image.open().convert("RGB"); `NAME upright` where that differs from the picture turned by its tag.
`NAME resize`, `NAME crop` and `NAME pad` [3, 32, 32] are there for the pictures that are fitted. The
metadata holds Pillow's version, and which files are grey with 16 bits (their `rgb` is v >> 8, for
Pillow clips them).
"""
import gzip, io, json, math, pathlib, random, struct, zlib
import PIL
from PIL import Image, ImageOps

OUT = pathlib.Path(__file__).with_name("pictures.safetensors.gz")
files, grey16, fits = {}, {}, []


def photo(w, h, seed=0):
    """Smooth colours, edges and a little noise, as in photographs."""
    rnd = random.Random(seed * 1_000_003 + w * 1009 + h)
    px = []
    for y in range(h):
        for x in range(w):
            r = 128 + 90 * math.sin(x / 5 + seed) + 30 * math.cos(y / 3)
            g = 255 * y / max(1, h - 1) if (x // 7 + y // 5) % 3 else 40
            b = 200 if (x - w / 2) ** 2 + (y - h / 2) ** 2 < (min(w, h) / 3) ** 2 else 90 + 5 * x
            px.append(tuple(max(0, min(255, int(v + rnd.gauss(0, 6)))) for v in (r, g, b)))
    image = Image.new("RGB", (w, h))
    image.putdata(px)
    return image


def alpha(w, h):
    image = Image.new("L", (w, h))
    image.putdata([(x * 23 + y * 41) % 256 if (x + y) % 4 else 0 for y in range(h) for x in range(w)])
    return image


def saved(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def add(name, data, fit=False):
    assert name not in files, name
    files[name] = data
    if fit:
        fits.append(name)


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def segments(jpeg):
    """(offset, end, marker) of the segments before the scan."""
    at = 2
    while jpeg[at + 1] != 0xDA:
        end = at + 2 + struct.unpack(">H", jpeg[at + 2 : at + 4])[0]
        yield at, end, jpeg[at + 1]
        at = end


def without(jpeg, marker):
    for at, end, found in list(segments(jpeg))[::-1]:
        if found == marker:
            jpeg = jpeg[:at] + jpeg[end:]
    return jpeg


def adobe(transform):
    return b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([transform])


def jpegs():
    for subsampling, ratio in enumerate(["444", "422", "420"]):
        for w, h in [(24, 18), (23, 17), (40, 9), (16, 16), (1, 1), (18, 33)]:
            for progressive in [False, True][: 2 if (w, h) == (23, 17) else 1]:
                name = f"{ratio}-{w}x{h}{'-progressive' * progressive}.jpg"
                add(name, saved(photo(w, h, 1), "JPEG", quality=80, subsampling=subsampling, progressive=progressive))
    image = photo(24, 18, 2)
    add("quality-20.jpg", saved(image, "JPEG", quality=20))
    add("quality-100.jpg", saved(image, "JPEG", quality=100, subsampling=0))
    add("restart.jpg", saved(image, "JPEG", restart_marker_blocks=1))
    add("grey.jpg", saved(image.convert("L"), "JPEG"))
    add("rgb.jpg", saved(image, "JPEG", keep_rgb=True, subsampling=0))
    ycc = without(saved(image, "JPEG", subsampling=0), 0xE0)
    add("no-jfif.jpg", ycc)
    add("adobe-rgb.jpg", ycc[:2] + adobe(0) + ycc[2:])  # components 1 2 3, and still no YCbCr
    add("adobe-ycc.jpg", ycc[:2] + adobe(1) + ycc[2:])
    add("jfif-and-adobe-rgb.jpg", (j := saved(image, "JPEG"))[:20] + adobe(0) + j[20:])
    cmyk = Image.merge("CMYK", [*photo(24, 18, 3).split(), alpha(24, 18)])
    plain = saved(cmyk, "JPEG", quality=90)
    add("cmyk.jpg", plain)
    add("cmyk-no-adobe.jpg", without(plain, 0xEE))
    bare = without(plain, 0xEE)
    add("ycck.jpg", bare[:2] + adobe(2) + bare[2:])
    add("cmyk-progressive.jpg", saved(cmyk, "JPEG", progressive=True))
    for orientation in range(1, 9):
        add(f"turned-{orientation}.jpg", saved(photo(13, 9, 4), "JPEG", quality=95, exif=exif(orientation)))
    add("large-420.jpg", saved(photo(90, 61, 5), "JPEG", quality=85), fit=True)
    add("large-444.jpg", saved(photo(47, 130, 6), "JPEG", quality=85, subsampling=0), fit=True)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(w, h, depth, colour, sample, interlaced=False, extra=b""):
    """A PNG of any kind; sample(x, y, channel) is a value of `depth` bits."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    raw = bytearray()
    for x0, y0, dx, dy in passes if interlaced else [(0, 0, 1, 1)]:
        columns = range(x0, w, dx)
        for y in range(y0, h, dy) if columns else []:
            bits = "".join(f"{sample(x, y, c):0{depth}b}" for x in columns for c in range(channels))
            bits += "0" * (-len(bits) % 8)
            raw += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    header = struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, int(interlaced))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra
            + chunk(b"IDAT", zlib.compress(bytes(raw), 9)) + chunk(b"IEND", b""))


def pngs():
    w, h = 19, 13
    palette = bytes((i * 37 + c * 91) % 256 for i in range(256) for c in range(3))
    some_alpha = bytes((i * 53) % 256 for i in range(16))
    kinds = [(0, d) for d in (1, 2, 4, 8, 16)] + [(2, 8), (2, 16), (4, 8), (4, 16), (6, 8), (6, 16)]
    kinds += [(3, d) for d in (1, 2, 4, 8)]
    for colour, depth in kinds:
        sample = lambda x, y, c: (x * 3001 + y * 7919 + c * 12345 + x * y * 17) % (1 << depth)
        extra = chunk(b"PLTE", palette[: 3 << depth]) if colour == 3 else b""
        for interlaced in (False, True):
            name = f"colour-{colour}-{depth}{'-interlaced' * interlaced}.png"
            add(name, png(w, h, depth, colour, sample, interlaced, extra))
            if depth == 16 and colour in (0, 4):
                grey16[name] = [sample(x, y, 0) >> 8 for y in range(h) for x in range(w)]
    by_two = lambda x, y, c: (x * 5 + y * 3) % 16
    trns = chunk(b"PLTE", palette[:48]) + chunk(b"tRNS", some_alpha)
    add("palette-alpha.png", png(w, h, 4, 3, by_two, extra=trns))
    add("palette-short.png", png(w, h, 4, 3, by_two, extra=chunk(b"PLTE", palette[:30])))
    add("grey-key.png", png(w, h, 8, 0, by_two, extra=chunk(b"tRNS", b"\0\5")))
    add("rgb-key.png", png(w, h, 8, 2, by_two, extra=chunk(b"tRNS", b"\0\5\0\5\0\5")))
    gamma = chunk(b"gAMA", struct.pack(">I", 100_000)) + chunk(b"sRGB", b"\0")
    add("gamma.png", png(w, h, 8, 2, lambda x, y, c: x * 9 + y * c, extra=gamma))
    image = photo(w, h, 7)
    rgba = image.copy()
    rgba.putalpha(alpha(w, h))
    add("filters.png", saved(photo(30, 22, 8), "PNG"), fit=True)
    add("rgba.png", saved(rgba, "PNG"))
    add("turned.png", saved(image, "PNG", exif=exif(6)))
    frames = [photo(w, h, seed) for seed in (9, 10)]
    add("animated.png", saved(frames[0], "PNG", save_all=True, append_images=frames[1:]))
    add("animated-default.png", saved(frames[0], "PNG", save_all=True, append_images=frames[1:], default_image=True))


def gifs():
    image = photo(21, 15, 11).quantize(40)
    add("plain.gif", saved(image, "GIF"))
    add("grey.gif", saved(image.convert("L"), "GIF"))
    add("transparent.gif", saved(image, "GIF", transparency=7))
    add("not-interlaced.gif", saved(image, "GIF", interlace=0))
    frames = [photo(21, 15, seed).quantize(60) for seed in (12, 13, 14)]
    add("animated.gif", saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    for name, data in [("part", saved(image, "GIF")), ("part-transparent", saved(image, "GIF", transparency=3))]:
        larger = data[:6] + struct.pack("<HH", 25, 20) + data[10:]
        at = larger.index(b"\x2c\0\0\0\0")
        add(f"{name}.gif", larger[: at + 1] + struct.pack("<HH", 2, 3) + larger[at + 5 :])
    smaller = saved(image, "GIF")
    add("beyond.gif", smaller[:6] + struct.pack("<HH", 10, 9) + smaller[10:])


def bmp(w, h, bits, rows, compression=0, masks=b"", palette=b"", size=None):
    offset = 54 + len(masks) + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, w, h, 1, bits, compression, len(rows), 0, 0, len(palette) // 4, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + info + masks + palette + rows


def bmps():
    w, h = 18, 11
    image = photo(w, h, 15)
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        add(f"{mode.lower()}.bmp", saved(image.convert(mode), "BMP"))
    row = lambda y: struct.pack(f"<{w}H", *((x * 3001 + y * 4793) % 65536 for x in range(w)))
    rows = b"".join(row(y) + b"\0" * (-2 * w % 4) for y in range(h))
    add("555.bmp", bmp(w, h, 16, rows))
    add("565.bmp", bmp(w, h, 16, rows, 3, struct.pack("<III", 0xF800, 0x7E0, 0x1F)))
    four = b"".join(bytes([x * 9 % 256, y * 20, (x + y) * 7 % 256, x * 14]) for y in range(h) for x in range(w))
    add("32.bmp", bmp(w, h, 32, four))
    add("top-down.bmp", bmp(w, -h, 32, four))
    palette = b"".join(bytes([i * 3 % 256, 255 - i, i * 7 % 256, 0]) for i in range(256))
    runs = b"".join(bytes([5, y, 6, 100 + y, 0, 7]) + bytes(range(y, y + 7)) + b"\0\0\0" for y in range(h))
    add("rle8.bmp", bmp(w, h, 8, runs + b"\0\1", 1, palette=palette))
    packed = bytes((x * 17 + y) % 256 for y in range(h) for x in range(12))
    add("4.bmp", bmp(w, h, 4, packed, palette=palette[:64]))


def webps():
    image = photo(29, 22, 16)
    rgba = image.copy()
    rgba.putalpha(alpha(29, 22))
    add("lossy.webp", saved(image, "WEBP", quality=75), fit=True)
    add("lossy-low.webp", saved(image, "WEBP", quality=10))
    add("lossy-alpha.webp", saved(rgba, "WEBP", quality=80))
    add("lossless.webp", saved(image, "WEBP", lossless=True))
    add("lossless-alpha.webp", saved(rgba, "WEBP", lossless=True, exact=True))
    add("turned.webp", saved(image, "WEBP", lossless=True, exif=exif(8)))
    frames = [photo(29, 22, seed) for seed in (17, 18)]
    add("animated.webp", saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True))


def tiff(w, h, photometric, bits, samples, order="<", planar=False, tags=()):
    """An uncompressed TIFF; samples[pixel][channel] are numbers of `bits` bits (8 or 16)."""
    n = len(samples[0])
    code = order + {8: "B", 16: "H"}[bits]
    planes = [[[p[c]] for p in samples] for c in range(n)] if planar else [samples]
    strips = [b"".join(struct.pack(code, v) for p in plane for v in p) for plane in planes]
    entries = [(256, 3, [w]), (257, 3, [h]), (258, 3, [bits] * n), (259, 3, [1]), (262, 3, [photometric]),
               (273, 4, None), (277, 3, [n]), (278, 3, [h]), (279, 4, [len(s) for s in strips]),
               (284, 3, [2 if planar else 1]), *tags]
    at = 8 + 2 + 12 * len(entries) + 4
    outside, offsets = b"", []
    body = sum(max(0, len(v or strips) * {3: 2, 4: 4}[t]) for _, t, v in entries)
    begin = at + body + 64
    for strip in strips:
        offsets.append(begin)
        begin += len(strip)
    directory = struct.pack(order + "H", len(entries))
    for tag, kind, values in sorted(entries):
        values = offsets if values is None else values
        data = struct.pack(order + str(len(values)) + {3: "H", 4: "I"}[kind], *values)
        if len(data) > 4:
            data, outside = struct.pack(order + "I", at + len(outside)), outside + data
        directory += struct.pack(order + "HHI", tag, kind, len(values)) + data.ljust(4, b"\0")
    magic = b"II*\0" if order == "<" else b"MM\0*"
    head = magic + struct.pack(order + "I", 8) + directory + b"\0\0\0\0" + outside
    return head.ljust(offsets[0], b"\0") + b"".join(strips)


def tiffs():
    w, h = 17, 12
    image = photo(w, h, 19)
    rgba = image.copy()
    rgba.putalpha(alpha(w, h))
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        add(f"{compression}.tif", saved(image, "TIFF", compression=None if compression == "raw" else compression))
    add("lzw-predictor.tif", saved(image, "TIFF", compression="tiff_lzw", tiffinfo={317: 2}))
    add("group4.tif", saved(image.convert("1"), "TIFF", compression="group4"))
    for mode in ("1", "L", "LA", "P", "RGBA", "CMYK"):
        add(f"{mode.lower()}.tif", saved(rgba.convert(mode) if mode in ("LA", "RGBA") else image.convert(mode), "TIFF"))
    add("big.tif", saved(image, "TIFF", big_tiff=True))
    add("pages.tif", saved(image, "TIFF", save_all=True, append_images=[photo(w, h, 20)]))
    for orientation in (3, 6):
        add(f"turned-{orientation}.tif", saved(image, "TIFF", tiffinfo={274: orientation}))
    value = lambda i, c: (i * 2003 + c * 15013) % 65536
    pixels = lambda n, bits: [[value(i, c) >> (16 - bits) for c in range(n)] for i in range(w * h)]
    for order, end in (("<", "little"), (">", "big")):
        add(f"rgb16-{end}.tif", tiff(w, h, 2, 16, pixels(3, 16), order))
        add(f"grey16-{end}.tif", tiff(w, h, 1, 16, pixels(1, 16), order))
        grey16[f"grey16-{end}.tif"] = [value(i, 0) >> 8 for i in range(w * h)]
        add(f"planes-{end}.tif", tiff(w, h, 2, 8, pixels(3, 8), order, planar=True))
    add("white-is-zero.tif", tiff(w, h, 0, 8, pixels(1, 8)))
    add("rgbx.tif", tiff(w, h, 2, 8, pixels(4, 8), tags=[(338, 3, [0])]))
    add("premultiplied.tif", tiff(w, h, 2, 8, pixels(4, 8), tags=[(338, 3, [1])]))
    add("cmyk16.tif", tiff(w, h, 5, 16, pixels(4, 16)))


def pnms():
    w, h = 15, 10
    numbers = lambda n, top: [(i * 7919) % (top + 1) for i in range(n)]
    text = lambda values: b"\n".join(b" ".join(b"%d" % v for v in values[i : i + 9]) for i in range(0, len(values), 9))
    add("text.pbm", b"P1\n# a comment\n%d %d\n" % (w, h) + text(numbers(w * h, 1)))
    add("text.pgm", b"P2 %d %d\n15\n" % (w, h) + text(numbers(w * h, 15)))
    add("text.ppm", b"P3\n%d\n%d 255\n" % (w, h) + text(numbers(3 * w * h, 255)))
    add("bits.pbm", b"P4\n%d %d\n" % (w, h) + bytes((i * 37) % 256 for i in range(2 * h)))
    add("bytes.pgm", saved(photo(w, h, 21).convert("L"), "PPM"))
    add("low.pgm", b"P5\n%d %d\n100\n" % (w, h) + bytes(numbers(w * h, 100)))
    add("bytes.ppm", saved(photo(w, h, 22), "PPM"))
    add("low.ppm", b"P6 %d %d 31\n" % (w, h) + bytes(numbers(3 * w * h, 31)))
    deep = numbers(3 * w * h, 65535)
    add("deep.ppm", b"P6 %d %d 65535\n" % (w, h) + struct.pack(f">{len(deep)}H", *deep))
    for top in (1023, 65535):
        deep = numbers(w * h, top)
        add(f"deep-{top}.pgm", b"P5 %d %d %d\n" % (w, h, top) + struct.pack(f">{len(deep)}H", *deep))
        grey16[f"deep-{top}.pgm"] = [round(v / top * 65535) >> 8 for v in deep]
    for w, h in [(64, 48), (48, 64), (33, 32), (100, 33), (5, 3), (1, 40), (31, 90), (32, 32), (45, 45)]:
        add(f"fit-{w}x{h}.png", saved(photo(w, h, 23), "PNG", optimize=True), fit=True)


def resized(image):
    w, h = image.size
    size = (32, int(32 * h / w)) if w <= h else (int(32 * w / h), 32)  # torchvision's Resize(32)
    image = image.resize(size, Image.BILINEAR)
    left, top = (image.width - 32) // 2, (image.height - 32) // 2  # CenterCrop(32) rounds halves to even
    return image.crop((left, top, left + 32, top + 32))


def cropped(image):
    w, h = image.size
    left, top = max(0, w - 32) // 2, max(0, h - 32) // 2
    image = image.crop((left, top, left + min(w, 32), top + min(h, 32)))
    padded = Image.new("RGB", (32, 32))
    padded.paste(image, ((32 - image.width) // 2, (32 - image.height) // 2))
    return padded


def main():
    for make in (jpegs, pngs, gifs, bmps, webps, tiffs, pnms):
        make()
    tensors = {}
    for name, data in files.items():
        tensors[name] = ([len(data)], data)
        with Image.open(io.BytesIO(data)) as opened:
            image = opened.convert("RGB")
            tagged = ImageOps.exif_transpose(opened).convert("RGB")
        if name in grey16:
            image = Image.new("L", image.size)
            image.putdata(grey16[name])
            image = image.convert("RGB")
        rgb = lambda image: ([image.height, image.width, 3], image.tobytes())
        tensors[f"{name} rgb"] = rgb(image)
        if name not in grey16 and tagged.tobytes() != image.tobytes():
            tensors[f"{name} upright"] = rgb(tagged)
        if name in fits:
            planes = lambda image: ([3, 32, 32], b"".join(plane.tobytes() for plane in image.split()))
            tensors[f"{name} resize"] = planes(resized(image))
            tensors[f"{name} crop"] = planes(cropped(image))
            if max(image.size) <= 32:
                tensors[f"{name} pad"] = planes(cropped(image))
    header = {"__metadata__": {"pillow": PIL.__version__, "grey16": json.dumps(sorted(grey16))}}
    at, body = 0, b""
    for name, (shape, data) in tensors.items():
        header[name] = {"dtype": "U8", "shape": shape, "data_offsets": [at, at + len(data)]}
        at, body = at + len(data), body + data
    header = json.dumps(header).encode()
    header += b" " * (-len(header) % 8)
    OUT.write_bytes(gzip.compress(struct.pack("<Q", len(header)) + header + body, mtime=0))
    print(f"{len(files)} pictures, {len(fits)} of them fitted: {OUT.stat().st_size} bytes")


main()
