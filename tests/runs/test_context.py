from lowland.runs.context import Context


def test_seconds_add_up_by_name(tmp_path):
    context = Context("cpu", tmp_path, print)
    for seconds in (1.0, 2.0):
        context.timing("measuring", seconds)
    assert context.timings == {"measuring": 3.0}


def test_progress_stays_between_none_and_all(tmp_path):
    told = []
    context = Context("cpu", tmp_path, told.append)
    for share in (-1.0, 0.25, 7.0):
        context.progress(share)
    assert told == [0.0, 0.25, 1.0]


def test_the_folder_is_made_when_asked_for(tmp_path):
    context = Context("cpu", tmp_path / "scratch" / "a", print)
    assert not (tmp_path / "scratch").exists()
    assert context.folder.is_dir()
