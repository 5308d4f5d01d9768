"""Opens pages in a real Chromium, light and dark, wide and narrow, and says as JSON what is wrong with each.

Usage: judge.py CHROMIUM FOLDER PAGE...: screenshots go into the folder.
"""

import json
import pathlib
import sys

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

WIDTHS = {"wide": 1280, "narrow": 390}
# Everything that axe knows of WCAG 2.2, levels A and AA.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def judge(browser, page_file, folder):
    # axe is a script, which the page itself would not let run.
    page = browser.new_page(bypass_csp=True)
    problems, requested = [], []
    page.on("console", lambda message: problems.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: problems.append(f"script: {error}"))
    page.on("request", lambda request: requested.append(request.url))
    page.goto(page_file.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(it => it.open = true)")
    looks = {}
    for width, pixels in WIDTHS.items():
        page.set_viewport_size({"width": pixels, "height": 900})
        for scheme in ["light", "dark"]:
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=str(folder / f"{page_file.stem}-{scheme}-{width}.png"), full_page=True)
            over = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            if over > 0:
                problems.append(f"{scheme} {width}: {over} px too wide")
            looks[f"{scheme} {width}"] = page.evaluate("getComputedStyle(document.body).backgroundColor")
            # Colours are the same in all widths.
            if (width, scheme) != ("narrow", "dark"):
                problems += [f"{scheme} {width}: {found}" for found in axe(page)]
    problems += [f"requests {url}" for url in requested[1:]]
    text = page.inner_text("body")
    foreign = page.evaluate("document.querySelectorAll('script, b, img').length")
    page.close()
    return {"problems": problems, "grounds": looks, "text": text, "foreign": foreign}


def axe(page):
    for violation in Axe().run(page, options=RULES).response["violations"]:
        nodes = "; ".join(node["html"] for node in violation["nodes"][:3])
        yield f"axe: {violation['id']}: {violation['help']}: {nodes}"


def refuses_scripts(browser, page_file):
    """Whether the page's own policy keeps a script from running that somebody brought into it."""
    page = browser.new_page()
    page.goto(page_file.as_uri())
    try:
        page.add_script_tag(content="window.ran = true")
    except Exception:
        pass
    ran = page.evaluate("window.ran === true")
    page.close()
    return not ran


def main():
    chromium, folder, *pages = sys.argv[1:]
    found = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        for name in pages:
            page = pathlib.Path(name).resolve()
            found[page.stem] = judge(browser, page, pathlib.Path(folder))
            found[page.stem]["refusesScripts"] = refuses_scripts(browser, page)
        browser.close()
    print(json.dumps(found))


main()
