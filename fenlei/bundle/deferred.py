"""Arrays that stay on disk until somebody asks for them: to predict, a bundle's weights are not needed."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fenlei.bundle.codec import Array, parse_arrays


class Deferred(Mapping[str, Array]):
    """The arrays of one safetensors file, read and checked on first use; ValueError then if it is not what it was."""

    def __init__(self, name: str, read: Callable[[], bytes]) -> None:
        self._name, self._read = name, read
        self._arrays: dict[str, Array] | None = None

    def __getitem__(self, key: str) -> Array:
        return self._found()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found())

    def __len__(self) -> int:
        return len(self._found())

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return dict, (self._found(),)  # a copy elsewhere has no such file

    def _found(self) -> dict[str, Array]:
        if self._arrays is None:
            self._arrays = parse_arrays({self._name: self._read()}, self._name)
        return self._arrays
