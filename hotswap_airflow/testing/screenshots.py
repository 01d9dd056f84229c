"""Pictures of a running demo for the documentation, taken in a real browser without a screen."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from hotswap_airflow.errors import HotswapError, SetupError
from hotswap_airflow.testing.airflow_services import AirflowApi
from hotswap_airflow.testing.demo import WORKFLOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

BROWSER = Path("/usr/bin/chromium")
_BROKEN = "hotswap: workflow/v1\nparams: {TEMPERATURE: 300}\njobs:\n  anneal:\n    run: echo $PARAM_TEMPRATURE\n"
_LIMIT = 60_000
NIGHTLY = "nightly-stations"


def take(folder: Path, target: Path) -> Iterator[Path]:
    """Take the pictures of the demo in ``folder``. Raises ``SetupError`` if no demo runs there."""
    from playwright.sync_api import sync_playwright

    access = _access(folder)
    url = access["url"]
    api = AirflowApi(url, access["username"], access["password"])
    target.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        # Root in a container cannot use the browser's sandbox, and the pages are our own.
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
        context.add_cookies([{"name": "_token", "value": _token(access), "url": url}])
        page = context.new_page()
        page.set_default_timeout(_LIMIT)
        for name, show in _PICTURES.items():
            show(page, url, api, Path(access["dags_folder"]))
            page.screenshot(path=target / f"{name}.png", animations="disabled")
            yield target / f"{name}.png"
        browser.close()


def _access(folder: Path) -> dict[str, str]:
    try:
        access: dict[str, str] = json.loads((folder / "access.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SetupError(f"no demo runs in {folder}: start it with `make demo`") from None
    if not BROWSER.exists():
        raise SetupError(f"{BROWSER} is missing: apt-get install chromium")
    return access


def _token(access: dict[str, str]) -> str:
    body = {"username": access["username"], "password": access["password"]}
    reply = httpx.post(f"{access['url']}/auth/token", json=body, timeout=30)
    reply.raise_for_status()
    return str(reply.json()["access_token"])


def _last_run(api: AirflowApi) -> str:
    runs: list[dict[str, Any]] = api.get(f"/dags/{WORKFLOW}/dagRuns", order_by="-run_after", limit=1)["dag_runs"]
    if not runs:
        raise SetupError(f"{WORKFLOW} has no run: `make demo` makes one")
    return str(runs[0]["dag_run_id"])


def _show_grid(page: Page, url: str, api: AirflowApi, _dags: Path) -> None:
    page.goto(f"{url}/dags/{WORKFLOW}/runs/{quote(_last_run(api), safe='')}", wait_until="networkidle")
    page.get_by_text("sample", exact=True).first.wait_for()


def _show_log(page: Page, url: str, api: AirflowApi, _dags: Path) -> None:
    run = quote(_last_run(api), safe="")
    page.goto(f"{url}/dags/{WORKFLOW}/runs/{run}/tasks/fit", wait_until="networkidle")
    page.get_by_text("submitted Slurm job").first.wait_for()


def _show_import_error(page: Page, url: str, api: AirflowApi, dags: Path) -> None:
    file = dags / "broken.hotswap.yaml"
    file.write_text(_BROKEN, encoding="utf-8")
    try:
        api.wait("the import error", lambda: api.get("/importErrors")["total_entries"])
        page.goto(url, wait_until="networkidle")
        page.get_by_text("Dag Import Error").first.click()
        page.get_by_text(file.name).first.click()
        text = page.get_by_text("param-unknown").first
        text.click(trial=True)  # waits until the text is visible and does not move any more
    finally:
        file.unlink()


def _show_trigger_form(page: Page, url: str, _api: AirflowApi, _dags: Path) -> None:
    open_trigger_form(page, url)


def open_trigger_form(page: Page, url: str) -> None:
    """Open the form that starts a run of the nightly example."""
    page.goto(f"{url}/dags/{NIGHTLY}", wait_until="networkidle")
    page.get_by_role("button", name="Trigger").first.click()
    page.get_by_text("stations", exact=True).first.wait_for()


_PICTURES = {
    "grid": _show_grid,
    "log": _show_log,
    "import-error": _show_import_error,
    "trigger-form": _show_trigger_form,
}


def main() -> int:
    """``python -m hotswap_airflow.testing.screenshots``."""
    parser = argparse.ArgumentParser(prog="screenshots")
    parser.add_argument("--folder", type=Path, default=Path(".demo"))
    parser.add_argument("--to", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    try:
        for path in take(arguments.folder, arguments.to):
            print(path)
    except HotswapError as error:
        print(f"screenshots: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
