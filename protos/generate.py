#!/usr/bin/env python3
"""Generate the Python stubs and the descriptor set beside the .proto files.

    protos/generate.py            write them
    protos/generate.py --check    write nothing; name every file that differs and exit 1

The stubs refuse, at import, a runtime older than the compiler that made them. Agents need that
floor to be low, so the compiler is pinned and lives in an environment of its own (`.venv-protos/`),
apart from the newest runtimes that the services and the tests use. Beside it lie exactly the floor
runtimes, under which every stub is imported each time.

Needs nothing but the standard library.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROTO_ROOT = Path(__file__).resolve().parent
PACKAGE_ROOT = PROTO_ROOT / "agentworkspace"
PROTOSET = "agentworkspace.protoset"
GENERATED_SUFFIXES = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")

# What runs the compiler. grpcio-tools decides the floor; its plugin for type stubs needs a newer
# protobuf than that, which leaves no trace in what it writes.
COMPILER_PINS = (
    "grpcio-tools==1.76.0",
    "grpcio==1.76.0",
    "protobuf==6.33.6",
    "mypy-protobuf==5.1.0",
    "setuptools==80.9.0",
    "types-protobuf==6.32.1.20251105",
    "typing-extensions==4.15.0",
)
# The oldest runtimes that pyproject.toml promises to agents; raise them there and here together.
FLOOR_PINS = ("grpcio==1.76.0", "protobuf==6.31.1", "typing-extensions==4.15.0")
# The same with hashes, written by deploy/lock.py.
COMPILER_LOCK = PROTO_ROOT.parent / "deploy" / "locks" / "compiler.txt"
FLOOR_LOCK = COMPILER_LOCK.with_name("floor.txt")
OLDEST_PROTOC_LOCK = COMPILER_LOCK.with_name("oldest-protoc.txt")

# protoc 23.1, the oldest that is tried: authors in other languages bring a compiler of their own.
# 3.21, which Debian 12 has, does not know `debug_redact`.
OLDEST_PROTOC_PINS = ("grpcio-tools==1.55.3",)
# Newer ones have no wheel of it; there it is not tried.
HAS_OLDEST_PROTOC = sys.version_info < (3, 12)


def main(arguments: list[str] | None = None) -> int:
    """Generate, or compare with what is committed; the exit status says whether all is well."""
    parser = argparse.ArgumentParser(description="generate the stubs beside the .proto files")
    parser.add_argument("--check", action="store_true", help="compare only, name what differs")
    check_only = parser.parse_args(arguments).check

    python = ready_environment()
    with tempfile.TemporaryDirectory(prefix="agentworkspace-stubs-") as scratch:
        fresh_root = Path(scratch)
        compile_protos(python, fresh_root)
        if HAS_OLDEST_PROTOC:
            compile_with_oldest_protoc(python)
        import_under_floor_runtime(python, fresh_root)
        differences = list(compare(fresh_root))
        if not check_only:
            install(fresh_root, [path for path, _ in differences])
    for path, why in differences:
        print(f"{'differs' if check_only else 'updated'}: protos/{path} ({why})")
    if check_only and differences:
        print("The generated files are stale: run protos/generate.py and commit the result.")
        return 1
    print(f"{len(proto_files())} .proto files, stubs and {PROTOSET} are up to date.")
    return 0


def proto_files() -> list[str]:
    """The .proto files, relative to the proto root, in a stable order."""
    found = sorted(path.relative_to(PROTO_ROOT) for path in PACKAGE_ROOT.rglob("*.proto"))
    if not found:
        sys.exit(f"no .proto file under {PACKAGE_ROOT}")
    return [path.as_posix() for path in found]


def compile_protos(python: Path, out: Path) -> None:
    """Run the pinned compiler and its plugins once over all .proto files."""
    plugins = [
        f"--plugin={name}={python.parent / name}"
        for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
    ]
    command = [
        str(python),
        "-m",
        "grpc_tools.protoc",
        f"--proto_path={PROTO_ROOT}",
        *plugins,
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_out=quiet:{out}",
        f"--mypy_grpc_out=quiet:{out}",
        f"--descriptor_set_out={out / PROTOSET}",
        "--include_imports",
        "--include_source_info",
        *proto_files(),
    ]
    if subprocess.run(command, check=False).returncode != 0:
        sys.exit("protoc failed; its messages stand above")


def compile_with_oldest_protoc(python: Path) -> None:
    """Nothing in the .proto files may need a newer compiler than protos/README.md says."""
    compiler = (str(python), "-W", "ignore", "-m", "grpc_tools.protoc")
    result = subprocess.run(
        (*compiler, f"--proto_path={PROTO_ROOT}", f"-o{os.devnull}", *proto_files()),
        env={**os.environ, "PYTHONPATH": str(oldest_protoc(python))},
        check=False,
    )
    if result.returncode != 0:
        sys.exit("the oldest protoc does not take the .proto files; its messages stand above")


def import_under_floor_runtime(python: Path, out: Path) -> None:
    """Import every stub with exactly the oldest runtimes that agents may have."""
    modules = [
        path.relative_to(out).with_suffix("").as_posix().replace("/", ".")
        for path in sorted(out.rglob("*_pb2*.py"))
    ]
    program = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    search_path = {"PYTHONPATH": str(floor_runtime(python)), "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(
        [str(python), "-c", program, *modules],
        cwd=out,
        env={**os.environ, **search_path},
        check=False,
    )
    if result.returncode != 0:
        sys.exit("a stub does not import on the floor runtimes: " + ", ".join(FLOOR_PINS))


def compare(fresh_root: Path) -> Iterator[tuple[Path, str]]:
    """Yield each generated file whose committed form is missing, different, or left over."""
    fresh = generated_files(fresh_root)
    for path in sorted(fresh | generated_files(PROTO_ROOT)):
        committed = PROTO_ROOT / path
        if path not in fresh:
            yield path, "left over, no .proto makes it"
        elif not committed.is_file():
            yield path, "missing"
        elif committed.read_bytes() != (fresh_root / path).read_bytes():
            yield path, "content"


def generated_files(root: Path) -> set[Path]:
    """What the compiler makes, as far as it is there, relative to `root`."""
    stubs = (
        path
        for path in (root / "agentworkspace").rglob("*")
        if path.name.endswith(GENERATED_SUFFIXES)
    )
    protoset = (path for path in [root / PROTOSET] if path.is_file())
    return {path.relative_to(root) for path in (*stubs, *protoset)}


def install(fresh_root: Path, paths: list[Path]) -> None:
    """Put the given files in place; remove those that nothing makes any more."""
    for path in paths:
        if (fresh_root / path).is_file():
            shutil.copyfile(fresh_root / path, PROTO_ROOT / path)
        else:
            (PROTO_ROOT / path).unlink()


def ready_environment() -> Path:
    """Return the Python of the pinned environment, which is built first when it is not there."""
    home = environment_home()
    python = home / "bin" / "python"
    stamp = home / "pins"
    locks = [lock.read_text() for lock in (COMPILER_LOCK, FLOOR_LOCK, OLDEST_PROTOC_LOCK)]
    recipe = (*locks, str(home), sys.version)
    wanted = hashlib.sha256("\n".join(recipe).encode()).hexdigest()
    with exclusive(home.with_name(home.name + ".lock")):
        if not (stamp.is_file() and stamp.read_text() == wanted and python.exists()):
            print(f"Installing the pinned compiler ({COMPILER_PINS[0]}) into {home} …", flush=True)
            shutil.rmtree(home, ignore_errors=True)
            run_or_exit([sys.executable, "-m", "venv", str(home)])
            pip_install(python, "-r", str(COMPILER_LOCK))
            pip_install(python, f"--target={floor_runtime(python)}", "-r", str(FLOOR_LOCK))
            if HAS_OLDEST_PROTOC:
                target = f"--target={oldest_protoc(python)}"
                pip_install(python, target, "-r", str(OLDEST_PROTOC_LOCK))
            stamp.write_text(wanted)
    return python


def floor_runtime(python: Path) -> Path:
    """The directory beside the compiler that holds the floor runtimes."""
    return python.parent.parent / "floor"


def oldest_protoc(python: Path) -> Path:
    """The directory beside the compiler that holds the oldest one."""
    return python.parent.parent / "oldest-protoc"


def pip_install(python: Path, *arguments: str) -> None:
    """Install exactly what a lock file holds: it is complete, nothing else is resolved."""
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    options.append("--disable-pip-version-check")
    run_or_exit([str(python), "-m", "pip", "install", *options, *arguments])


def environment_home() -> Path:
    """`.venv-protos` of the checkout, or the user's cache where the checkout is read-only."""
    checkout = PROTO_ROOT.parent
    if os.access(checkout, os.W_OK):
        return checkout / ".venv-protos"
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    home = cache / "agentworkspace" / "venv-protos"
    home.parent.mkdir(parents=True, exist_ok=True)
    return home


@contextmanager
def exclusive(lock_file: Path) -> Iterator[None]:
    """Hold the lock, so that two runs at once do not build one environment."""
    with lock_file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def run_or_exit(command: list[str]) -> None:
    """Run a command; its own messages explain a failure better than a traceback."""
    if subprocess.run(command, check=False).returncode != 0:
        sys.exit(f"failed: {' '.join(command)}")


if __name__ == "__main__":
    sys.exit(main())
