import pytest

from lowland.report.files import slug, write_whole


def test_writes_text_and_bytes_and_makes_folders(tmp_path):
    assert write_whole(tmp_path / "a" / "b.txt", "ρ\n").read_bytes() == "ρ\n".encode()
    assert write_whole(tmp_path / "a" / "b.txt", b"\0").read_bytes() == b"\0"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_a_full_disk_is_told_by_words_and_keeps_the_old_file(tmp_path):
    with pytest.raises(OSError, match=r"could not be written .*What was there before stays"):
        write_whole(tmp_path, "x")
    with pytest.raises(OSError, match=r"full could not be written \(.*\)"):
        write_whole(write_whole(tmp_path / "file", "old") / "full", "x")
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize(("text", "name"), [("ρ = 0.1", "rho_0_1"), ("é/..\\", "e"), ("...", "unnamed")])
def test_a_slug_is_safe_anywhere(text, name):
    assert slug(text) == name
