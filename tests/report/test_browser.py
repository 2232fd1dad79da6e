import json
import os
import shutil
import subprocess

import pytest

from lowland.report.page import write_page

pytestmark = pytest.mark.browser

NARROW, WIDE = 390, 1280
FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
MORE_FLAGS = "--disable-component-update --disable-sync --hide-scrollbars --remote-debugging-pipe"


class Browser:
    """Chromium over its debugging pipe: messages are JSON, ended by a zero byte."""

    def __init__(self, program, profile):
        self.inbox, write = os.pipe()
        read, self.outbox = os.pipe()
        command = f'exec "$0" {FLAGS} {MORE_FLAGS} --user-data-dir="$1" about:blank 3<&{read} 4>&{write}'
        self.process = subprocess.Popen(
            ["bash", "-c", command, program, str(profile)], pass_fds=(read, write), stderr=subprocess.DEVNULL
        )
        os.close(read)
        os.close(write)
        self.buffer, self.count, self.events, self.session = b"", 0, [], None
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self(f"{domain}.enable")

    def __call__(self, method, **params):
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self.outbox, json.dumps(message).encode() + b"\0")
        return self._until(lambda answer: answer.get("id") == self.count)["result"]

    def open(self, path, width, scheme):
        self(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self("Page.navigate", url=path.as_uri())
        self._until(lambda answer: answer.get("method") == "Page.loadEventFired")

    def evaluate(self, script):
        return self("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def close(self):
        self("Browser.close")
        self.process.wait(timeout=20)
        os.close(self.inbox)
        os.close(self.outbox)

    def _until(self, wanted):
        found = next((event for event in self.events if wanted(event)), None)
        while found is None:
            while b"\0" not in self.buffer:
                chunk = os.read(self.inbox, 1 << 20)
                if not chunk:
                    raise RuntimeError("Chromium closed the pipe.")
                self.buffer += chunk
            text, _, self.buffer = self.buffer.partition(b"\0")
            answer = json.loads(text)
            self.events.append(answer)
            found = answer if wanted(answer) else None
        return found


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on this machine")
    found = Browser(program, tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def path(page, tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("run"), page)


@pytest.fixture(params=[(width, scheme) for width in (NARROW, WIDE) for scheme in ("light", "dark")], ids=str)
def view(browser, path, request):
    browser.open(path, *request.param)
    return browser, *request.param


def test_nothing_sticks_out_to_the_side(view):
    browser, width, _ = view
    browser.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert browser.evaluate("innerWidth") == browser.evaluate("document.documentElement.scrollWidth") == width


def test_the_browser_asks_for_nothing_but_the_page_and_does_not_complain(view, path):
    browser = view[0]
    asked = [
        e["params"]["request"]["url"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"
    ]
    assert asked == [path.as_uri()]
    loud = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    assert [event for event in browser.events if event.get("method") in loud] == []


def test_page_and_figures_follow_the_readers_scheme(view):
    browser, _, scheme = view
    ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    label = browser.evaluate("getComputedStyle(document.querySelector('svg.plot text')).fill")
    dark = ("rgb(20, 23, 28)", {"rgb(163, 172, 184)", "rgb(232, 234, 237)"})
    light = ("rgb(255, 255, 255)", {"rgb(91, 100, 112)", "rgb(28, 32, 38)"})
    expected = dark if scheme == "dark" else light
    assert ground == expected[0]
    assert label in expected[1]


def test_letters_in_figures_are_large_enough_to_read(view):
    browser = view[0]
    script = (
        "Math.min(...[...document.querySelectorAll('svg.plot text')].map(e => e.getBoundingClientRect().height))"
    )
    assert browser.evaluate(script) >= 9


def test_figures_stand_side_by_side_only_where_there_is_room(view):
    browser, width, _ = view
    tops = browser.evaluate(
        "[...document.querySelectorAll('figure svg.plot')].slice(0, 2).map(e => e.getBoundingClientRect().top)"
    )
    assert (tops[0] == tops[1]) == (width == WIDE)


def test_the_accessible_tree_names_every_figure_and_table(view, page):
    browser = view[0]
    nodes = browser("Accessibility.getFullAXTree")["nodes"]
    found = [
        (node["role"]["value"], node.get("name", {}).get("value")) for node in nodes if not node.get("ignored")
    ]
    pictures = [name for role, name in found if role in ("image", "img", "graphics-document") and name]
    assert len(pictures) == sum(len(figure.panels) for figure in page.figures)
    assert ("heading", page.question) in found
