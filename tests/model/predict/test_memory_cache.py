"""What is kept between requests is bounded by bytes, and the newest used stays."""

from hypothesis import given
from hypothesis import strategies as st

from omnimouse_model.predict.devices import MemoryCache


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 60)), max_size=40))
def test_it_never_holds_more_than_its_limit_but_for_the_newest(asked):
    kept: MemoryCache[bytes] = MemoryCache(100, len)
    sizes: dict[int, int] = {}
    for key, size in asked:
        if key not in kept:
            sizes[key] = size
        value = kept.get(key, lambda size=size: bytes(size))
        assert len(value) == sizes[key]
        assert key in kept
        assert kept.n_bytes == sum(sizes[k] for k in range(10) if k in kept)
        assert kept.n_bytes <= 100


def test_what_was_used_last_stays_also_alone():
    kept: MemoryCache[bytes] = MemoryCache(100, len)
    for key in ("a", "b"):
        kept.get(key, lambda: bytes(40))
    kept.get("a", lambda: b"made again")
    kept.get("c", lambda: bytes(40))
    assert "a" in kept
    assert "b" not in kept
    kept: MemoryCache[bytes] = MemoryCache(100, len)
    kept.get("small", lambda: bytes(40))
    kept.get("big", lambda: bytes(400))
    assert "small" not in kept
    assert kept.n_bytes == 400
    kept.clear()
    assert (len(kept), kept.n_bytes) == (0, 0)
