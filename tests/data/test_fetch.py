import hashlib
import io
import re
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lowland.data.fetch import Download, fetch

CONTENT = bytes(range(256)) * 4000
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves ``files`` by path, ``ranges`` too if it may; keeps what it was ``asked``; a ``lie`` promises more."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked, self.lie, self.ranges = {"/a.bin": CONTENT}, [], 0, True

    def download(self, name="a.bin", digest=MD5, **more):
        return Download(url=f"http://127.0.0.1:{self.server_port}/{name}", folder="raw", digest=digest, **more)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked, content = self.headers["Range"], self.server.files.get(self.path)
        self.server.asked.append(asked)
        asked = asked if self.server.ranges else None
        start = int(re.findall(r"\d+", asked)[0]) if asked else 0
        if content is None or start >= len(content):
            return self.send_error(404 if content is None else 416)
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(content) - start + self.server.lie))
        self.end_headers()
        return self.wfile.write(content[start:])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_file_arrives_whole_with_progress(server, cache):
    seen = []
    (path,) = fetch([server.download()], lambda *progress: seen.append(progress))
    assert path == cache / "raw" / "a.bin"
    assert path.read_bytes() == CONTENT
    assert seen[-1] == ("a.bin", len(CONTENT), len(CONTENT))


def test_a_fetch_that_broke_off_goes_on_where_it_stopped(server, cache):
    (cache / "raw").mkdir(parents=True)
    (cache / "raw" / "a.bin.part").write_bytes(CONTENT[:1000])
    (path,) = fetch([server.download()])
    assert path.read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-"]


def test_a_server_without_ranges_sends_the_whole_file_again(server, cache):
    server.ranges = False
    (cache / "raw").mkdir(parents=True)
    (cache / "raw" / "a.bin.part").write_bytes(CONTENT[:1000])
    assert fetch([server.download()])[0].read_bytes() == CONTENT


def test_an_answer_that_ends_early_is_an_error_and_keeps_the_part(server, cache):
    server.lie = 10
    with pytest.raises(
        ConnectionError, match=r"a.bin could not be fetched: .*Run the same command again to go on"
    ):
        fetch([server.download()])
    assert not (cache / "raw" / "a.bin").exists()
    assert (cache / "raw" / "a.bin.part").read_bytes() == CONTENT


def test_a_part_that_is_whole_already_is_accepted(server, cache):
    (cache / "raw").mkdir(parents=True)
    (cache / "raw" / "a.bin.part").write_bytes(CONTENT)
    assert fetch([server.download()])[0].read_bytes() == CONTENT


def test_a_file_that_is_there_is_left_alone(server):
    fetch([server.download()])
    fetch([server.download()])
    assert len(server.asked) == 1


def test_a_wrong_file_is_refused_and_deleted(server, cache):
    with pytest.raises(
        ValueError, match=f"a.bin must have digest {'0' * 32}, got {MD5}. What arrived was deleted"
    ):
        fetch([server.download(digest="0" * 32)])
    assert list((cache / "raw").iterdir()) == []


def test_an_archive_is_unpacked_and_put_away(server, cache):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo("batches/last")
        entry.size = 5
        tar.addfile(entry, io.BytesIO(b"hello"))
    server.files["/b.tar.gz"] = packed.getvalue()
    (path,) = fetch([server.download("b.tar.gz", "", gives="batches/last")])
    assert path.read_bytes() == b"hello"
    assert [p.name for p in (cache / "raw").iterdir()] == ["batches"]


def test_without_a_connection_the_sentence_says_what_to_do(server, cache):
    with pytest.raises(
        ConnectionError, match=r"nothing.bin could not be fetched: .*bring the file from a machine with"
    ):
        fetch([server.download("nothing.bin")])
    server.shutdown()
    server.server_close()
    with pytest.raises(ConnectionError, match=r"a.bin could not be fetched: .*efused"):
        fetch([server.download()])
