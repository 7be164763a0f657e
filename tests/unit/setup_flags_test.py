"""Flags are plain booleans; a misspelt one is an error, not a silent default."""

import pytest

from config.flags import load_flags


def test_every_optimisation_is_on_by_default_but_for_the_one_that_changes_what_another_mount_may_see():
    assert [name for name, on in load_flags({}).items() if not on] == ["unasked_closes"]


def test_one_flag_is_switched_off_for_one_process():
    flags = load_flags({"WEIR_FLAGS": "local_cache=off, single_flight=off"})
    assert [name for name, on in flags.items() if not on] == ["local_cache", "single_flight", "unasked_closes"]


@pytest.mark.parametrize("text", ["locl_cache=off", "local_cache=maybe", "local_cache"])
def test_a_misspelt_flag_is_refused(text):
    with pytest.raises(ValueError, match="WEIR_FLAGS"):
        load_flags({"WEIR_FLAGS": text})


def test_a_flag_that_is_no_boolean_is_refused(tmp_path):
    (tmp_path / "f.toml").write_text('[flags]\nlocal_cache = "yes"\n')
    with pytest.raises(ValueError, match="local_cache"):
        load_flags({}, tmp_path / "f.toml")
