"""Takes the pictures of the documentation: `python docs/screenshots.py [REPORT.html]`.

It needs a Chromium on the path and a report, which `secateur run` or `secateur report` writes. Nothing is fetched.
"""

import argparse
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars")


@dataclass(frozen=True)
class Shot:
    """One picture: its file, the size of the window, the colours, and the section at the top of it."""

    name: str
    width: int
    height: int
    theme: str = "light"
    section: str | None = None


SHOTS = (
    Shot("report-wide", 1280, 1500),
    Shot("report-phone", 390, 1400),
    Shot("report-dark", 1280, 1700, theme="dark", section="slices"),
)


def chromium() -> str:
    """Return the browser, or end with one line."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        raise SystemExit(f"no browser: looked for {', '.join(_NAMES)} on the path")
    return found


def prepared(html: str, shot: Shot) -> str:
    """Return the page in the colours of the shot, without what stands above its section."""
    html = html.replace(' id="theme-auto" checked', ' id="theme-auto"')
    html = html.replace(f'id="theme-{shot.theme}"', f'id="theme-{shot.theme}" checked')
    if shot.section is None:
        return html
    # A headless window cannot be scrolled; siblings before the section are left out instead.
    hidden = (
        f"header, nav, main > :has(~ #{shot.section}) {{ display: none; }} main > #{shot.section} {{ margin-top: 0; }}"
    )
    return html.replace("</style>", f"{hidden}</style>", 1)


def take(page: Path, shot: Shot, *, browser: str, folder: Path) -> None:
    """Write one picture; an old one is kept when the browser fails."""
    source, picture = folder / f"{shot.name}.html", folder / f"{shot.name}.png"
    source.write_text(prepared(page.read_text(encoding="utf-8"), shot), encoding="utf-8")
    command = [
        browser, *_FLAGS, f"--user-data-dir={folder / 'profile'}", f"--window-size={shot.width},{shot.height}",
        f"--screenshot={picture}", source.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode != 0 or not picture.is_file():
        raise SystemExit(f"{shot.name}: the browser failed: {done.stderr.strip()[-500:]}")
    IMAGES.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(picture, IMAGES / picture.name)


def main() -> int:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, nargs="?", default=ROOT / "reports" / "report.html")
    page: Path = parser.parse_args().report
    if not page.is_file():
        raise SystemExit(f"{page} does not exist; `secateur run` or `secateur report` writes it")
    browser = chromium()
    with TemporaryDirectory() as folder:
        for shot in SHOTS:
            take(page, shot, browser=browser, folder=Path(folder))
            sys.stdout.write(f"docs/images/{shot.name}.png\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
