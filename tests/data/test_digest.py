import hashlib

import pytest

from lowland.data.digest import check_digest, unpacked


@pytest.mark.parametrize("kind", [hashlib.md5, hashlib.sha256])
def test_right_content_passes_under_either_kind_of_digest(kind, tmp_path):
    check_digest(tmp_path / "a", b"abc", kind(b"abc").hexdigest())


def test_wrong_content_is_refused_with_file_both_digests_and_remedy(tmp_path):
    expected, found = (hashlib.sha256(c).hexdigest() for c in (b"abc", b"abd"))
    words = (
        f"images.gz is damaged: its content must have digest {expected}, got {found}. Delete it and fetch it again"
    )
    with pytest.raises(ValueError, match=words):
        check_digest(tmp_path / "images.gz", b"abd", expected)


def test_what_cannot_be_decoded_is_called_damaged(tmp_path):
    def decode(path):
        raise EOFError("ended early")

    with pytest.raises(ValueError, match=r"a is damaged: it cannot be decoded \(EOFError: ended early\)"):
        unpacked(tmp_path / "a", decode, (EOFError,))
