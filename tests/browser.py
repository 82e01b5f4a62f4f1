"""Pages in a headless Chromium: run a script in a page, and read what it found."""

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions",
)  # fmt: skip


def text_of(url: str, *, folder: Path) -> str:
    """Open an address, let its scripts run, and return the page as it is then."""
    command = [
        CHROMIUM, *_FLAGS, f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=60000", "--dump-dom", url,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=True).stdout


def evaluate(html: str, script: str, *, folder: Path, width: int) -> Any:
    """Open a page in a frame of this width, run the body of an async function in it, return its JSON value.

    A window of Chromium is never narrower than 500 pixels; a frame is.
    """
    ending = f"""<script>
    (async () => {{ {script} }})().catch(error => ({{failed: String(error)}})).then(value => {{
      const found = parent.document.createElement("pre");
      found.id = "found"; found.textContent = JSON.stringify(value); parent.document.body.append(found);
    }});
    </script></body>"""
    framed = escape(html.replace("</body>", ending), quote=True)
    style = f"width:{width}px;height:900px;border:0"
    page = folder / "page.html"
    page.write_text(f'<!DOCTYPE html><body><iframe style="{style}" srcdoc="{framed}"></iframe>', encoding="utf-8")
    command = [
        CHROMIUM, *_FLAGS, f"--user-data-dir={folder / 'profile'}", f"--window-size={max(width, 500)},1000",
        "--virtual-time-budget=60000", "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    written = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert written is not None, done.stderr[-2000:]
    found = json.loads(unescape(written[1]))
    assert not (isinstance(found, dict) and "failed" in found), found
    return found
