from lowland.report.panels import curves_by, heading

ROWS = [{"batch": b, "step": t, "seed": s, "norm": b - t + s} for b in (8, 2) for s in (0, 1) for t in (0, 1)]


def test_a_curve_for_every_value_in_the_order_of_the_rows():
    large, small = curves_by(ROWS, "batch", x="step", y="norm", label="batch {}")
    assert (large.label, small.label) == ("batch 8", "batch 2")
    assert (large.x, large.values) == ((0, 1), ((8.0, 9.0), (7.0, 8.0)))


def test_a_heading_has_a_capital_and_no_unit():
    assert heading("forgotten (of all) beyond the label (nats)") == "Forgotten (of all) beyond the label"
    assert heading("KL divergence") == "KL divergence"
