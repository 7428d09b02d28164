"""The PTX that is kept is what its nvcc makes of the CUDA C++ beside it."""

from __future__ import annotations

import re

import pytest
from kept_ptx import THEMES, fresh, installed_release, kept, kept_releases

if {installed_release()} != kept_releases():
    pytest.skip("needs the nvcc that made the kept PTX", allow_module_level=True)


def code(ptx: str) -> str:
    """PTX without what depends on the folder of its source.

    That is in lines that name files, in the debugger's sections behind the code, and in
    the hash within internal names.
    """
    ptx = ptx.partition("\t.section\t.debug")[0]
    ptx = re.sub(r"(_INTERNAL_|_GLOBAL__N__)[0-9a-f]{8}_", r"\1", ptx)
    return "\n".join(line for line in ptx.splitlines() if ".file" not in line)


@pytest.mark.parametrize("theme", THEMES)
def test_nvcc_makes_the_ptx_that_is_kept(theme: str) -> None:
    made = fresh(theme)
    assert made is not None
    assert code(made) == code(kept(theme))
