"""Stands in for CUDA's libraries, so that a PyTorch that is linked with them runs on a machine's processors alone.

PyTorch from the registry loads fifteen of them whether there is a GPU or not: 4 GB that a server on CPUs never calls.
Of each it asks for the name, the version of its symbols and the symbols. A library that has these is enough, and each
function answers as where there is no GPU. PyTorch then says so itself (`torch.cuda.is_available()`).
"""

import re
import subprocess
from pathlib import Path

_OURS = re.compile(r"(?:__)?cu[A-Za-z]|nccl|nv")
_UNDEFINED = re.compile(r" U ([^\s@]+)")
_NEEDED = re.compile(r"\(NEEDED\).*\[(lib(?:cu|nccl|nv)[^]]*)\]")
_VERSIONS = {"libnvshmem_host.so.3": "NVSHMEM"}
"""Of the symbols, where it is not the library's name."""
_NO_DEVICE = 100
"""`cudaErrorNoDevice` (CUDA Runtime API, "Data types used by CUDA Runtime")."""
_TOLD = "cudaGetError"
"""How functions begin that return a text."""


def stand_in(libraries: Path) -> None:
    """Write the libraries that those of a folder are linked with beside them.

    Raises:
        OSError: there is no `as`, `ld`, `nm` or `readelf` (Debian: binutils).
        subprocess.CalledProcessError: one of them failed.
    """
    theirs = sorted(libraries.glob("*.so*"))
    asked = _run("nm", "--dynamic", "--undefined-only", *theirs)
    symbols = sorted({name for name in _UNDEFINED.findall(asked) if _OURS.match(name)})
    needed = sorted(set(_NEEDED.findall(_run("readelf", "--dynamic", "--wide", *theirs))))
    code, versions = libraries / "none.o", libraries / "none.map"
    _run("as", "-o", code, "-", text=_assembly(symbols))
    for name in needed:
        versions.write_text(f"{_VERSIONS.get(name, name)} {{ global: *; }};\n")
        _run("ld", "-shared", "-soname", name, "--version-script", versions, "-o", libraries / name, code)
    code.unlink()
    versions.unlink()


def _assembly(symbols: list[str]) -> str:
    texts = [name for name in symbols if name.startswith(_TOLD)]
    codes = [name for name in symbols if not name.startswith(_TOLD)]
    lines = [
        ".text",
        *map(_label, codes),
        f"movl ${_NO_DEVICE}, %eax",
        "ret",
        *map(_label, texts),
        "leaq none(%rip), %rax",
        "ret",
        ".section .rodata",
        'none: .asciz "no CUDA here"',
        '.section .note.GNU-stack,"",@progbits',
    ]
    return "\n".join(lines) + "\n"


def _label(name: str) -> str:
    return f".globl {name}\n.type {name}, @function\n{name}:"


def _run(*command: str | Path, text: str | None = None) -> str:
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
