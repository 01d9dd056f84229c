"""Versions of a folder: what is served while files are edited, broken, renamed and deleted."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap_airflow.errors import SetupError, StoreError
from hotswap_airflow.file_store.contents import ContentStore, archive, kept_archive
from hotswap_airflow.file_store.folder import DiskFolder
from hotswap_airflow.file_store.scan import FolderScan, workflow_paths
from hotswap_airflow.file_store.versions import (
    Entry,
    Manifest,
    ManifestFolder,
    VersionStore,
    dag_file,
    merge,
    needed_contents,
    places,
)
from hotswap_airflow.workflow.checked import CheckedWorkflow
from hotswap_airflow.workflow.checks.files import Pack, PackedFile
from hotswap_airflow.workflow.site import Site

SITE = "hotswap: site/v1\nenvironments: {dev: {cluster: main}}\nclusters: {main: {}}\n"


class Folder:
    """A folder of workflows with its store, as the bundle uses them."""

    def __init__(self, root: Path, site: Path | None = None) -> None:
        self.folder = root / "dags"
        self.folder.mkdir()
        contents = ContentStore(root / "store")
        self.store = VersionStore(root / "store" / "bundles" / "w", contents)
        self.scan = FolderScan(self.folder, contents, site, None)
        self.active: set[str] = set()

    def write(self, path: str, text: str = "jobs: {a: {run: x}}\n") -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"hotswap: workflow/v1\n{text}" if path.endswith(".yaml") else text)

    def refresh(self) -> Path:
        before = self.store.manifest(self.store.current())
        manifest = merge(before, self.scan.scan(before), self.active.__contains__)
        return self.store.path(self.store.publish(manifest))

    def manifest(self) -> Manifest:
        return self.store.manifest(self.refresh().name)

    def files(self) -> list[str]:
        root = self.refresh()
        return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file() and p.name[0] != ".")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_an_unchanged_folder_stays_the_same_version_and_an_edit_touches_one_file_only(folder: Folder) -> None:
    folder.write("a.hotswap.yaml")
    folder.write("sub/b.hotswap.yaml", "name: b2\njobs: {a: {run: y}}\n")
    first = folder.refresh()
    assert folder.refresh() == first
    os.utime(first / dag_file("b2"), (1, 1))
    folder.write("a.hotswap.yaml", "jobs: {a: {run: other}}\n")
    second = folder.refresh()
    assert second != first
    assert (first / dag_file("b2")).samefile(second / dag_file("b2"))
    assert not (first / dag_file("a")).samefile(second / dag_file("a"))
    assert (first / dag_file("a")).read_text() != (second / dag_file("a")).read_text()


def test_an_undo_is_parsed_again(folder: Folder) -> None:
    folder.write("a.hotswap.yaml")
    first = folder.refresh()
    folder.write("a.hotswap.yaml", "jobs: {a: {run: other}}\n")
    folder.refresh()
    os.utime(first / dag_file("a"), (1, 1))
    folder.write("a.hotswap.yaml")
    assert folder.refresh() == first
    assert (first / dag_file("a")).stat().st_mtime > 1


def test_code_is_part_of_the_version(folder: Folder) -> None:
    folder.write("a.hotswap.yaml", "files: [src]\njobs: {a: {script: go.sh}}\n")
    folder.write("src/x.py", "1")
    folder.write("go.sh", "true")
    first = folder.refresh()
    folder.write("src/x.py", "2")
    second = folder.refresh()
    assert second != first
    (entry,) = folder.store.manifest(first.name).values()
    kept = ManifestFolder(folder.store.contents, entry.files)
    assert kept.read("src/x.py") == b"1"
    assert [found.path for found in kept.walk("src", None)] == ["src/x.py"]
    assert [found.path for found in kept.walk("", 1)] == ["go.sh"]
    assert kept.entry("gone") is None
    (folder.folder / "src/x.py").chmod(0o755)
    assert folder.refresh() != second
    (folder.folder / "go.sh").unlink()
    assert "a.hotswap.yaml" in folder.files()
    folder.write("go.sh", "true")
    assert folder.files() == [dag_file("a")]


def test_a_broken_file_serves_its_last_valid_text(folder: Folder) -> None:
    folder.write("a.hotswap.yaml")
    folder.write("b.hotswap.yaml", "jobs: [\n")
    assert folder.files() == [dag_file("a"), "b.hotswap.yaml"]
    folder.write("a.hotswap.yaml", "jobs: {a: {run: $PARAM_X}}\n")
    root = folder.refresh()
    assert folder.files() == [dag_file("a"), "a.hotswap.yaml", "b.hotswap.yaml"]
    assert "run: x" in (root / dag_file("a")).read_text()
    assert (root / "a.hotswap.yaml").read_text().startswith("a.hotswap.yaml:2:17: param-unknown")
    folder.write("b.hotswap.yaml")
    assert folder.files() == [dag_file("a"), dag_file("b"), "a.hotswap.yaml"]
    folder.write("a.hotswap.yaml")
    assert folder.files() == [dag_file("a"), dag_file("b")]


def test_a_deleted_file_stays_while_a_run_of_it_is_active(folder: Folder) -> None:
    folder.write("a.hotswap.yaml")
    folder.refresh()
    folder.active.add("a")
    (folder.folder / "a.hotswap.yaml").unlink()
    assert folder.files() == [dag_file("a")]
    assert folder.manifest()["a.hotswap.yaml"].is_deleted
    folder.active.clear()
    assert folder.files() == []


def test_a_dag_stays_where_it_is_when_its_workflows_file_is_renamed(folder: Folder) -> None:
    folder.write("a.hotswap.yaml", "name: x\njobs: {a: {run: y}}\n")
    old = folder.refresh()
    (folder.folder / "sub").mkdir()
    (folder.folder / "a.hotswap.yaml").rename(folder.folder / "sub" / "b.hotswap.yaml")
    assert folder.refresh() != old
    assert folder.files() == [dag_file("x")]
    (folder.folder / "sub" / "b.hotswap.yaml").rename(folder.folder / "a.hotswap.yaml")
    assert folder.refresh() == old


@pytest.mark.parametrize("new", ["name: y\njobs: {a: {run: z}}\n", "name: x\njobs: {a: {run: z}}\n"])
def test_a_workflow_whose_place_is_taken_stays_while_a_run_of_it_is_active(folder: Folder, new: str) -> None:
    folder.write("a.hotswap.yaml")
    folder.refresh()
    folder.active.add("a")
    folder.write("a.hotswap.yaml", new)
    kept = folder.manifest()
    assert kept[".deleted/a.hotswap.yaml"].is_deleted
    assert kept[".deleted/a.hotswap.yaml"].workflow == "a"
    assert folder.manifest() == kept
    folder.active.clear()
    assert list(folder.manifest()) == ["a.hotswap.yaml"]


def test_a_name_belongs_to_the_file_that_has_it(folder: Folder) -> None:
    folder.write("b.hotswap.yaml", "name: x\njobs: {a: {run: old}}\n")
    folder.refresh()
    folder.write("a.hotswap.yaml", "name: x\njobs: {a: {run: new}}\n")
    manifest = folder.manifest()
    assert manifest["b.hotswap.yaml"].is_valid
    assert not manifest["b.hotswap.yaml"].error
    assert (
        "a.hotswap.yaml:2:7: name-taken: `x` is already the name of b.hotswap.yaml" in manifest["a.hotswap.yaml"].error
    )
    # Also while its own text is broken, for then its last valid one counts.
    folder.write("b.hotswap.yaml", "name: x\njobs: [\n")
    manifest = folder.manifest()
    assert places(manifest) == {"x": "b.hotswap.yaml"}
    # Not when it takes another.
    folder.write("b.hotswap.yaml", "name: y\njobs: {a: {run: old}}\n")
    assert places(folder.manifest()) == {"x": "a.hotswap.yaml", "y": "b.hotswap.yaml"}


def test_two_workflows_may_swap_their_names(folder: Folder) -> None:
    folder.write("a.hotswap.yaml", "name: x\njobs: {a: {run: '1'}}\n")
    folder.write("b.hotswap.yaml", "name: y\njobs: {a: {run: '2'}}\n")
    folder.refresh()
    folder.active |= {"x", "y"}
    folder.write("a.hotswap.yaml", "name: y\njobs: {a: {run: '1'}}\n")
    folder.write("b.hotswap.yaml", "name: x\njobs: {a: {run: '2'}}\n")
    manifest = folder.manifest()
    assert places(manifest) == {"y": "a.hotswap.yaml", "x": "b.hotswap.yaml"}
    assert not any(entry.error or entry.is_deleted for entry in manifest.values())


def test_a_broken_text_whose_name_another_file_took_serves_nothing(folder: Folder) -> None:
    folder.write("a.hotswap.yaml", "name: x\njobs: {a: {run: '1'}}\n")
    folder.write("b.hotswap.yaml", "name: y\njobs: {a: {run: '2'}}\n")
    folder.refresh()
    folder.write("b.hotswap.yaml", "name: x\njobs: {a: {run: '2'}}\n")
    folder.write("c.hotswap.yaml", "name: y\njobs: {a: {run: '3'}}\n")
    manifest = folder.manifest()
    assert places(manifest) == {"x": "a.hotswap.yaml", "y": "c.hotswap.yaml"}
    assert "name-taken" in manifest["b.hotswap.yaml"].error


@pytest.fixture
def stranger() -> Iterator[Folder]:
    """A folder that is used without the rights of root, which may read everything."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o777)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            yield Folder(root)
        finally:
            os.seteuid(user)


def test_what_cannot_be_read_is_not_gone(stranger: Folder) -> None:
    stranger.write("sub/a.hotswap.yaml", "files: [src]\njobs: {a: {run: x}}\n")
    stranger.write("sub/src/x.py", "1")
    stranger.write("b.hotswap.yaml")
    good = stranger.refresh()
    before = stranger.store.manifest(good.name)
    for path, words in (
        ("sub/a.hotswap.yaml", "sub/a.hotswap.yaml: sub/a.hotswap.yaml cannot be read: Permission denied; give"),
        ("sub/src/x.py", "sub/a.hotswap.yaml: sub/src/x.py cannot be read: Permission denied"),
        ("sub/src", "sub/a.hotswap.yaml: sub/src cannot be read: Permission denied"),
        ("sub", "sub/a.hotswap.yaml: folder sub cannot be read; give the dag-processor's user access to it"),
    ):
        target = stranger.folder / path
        mode = target.stat().st_mode
        os.utime(target)
        target.chmod(0)
        manifest = stranger.manifest()
        assert manifest["b.hotswap.yaml"] == before["b.hotswap.yaml"]
        assert manifest["sub/a.hotswap.yaml"].is_valid
        assert manifest["sub/a.hotswap.yaml"].error.startswith(words)
        target.chmod(mode)
        assert stranger.refresh() == good
    stranger.folder.chmod(0)
    with pytest.raises(SetupError, match="cannot be read: Permission denied"):
        stranger.refresh()
    stranger.folder.chmod(0o755)


def test_a_file_that_vanishes_while_it_is_read(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write("a.hotswap.yaml", "files: [x.py]\njobs: {a: {run: x}}\n")
    folder.write("x.py", "1")
    folder.write("b.hotswap.yaml")

    def vanish(_: DiskFolder, path: str) -> bytes:
        return (folder.folder / f"{path}.gone").read_bytes()

    with monkeypatch.context() as patch:
        patch.setattr(DiskFolder, "read", vanish)
        manifest = folder.manifest()
    assert "x.py.gone cannot be read: No such file or directory" in manifest["a.hotswap.yaml"].error
    assert manifest["b.hotswap.yaml"].is_valid
    assert folder.manifest()["a.hotswap.yaml"].is_valid
    (folder.folder / "c.hotswap.yaml").symlink_to("c.hotswap.yaml")
    assert "Too many levels" in folder.manifest()["c.hotswap.yaml"].error


def test_a_text_whose_content_was_swept_before_it_was_served_is_kept_anew(folder: Folder) -> None:
    folder.write("a.hotswap.yaml", "name: x\njobs: {a: {run: y}}\n")
    folder.write("b.hotswap.yaml", "name: x\njobs: {a: {run: z}}\n")
    entry = folder.manifest()["b.hotswap.yaml"]
    assert "name-taken" in entry.error
    folder.store.contents.path(entry.text).unlink()
    (folder.folder / "a.hotswap.yaml").unlink()
    assert "run: z" in (folder.refresh() / dag_file("x")).read_text()


def test_what_airflow_does_not_take_keeps_the_last_valid_text(folder: Folder) -> None:
    folder.write("a.hotswap.yaml")
    folder.refresh()
    asked = []

    def validate(checked: CheckedWorkflow, _: Site | None) -> str:
        asked.append(checked.file)
        return "a.hotswap.yaml: it is refused"

    folder.scan = FolderScan(folder.folder, folder.store.contents, None, None, validate)
    assert not folder.manifest()["a.hotswap.yaml"].error
    assert asked == []  # it is served already
    folder.write("a.hotswap.yaml", "jobs: {a: {run: other}}\n")
    for _ in range(2):
        entry = folder.manifest()["a.hotswap.yaml"]
        assert entry.is_valid
        assert entry.error == "a.hotswap.yaml: it is refused"
    assert asked == ["a.hotswap.yaml"]


def test_a_name_is_given_once(folder: Folder) -> None:
    folder.write("a.hotswap.yaml", "name: x\njobs: {a: {run: y}}\n")
    folder.write("b.hotswap.yaml", "name: x\njobs: {a: {run: z}}\n")
    manifest = folder.store.manifest(folder.refresh().name)
    assert manifest["a.hotswap.yaml"].is_valid
    assert "name-taken" in manifest["b.hotswap.yaml"].error


def test_what_is_no_workflow_and_what_is_hidden_is_not_served(folder: Folder) -> None:
    (folder.folder / "other.hotswap.yaml").write_text("kind: Deployment\n")
    folder.write(".hidden/a.hotswap.yaml")
    assert folder.files() == []
    assert workflow_paths(folder.folder) == ["other.hotswap.yaml"]


def test_a_broken_site_file_is_every_workflows_error_until_it_is_mended(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(SITE)
    folder = Folder(tmp_path, site)
    folder.write("a.hotswap.yaml")
    first = folder.refresh()
    (entry,) = folder.store.manifest(first.name).values()
    assert folder.store.contents.get(entry.site) == SITE.encode()
    site.write_text("hotswap: site/v9\n")
    manifest = folder.store.manifest(folder.refresh().name)
    assert "header-unknown" in manifest["a.hotswap.yaml"].error
    assert manifest["a.hotswap.yaml"].is_valid
    site.unlink()
    assert "cannot be read" in folder.store.manifest(folder.refresh().name)["a.hotswap.yaml"].error
    site.write_text(SITE)
    assert folder.refresh() == first


def test_versions_that_nothing_needs_are_removed(folder: Folder) -> None:
    folder.write("a.hotswap.yaml")
    first = folder.refresh()
    folder.write("a.hotswap.yaml", "jobs: {a: {run: other}}\n")
    second = folder.refresh()
    assert folder.store.prune(set()) == []
    for version in (first, second):
        os.utime(version, (1, 1))
    assert folder.store.prune({first.name}) == []
    assert folder.store.prune(set()) == [first.name]
    with pytest.raises(StoreError, match="is not in the store"):
        folder.store.manifest(first.name)


async def test_a_pack_is_streamed_as_an_archive(tmp_path: Path) -> None:
    import io
    import tarfile

    store = ContentStore(tmp_path)
    name = "deep/" * 30 + "ä.py"
    pack = Pack(
        (PackedFile(name, store.put(b"x" * 1000), executable=True), PackedFile("b", store.put(b""), executable=False))
    )
    raw = b"".join([chunk async for chunk in archive(pack, store)])
    assert raw == b"".join([chunk async for chunk in kept_archive(store.put(pack.listing), store)])
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        assert [(m.name, m.size, m.mode) for m in tar] == [(name, 1000, 0o755), ("b", 0, 0o644)]
    assert Pack.from_listing(pack.listing) == pack
    missing = Pack((PackedFile("c", "0" * 64, executable=False),))
    with pytest.raises(StoreError, match=r"set \[hotswap\] store_path to one persistent folder"):
        [chunk async for chunk in archive(missing, store)]


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "contents").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written"):
        ContentStore(tmp_path).put(b"x")


def test_contents_that_no_version_has_are_swept_once_they_are_old(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(SITE)
    folder = Folder(tmp_path, site)
    contents = folder.store.contents
    folder.write("run.sh", "echo ONE\n")
    folder.write("w.hotswap.yaml", "files: [run.sh]\njobs: {a: {script: run.sh}}\n")
    first = folder.refresh()
    folder.write("run.sh", "echo TWO\n")
    folder.refresh()
    needed = needed_contents(folder.store.root.parent)
    assert {p.name for p in (contents.root / "contents").glob("*/*")} == needed
    shutil.rmtree(first)
    kept = needed_contents(folder.store.root.parent)
    assert contents.sweep(kept) == 0  # young: a version that is being made may need them
    assert contents.sweep(kept, older_than=-1) == len(needed - kept) == 2  # the script's text and the pack's listing
    assert {p.name for p in (contents.root / "contents").glob("*/*")} == kept


def test_an_environment_that_the_site_does_not_have_keeps_what_was_valid(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(SITE)
    folder = Folder(tmp_path, site)
    folder.scan = FolderScan(folder.folder, folder.store.contents, site, "dev")
    folder.write("w.hotswap.yaml")
    folder.refresh()
    site.write_text(SITE.replace("dev:", "test:"))
    manifest = folder.store.manifest(folder.refresh().name)
    assert manifest["w.hotswap.yaml"].is_valid
    assert "environment is 'dev', but" in manifest["w.hotswap.yaml"].error


def test_a_version_whose_removal_was_cut_short_hurts_no_other(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("w.hotswap.yaml")
    version = folder.refresh()
    (version.parent / "half").mkdir()
    folder.write("v.hotswap.yaml")
    kept = folder.refresh()
    assert needed_contents(folder.store.root.parent)
    assert (kept / dag_file("v")).exists()


def test_an_undo_of_a_file_with_brackets_is_newer(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("a[1].hotswap.yaml", "name: a\njobs: {a: {run: x}}\n")
    first = folder.refresh()
    folder.write("a[1].hotswap.yaml", "name: a\njobs: {a: {run: y}}\n")
    folder.refresh()
    os.utime(first / dag_file("a"), (1, 1))
    folder.write("a[1].hotswap.yaml", "name: a\njobs: {a: {run: x}}\n")
    assert folder.refresh() == first
    assert (first / dag_file("a")).stat().st_mtime > 1


entries = st.builds(Entry, text=st.sampled_from("12"), workflow=st.sampled_from("xyz"), is_valid=st.booleans())
folders = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), entries).filter(
    lambda found: len(places(found)) == sum(entry.is_valid for entry in found.values())
)


@given(st.lists(st.tuples(folders, st.frozensets(st.sampled_from("xyz"))), max_size=6))
def test_whatever_is_edited_each_name_is_served_once_and_no_run_loses_its_workflow(
    edits: list[tuple[Manifest, frozenset[str]]],
) -> None:
    served: Manifest = {}
    for found, active in edits:
        before, served = served, merge(served, found, active.__contains__)
        assert len(places(served)) == sum(entry.is_valid for entry in served.values())
        assert places(before).keys() & active <= places(served).keys()
        assert {path: served[path] for path, entry in found.items() if entry.is_valid}.items() <= found.items()
        assert merge(served, found, active.__contains__) == served
