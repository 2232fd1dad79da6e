def test_past_runs_are_listed_with_their_verdicts(lowland, chain):
    lowland("study", chain, "--seeds", "1", "--links", "4")
    code, out, _ = lowland("runs")
    assert code == 0
    assert "chain/digits-" in out
    assert "2/2" in out
    assert "No runs" in lowland("runs", "something else")[1]


def test_no_runs_is_said(lowland):
    code, out, _ = lowland("runs", "--out", "nowhere")
    assert code == 0
    assert "No runs in nowhere/ match." in out


def test_an_unknown_verdict_is_refused(lowland):
    code, _, err = lowland("runs", "--verdict", "true")
    assert code == 2
    assert "verdict must be one of holds, fails, inconclusive, got 'true'." in err
