"""``latest`` leads to the report that was written last, with links and without."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_pipeline.report.latest import latest_folders, latest_study, point_latest


@pytest.fixture
def studies(tmp_path: Path) -> tuple[Path, Path]:
    folders = tuple(
        tmp_path / "08_reporting" / name for name in ("base-1a2b3c4d", "smoke-5e6f7a8b")
    )
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "report.html").write_text(folder.name)
    return folders  # type: ignore[return-value]


def test_the_link_moves_to_the_study_that_was_written_last(studies: tuple[Path, Path]) -> None:
    base, smoke = studies
    for folder in (base, smoke, base):
        point_latest(folder)
        assert (base.parent / "latest/report.html").read_text() == folder.name
        assert latest_study(base.parent) == folder
    assert (base.parent / "latest").readlink() == Path(base.name)  # relative: survives a move
    data = base.parent.parent
    assert latest_folders(data) == (data / "07_model_output" / base.name, base)


def test_a_system_that_refuses_links_gets_a_file(
    studies: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, smoke = studies
    point_latest(base)

    def refuse(*_: object, **__: object) -> None:
        raise OSError("a required privilege is not held by the client")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "symlink_to", refuse)
        point_latest(smoke)
    assert (base.parent / "latest.txt").read_text() == "smoke-5e6f7a8b\n"
    assert latest_study(base.parent) == smoke
    point_latest(base)  # links work again: one answer, not two
    assert not (base.parent / "latest.txt").exists()
    assert latest_study(base.parent) == base


def test_without_a_study_the_way_to_one_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no study in .*: run `make ablation`"):
        latest_study(tmp_path)
