"""The compiled loops: loaded only where they are those of the source beside them."""

import ctypes
from importlib import util

import pytest

from fenlei.layers import kernels

compiled = pytest.mark.skipif(not kernels.LOADED, reason="this installation has no compiled loops")


@compiled
def test_every_declared_loop_is_there():
    assert [name for name in kernels.SIGNATURES if not hasattr(kernels.LIBRARY, name)] == []


@compiled
def test_loops_of_another_source_are_left_out(monkeypatch):
    assert kernels._load() is not None
    monkeypatch.setattr(kernels.zlib, "crc32", lambda _: 1)
    assert kernels._load() is None


@compiled
def test_the_environment_can_leave_them_out(monkeypatch):
    monkeypatch.setenv("FENLEI_KERNELS", "0")
    assert kernels._load() is None


def test_an_installation_without_them_says_so(monkeypatch):
    monkeypatch.setattr(util, "find_spec", lambda _: None)
    assert kernels._load() is None


def test_a_library_of_something_else_is_not_ours():
    assert not kernels._is_of_this_source(ctypes.CDLL(None))
