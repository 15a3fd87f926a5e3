"""Memory of the file worker, idle and after each reader, and of the process that reads; times with it.

The files are made by another process, so that this one has loaded no more than a worker has.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MB = 1024 * 1024


def make(folder: Path) -> None:
    """Files as large as people have them."""
    import io

    import pyarrow as pa
    from PIL import Image
    from pyarrow import parquet

    import samples

    rows = [[n, f"name {n}", n / 4] for n in range(50_000)]
    column = io.BytesIO()
    parquet.write_table(pa.table({"id": range(1_000_000), "name": ["a name"] * 1_000_000}), column)
    photo = io.BytesIO()
    Image.effect_noise((4000, 3000), 60).convert("RGB").save(photo, "JPEG")
    files = {
        "50,000 rows.csv": "id,name,price\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows),
        "50,000 rows.jsonl": "".join(f'{{"id":{a},"name":"{b}"}}\n' for a, b, _ in rows),
        "1,000,000 rows.parquet": column.getvalue(),
        "50,000 rows.xlsx": samples.workbook({"Sales": [["id", "name", "price"], *rows]}),
        "200 pages.pdf": samples.pdf(*("\n".join(["a line of the text on a page"] * 40) for _ in range(200))),
        "2,000 paragraphs.docx": samples.word(["A paragraph of a document. " * 20] * 2000),
        "2 slides.pptx": samples.slides(),
        "5 MB.html": "<p>A paragraph of a page.</p>" * (5 * MB // 29),
        "small.eml": samples.mail(),
        "5,000 entries.zip": samples.zipped({f"folder/{n}.txt": b"x" for n in range(5000)}),
        "5,000 entries.tar.gz": samples.tarred({f"folder/{n}.txt": b"x" for n in range(5000)}, "gz"),
        "12 megapixels.jpg": photo.getvalue(),
        "12 megapixels.png": samples.image(4000, 3000, "PNG", "RGBA"),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def measure(folder: Path) -> None:
    """A line a reader."""
    from isthmus_file_worker import extracting, media, worker
    from isthmus_file_worker.folder import Folder
    from isthmus_file_worker.threads import Stop

    worker.file_worker()
    store = Folder("reports", folder)
    print(f"{'':26}{'worker':>10}{'reader at most':>16}{'time':>10}")
    print(f"{'idle':26}{_memory('self', 'VmRSS'):>7} MB")
    for path in sorted(folder.iterdir()):
        began = time.perf_counter()
        with extracting.Reader(Stop(60)) as reader, store.open_file((path.name,)) as file:
            kind = media.recognized(file, path.name)
            assert isinstance(kind, media.Table | media.Document | media.Archive | media.Image)
            reader.extract(file, extracting.job_for(kind, file, path.name, "read", budget=256 * 1024))
            took = time.perf_counter() - began
            (child,) = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
            most = _memory(child, "VmHWM")
        print(f"{path.name:26}{_memory('self', 'VmRSS'):>7} MB{most:>13} MB{took * 1000:>7.0f} ms")
    store.close()


def _memory(pid: str, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) // 1024


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    if len(sys.argv) > 1:
        make(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as made:
            subprocess.run([sys.executable, __file__, made], check=True)
            measure(Path(made))
