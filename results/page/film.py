"""
The pictures of this folder, of demo.html in a headless Chromium: `python results/page/film.py`
"""

import io
import sys
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests/analyses"))

from browser import Browser  # noqa: E402 (after the path to it)

SCREENS = {"tour_1280": (1280, "4"), "tour_390": (390, "4"), "explore_1280": (1280, "explore")}
SHOWN = range(1, 17)  # loops, of a question of 12 hops


def take(browser, width, stop, height=900):
    browser.open(HERE / "demo.html", width, height, touch=width < 600)
    browser.run(f"location.hash = '{stop}'")
    browser.wait(f"now.stop === '{stop}'")


def frame(browser, loops):
    """The first screen after so many loops, made smaller."""
    browser.run(f"now.loops = {loops}; draw()")
    path = HERE / "frame.png"
    browser.picture(path, whole=False)
    image = Image.open(io.BytesIO(path.read_bytes())).convert("RGB")
    path.unlink()
    return image.resize((850, image.height * 850 // image.width), Image.LANCZOS)


def main():
    browser = Browser.start()
    for name, (width, stop) in SCREENS.items():
        take(browser, width, stop)
        browser.picture(HERE / f"{name}.png")
    take(browser, 1180, "4", height=930)
    frames = [frame(browser, loops) for loops in SHOWN]
    palette = frames[-1].quantize(128)
    first, *others = [each.quantize(palette=palette, dither=Image.Dither.NONE) for each in frames]
    durations = [450] * len(others) + [2500]
    path = HERE / "page.gif"
    first.save(path, save_all=True, append_images=others, duration=durations, loop=0, optimize=True)
    print(f"wrote {path} ({path.stat().st_size / 1000:.0f} kB)")
    browser.close()


if __name__ == "__main__":
    main()
