"""What Prometheus reads: buckets add up, and every sample has a type."""

from slm.serve.metrics import Histogram, Metrics


def test_buckets_count_what_is_at_most_their_bound():
    histogram = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.observe(value)
    assert list(histogram.lines("x")) == [
        'x_bucket{le="0.1"} 2',
        'x_bucket{le="1.0"} 3',
        'x_bucket{le="+Inf"} 4',
        "x_sum 7.650000",
        "x_count 4",
    ]


def test_every_sample_has_a_type_and_a_help():
    metrics = Metrics()
    metrics.requests["completions", 200] += 2
    metrics.cached_tokens = 7
    lines = metrics.text(running=3, waiting=1).splitlines()
    typed = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert typed == {line.split()[2] for line in lines if line.startswith("# HELP")}
    samples = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert samples['slm_requests_total{endpoint="completions",status="200"}'] == "2"
    assert (samples["slm_requests_running"], samples["slm_requests_waiting"]) == ("3", "1")
    assert samples["slm_cached_tokens_total"] == "7"
    endings = ("_bucket", "_sum", "_count")
    for sample in samples:
        name = sample.partition("{")[0]
        assert name in typed or any(name.removesuffix(ending) in typed for ending in endings)
