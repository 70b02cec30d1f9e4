"""Threads are given back, whatever happens between."""

import pytest
import torch

from synthenv.threads import one_thread


@pytest.mark.parametrize("failing", [False, True])
def test_one_thread_is_for_the_inside(failing):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
            if failing:
                raise KeyError
    except KeyError:
        assert failing
    finally:
        after = torch.get_num_threads()
        torch.set_num_threads(before)
    assert after == 2
